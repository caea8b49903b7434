"""Measure photo by photo on the engine of a survey: in shards, in processes, on Ray."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.bundle import Bundle
from model.datasets.split import Split
from model.errors import SurveyError
from model.evaluate.arguments import count
from model.evaluate.photo_lines import PhotoLines
from model.survey.block_measure import BlockMeasure
from model.survey.fingerprint import Fingerprint, take_fingerprint
from model.survey.gathering import gather, keep_what_is_saved
from model.survey.shard import shard


@dataclass(frozen=True)
class Task:
    """One measure of many photos, opened: its models and its data are in memory."""

    head: dict[str, Any]
    """Names the run: model, data and settings."""
    measures: tuple[str, ...]
    """What is measured, the kind first."""
    models: Sequence[Bundle]
    """All on which the numbers depend."""
    data: str
    """SHA-256 of the photos, or what else tells them from others."""
    pictures: int
    """How many photos there are."""
    score: Callable[[int], dict[str, Any]]
    """Measures a photo, by its number from 0."""
    batch: int = 0
    """Changes of one photo that go through the model at once; 0 where all do."""


class PhotoMeasure(BlockMeasure[int, int, PhotoLines]):
    """A measure that makes one line of each photo; a photo is a block of its own.

    Args:
        open_task: opens models and data; pickled, and called once in each process.
        threads: of torch in each process; None leaves torch's own number.
        device: "cpu" or "cuda".
    """

    def __init__(
        self, open_task: Callable[[], Task], threads: int | None = None, device: str = "cpu"
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._open, self.device = open_task, device
        self._task: Task | None = None
        self.head, self.pictures = self.task.head, self.task.pictures
        self.fingerprint = self._take_fingerprint()

    @property
    def task(self) -> Task:
        """The models and the data, opened once in this process."""
        if self._task is None:
            self._task = self._open()
        return self._task

    def __getstate__(self) -> dict[str, Any]:
        """Be sent to a process without models and data, which are opened there."""
        return vars(self) | {"_task": None}

    def start_preparing(self) -> Callable[[int], int]:
        """Return the number as it is: to measure a photo takes far longer than to decode it."""
        return int

    def start_measuring(self) -> Callable[[int], PhotoLines]:
        torch.set_num_threads(self.fingerprint.threads)
        self.fingerprint.check(self._take_fingerprint(), "A worker process")
        return self.measure

    def measure(self, number: int) -> PhotoLines:
        """Measure one photo."""
        line = {"photo": number} | self.task.score(number)
        return PhotoLines(self.head, self.fingerprint, {number: line})

    def _take_fingerprint(self) -> Fingerprint:
        task = self.task
        bundle, *others = task.models
        given = {"block": 1, "batch": task.batch}
        return take_fingerprint(
            bundle, task.data, 0, **given, measures=task.measures, others=others
        )


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where photos are measured."""
    parser.add_argument("--shard", type=shard, default=(1, 1), help="i/n: the i-th of n parts")
    parser.add_argument("--workers", type=count, help="processes; this one alone if not given")
    parser.add_argument(
        "--threads", type=count, help="of torch in each process; 1 for --workers and --ray"
    )
    parser.add_argument(
        "--ray", nargs="?", const="", metavar="ADDRESS", help="on Ray: of this machine, or there"
    )


def run_photos(
    open_task: Callable[[], Task], out: Path, options: argparse.Namespace, device: str = "cpu"
) -> tuple[PhotoLines, list[dict[str, Any]]]:
    """Measure the photos of a run or of one shard, and go on where it was stopped.

    Args:
        open_task: opens models and data; pickled.
        out: the file of the lines; one that is there already is gone on with.
        options: as `add_engine_arguments` reads them.
        device: "cpu" or "cuda".

    Returns:
        All lines of the file, and the list of those that belong to this run.

    Raises:
        SurveyError: the file is of another run or was made otherwise, the disk is full, or as
            `gather`.
    """
    elsewhere = options.workers is not None or options.ray is not None
    threads = options.threads or (1 if elsewhere else None)
    measure = PhotoMeasure(open_task, threads, device)
    with keep_what_is_saved(out.parent):
        state = PhotoLines(measure.head, measure.fingerprint)
        if out.is_file() and out.stat().st_size:
            kept = PhotoLines.load(out)
            state.check(kept, str(out))
            state = kept
        part, parts = options.shard
        todo = [n for n in range(measure.pictures)[part - 1 :: parts] if n not in state.lines]
        workers = options.workers or 0
        gather(measure, state, int, todo, out, workers=workers, ray=options.ray)
    return state, state.first(measure.pictures)


def merge_lines(files: Sequence[Path], out: Path) -> PhotoLines:
    """Merge the files of the shards of a run into one.

    Raises:
        SurveyError: a file is missing, of another run, was made otherwise, or was given twice.
    """
    with keep_what_is_saved(out.parent):
        for file in files:
            if not file.is_file():
                raise SurveyError(f"There is no file {file}. Give the .jsonl file of each part.")
        state = PhotoLines.load(files[0])
        for file in files[1:]:
            state.merge(PhotoLines.load(file), str(file))
        state.save(out)
    return state


def hash_split(split: Split) -> str:
    """Hash the pictures, labels and boxes of a data set."""
    digest = hashlib.sha256(repr(split.classes).encode())
    for tensor in (split.images, split.labels, split.boxes):
        if tensor is not None:
            digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def _bytes_of(tensor: Tensor) -> bytes:
    return repr(tuple(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes()
