"""Go through blocks of pictures, merge the states as they come, and save now and then."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from model.errors import SurveyError
from model.survey.block_measure import BlockMeasure, BlockState
from model.survey.ray_cluster import run_on_ray
from model.survey.workers import run_here

Block = TypeVar("Block")
Prepared = TypeVar("Prepared")
State = TypeVar("State", bound=BlockState)

SAVED_EVERY = 15.0
"""Seconds between two savings: with the blocks in work, less than a minute is lost at a crash."""


def gather(
    measure: BlockMeasure[Block, Prepared, State],
    state: State,
    read: Callable[[int], Block],
    todo: Sequence[int],
    file: Path,
    *,
    workers: int = 0,
    ray: str | None = None,
) -> None:
    """Measure blocks, and merge their states into one that is saved to a file.

    Args:
        measure: what to measure.
        state: of the blocks that were measured before; changed.
        read: makes what `measure` takes of a block's number; pickled.
        todo: the numbers of the blocks to measure.
        file: to save the state to.
        workers: processes here, or actors on Ray; 0 for this process alone.
        ray: None for this machine alone, "" for a Ray of its own, or the address of a cluster.

    Raises:
        SurveyError: processes are lost again and again, Ray does not answer, or a worker has
            another version.
    """
    saved = time.monotonic()
    with tqdm(total=len(todo) * measure.fingerprint.block, unit=" pictures", smoothing=0.05) as bar:
        try:
            for part in _run(measure, read, todo, workers, ray):
                state.merge(part)
                bar.update(part.pictures + part.damaged)
                if state.damaged:
                    bar.set_postfix_str(f"{state.damaged:,} damaged")
                if time.monotonic() - saved > SAVED_EVERY:
                    state.save(file)
                    saved = time.monotonic()  # saving itself is not counted
        finally:
            state.save(file)  # also what was done before an error


def _run(
    measure: BlockMeasure[Block, Prepared, State],
    read: Callable[[int], Block],
    todo: Sequence[int],
    workers: int,
    ray: str | None,
) -> Iterator[State]:
    """Go through the blocks, and yield the state of each as it comes."""
    if not todo:
        return iter(())
    if ray is not None:
        return run_on_ray(measure, read, todo, max(1, workers), ray)
    blocks = map(read, todo)
    if measure.device == "cpu" or not workers:
        return run_here(measure.start, blocks, workers)
    return map(measure.start_measuring(), run_here(measure.start_preparing, blocks, workers))


@contextmanager
def keep_what_is_saved(out: Path) -> Iterator[None]:
    """Make the folder `out`, and turn what a disk refuses into a sentence. Raises SurveyError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "The disk is full" if full else f"{out} cannot be used ({error})"
        raise SurveyError(
            f"{reason}. What was saved before is kept: make room or choose another --out, and "
            "give the same command again."
        ) from None
