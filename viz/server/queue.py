"""The queue: the one way to heavy work, whichever page or route asks for it.

As many pieces of work run at once as there are cores. Sessions take turns, so that somebody who
asks ten questions delays nobody by ten. Who asks what is already waiting or running joins it. Work
that nobody waits for any longer ends at its next torch call. A page that waits shows its place.

In a page, where the function blocks until the result is there::

    maps = queue.run(("heads off", model, photo), lambda: scan(bundle, image), cost=Cost(2**30, 4))

In a route, which must not block::

    row = await queue.answer(("row", key, layer), work, session)

The first entry of a key says what kind of work it is, by which it is counted. The work
runs in another thread: it finds neither ``st`` nor a surrounding ``torch.no_grad()`` there. Within
a piece of work `run` takes no second place, so one cached function may call another. Results are
not kept: `viz.server.results.computed_once` joins this queue and a cache.
"""

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import streamlit as st
import torch
from streamlit.runtime.scriptrunner import get_script_run_ctx
from torch.overrides import TorchFunctionMode

from model.errors import WorkRefused
from viz.server.budget import BUDGET, MemoryBudget
from viz.server.class_mode import MODE
from viz.server.machine import core_count
from viz.server.script_gate import SCRIPTS

T = TypeVar("T")
Key = tuple[Hashable, ...]

LONG = 2.0
"""Seconds from which work counts as long: one worker is always kept for shorter work."""
POLL = 0.1
"""Seconds between two looks whether the asker is still there."""
PAGE_POLL = 0.25
"""The same for a page, of which hundreds may wait."""


class Abandoned(BaseException):
    """Nobody waits for this work any longer.

    No ``Exception``, so that work which goes on after an error does not go on after this.
    """


@dataclass(frozen=True)
class Cost:
    """What a piece of work is expected to need.

    Args:
        bytes: of memory while it runs, besides its inputs.
        seconds: on one core.
        what: names the work in the sentence that refuses it.
        cure: says in a sentence what to do instead.
        alone: it waits until no other work of its kind runs.
    """

    bytes: int = 0
    seconds: float = 0.0
    what: str = "This"
    cure: str = "Choose a smaller model or fewer layers."
    alone: bool = False


@dataclass(eq=False)
class Job:
    """One piece of work, and everybody who waits for it."""

    key: Key
    work: Callable[[], Any]
    cost: Cost
    asked: float = field(default_factory=time.monotonic)
    future: "Future[Any]" = field(default_factory=Future)
    tickets: "set[Ticket]" = field(default_factory=set)
    waits: bool = True
    progress: tuple[int, int] | None = None
    """How many of how many steps are done, where the work says so."""

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody waits any longer, neither an asker nor wanted work."""
        return all(ticket.is_idle for ticket in list(self.tickets))


@dataclass(eq=False)
class Ticket:
    """One asker's place. ``parent`` is the work that asks, where no session does."""

    queue: "Queue"
    job: Job
    session: str
    parent: Job | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it belongs to work that was abandoned itself."""
        return self.parent is not None and self.parent.is_abandoned

    @property
    def before(self) -> int | None:
        """How many pieces of work begin before this one; None once it has begun."""
        return self.queue.count_before(self)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end; say whether it came."""
        with contextlib.suppress(Exception, Abandoned):
            self.job.future.result(seconds)
        return self.job.future.done()

    def leave(self) -> None:
        """Stop waiting. Work that nobody waits for is dropped, or ends at its next torch call."""
        self.queue.leave(self)


