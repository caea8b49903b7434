"""A class at one server: `python -m benchmarks.classroom` prints how long each thing takes.

Real websockets and requests over loopback replay what a recorded Chromium sent for the same
actions. Students open the page together, click for a while, change to one photo together, upload a
photo each, and leave. What the browser answers from what it has is counted apart, and enters no
median.

    python -m benchmarks.classroom --sessions 200
    python -m benchmarks.classroom --sessions 200 --root OTHER_CHECKOUT
    python -m benchmarks.classroom --sessions 200 --replicas 3      # one of them is killed
    python -m benchmarks.classroom --sessions 200 --isolation
    python -m benchmarks.classroom --sessions 30 --large
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import statistics
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.classroom_health import watched
from benchmarks.classroom_isolation import look_around
from benchmarks.classroom_recording import Recording, record
from benchmarks.classroom_server import App, serve, serve_replicas
from benchmarks.classroom_student import Lost, Outcome, Student, photo_of

ROOT = Path(__file__).parents[1]
MIX = {"query": 0.5, "layer": 0.2, "head": 0.2, "photo": 0.07, "model": 0.03}
"""What students do while they click, and how often."""
PAUSE = (3.0, 6.0)
"""Seconds between two clicks of one student."""
AFTER_LEAVING = 45
"""Seconds until memory and descriptors are read again."""


@dataclass
class Round:
    """What came of something that many did: outcomes, losses, and the server's health."""

    outcomes: list[Outcome] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    seconds: float = 0.0
    health: float = 0.0
    processor: float = 0.0
    """Time that the server computed."""

    async def take(self, asked: Awaitable[Outcome]) -> bool:
        """Wait for an outcome or a loss; say whether it was an outcome."""
        try:
            self.outcomes.append(await asked)
        except Lost as loss:
            self.lost.append(str(loss))
            return False
        return True


async def together(address: str, apps: Sequence[App], asked: Sequence[Awaitable[Outcome]]) -> Round:
    """Let all do something at the same moment."""
    result, began = Round(processor=-processor_seconds(apps)), time.monotonic()
    with watched(address) as health:
        await asyncio.gather(*map(result.take, asked))
        result.seconds = time.monotonic() - began
    result.health = health.worst
    result.processor += processor_seconds(apps)
    return result


async def click_for(
    address: str,
    apps: Sequence[App],
    students: Sequence[Student],
    seconds: float,
    victim: App | None = None,
) -> tuple[Round, Round]:
    """Let each click every few seconds; return the clicks, and who came back after a loss.

    Args:
        victim: a replica that is killed in the middle.
    """
    clicks, returned, end = Round(), Round(), time.monotonic() + seconds

    async def click(student: Student) -> None:
        await asyncio.sleep(random.uniform(0, PAUSE[1]))
        while time.monotonic() < end:
            kind = random.choices(list(MIX), list(MIX.values()))[0]
            if not await clicks.take(student.act(kind)):
                await asyncio.sleep(random.uniform(0.5, 2))
                while not await returned.take(student.come_back()):
                    await asyncio.sleep(1)
            await asyncio.sleep(random.uniform(*PAUSE))

    async def kill() -> None:
        await asyncio.sleep(seconds / 2)
        if victim is not None:
            await asyncio.to_thread(victim.kill)

    clicks.processor = -processor_seconds(apps)
    with watched(address) as health:
        await asyncio.gather(*map(click, students), kill())
    clicks.seconds, clicks.health = seconds, health.worst
    clicks.processor += processor_seconds(apps)
    return clicks, returned


async def leave(students: Sequence[Student]) -> None:
    """Close all tabs."""
    await asyncio.gather(*(student.leave() for student in students), return_exceptions=True)


def processor_seconds(apps: Sequence[App]) -> float:
    """Add up the time that the processes have computed, those apart that were killed."""
    return sum(app.processor_seconds for app in apps if app.process.poll() is None)


def memory(apps: Sequence[App]) -> tuple[float, int]:
    """Add up memory in MiB and descriptors of the processes that live."""
    living = [app for app in apps if app.process.poll() is None]
    return sum(app.mebibytes for app in living), sum(app.descriptors for app in living)


# -- the table ------------------------------------------------------------------------------------


def milliseconds(seconds: Sequence[float], share: float) -> str:
    """Write a quantile in milliseconds."""
    if not seconds:
        return "none"
    return f"{1000 * sorted(seconds)[int(share * (len(seconds) - 1))]:,.0f} ms"


def rows_of_clicks(clicks: Round) -> list[tuple[str, str]]:
    """Write the clicks, those that stayed in the browser apart."""
    asked = [outcome for outcome in clicks.outcomes if not outcome.stayed]
    stayed = [outcome for outcome in clicks.outcomes if outcome.stayed]
    rows = [
        (
            "clicks answered by the server / drawn in the browser alone / lost",
            f"{len(asked)} / {len(stayed)} / {len(clicks.lost)}",
        ),
        ("a click that the server answers: median / p95", _median_and_p95(asked)),
        ("a report of what the browser drew alone: median / p95", _median_and_p95(stayed)),
        ("processor time of the server for one click of either kind", _share(clicks)),
    ]
    for kind in MIX:
        some = [outcome for outcome in asked if outcome.kind == kind]
        size = statistics.median([outcome.bytes for outcome in some]) / 1000 if some else 0
        rows.append((f"- {kind}: median / p95, sent", f"{_median_and_p95(some)}, {size:,.1f} KB"))
    return [*rows, ("health route meanwhile, worst", f"{1000 * clicks.health:,.0f} ms")]


