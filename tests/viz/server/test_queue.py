"""The queue: turns, joined questions, work that nobody waits for, and what is refused."""

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from model.errors import WorkRefused
from tests.finish import finish
from viz.server import queue as queue_module
from viz.server.budget import MemoryBudget
from viz.server.queue import Abandoned, Cost, Queue

PATIENCE = 20  # seconds, for what takes milliseconds


@pytest.fixture
def queue():
    return Queue(workers=2, budget=MemoryBudget(1000))


class Gate:
    """Work that says when it began, and ends when it is let through."""

    def __init__(self, result=None):
        self.began, self.open, self.result = threading.Event(), threading.Event(), result

    def __call__(self):
        self.began.set()
        assert self.open.wait(PATIENCE)
        return self.result


def occupy(queue, count=2):
    """Let every worker begin something that ends when its gate opens."""
    gates = [Gate() for _ in range(count)]
    for place, gate in enumerate(gates):
        queue.submit(("gate", object()), gate, f"gate {place}")
        assert gate.began.wait(PATIENCE)
    return gates


def let_through(gates):
    for gate in gates:
        gate.open.set()


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_result_comes_back_and_so_does_an_error(queue):
    assert queue.run(("sum",), lambda: 1 + 2, "ada") == 3
    with pytest.raises(ZeroDivisionError):
        queue.run(("division",), lambda: 1 / 0, "ada")
    assert queue.length == queue.running == 0


def test_work_that_has_to_be_alone_waits_for_others_of_its_kind_only(queue):
    first, second, other = Gate(), Gate(), Gate()
    queue.submit(("timing", 1), first, "ada", Cost(alone=True))
    assert first.began.wait(PATIENCE)
    ticket = queue.submit(("timing", 2), second, "bob", Cost(alone=True))
    queue.submit(("other",), other, "eve")
    assert other.began.wait(PATIENCE) and ticket.before == 0
    let_through([first, second, other])
    assert second.began.wait(PATIENCE)


def test_no_more_runs_at_once_than_there_are_workers(queue):
    now, most, lock = [], [], threading.Lock()

    def work():
        with lock:
            now.append(1)
            most.append(len(now))
        time.sleep(0.005)
        with lock:
            now.pop()

    tickets = [queue.submit(("work", n), work, f"session {n % 7}") for n in range(40)]
    assert all(ticket.wait(PATIENCE) for ticket in tickets)
    assert max(most) == 2


def test_sessions_take_turns(queue):
    gates, order = occupy(queue), []
    asked = [("eager", n) for n in range(4)] + [("calm", 0), ("shy", 0)]
    tickets = [queue.submit((who, n), lambda k=(who, n): order.append(k), who) for who, n in asked]
    assert [ticket.before for ticket in tickets] == [0, 3, 4, 5, 1, 2]
    gates[0].open.set()  # one worker, so that the order is plain
    assert all(ticket.wait(PATIENCE) for ticket in tickets)
    assert order[:3] == [("eager", 0), ("calm", 0), ("shy", 0)]
    assert order[3:] == [("eager", 1), ("eager", 2), ("eager", 3)]
    assert tickets[0].before is None
    let_through(gates)


def test_who_asks_the_same_joins(queue):
    gate, asked = Gate("answer"), []

    def work():
        asked.append(1)
        return gate()

    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(queue.run, ("same",), work, f"session {n}") for n in range(20)]
        until(lambda: queue.counts.joined == 19)
        gate.open.set()
        assert [answer.result(PATIENCE) for answer in answers] == ["answer"] * 20
    assert asked == [1]
    assert queue.run(("same",), lambda: "asked anew", "ada") == "asked anew"


def test_who_joins_work_of_a_long_line_brings_it_forward(queue):
    gates = occupy(queue)
    line = [queue.submit(("work", n), lambda: None, "eager") for n in range(5)]
    joined = queue.submit(("work", 4), lambda: None, "calm")
    assert line[4].before == joined.before == 1
    joined.leave()
    assert line[4].before == 4
    let_through(gates)
    assert all(ticket.wait(PATIENCE) for ticket in line)


def test_waiting_work_whose_askers_have_gone_never_begins(queue):
    gates, begun = occupy(queue), []
    first = queue.submit(("work",), lambda: begun.append(1), "ada")
    second = queue.submit(("work",), lambda: begun.append(1), "bob")
    first.leave()
    assert queue.length == 1
    second.leave()
    assert queue.length == 0
    let_through(gates)
    queue.run(("other",), lambda: None, "ada")
    assert not begun


def test_running_work_whose_askers_have_gone_ends_at_a_torch_call(queue):
    began, ended = threading.Event(), []

    def work():
        try:
            while True:
                began.set()
                torch.ones(2).sum()
        except BaseException as error:
            ended.append(type(error))
            raise

    ticket = queue.submit(("endless",), work, "ada")
    assert began.wait(PATIENCE)
    ticket.leave()
    until(lambda: ended == [Abandoned] and queue.running == 0)
    assert queue.run(("endless",), lambda: "asked anew", "ada") == "asked anew"


def test_work_that_ends_within_no_grad_leaves_gradients_to_the_next_work_of_its_thread():
    queue = Queue(workers=1, budget=MemoryBudget(1000))
    gate = Gate()

    def work():
        with torch.no_grad():
            gate()

    ticket = queue.submit(("abandoned",), work, "ada")
    assert gate.began.wait(PATIENCE)
    ticket.leave()
    gate.open.set()
    assert queue.run(("next",), torch.is_grad_enabled, "ada")


