"""Time a survey of every head: `python -m benchmarks.survey --data DIR` prints the tables.

DIR holds Tiny ImageNet in the packed form. Plain forward passes, the survey in one process, in two,
and on Ray with two actors take turns; each process has one thread, each decodes its pictures, and
each figure is the median of the rounds. Every worker notes when it has done a block, and the time
counts in which all of them work: neither their start nor the end, when one of them is left alone.
Peak memory is measured in processes of their own. Last, ViT-B/16 with random weights surveys JPEGs
of 500 x 375 pixels on one core, from which the cost of ImageNet's training pictures is worked out,
for a price of a core's hour that is an argument.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar

import torch

from benchmarks.memory import peak_of_this_process
from model.bundle import Bundle
from model.datasets import samples
from model.nets.vit import build
from model.survey.blocks import Prepared, Survey, load_model, plan_survey, prepare_block
from model.survey.listing import Listing, PictureBlock, write_listing
from model.survey.ray_cluster import run_on_ray
from model.survey.run import BLOCK, LISTING, survey_data
from model.survey.sources.recognise import list_pictures
from model.survey.state import SurveyState
from model.survey.workers import run_here
from model.zoo import checkpoints

Given = TypeVar("Given")
Found = TypeVar("Found")

IMAGENET = 1_281_167
MODEL, SMALLEST = "photos", "cifar10-plain"


@dataclass(frozen=True)
class TimedSurvey(Survey):
    """A survey whose workers note when each block is done, in a file each."""

    marks: Path

    def start_measuring(self) -> Callable[[Prepared], SurveyState]:
        return self._timed(super().start_measuring())

    def _timed(self, work: Callable[[Given], Found]) -> Callable[[Given], Found]:
        def timed(given: Given) -> Found:
            found = work(given)
            with (self.marks / str(os.getpid())).open("a") as file:
                print(time.monotonic(), torch.get_num_threads(), file=file)
            return found

        return timed


class PlainPasses(TimedSurvey):
    """Plain forward passes over the same blocks, in batches of the same size."""

    def start(self) -> Callable[[PictureBlock], None]:
        torch.set_num_threads(self.fingerprint.threads)
        return self._timed(partial(self._run, load_model(self.name)))

    def _run(self, bundle: Bundle, block: PictureBlock) -> None:
        images = torch.from_numpy(prepare_block(self.preparation, block).images)
        with torch.no_grad():
            for batch in images.split(self.fingerprint.batch):
                bundle.net(batch)


def pictures_a_second(
    work: Callable[[TimedSurvey], Iterator],
    survey: Survey,
    workers: int,
    kind: type[TimedSurvey] = TimedSurvey,
) -> float:
    """Time a survey's work: the sum of its workers' own rates, while all of them work."""
    with TemporaryDirectory() as folder:
        parts = {field.name: getattr(survey, field.name) for field in fields(Survey)}
        for _ in work(kind(**parts, marks=Path(folder))):
            pass
        files = [file.read_text().split() for file in Path(folder).iterdir()]
    assert len(files) == workers and {threads for file in files for threads in file[1::2]} == {"1"}
    times = [[float(mark) for mark in file[::2]] for file in files]
    begin, end = max(own[0] for own in times), min(own[-1] for own in times)
    shared = [[mark for mark in own if begin <= mark <= end] for own in times]
    block = survey.fingerprint.block
    return sum(block * (len(own) - 1) / (own[-1] - own[0]) for own in shared)


def time_survey(data: Path, room: Path, count: int, rounds: int, block: int) -> dict[str, float]:
    """Measure pictures a second of each way, taking turns: medians over the rounds."""
    write_listing(islice(list_pictures(data / "val", room), count), room / LISTING, block)
    listing = Listing(room / LISTING)
    survey, _ = plan_survey(MODEL, listing, sample=0)
    numbers = range(listing.blocks)

    def here(workers: int, kind: type[TimedSurvey] = TimedSurvey) -> float:
        return pictures_a_second(
            lambda timed: run_here(timed.start, listing.read_blocks(numbers), workers),
            survey,
            workers,
            kind,
        )

    def on_ray() -> float:
        return pictures_a_second(
            lambda timed: run_on_ray(timed, listing.read_block, numbers, 2, ""), survey, 2
        )

    ways: dict[str, Callable[[], float]] = {
        "plain": lambda: here(1, PlainPasses),
        "one": lambda: here(1),
        "two": lambda: here(2),
        "two plain": lambda: here(2, PlainPasses),
        "ray": on_ray,
    }
    found = [{name: way() for name, way in ways.items()} for _ in range(rounds)]
    return {name: median(each[name] for each in found) for name in ways}


def peak_memory(data: Path, count: int) -> float:
    """Survey so many pictures with the smallest checkpoint in this process; its peak in MiB."""
    with TemporaryDirectory() as folder:
        out = Path(folder)
        entries = list_pictures(data / "train", out / "unpacked")
        write_listing(islice(entries, count), out / LISTING, BLOCK)
        survey_data(SMALLEST, data / "train", out, workers=0)
    return peak_of_this_process()


def peak_memory_elsewhere(data: Path, count: int) -> float:
    """Measure the peak memory of a process of its own."""
    command = [sys.executable, "-m", "benchmarks.survey", "--data", str(data), "--peak", str(count)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def time_base_model(room: Path, count: int) -> float:
    """Survey JPEGs as large as ImageNet's with ViT-B/16 on one core: pictures a second."""
    net = build("vit", img_size=224, patch_size=16, dim=768, depth=12, heads=12).eval()
    card = {
        "name": "base",
        "title": "ViT-B/16 with random weights",
        "task": "classify",
        "config": vars(net.config),
        "classes": [str(number) for number in range(net.config.num_classes)],
        "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
    }
    checkpoints.save_checkpoint(net, room / "base.safetensors", card)
    (room / "jpegs").mkdir()
    names = samples.names()
    for number in range(count):
        photo = samples.load(names[number % len(names)]).resize((500, 375))
        photo.save(room / "jpegs" / f"{number:04}.jpg", quality=90)
    write_listing(list_pictures(room / "jpegs", room), room / "base.parquet", 16)
    listing = Listing(room / "base.parquet")
    survey, _ = plan_survey(str(room / "base.safetensors"), listing, sample=0)
    blocks = listing.read_blocks(range(listing.blocks))
    return pictures_a_second(lambda timed: run_here(timed.start, blocks, 1), survey, 1)


