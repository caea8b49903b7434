"""The log: lines of JSON, and one line for what comes a thousand times."""

import io
import json
import logging

import pytest

from viz.server import logs


@pytest.fixture
def lines():
    stream, before = io.StringIO(), logs.LOGGER.handlers[:]
    logs.start_log(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logs.LOGGER.handlers[:] = before
    logs.LOGGER.propagate = True


def test_an_event_is_a_line_of_json(lines):
    logs.log_event("server started", workers=2)
    (line,) = lines()
    assert line["event"] == "server started" and line["workers"] == 2 and line["level"] == "INFO"
    assert line["time"].endswith("Z")


def test_what_comes_a_thousand_times_is_one_line_with_its_number(lines, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    for _ in range(1000):
        logs.log_rarely("test: table full")
    now[0] += logs.QUIET_SECONDS + 1
    logs.log_rarely("test: table full")
    assert [line["repeated"] for line in lines()] == [0, 999]


def test_asyncios_line_about_a_full_table_comes_once_a_minute():
    kept = logs.OncePerMinute()
    full = logging.makeLogRecord({"msg": "socket.accept() out of system resource"})
    other = logging.makeLogRecord({"msg": "Task was destroyed but it is pending!"})
    assert [kept.filter(full) for _ in range(500)].count(True) == 1
    assert kept.filter(other) and kept.filter(other)