def test_running_work_goes_on_while_one_asker_waits(queue):
    gate = Gate("done")

    def work():
        result = gate()
        torch.ones(2).sum()
        return result

    first, second = (queue.submit(("work",), work, who) for who in ("ada", "bob"))
    assert gate.began.wait(PATIENCE)
    first.leave()
    gate.open.set()
    assert second.wait(PATIENCE) and second.job.future.result() == "done"


def test_work_within_work_takes_no_second_place(queue):
    def outer(n):
        return queue.run(("inner", n % 2), lambda: n % 2) + 10 * n

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(queue.run, ("outer", n), lambda n=n: outer(n), "") for n in range(8)]
        assert [a.result(PATIENCE) for a in answers] == [10 * n + n % 2 for n in range(8)]


def test_work_within_abandoned_work_goes_on_for_whoever_else_asks(queue):
    gate = Gate("inner")

    def inner():
        result = gate()
        torch.ones(2).sum()
        return result

    outer = queue.submit(("outer",), lambda: queue.run(("inner",), inner), "ada")
    assert gate.began.wait(PATIENCE)
    other = queue.submit(("inner",), inner, "bob")
    outer.leave()
    gate.open.set()
    assert other.wait(PATIENCE) and other.job.future.result() == "inner"


def test_long_work_leaves_a_worker_for_short_work(queue):
    gate, hour = Gate(), Cost(seconds=3600)
    tickets = [queue.submit(("long", 0), gate, "ada", hour)]
    assert gate.began.wait(PATIENCE)
    tickets.append(queue.submit(("long", 1), lambda: None, "bob", hour))
    assert queue.run(("short",), lambda: "short", "cleo") == "short"
    assert tickets[1].before == 0
    gate.open.set()
    assert tickets[1].wait(PATIENCE)


def test_work_waits_for_the_memory_of_other_work(queue):
    gate = Gate()
    first = queue.submit(("first",), gate, "ada", Cost(bytes=600))
    assert gate.began.wait(PATIENCE)
    second = queue.submit(("second",), lambda: "second", "bob", Cost(bytes=600))
    third = queue.submit(("third",), lambda: "third", "cleo", Cost(bytes=300))
    assert queue.run(("free",), lambda: "free", "dan") == "free"
    assert second.before == 0 and third.before == 1, "what waits for memory is not overtaken"
    gate.open.set()
    assert first.wait(PATIENCE) and second.wait(PATIENCE) and third.wait(PATIENCE)
    assert queue.budget.used == 0


def test_what_never_fits_is_refused_with_its_size_and_the_cure(queue):
    cost = Cost(5 * 2**30, what="LeGrad on 6,401 tokens", cure="Choose a smaller picture.")
    with pytest.raises(WorkRefused, match=r"6,401 tokens needs about 5,120 MB.*smaller picture"):
        queue.run(("big",), list, "ada", cost)
    assert queue.counts.refused == 1


def test_what_others_hold_counts_and_nobody_waits_for_ever(queue):
    queue.budget.count_also("uploads", lambda: 900)
    with pytest.raises(WorkRefused, match="needs about"):
        queue.run(("work",), list, "ada", Cost(bytes=200))
    assert queue.run(("work",), list, "ada", Cost(bytes=50)) == []


def test_what_takes_too_long_is_refused_with_its_time():
    queue = Queue(2, MemoryBudget(1000), longest=60)
    with pytest.raises(WorkRefused, match=r"about 300 seconds, and this server gives .* 60"):
        queue.run(("slow",), list, "ada", Cost(seconds=300))


def test_a_route_gets_its_answer_without_blocking(queue):
    async def ask():
        gate = Gate("slow")
        slow = asyncio.create_task(queue.answer(("slow",), gate, "ada"))
        quick = await queue.answer(("quick",), lambda: "quick", "bob")
        assert not slow.done()
        gate.open.set()
        return quick, await slow

    assert finish(ask()) == ("quick", "slow")


def test_a_route_whose_asker_hangs_up_leaves(queue):
    gates, begun = occupy(queue), []

    async def hang_up():
        async def is_gone():
            return True

        with pytest.raises(Abandoned):
            await queue.answer(("work",), lambda: begun.append(1), "ada", is_gone=is_gone)

    finish(hang_up())
    assert queue.length == 0
    let_through(gates)
    queue.run(("other",), lambda: None, "ada")
    assert not begun


def test_counts_tell_the_seconds_of_each_kind(queue):
    queue.run(("nap", 1), lambda: time.sleep(0.01), "ada")
    queue.run(("nap", 2), lambda: time.sleep(0.01), "ada")
    assert queue.counts.done == {"nap": 2}
    assert queue.counts.seconds["nap"] >= 0.02


class Page:
    """What Streamlit tells of the script that runs here."""

    session_id = "ada"

    def __init__(self):
        self.must_run_again = threading.Event()

    def yield_check(self):
        if self.must_run_again.is_set():
            raise RerunException


class RerunException(BaseException):
    pass


def test_a_page_that_waits_shows_its_place_and_leaves_when_somebody_clicks_on(queue, monkeypatch):
    page, shown, gates, begun = Page(), [], occupy(queue), []
    other = queue.submit(("other",), lambda: None, "bob")
    monkeypatch.setattr(queue_module, "get_script_run_ctx", lambda suppress_warning: page)

    @contextlib.contextmanager
    def spinner(text):
        shown.append(text)
        if len(shown) == 2:
            page.must_run_again.set()
        yield

    monkeypatch.setattr(queue_module.st, "spinner", spinner)
    threading.Timer(0.3, other.leave).start()
    with pytest.raises(RerunException):
        queue.run(("work",), lambda: begun.append(1))
    assert shown == ["The server is busy: 1 before you.", "The server is busy: you are next."]
    assert queue.length == 0
    let_through(gates)
    assert not begun


def test_outside_the_queue_a_check_does_nothing():
    queue_module.check()
