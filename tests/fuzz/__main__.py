"""Throw hostile and mutated files at the doors: `python -m tests.fuzz --count 10000 pictures`.

Every file comes from a seed of its own, so one that misbehaves can be built again:
`--seed S --count 1`. Prints how many files were opened, how many were refused with the promised
sentence, how many did anything else (there should be none), the slowest in CPU seconds and the
largest in memory. To add a kind, write a module with REFUSED, `make_case` and `open_case`, and
name it in KINDS.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from tests.fuzz import addresses, cards, folders, pictures, weights

KINDS: dict[str, ModuleType] = {
    "pictures": pictures,
    "weights": weights,
    "folders": folders,
    "cards": cards,
    "addresses": addresses,
}
LONGEST = 200
"""Characters of a file that a sentence may quote, and so much again of its own."""


@dataclass
class Totals:
    """What came of the files of one kind."""

    ends: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")
    """Growth of this process in KiB while one file was opened. Processes that it starts are apart:
    they bound their own memory."""

    def __str__(self) -> str:
        counts = ", ".join(f"{self.ends[end]:,} {end}" for end in ("opened", "refused", "other"))
        return (
            f"{counts}\n  slowest: {self.slowest[0]:.2f} s of CPU, {self.slowest[1]}"
            f"\n  largest: {self.largest[0] / 1024:.0f} MiB, {self.largest[1]}"
        )


def fuzz(kind: str, count: int, seed: int, largest: int) -> Totals:
    """Open `count` files of a kind, the first from `seed`, the next from `seed + 1`, and so on."""
    door, totals = KINDS[kind], Totals()
    for own_seed in range(seed, seed + count):
        name, data = door.make_case(random.Random(own_seed), largest)
        label = f"{name} of {len(data):,} bytes, seed {own_seed}"
        memory, cpu = _forget_peak(), _cpu()
        end = _open(door, data, label)
        spent, grown = _cpu() - cpu, _peak() - memory
        totals.ends[end] += 1
        totals.slowest = max(totals.slowest, (spent, label))
        totals.largest = max(totals.largest, (grown, label))
    return totals


def _open(door: ModuleType, data: bytes, label: str) -> str:
    try:
        door.open_case(data)
    except door.REFUSED as refused:
        sentence = str(refused)
        if sentence.endswith(".") and "\n" not in sentence and len(sentence) <= 2 * LONGEST:
            return "refused"
        print(f"{label}: not a sentence: {sentence!r}", file=sys.stderr)
    except BaseException:
        print(f"{label}:\n{traceback.format_exc()}", file=sys.stderr)
    else:
        return "opened"
    return "other"


def _cpu() -> float:
    """Processor time of this process and of those that it started."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _forget_peak() -> int:
    """Start to measure peak memory anew where the system can; returns what is in use, in KiB."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status("VmRSS")
    except OSError:
        return _peak()


def _peak() -> int:
    """Peak memory of this process in KiB."""
    try:
        return _status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 if any file did anything but open or be refused."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "kinds", nargs="*", default=[], help=f"of {', '.join(KINDS)} (default: all)"
    )
    parser.add_argument("--count", type=int, default=1000, help="files of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--megabytes", type=float, default=1.0, help="size of the largest files")
    options = parser.parse_args(arguments)
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"there is no kind {', '.join(sorted(unknown))}; there is {', '.join(KINDS)}")
    warnings.simplefilter("ignore")
    others = 0
    for kind in options.kinds or KINDS:
        print(f"{kind}, seeds {options.seed} to {options.seed + options.count - 1}:", end=" ")
        totals = fuzz(kind, options.count, options.seed, int(options.megabytes * 1e6))
        print(totals)
        others += totals.ends["other"]
    return 1 if others else 0


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main())
