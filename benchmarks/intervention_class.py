"""A class on the page What if: everybody tries something every five seconds, on one sample."""

from __future__ import annotations

import asyncio
import random
import re
import statistics
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from playwright.sync_api import Page

from benchmarks.classroom_recording import Acts, Event, record_page
from benchmarks.classroom_server import serve
from benchmarks.classroom_student import Lost, Student

QUERY = "?photo=coffee"
HEADS = 36  # of the default model's first six layers
PAUSE = 5.0  # seconds between two tries of one student
SECONDS = 60.0  # that the class goes on


def try_together(sessions: int) -> None:
    """Let a class try, and print how long bars and everything else took."""
    root = Path(__file__).parents[1]
    with serve(root) as app:
        recording = record_page(f"{app.address}/what_if{QUERY}", ".what_if .pair", acts)
        students = [Trier(app.address, recording) for _ in range(sessions)]
        lost = asyncio.run(run_class(students))
    print(f"{sessions} sessions for {SECONDS:.0f} s, {lost} lost")
    for name, taken in (
        ("bars, by the route", [t for student in students for t in student.bars]),
        ("all of it: bars, maps, control", [t for student in students for t in student.tries]),
    ):
        p95 = statistics.quantiles(taken, n=20)[-1]
        middle = statistics.median(taken)
        print(f"{name}: median {1000 * middle:.0f} ms, p95 {1000 * p95:.0f} ms, of {len(taken)}")


def acts(page: Page) -> Acts:
    """Switch heads off and on, and hide patches."""
    sheet, photo = page.locator(".switches > canvas"), page.locator(".what_if canvas.photo")
    for number in range(16):
        place = {"x": 60 + 92 * (number % 4), "y": 60 + 90 * (number % 7)}
        yield "try", lambda place=place: sheet.click(position=place)
    for number in range(8):
        place = {"x": 40 + 40 * number, "y": 300 - 30 * number}
        yield "try", lambda place=place: photo.click(position=place)


@dataclass
class Trier(Student):
    """Somebody who tries things, with a watch."""

    bars: list[float] = field(default_factory=list)
    tries: list[float] = field(default_factory=list)

    async def _request(self, event: Event) -> bool:
        if "/zero/" not in event.path:
            return await super()._request(event)
        heads = sorted(random.sample(range(HEADS), 3))  # others than anybody tried before
        off = ",".join(f"{head // 6 + 1}.{head % 6 + 1}" for head in heads)
        path = re.sub(r"/[^/]+/zero/", f"/{off}/zero/", event.path)
        began = time.monotonic()
        asked = await super()._request(replace(event, path=path))
        self.bars.append(time.monotonic() - began)
        return asked


async def run_class(students: list[Trier]) -> int:
    """Let all open the page, and then all try; return how many were lost."""
    await asyncio.gather(*(student.open(QUERY) for student in students))
    end = time.monotonic() + SECONDS

    async def attend(student: Trier) -> bool:
        try:
            await asyncio.sleep(random.uniform(0, PAUSE))
            while time.monotonic() < end:
                outcome = await student.act("try")
                student.tries.append(outcome.seconds)
                await asyncio.sleep(max(0.0, PAUSE - outcome.seconds))
        except Lost as loss:
            print(loss)
            return True
        finally:
            await student.leave()
        return False

    return sum(await asyncio.gather(*map(attend, students)))