def _median_and_p95(outcomes: Sequence[Outcome]) -> str:
    seconds = sorted(outcome.seconds for outcome in outcomes)
    return f"{milliseconds(seconds, 0.5)} / {milliseconds(seconds, 0.95)} ({len(seconds)})"


def _share(result: Round) -> str:
    """Write the processor time of one of many."""
    return f"{1000 * result.processor / max(1, len(result.outcomes)):,.1f} ms"


def row_of_all(what: str, result: Round) -> tuple[str, str]:
    """Write something that all did together."""
    lost = f", {len(result.lost)} lost ({result.lost[0]})" if result.lost else ""
    return (
        what,
        f"last one served after {result.seconds:,.1f} s, "
        f"health {1000 * result.health:,.0f} ms, processor time of one {_share(result)}{lost}",
    )


def print_table(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print a table in Markdown."""
    print(f"\n| {title} | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |", flush=True)


# -- the lesson -----------------------------------------------------------------------------------


async def lesson(
    address: str, apps: Sequence[App], recording: Recording, count: int, seconds: float
) -> list[tuple[str, str]]:
    """Go through the whole lesson with so many students."""
    before, descriptors = memory(apps)
    photos = [photo_of(number) for number in range(count)]
    students = [Student(address, recording, photo) for photo in photos]
    opened = await together(address, apps, [student.open() for student in students])
    rows = [row_of_all("all open the page", opened)]
    victim = apps[-1] if len(apps) > 1 else None
    surviving = apps[:-1] if victim else apps
    clicks, returned = await click_for(address, surviving, students, seconds, victim)
    for student in students:
        if student.is_cut_off:  # its browser would have come back by itself
            await returned.take(student.come_back())
    rows += rows_of_clicks(clicks)
    if victim is not None:
        rows.append(("one replica killed: students who came back", str(len(returned.outcomes))))
        rows.append(("- until the page was back: median / p95", _median_and_p95(returned.outcomes)))
    same = await together(address, surviving, [student.act("photo", 0) for student in students])
    rows.append(row_of_all("all change to one sample photo", same))
    own = await together(address, surviving, [student.act("upload") for student in students])
    rows.append(row_of_all("each uploads a photo", own))
    full = memory(apps)
    await leave(students)
    await asyncio.sleep(AFTER_LEAVING)
    gc.collect()
    after = memory(apps)
    rows.append(("memory in MiB idle / with all / after", _three(before, full[0], after[0])))
    rows.append(("descriptors idle / with all / after", _three(descriptors, full[1], after[1])))
    return rows


async def large_photos(
    address: str, app: App, recording: Recording, count: int
) -> list[tuple[str, str]]:
    """Let some upload photos of 24 megapixels at once, and watch memory and health."""
    students = [
        Student(address, recording, photo_of(number, (6000, 4000))) for number in range(count)
    ]
    for student in students:
        await student.open()
    idle, peak = app.mebibytes, 0.0

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, app.mebibytes)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    result = await together(address, [app], [student.act("upload") for student in students])
    watching.cancel()
    await leave(students)
    size = sum(len(student.photo) for student in students) / 2**20
    return [
        row_of_all(f"{count} photos of 24 megapixels, {size:,.0f} MiB of files", result),
        ("memory in MiB idle / at most", _three(idle, peak)),
    ]


async def isolation(
    address: str, recording: Recording, count: int, payloads: int
) -> list[tuple[str, str]]:
    """Let each look at a photo whose pixels say whose it is, and check every one that arrives."""
    found = await look_around(address, recording, count, payloads)
    return [
        (
            "photos and layers checked / of somebody else",
            f"{found.photos:,} + {found.layers:,} / {found.wrong}",
        ),
        ("photos that were not answered", str(found.unanswered)),
        (
            "questions with a neighbour's address: refused / answered",
            f"{found.strangers_refused} / {found.strangers_answered}",
        ),
        ("actions lost", str(found.lost)),
    ]


def _three(*numbers: float) -> str:
    return " / ".join(f"{number:,.0f}" for number in numbers)


def main() -> None:
    """Run the lesson and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=45, help="of clicking")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to measure")
    parser.add_argument("--haproxy", type=Path, default=ROOT / "deploy" / "haproxy.cfg")
    parser.add_argument("--isolation", action="store_true", help="check whose photos arrive")
    parser.add_argument("--payloads", type=int, default=5_000, help="payloads to check at least")
    parser.add_argument("--large", action="store_true", help="upload photos of 24 megapixels")
    given = parser.parse_args()
    random.seed(0)
    load = os.getloadavg()[0]
    if given.replicas > 1:
        with serve_replicas(given.root, given.replicas, given.haproxy) as (address, apps):
            recording = record(address)
            rows = asyncio.run(lesson(address, apps, recording, given.sessions, given.seconds))
    else:
        with serve(given.root) as app:
            recording = record(app.address)
            if given.isolation:
                rows = asyncio.run(
                    isolation(app.address, recording, given.sessions, given.payloads)
                )
            elif given.large:
                rows = asyncio.run(large_photos(app.address, app, recording, given.sessions))
            else:
                asked = lesson(app.address, [app], recording, given.sessions, given.seconds)
                rows = asyncio.run(asked)
    rows.append(("load of the machine before", f"{load:.1f} on {os.cpu_count()} cores"))
    print_table(f"{given.sessions} students, {given.replicas} process(es)", rows)


if __name__ == "__main__":
    main()
