"""Time head measures over many photos: `python benchmarks/heads.py` prints a table.

The same photos go through the plain forward pass, one by one and in groups, and through
`model.survey.head_survey` (every measure of every head of every layer, in the same groups),
interleaved in one process: medians of the time per photo, with its preparation. Peak memory comes
from separate processes, after a tenth of the photos and after all of them; it should not grow with
their number. Photos are random crops of scikit-image's photos, unless --data names a folder.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.memory import peak_of_this_process  # noqa: E402
from model import zoo  # noqa: E402
from model.datasets import samples  # noqa: E402
from model.images import looks_like_a_picture, open_image  # noqa: E402
from model.survey.head_survey import TOKENS, survey_heads  # noqa: E402


def photos(count: int, folder: Path | None) -> Iterator[Image.Image]:
    """Yield `count` photos, one at a time."""
    if folder is not None:
        files = sorted(filter(looks_like_a_picture, folder.rglob("*")))
        for index in range(count):
            yield open_image(files[index % len(files)], max_side=512)
        return
    chance = random.Random(0)
    whole = [samples.load(name) for name in samples.names()]
    for index in range(count):
        photo = whole[index % len(whole)]
        side = chance.randint(160, min(photo.size))
        left, top = (chance.randint(0, length - side) for length in photo.size)
        yield photo.crop((left, top, left + side, top + side))


def time_passes(name: str, count: int, folder: Path | None) -> dict[str, float]:
    """Time a photo in milliseconds: medians over groups as large as `survey_heads` takes."""
    bundle = zoo.load(name)
    size = max(1, TOKENS // bundle.tokens.tokens)
    spent = {"one": [], "group": [], "survey": []}
    stream = photos(count, folder)
    with torch.inference_mode():
        while group := list(islice(stream, size)):
            marks = [time.perf_counter()]
            for photo in group:
                bundle.net(bundle.prepare(photo))
            marks.append(time.perf_counter())
            bundle.net(torch.cat([bundle.prepare(photo) for photo in group]))
            marks.append(time.perf_counter())
            for _ in survey_heads(bundle, group):
                pass
            marks.append(time.perf_counter())
            for kind, start, end in zip(spent, marks, marks[1:], strict=False):
                spent[kind].append(1000 * (end - start) / len(group))
    return {kind: statistics.median(values) for kind, values in spent.items()}


def peak_memory(name: str, count: int, folder: Path | None) -> float:
    """Measure the photos; return the peak memory of this process in MiB."""
    bundle = zoo.load(name)
    for _ in survey_heads(bundle, photos(count, folder)):
        pass
    return peak_of_this_process()


def peak_memory_elsewhere(arguments: argparse.Namespace, count: int) -> float:
    """Measure the peak memory of a process of its own."""
    command = [sys.executable, __file__, "--model", arguments.model, "--peak", str(count)]
    if arguments.data:
        command += ["--data", str(arguments.data)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=zoo.names()[0])
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, help="a folder of photos")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        print(peak_memory(arguments.model, arguments.peak, arguments.data))
        return
    spent = time_passes(arguments.model, arguments.photos, arguments.data)
    few = max(1, arguments.photos // 10)
    print(f"{arguments.model}, {arguments.photos} photos, {arguments.threads} threads")
    for kind, label in (
        ("one", "plain forward pass, one by one"),
        ("group", "plain forward pass, in groups"),
        ("survey", "with every measure of every head"),
    ):
        print(f"{label:<36}{spent[kind]:8.2f} ms a photo")
    print(f"{'ratio to one by one':<36}{spent['survey'] / spent['one']:8.2f}")
    print(f"{'ratio to groups':<36}{spent['survey'] / spent['group']:8.2f}")
    for count in (few, arguments.photos):
        megabytes = peak_memory_elsewhere(arguments, count)
        print(f"{f'peak memory after {count} photos':<36}{megabytes:8.0f} MiB")


if __name__ == "__main__":
    main()
