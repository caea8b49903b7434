"""The gate: as many page scripts run at once as there are cores.

A script is Python from its beginning to its end, so two hundred at once are no faster than two, and
the thread that answers routes would wait for its turn among all of them. A script that waits in the
queue for heavy work lets the next one in.
"""

import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from streamlit.runtime.scriptrunner import ScriptRunner

from viz.server.machine import core_count


class ScriptGate:
    """Lets so many threads in at once; the others wait.

    >>> gate = ScriptGate(1)
    >>> with gate.inside():
    ...     gate.leave()  # before a long wait
    ...     with gate.inside():  # as another thread would
    ...         pass
    """

    def __init__(self, places: int) -> None:
        self._places = threading.Semaphore(places)
        self._thread = threading.local()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Wait for a place, and hold it to the end or until this thread leaves."""
        self._places.acquire()
        self._thread.holds = True
        try:
            yield
        finally:
            self.leave()

    def leave(self) -> None:
        """Give this thread's place to others, if it has one; it does not come back.

        Whoever waited for a place anew could wait for ever, where those inside wait for it.
        """
        if getattr(self._thread, "holds", False):
            self._thread.holds = False
            self._places.release()


SCRIPTS = ScriptGate(max(2, core_count()))
"""The gate of this server."""

TURN_SECONDS = 0.001
"""After this time a thread of Python lets another one go on: the one that answers routes, say."""


def guard_scripts() -> None:
    """Let each script's thread pass the gate before it does anything, from now on."""
    sys.setswitchinterval(TURN_SECONDS)
    run = ScriptRunner._run_script_thread
    if hasattr(run, "__wrapped__"):
        return

    @functools.wraps(run)
    def run_inside(self: ScriptRunner) -> None:
        with SCRIPTS.inside():
            run(self)

    ScriptRunner._run_script_thread = run_inside  # type: ignore[method-assign]
