"""The times that the Cost page measures, one measurement after another, kept for everybody."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from model.analysis import cost
from model.analysis.cost import SECONDS, Timing
from model.nets.vit import ViTConfig
from viz.server import queue
from viz.server.budget import BUDGET, Cache
from viz.server.queue import Cost
from viz.server.script_gate import SCRIPTS

POLL = 0.2
"""Seconds between two looks at how far a measurement is."""

timings: Cache[dict[str, Timing]] = BUDGET.cache("timings", size=lambda found: 300 * len(found) + 1)
"""The times of all variants of a configuration, since only what was measured together compares."""


@dataclass
class Progress:
    """How far a measurement is: its worker writes it, and every page that waits reads it."""

    share: float = 0.0
    text: str = "Measuring"


_progress: dict[ViTConfig, Progress] = {}


def measure_variants(
    variants: Mapping[str, ViTConfig],
    config: ViTConfig,
    needed: int,
    show: Callable[[float, str], object],
) -> dict[str, Timing]:
    """Measure the variants of a configuration once nobody else measures; the times are kept.

    Args:
        needed: the bytes of the models that are built.
        show: takes the share that is done and a sentence, again and again.
    """
    progress = _progress.setdefault(config, Progress())

    def measure() -> dict[str, Timing]:
        try:
            timings[config] = _time(variants, progress) if variants else {}
            return timings[config]
        finally:
            _progress.pop(config, None)

    what = Cost(needed, SECONDS, "Measuring these models", alone=True)
    ticket = queue.submit(("timing", config), measure, cost=what)
    SCRIPTS.leave()
    try:
        while not ticket.wait(POLL):
            before = ticket.before
            place = f"{before:,} before you." if before else "you are next."
            show(progress.share, progress.text if before is None else f"Waiting: {place}")
        return ticket.job.future.result()
    finally:
        ticket.leave()


def _time(variants: Mapping[str, ViTConfig], progress: Progress) -> dict[str, Timing]:
    def report(name: str, share: float, left: float | None) -> None:
        queue.check()
        progress.share, progress.text = min(share, 1.0), f"Measuring: {name}{_time_left(left)}"

    with torch._C.DisableTorchFunction():  # the queue looks after each call, which takes time
        return cost.time_parts(variants, report=report)


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ", for the first time"
    return f", about {seconds:.0f} seconds left" if seconds > 3 else ", a few seconds left"
