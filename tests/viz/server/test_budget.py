"""The budget: one limit for all caches, for reserved work and for what others hold."""

import threading

import pytest

from viz.server import machine
from viz.server.budget import MemoryBudget
from viz.server.results import ComputedOnce, computed_once


@pytest.fixture
def budget():
    return MemoryBudget(100)


def test_the_entry_that_nobody_used_for_longest_makes_room_whichever_cache_it_is_in(budget):
    short, long = budget.cache("short", len), budget.cache("long", len)
    short["a"], long["b"] = "x" * 40, "y" * 40
    assert short["a"]  # used just now
    long["c"] = "z" * 50
    assert "a" in short and "b" not in long and "c" in long
    assert budget.used == 90 and (short.nbytes, long.nbytes) == (40, 50)


def test_what_nobody_uses_goes_unless_it_lasts(budget, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("viz.server.budget.time.monotonic", lambda: now[0])
    maps, nets = budget.cache("maps", len), budget.cache("nets", len, lasts=True)
    maps["a"], maps["b"], nets["c"] = "x" * 10, "y" * 20, "z" * 30
    now[0] = 50.0
    assert maps["b"] and budget.let_go_unused(60) == 0
    now[0] = 70.0
    assert budget.let_go_unused(60) == 10
    assert dict(maps) == {"b": "y" * 20} and "c" in nets
    assert budget.let_go_unused(0) == 20 and budget.used == 30


def test_reserving_makes_room_and_giving_back_frees_it(budget):
    texts = budget.cache("texts", len)
    texts["a"], texts["b"] = "x" * 40, "y" * 40
    assert budget.reserve(50)
    assert list(texts) == ["b"] and budget.used == 90
    assert not budget.reserve(60), "more than there is"
    assert list(texts) == ["b"], "nothing went for work that cannot begin"
    budget.release(50)
    assert budget.reserve(60)
    assert budget.bytes_by_name() == {"texts": 40, "reserved": 60}


def test_what_others_hold_counts(budget):
    held = [0]
    budget.count_also("uploads", lambda: held[0])
    texts = budget.cache("texts", len)
    texts["a"] = "x" * 60
    held[0] = 70
    budget.make_room()
    assert not texts and budget.free == 30


def test_an_entry_larger_than_the_budget_is_not_kept(budget):
    texts = budget.cache("texts", len)
    texts["a"] = "x" * 60
    texts["huge"] = "x" * 101
    assert list(texts) == ["a"]


def test_a_cache_is_a_mapping(budget):
    texts = budget.cache("texts", len)
    texts["a"] = "x"
    texts["a"] = "xyz"
    assert dict(texts) == {"a": "xyz"} and budget.used == 3
    assert texts.pop("a") == "xyz" and texts.pop("a", None) is None
    with pytest.raises(KeyError):
        del texts["a"]
    assert (texts.hits, texts.misses) == (2, 1)
    texts["b"] = "x"
    budget.cache("others", len)["b"] = "y"
    texts.clear()
    assert budget.used == 1


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    path = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "CGROUP_LIMITS", (path, tmp_path / "absent"))
    whole = machine.machine_bytes()
    path.write_text("max\n")
    assert machine.machine_bytes() == whole
    path.write_text("1048576\n")
    assert machine.machine_bytes() == 1048576


def test_a_result_is_computed_once_for_many_who_ask_at_once():
    asked, barrier = [], threading.Barrier(8)

    @computed_once("test results", key=lambda number: number, size=lambda result: 8)
    def double(number: int) -> int:
        asked.append(number)
        return 2 * number

    assert isinstance(double, ComputedOnce) and double.__name__ == "double"
    found = []

    def ask():
        barrier.wait()
        found.append(double(21))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [42] * 8 and asked == [21]
    double.cache.clear()
    assert double(21) == 42 and asked == [21, 21]