@dataclass
class Counts:
    """What happened in a queue since the server started."""

    joined: int = 0
    abandoned: int = 0
    refused: int = 0
    waited: float = 0.0
    done: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class _Interruptible(TorchFunctionMode):
    """Ends the work of this thread at a torch call, once nobody waits for it."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is not _SET_GRADIENTS:
            check()
        return func(*args, **(kwargs or {}))


_SET_GRADIENTS: Callable = torch._C._set_grad_enabled
"""What `torch.no_grad` calls as it ends, too: work that ended there would leave its thread without
gradients, and the next work of this thread would get zeros for them."""


class Queue:
    """A queue with its workers, which begin as they are needed.

    Args:
        workers: how many pieces of work run at once.
        budget: from which they get their bytes.
        longest: seconds; work that is expected to take longer is refused.

    >>> queue = Queue(workers=2, budget=MemoryBudget(2**20))
    >>> queue.run(("sum", 3), lambda: 1 + 2, session="ada")
    3
    >>> queue.run(("map",), list, session="ada", cost=Cost(2**30, what="A map of 9 layers"))
    Traceback (most recent call last):
        ...
    model.errors.WorkRefused: A map of 9 layers needs about 1,024 MB of memory, and this server...
    """

    def __init__(self, workers: int, budget: MemoryBudget, longest: float = float("inf")) -> None:
        self.workers, self.budget, self.longest = workers, budget, longest
        self.counts = Counts()
        self._condition = threading.Condition()
        self._jobs: dict[Key, Job] = {}
        self._lines: OrderedDict[str, deque[Job]] = OrderedDict()
        self._running: list[Job] = []
        self._threads = 0
        self._idle = 0

    # -- asking ---------------------------------------------------------------------------------

    def run(
        self,
        key: Key,
        work: Callable[[], T],
        session: str | None = None,
        cost: Cost = Cost(),  # frozen
    ) -> T:
        """Do work when its turn comes, and wait for the result.

        A page shows meanwhile how many are before it, and leaves when somebody clicks on.

        Args:
            key: equal for equal questions, which are computed once; the kind of work comes first.
            work: takes nothing and returns the result; it runs in another thread.
            session: who asks; None: the session whose script runs here.
            cost: what the work needs; what can never fit is refused at once.

        Raises:
            WorkRefused: the work needs more than the server gives.
            Exception: whatever the work raises.
        """
        parent = _current_job()
        if parent is not None:
            return self._run_within(parent, key, work, cost)
        ticket = self.submit(key, work, session, cost)
        try:
            _wait_in_page(ticket)
            return ticket.job.future.result()
        finally:
            ticket.leave()

    def submit(
        self,
        key: Key,
        work: Callable[[], Any],
        session: str | None = None,
        cost: Cost = Cost(),
    ) -> Ticket:
        """Take a place in the queue and return at once; arguments as of `run`.

        Whoever takes a ticket calls its `leave`, with or without the result.
        """
        self._refuse_what_never_fits(cost)
        session = _session_here() if session is None else session
        with self._condition:
            job = self._job_of(key, work, cost)
            ticket = Ticket(self, job, session)
            job.tickets.add(ticket)
            if job.waits:
                self._stand_in_line(job, session)
                self._begin_worker()
            return ticket

    async def answer(
        self,
        key: Key,
        work: Callable[[], T],
        session: str,
        cost: Cost = Cost(),
        is_gone: Callable[[], Awaitable[bool]] | None = None,
    ) -> T:
        """Do work when its turn comes, for a route; arguments as of `run`.

        ``is_gone`` says whether the asker has hung up, as ``request.is_disconnected`` does; then
        this raises `Abandoned`, as it does when the waiting task is cancelled.
        """
        ticket = self.submit(key, work, session, cost)
        future = asyncio.wrap_future(ticket.job.future)
        try:
            while not (await asyncio.wait([future], timeout=5 * POLL))[0]:
                if is_gone is not None and await is_gone():
                    raise Abandoned
            return future.result()
        finally:
            future.cancel()  # the task's own view of it; the work goes on for others
            ticket.leave()

    def leave(self, ticket: Ticket) -> None:
        """Take a ticket back; see `Ticket.leave`."""
        with self._condition:
            job = ticket.job
            job.tickets.discard(ticket)
            if job.waits and not any(other.session == ticket.session for other in job.tickets):
                self._lines[ticket.session].remove(job)
            if job.future.done() or not job.is_abandoned:
                return
            self._forget(job)
            self.counts.abandoned += 1
            if job.waits:
                job.waits = False
                job.future.set_exception(Abandoned())

    # -- looking --------------------------------------------------------------------------------

    def count_before(self, ticket: Ticket) -> int | None:
        """Count the pieces of work that begin before a ticket's; None once it has begun."""
        with self._condition:
            for place, job in enumerate(self._in_turn()):
                if job is ticket.job:
                    return place
            return None

    @property
    def length(self) -> int:
        """How many pieces of work wait."""
        with self._condition:
            return sum(1 for _ in self._in_turn())

    @property
    def running(self) -> int:
        """How many pieces of work run now."""
        return len(self._running)

    # -- the lines ------------------------------------------------------------------------------

    def _job_of(self, key: Key, work: Callable[[], Any], cost: Cost) -> Job:
        """Find the work that is under way for a key, or begin it."""
        job = self._jobs.get(key)
        if job is not None and not job.is_abandoned:
            self.counts.joined += 1
            return job
        job = self._jobs[key] = Job(key, work, cost)
        job.future.set_running_or_notify_cancel()  # so that no waiting task can cancel it for all
        return job

    def _stand_in_line(self, job: Job, session: str) -> None:
        line = self._lines.setdefault(session, deque())
        if job not in line:
            line.append(job)

    def _in_turn(self) -> Iterator[Job]:
        """Iterate over the waiting work in the order in which it begins: one of each session."""
        lines = [[job for job in line if job.waits] for line in self._lines.values()]
        seen: set[Job] = set()
        for place in range(max(map(len, lines), default=0)):
            for line in lines:
                if place < len(line) and line[place] not in seen:
                    seen.add(line[place])
                    yield line[place]

    def _forget(self, job: Job) -> None:
        if self._jobs.get(job.key) is job:
            del self._jobs[job.key]

    def _take_next(self) -> Job | None:
        """Take the next work that may begin now, and let its session wait for a round.

        Work that waits for memory is not overtaken by other work that needs some.
        """
        memory_is_short = False
        for job in self._in_turn():
            if self._must_wait_for_others(job) or (memory_is_short and job.cost.bytes):
                continue
            if self.budget.reserve(job.cost.bytes):
                job.waits = False
                self._running.append(job)
                self._to_the_end(job)
                return job
            memory_is_short = True
            if not self._running:  # nothing will give memory back
                self._forget(job)
                job.waits = False
                job.future.set_exception(self._refuse(job.cost, self.budget.free))
        return None

    def _must_wait_for_others(self, job: Job) -> bool:
        """Say whether too much long work runs, or another of a kind that has to run alone."""
        if job.cost.alone and any(other.key[0] == job.key[0] for other in self._running):
            return True
        long = sum(running.cost.seconds >= LONG for running in self._running)
        return job.cost.seconds >= LONG and long >= max(1, self.workers - 1)

    def _to_the_end(self, job: Job) -> None:
        """Move the sessions whose work begins behind the others; drop lines that are empty."""
        for session in [name for name, line in self._lines.items() if job in line]:
            self._lines.move_to_end(session)
        for session, line in list(self._lines.items()):
            self._lines[session] = deque(job for job in line if job.waits)
            if not self._lines[session]:
                del self._lines[session]

    # -- the workers ----------------------------------------------------------------------------

    def _begin_worker(self) -> None:
        if not self._idle and self._threads < self.workers:
            self._threads += 1
            threading.Thread(target=self._work, daemon=True, name="saccade-work").start()
        self._condition.notify()

    def _work(self) -> None:
        """Do one piece of work after another, for ever."""
        while True:
            with self._condition:
                while (job := self._take_next()) is None:
                    self._idle += 1
                    self._condition.wait()
                    self._idle -= 1
                self.counts.waited += time.monotonic() - job.asked
                threads = max(1, _THREADS // len(self._running))
            torch.set_num_threads(threads)
            self._do(job)

    def _do(self, job: Job) -> None:
        """Do one piece of work in this thread, and hand its result or its error over."""
        began, before = time.monotonic(), _current_job()
        _thread.job = job
        try:
            with _Interruptible():
                result = job.work()
        except BaseException as error:
            self._end(job, began)
            job.future.set_exception(error)
        else:
            self._end(job, began)
            job.future.set_result(result)
        finally:
            _thread.job = before

    def _end(self, job: Job, began: float) -> None:
        self.budget.release(job.cost.bytes)
        with self._condition:
            if job in self._running:
                self._running.remove(job)
            self._forget(job)
            kind = str(job.key[0])
            self.counts.done[kind] = self.counts.done.get(kind, 0) + 1
            seconds = self.counts.seconds.get(kind, 0.0) + time.monotonic() - began
            self.counts.seconds[kind] = seconds
            self._condition.notify_all()

    def _run_within(self, parent: Job, key: Key, work: Callable[[], T], cost: Cost) -> T:
        """Do work that other work asks for: at once, in its thread, unless it runs elsewhere."""
        self._refuse_what_never_fits(cost)
        with self._condition:
            job = self._job_of(key, work, cost)
            ticket = Ticket(self, job, "", parent)
            job.tickets.add(ticket)
            runs_elsewhere = not job.waits
            if not runs_elsewhere:
                if not self.budget.reserve(cost.bytes):
                    self._forget(job)
                    raise self._refuse(cost, self.budget.free)
                job.waits = False
        try:
            if not runs_elsewhere:
                self._do(job)
            while not ticket.wait(POLL):
                check()
            return job.future.result()
        finally:
            ticket.leave()

    # -- refusing -------------------------------------------------------------------------------

    def _refuse_what_never_fits(self, cost: Cost) -> None:
        if cost.bytes > self.budget.limit:
            raise self._refuse(cost, self.budget.limit)
        if cost.seconds > self.longest:
            self.counts.refused += 1
            raise WorkRefused(
                f"{cost.what} would take about {cost.seconds:,.0f} seconds, and this server gives "
                f"one question {self.longest:,.0f}. {cost.cure}"
            )

    def _refuse(self, cost: Cost, bytes_there: int) -> WorkRefused:
        self.counts.refused += 1
        need, there = (round(count / 2**20) for count in (cost.bytes, bytes_there))
        return WorkRefused(
            f"{cost.what} needs about {need:,} MB of memory, and this server has {there:,} MB for "
            f"everybody together. {cost.cure}"
        )


_THREADS = torch.get_num_threads()
_thread = threading.local()


def _current_job() -> Job | None:
    return getattr(_thread, "job", None)


def check() -> None:
    """End the work of this thread if nobody waits for it; for long loops without torch calls.

    Raises:
        Abandoned: everybody has gone. Outside the queue it does nothing.
    """
    job = _current_job()
    if job is not None and job.is_abandoned:
        raise Abandoned


def report(done: int, total: int) -> None:
    """Tell whoever waits for the work of this thread how far it is; ends it as `check` does."""
    check()
    job = _current_job()
    if job is not None:
        job.progress = done, total


def _session_here() -> str:
    context = get_script_run_ctx(suppress_warning=True)
    return context.session_id if context else ""


def _wait_in_page(ticket: Ticket) -> None:
    """Wait for the end; a page shows its place meanwhile, and leaves when it has to run again.

    Once the work runs and reports its progress, the page shows that.
    """
    context = get_script_run_ctx(suppress_warning=True)
    if context is None:
        ticket.wait()
        return
    SCRIPTS.leave()
    with contextlib.ExitStack() as shown:
        bar = None
        while not ticket.wait(PAGE_POLL):
            context.yield_check()
            if ticket.job.progress is not None:
                if bar is None:
                    bar = st.empty()
                    shown.callback(bar.empty)
                done, total = ticket.job.progress
                bar.progress(done / total, f"{done:,} of {total:,}")
            elif (before := ticket.before) is not None:
                _show_place(ticket, before, context.yield_check)


def _show_place(ticket: Ticket, before: int, check_page: Callable[[], None]) -> None:
    """Show how many are before a ticket, until that changes; the longer the line, the longer.

    A class that counts down together would be most of the server's work.
    """
    place = f"{before:,} before you." if before else "you are next."
    least = time.monotonic() + 0.5 + before / 20
    with st.spinner(f"The server is busy: {place}"):
        while not ticket.wait(PAGE_POLL):
            check_page()
            if time.monotonic() > least and ticket.before != before:
                return


QUEUE = Queue(max(2, core_count()), BUDGET, MODE.longest_seconds)
"""The queue of this server."""

run, submit, answer = QUEUE.run, QUEUE.submit, QUEUE.answer
