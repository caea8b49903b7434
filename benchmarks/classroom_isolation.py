"""Whose picture is it? Students look at photos whose pixels say whose they are.

Each photo has one colour, which no other student has. Every student goes through the pages that
answer from routes, with several models. Every photo that a route answers is decoded and compared
with the student's own colour; every layer's numbers must differ from those of all other students;
and each student asks for everything that the neighbour was shown, with a key of its own.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from PIL import Image
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from benchmarks.classroom_recording import KEY_HEADER, Recording
from benchmarks.classroom_student import Lost, Student, header_of

SIZE = (256, 256)
NEAR = 5.0
"""How far a mean colour may be off after JPEG; neighbours are more than five times as far apart."""
LEVELS = (20, 48, 76, 104, 132, 160, 188, 216)
MODELS = 4
PAGES = ("", "features", "what_if", "inside_head", "compare")
"""The pages that answer from routes, by their addresses."""
SLOW_PAGES = ("attribution",)
"""The same, where a photo takes seconds; one student in `SLOW_SHARE` goes there."""
SLOW_SHARE = 20
NAME = re.compile(r"[0-9a-f]{20}")


def colour_of(number: int) -> tuple[int, int, int]:
    """Return the colour of a student: one of 512, each 28 apart from the next."""
    return LEVELS[number % 8], LEVELS[number // 8 % 8], LEVELS[number // 64 % 8]


def photo_of_colour(number: int) -> bytes:
    """Draw the photo of a student."""
    file = io.BytesIO()
    Image.new("RGB", SIZE, colour_of(number)).save(file, "PNG")
    return file.getvalue()


def is_of(number: int, data: bytes) -> bool:
    """Say whether a JPEG has the colour of a student."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float)
    return bool((np.abs(pixels.mean((0, 1)) - colour_of(number)) < NEAR).all())


@dataclass
class Found:
    """What was checked, and what was wrong."""

    photos: int = 0
    layers: int = 0
    wrong: int = 0
    unanswered: int = 0
    lost: int = 0
    strangers_refused: int = 0
    strangers_answered: int = 0
    owners: dict[str, int] = field(default_factory=dict)
    """By the digest of a layer's numbers: who was shown them."""


class Visitor(Student):
    """A student who goes from page to page and from model to model."""

    number = 0

    def begin(self, number: int) -> None:
        """Take a number, and a photo of its colour."""
        self.number, self.photo = number, photo_of_colour(number)
        self.pages: dict[str, str] = {}
        self.models: list[str] = []
        self.shown: dict[str, list[str]] = {}
        """The photos and sources that the payloads of the last run named."""
        self.names: set[str] = set()
        """All sources and photos that this student was shown."""
        self.on_blob = lambda blob: self._keep(header_of(blob))

    async def _take(self, frame: bytes) -> None:
        message = ForwardMsg()
        message.ParseFromString(frame)
        if message.WhichOneof("type") == "navigation":
            self.pages = {
                "" if page.is_default else page.url_pathname: page.page_script_hash
                for page in message.navigation.app_pages
            }
        await super()._take(frame)

    def _note_widget(self, element: Element) -> None:
        super()._note_widget(element)
        if element.selectbox.label == "Model":
            self.models = list(element.selectbox.options)

    def _keep(self, header: dict[str, Any]) -> None:
        for kind, name in _names_in(header):
            self.shown.setdefault(kind, []).append(name)

    async def run(self, page: str, *chosen: WidgetState) -> None:
        """Let a page run, after something was chosen; what is not sent stays as it was."""
        self.shown = {}
        message = BackMsg()
        message.rerun_script.page_script_hash = self.pages[page]
        message.rerun_script.widget_states.widgets.extend(chosen)
        awaited = self._finished + 1
        await self._send(message)
        await self._wait(lambda: self._finished >= awaited)
        await self.settle(0.5)

    async def choose(self, number: int) -> None:
        """Choose a model by its place in the list."""
        state = WidgetState(id=self.widget_ids["model_choice"])
        state.string_value = self.models[number]
        await self.run("", state)

    async def ask(self, name: str, question: str, key: str = "") -> tuple[int, bytes]:
        """Ask a route as the browser does."""
        status, body, _ = await self.requests.ask(
            "GET", f"/look/{name}/{question}", {KEY_HEADER: key or self.key}
        )
        return status, body


def _names_in(header: Any) -> Iterator[tuple[str, str]]:
    """Iterate over the photos and sources that a payload's header names."""
    if isinstance(header, list):
        for part in header:
            yield from _names_in(part)
    elif isinstance(header, dict):
        for name, value in header.items():
            kind = "photo" if "photo" in name.lower() else name
            if kind in ("photo", "source") and isinstance(value, str) and NAME.fullmatch(value):
                yield kind, value
            yield from _names_in(value)


async def look_around(address: str, recording: Recording, count: int, payloads: int) -> Found:
    """Let students with photos of their own go everywhere, until enough payloads were checked."""
    found = Found()
    visitors = [Visitor(address, recording) for _ in range(count)]
    for number, visitor in enumerate(visitors):
        visitor.begin(number)
    await _all(found, visitors, _begin)
    while found.photos + found.layers < payloads and found.lost < count:
        for model in range(MODELS):
            await _all(found, visitors, lambda visitor, model=model: visitor.choose(model))
            for page in (*PAGES, *SLOW_PAGES):
                some = visitors[::SLOW_SHARE] if page in SLOW_PAGES else visitors
                await _all(found, some, lambda visitor, page=page: _visit(found, visitor, page))
    for visitor in visitors:
        await _ask_as_neighbour(found, visitor, visitors[visitor.number - 1])
    await asyncio.gather(*(visitor.leave() for visitor in visitors), return_exceptions=True)
    return found


async def _all(found: Found, visitors: Sequence[Visitor], act: Any) -> None:
    """Let all do something at the same time."""

    async def try_to(visitor: Visitor) -> None:
        try:
            await act(visitor)
        except Lost:
            found.lost += 1

    await asyncio.gather(*map(try_to, visitors))


async def _begin(visitor: Visitor) -> None:
    await visitor.open()
    await visitor.act("upload")
    await visitor.settle()


async def _visit(found: Found, visitor: Visitor, page: str) -> None:
    """Open a page, and check what its routes answer."""
    await visitor.run(page)
    for name in visitor.shown.get("photo", ()):
        visitor.names.add(f"{name}/photo")
        status, body = await visitor.ask(name, "photo")
        found.unanswered += status != 200
        found.photos += status == 200
        found.wrong += status == 200 and not is_of(visitor.number, body)
    for name in visitor.shown.get("source", ()):
        status, body = await visitor.ask(name, "layer/0")
        if status != 200:  # the answers of this source are others
            continue
        visitor.names.add(f"{name}/layer/0")
        found.layers += 1
        owner = found.owners.setdefault(sha256(body).hexdigest(), visitor.number)
        found.wrong += owner != visitor.number


async def _ask_as_neighbour(found: Found, visitor: Visitor, neighbour: Visitor) -> None:
    """Ask for what the neighbour was shown, with a key of one's own."""
    for name in neighbour.names - visitor.names:
        status, _ = await visitor.ask(*name.split("/", 1))
        found.strangers_refused += status != 200
        found.strangers_answered += status == 200