def cost_table(rate: float, efficiency: float, price: float, pictures: int = IMAGENET) -> str:
    """Work out the hours and the price of a survey, as Markdown.

    Args:
        rate: pictures a second on one core, alone.
        efficiency: of a core among several, as two cores gave: 1 where they do twice as much.
        price: of a core's hour, in any currency.
        pictures: how many.
    """
    lines = ["| machines | cores | hours | price |", "|---|---:|---:|---:|"]
    for name, cores in (
        ("a laptop, one core", 1),
        ("a laptop", 8),
        ("a node", 32),
        ("4 nodes", 128),
        ("32 nodes", 1024),
    ):
        each = rate if cores == 1 else rate * efficiency
        hours = pictures / each / cores / 3600
        lines.append(f"| {name} | {cores:,} | {hours:,.1f} | {hours * cores * price:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="Tiny ImageNet, packed")
    parser.add_argument("--pictures", type=int, default=320)
    parser.add_argument("--block", type=int, default=16, help="pictures in a block")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--price", type=float, default=0.05, help="of a core's hour")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(peak_memory(options.data, options.peak))
        return
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with TemporaryDirectory() as room:
        sizes = options.pictures, options.rounds, options.block
        found = time_survey(options.data, Path(room), *sizes)
        base = time_base_model(Path(room), 96)
    scaling = found["two"] / found["one"]
    for name, label in (
        ("plain", "plain forward passes, decoding included"),
        ("two plain", "plain forward passes in two processes"),
        ("one", "survey, one process"),
        ("two", "survey, two processes"),
        ("ray", "survey on Ray, two actors"),
    ):
        print(f"{label:<42}{found[name]:8.2f} pictures a second")
    print(f"{'survey to plain':<42}{found['one'] / found['plain']:8.2f}")
    print(f"{'two processes to one':<42}{scaling:8.2f}")
    free = found["two plain"] / found["plain"]
    print(f"{'two processes to one, plain passes':<42}{free:8.2f}")
    print(f"{'Ray with two actors to one process':<42}{found['ray'] / found['one']:8.2f}")
    print(f"load after timing: {os.getloadavg()[0]:.1f}")
    few, many = (peak_memory_elsewhere(options.data, count) for count in (1_000, 60_000))
    print(f"{'peak memory, 1,000 pictures':<42}{few:8.0f} MiB")
    print(f"{'peak memory, 60,000 pictures':<42}{many:8.0f} MiB, {many / few:.3f} times")
    print(f"{'ViT-B/16, one core':<42}{base:8.2f} pictures a second")
    print(cost_table(base, min(1.0, scaling / 2), options.price))


if __name__ == "__main__":
    main()
