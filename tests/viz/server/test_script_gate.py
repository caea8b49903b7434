"""The gate of scripts: how many are inside, and that waiting for work lets others in."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from viz.server import queue as queue_module
from viz.server.budget import MemoryBudget
from viz.server.queue import Queue
from viz.server.script_gate import ScriptGate


def test_no_more_are_inside_than_there_are_places():
    gate, lock, inside, most = ScriptGate(2), threading.Lock(), [], []

    def visit(_):
        with gate.inside():
            with lock:
                inside.append(1)
                most.append(len(inside))
            time.sleep(0.002)
            with lock:
                inside.pop()

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(visit, range(40)))
    assert max(most) == 2


def test_a_script_that_waits_for_work_lets_others_in(monkeypatch):
    gate, context = ScriptGate(1), SimpleNamespace(session_id="ada", yield_check=lambda: None)
    monkeypatch.setattr(queue_module, "SCRIPTS", gate)
    monkeypatch.setattr(queue_module, "get_script_run_ctx", lambda **_: context)

    def need_a_place():  # in the worker's thread
        with gate.inside():
            return "in"

    with gate.inside():
        assert Queue(1, MemoryBudget(1000)).run(("work",), need_a_place) == "in"
    with gate.inside():
        pass  # the place was given back once
    assert gate._places._value == 1
