"""What it costs to record where a captioner looked: `python benchmarks/captions.py`.

The same caption of the same picture with and without the record (attention of every word, layer
and head, probabilities and alternatives), greedy and with three beams, in turns; medians.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from model import zoo  # noqa: E402
from model.captioning import decoding  # noqa: E402
from model.captioning.caption import CaptionBundle  # noqa: E402
from model.datasets import samples, scenes  # noqa: E402


def measure(bundle: CaptionBundle, beams: int, repeats: int) -> tuple[float, float, int]:
    """Median milliseconds of a caption without and with the record, and its number of words."""
    image = (
        scenes.draw_scene(scenes.UNSEEN).image
        if bundle.knows_only_scenes
        else samples.load(samples.names()[0])
    )
    longest = 24

    @torch.inference_mode()
    def plain() -> None:
        memory = bundle.net.encode_image(bundle.prepare(image))
        decoding.beam_search(bundle.net, memory, beams, longest)

    def recorded() -> None:
        bundle.caption(image, beams=beams, max_words=longest)

    times: dict[Callable, list[float]] = {plain: [], recorded: []}
    for run in range(repeats + 2):
        for work in (plain, recorded) if run % 2 else (recorded, plain):
            started = time.perf_counter()
            work()
            if run > 1:  # the first two are for warming up
                times[work].append(1000 * (time.perf_counter() - started))
    words = len(bundle.caption(image, beams=beams, max_words=longest).words)
    return statistics.median(times[plain]), statistics.median(times[recorded]), words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=zoo.names("caption"))
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{'':32}{'words':>6}{'plain':>11}{'recorded':>11}{'ratio':>8}")
    for name in options.models:
        for beams in (1, 3):
            plain, recorded, words = measure(zoo.load(name), beams, options.repeats)
            row = f"{name}, {'greedy' if beams == 1 else f'beam {beams}'}"
            print(f"{row:32}{words:6}{plain:8.1f} ms{recorded:8.1f} ms{recorded / plain:8.3f}")


if __name__ == "__main__":
    main()
