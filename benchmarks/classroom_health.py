"""Ask a server's health route twice a second, from a process of its own.

The students' process is too busy to tell how long an answer took. Each line is a number of seconds;
it ends when its standard input is closed.
"""

from __future__ import annotations

import select
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from subprocess import PIPE, Popen

PAUSE = 0.5  # seconds
PATIENCE = 120  # seconds


@dataclass
class Health:
    """How long the health route took, each time."""

    seconds: list[float] = field(default_factory=list)

    @property
    def worst(self) -> float:
        """The longest answer."""
        return max(self.seconds, default=0.0)


@contextmanager
def watched(address: str) -> Iterator[Health]:
    """Ask the health route all the while; the numbers are there at the end."""
    health = Health()
    command = [sys.executable, "-m", "benchmarks.classroom_health", address]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        try:
            yield health
        finally:
            text, _ = process.communicate()
            health.seconds = [float(line) for line in text.split()]


def main() -> None:
    """Ask until nobody listens."""
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        began = time.monotonic()
        address = f"{sys.argv[1]}/_stcore/health"
        with suppress(OSError), urllib.request.urlopen(address, timeout=PATIENCE):
            pass
        print(time.monotonic() - began, flush=True)


if __name__ == "__main__":
    main()
