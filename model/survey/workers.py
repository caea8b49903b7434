"""Give blocks to processes of this machine, and replace the processes that are lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

from model.errors import SurveyError

Given = TypeVar("Given")
Found = TypeVar("Found")
Work = Callable[[Given], Found]

AHEAD = 2
"""Pieces of work that wait for each process, so that none is idle and memory stays bounded."""
PATIENCE = 3
"""Times that processes may be lost in a row without one piece of work done."""

_start: Callable[[], Work[Any, Any]] | None = None
_work: Work[Any, Any] | None = None


def run_here(
    start: Callable[[], Work[Given, Found]], pieces: Iterable[Given], processes: int
) -> Iterator[Found]:
    """Do pieces of work in processes, and yield each result as it comes, in no order.

    A piece whose process is lost is done again by another.

    Args:
        start: is called once in each process, and returns what does the work there; pickled.
        pieces: what to work on; read only as far as the work has come.
        processes: how many; 0 for this process itself.

    Raises:
        SurveyError: processes are lost again and again.
    """
    if processes == 0:
        yield from map(start(), pieces)
        return
    rest, losses = iter(pieces), 0
    again: list[Given] = []
    while losses <= PATIENCE:
        pool = ProcessPoolExecutor(processes, get_context("spawn"), _begin, (start,))
        waiting: dict[Future[Found], Given] = {}
        try:
            while _fill(pool, waiting, again, rest, AHEAD * processes):
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    found = future.result()
                    del waiting[future]
                    losses = 0
                    yield found
            return
        except BrokenProcessPool:
            losses += 1
            again.extend(waiting.values())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    raise SurveyError(
        "The worker processes end before they have done anything: most often memory is short. "
        "Take fewer (--workers) or smaller batches (--batch)."
    )


def _fill(
    pool: ProcessPoolExecutor,
    waiting: dict[Future[Found], Given],
    again: list[Given],
    rest: Iterator[Given],
    room: int,
) -> bool:
    """Hand out pieces while there is room; whether there are any to wait for."""
    while len(waiting) < room:
        again.extend(islice(rest, 0 if again else 1))
        if not again:
            break
        future: Future[Found] = pool.submit(_do, again[-1])  # where this fails, the piece is kept
        waiting[future] = again.pop()
    return bool(waiting)


def _begin(start: Callable[[], Work[Given, Found]]) -> None:
    global _start
    _start = start
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it is killed, which no queue tells it."""
    if parent := parent_process():
        parent.join()
        os._exit(1)


def _do(piece: Any) -> Any:
    """Begin with the first piece, not before: an error then reaches whoever waits for it."""
    global _work
    if _work is None:
        assert _start is not None, "a process begins with `_begin`"
        _work = _start()
    return _work(piece)
