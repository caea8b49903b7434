"""Whose picture is it? Students look at photos whose pixels say whose they are.

Each photo has one colour, which no other student has. Every photo that reaches a student, inside a
page's payload or from a route, is decoded and compared with the student's own colour; and a
student asks a route with the neighbour's key.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Awaitable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from benchmarks.classroom_recording import Recording
from benchmarks.classroom_student import Lost, Student

SIZE = (256, 256)
NEAR = 5.0
"""How far a mean colour may be off after JPEG; neighbours are at least twice as far apart."""
JPEG = re.compile(rb"\xff\xd8\xff")
LEVELS = (20, 48, 76, 104, 132, 160, 188, 216)


def colour_of(number: int) -> tuple[int, int, int]:
    """Return the colour of a student: one of 512, each 28 apart from the next."""
    return LEVELS[number % 8], LEVELS[number // 8 % 8], LEVELS[number // 64 % 8]


def photo_of_colour(number: int) -> bytes:
    """Draw the photo of a student."""
    file = io.BytesIO()
    Image.new("RGB", SIZE, colour_of(number)).save(file, "PNG")
    return file.getvalue()


@dataclass
class Found:
    """What was checked, and what was wrong."""

    checked: int = 0
    wrong: int = 0
    lost: int = 0
    strangers_refused: int = 0
    strangers_answered: int = 0


def is_of(number: int, data: bytes) -> bool:
    """Say whether a JPEG has the colour of a student."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float)
    return bool((np.abs(pixels.mean((0, 1)) - colour_of(number)) < NEAR).all())


async def look_around(address: str, recording: Recording, count: int, payloads: int) -> Found:
    """Let students with photos of their own do everything, until enough payloads were checked."""
    found = Found()
    students = [Student(address, recording, photo_of_colour(number)) for number in range(count)]

    async def begin(number: int) -> None:
        student = students[number]
        await student.open()
        await student.act("upload")
        await student.settle()
        student.on_blob = lambda blob: check(found, number, blob)

    await asyncio.gather(*(_or_lost(found, begin(number)) for number in range(count)))
    actions = [kind for kind in recording.actions if kind not in ("photo", "upload")]
    while found.checked < payloads and found.lost < count:
        for kind in actions:
            await asyncio.gather(*(_or_lost(found, student.act(kind)) for student in students))
    for number, student in enumerate(students):
        await _ask_as_neighbour(found, recording, student, students[number - 1])
    await asyncio.gather(*(student.leave() for student in students), return_exceptions=True)
    return found


async def _or_lost(found: Found, asked: Awaitable[object]) -> None:
    try:
        await asked
    except Lost:
        found.lost += 1


def check(found: Found, number: int, blob: bytes) -> None:
    """Check every photo in a blob."""
    for start in JPEG.finditer(blob):
        found.checked += 1
        found.wrong += not is_of(number, blob[start.start() :])


async def _ask_as_neighbour(
    found: Found, recording: Recording, student: Student, neighbour: Student
) -> None:
    """Ask for what the neighbour sees, with a key of one's own."""
    for path in neighbour.own_paths:
        status, _, _ = await student.requests.ask("GET", path, {"X-Saccade-Key": student.key})
        found.strangers_refused += status in (401, 403, 404)
        found.strangers_answered += status == 200
