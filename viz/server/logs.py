"""The server's log: one JSON object a line, of fixed words and numbers.

Nothing that a visitor gave is written: no picture, no name of a file or a model, no address.
"""

import json
import logging
import threading
import time
from typing import TextIO

LOGGER = logging.getLogger("saccade")
QUIET_SECONDS = 60.0
"""A repeated event is written once in this time, with the number of repetitions."""

_lock = threading.Lock()
_last: dict[str, float] = {}
_held_back: dict[str, int] = {}


class AsJson(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = getattr(record, "fields", {})
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        return json.dumps({"time": when, "level": record.levelname, "event": record.msg} | fields)


def start_log(stream: TextIO | None = None) -> None:
    """Write the log to a stream; None: to the standard error."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(AsJson())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def log_event(event: str, level: int = logging.INFO, **fields: float | str) -> None:
    """Write an event at once; ``fields`` are numbers and fixed words."""
    LOGGER.log(level, event, extra={"fields": fields})


def log_rarely(event: str, level: int = logging.WARNING, **fields: float | str) -> None:
    """Write an event that may come thousands of times: once a minute, with its number."""
    with _lock:
        now = time.monotonic()
        if now - _last.get(event, -QUIET_SECONDS) < QUIET_SECONDS:
            _held_back[event] = _held_back.get(event, 0) + 1
            return
        _last[event] = now
        repeated = _held_back.pop(event, 0)
    log_event(event, level, repeated=repeated, **fields)


class OncePerMinute(logging.Filter):
    """Keeps a library's message from filling the log; for asyncio's where the table is full."""

    def __init__(self) -> None:
        super().__init__()
        self._last = -QUIET_SECONDS

    def filter(self, record: logging.LogRecord) -> bool:
        """Let through what is not about a full table, and of that one line a minute."""
        if "out of system resource" not in record.getMessage():
            return True
        now = time.monotonic()
        if now - self._last < QUIET_SECONDS:
            return False
        self._last = now
        return True
