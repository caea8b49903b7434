"""Time every attribution method: `python benchmarks/attribution.py` prints a table.

One photo, one class, the default model (or `--model NAME`), on two threads. Timed are one pass
forward and backward, which all methods share; each method alone; and all of them together, as the
Attribution page computes them for a new photo. Medians of interleaved runs.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from model import zoo  # noqa: E402
from model.attribution.registry import (  # noqa: E402
    METHODS,
    explain,
    why_unsuitable,
)
from model.attribution.trace import trace_class  # noqa: E402
from model.datasets import samples  # noqa: E402

PASS, ALL = "one pass forward and back", "all methods"


def time_methods(name: str, repeats: int) -> dict[str, float]:
    """Time the pass, each method, and everything: median milliseconds."""
    bundle = zoo.load(name)
    images = bundle.prepare(samples.load(samples.names()[0]))
    with torch.inference_mode():
        target = int(bundle.net(images)[0].argmax())
    times: dict[str, list[float]] = {}
    for run in range(repeats + 1):
        started = time.perf_counter()
        trace = trace_class(bundle.net, images, bundle.tokens, target)
        laps = {PASS: time.perf_counter() - started}
        for method in METHODS:
            if why_unsuitable(trace, method):
                continue
            before = time.perf_counter()
            explain(trace, method)
            laps[method] = time.perf_counter() - before
        laps[ALL] = time.perf_counter() - started
        if run:  # the first one warms up
            for lap, seconds in laps.items():
                times.setdefault(lap, []).append(1000 * seconds)
    return {lap: statistics.median(found) for lap, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=zoo.names()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.model}, {options.threads} threads, median of {options.repeats}\n")
    for lap, milliseconds in time_methods(options.model, options.repeats).items():
        print(f"{lap:28}{milliseconds:10.1f} ms")


if __name__ == "__main__":
    main()
