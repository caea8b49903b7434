"""What a survey has gathered so far: it merges exactly, and its size is one of the model's."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from model.analysis.head_measures import KINDS
from model.errors import SurveyError
from model.survey.exact_sums import ExactSums
from model.survey.fingerprint import FORMAT, Fingerprint
from model.survey.picture_measures import SURVEYED, BatchMeasures, Shape
from model.survey.rankings import RANKINGS, RankedPicture, keep_first

EFFECTS = ("log_odds", "probability")
"""What switching a head off changes, as `model.intervention.answers` measures it."""
LISTED = 1000
"""Damaged pictures that are listed by name; all are counted."""
Ranking = dict[str, list[list[RankedPicture]]]


@dataclass
class SurveyState:
    """Sums, counts and rankings over the pictures of some blocks.

    `merge` adds another state. Sums are of whole numbers (see `ExactSums`), and a ranking keeps the
    first by an order without ties, so the state of any set of blocks is the same to the bit,
    whoever measured them and in whatever order they were merged.
    """

    model: str
    """The name under which the model was opened."""
    fingerprint: Fingerprint
    shape: Shape
    blocks: set[int] = field(default_factory=set)
    """The blocks of the listing that are in it."""
    pictures: int = 0
    damaged: int = 0
    reasons: dict[int, str] = field(default_factory=dict)
    """Why a picture could not be opened, by its number, of the first `LISTED`."""

    def __post_init__(self) -> None:
        table, heads = self.shape.table, len(self.shape.places)
        self.values = ExactSums((len(SURVEYED), *table))
        self.classes: dict[str, ExactSums] = {}
        self.kinds = np.zeros((len(KINDS), *table), np.int64)
        self.alike = ExactSums((heads, heads), squares=False)
        self.effects = ExactSums((len(EFFECTS), *table))
        self.rankings: Ranking = {name: [[] for _ in range(heads)] for name in RANKINGS}

    # -- gathering ------------------------------------------------------------------------------

    def add(self, measured: BatchMeasures, pictures: list[int], classes: list[str | None]) -> None:
        """Add the pictures of one batch: their numbers in the listing, and their classes."""
        self.pictures += len(pictures)
        self.values.add(measured.values)
        self.alike.add(measured.alike)
        for kind in range(len(KINDS)):
            self.kinds[kind] += (measured.kinds == kind).sum(0)
        for name in {each for each in classes if each is not None}:
            of_class = self.classes.setdefault(name, self._class_sums())
            of_class.add(measured.values[[each == name for each in classes]])
        for name, (costs, queries) in measured.best.items():
            for place, (layer, head) in enumerate(self.shape.places):
                found = zip(costs[:, layer, head], pictures, queries[:, layer, head], strict=True)
                new = [RankedPicture(float(c), p, int(q)) for c, p, q in found if not np.isnan(c)]
                kept = self.rankings[name][place]
                self.rankings[name][place] = keep_first([*kept, *new])

    def add_damaged(self, picture: int, reason: str) -> None:
        """Count a picture that could not be opened."""
        self.damaged += 1
        self._list_reasons({picture: reason})

    def merge(self, other: SurveyState, whose: str = "The other part") -> None:
        """Add all that another state holds.

        Raises:
            SurveyError: it was made otherwise, or holds a block that is here already.
        """
        self.fingerprint.check(other.fingerprint, whose)
        if twice := self.blocks & other.blocks:
            raise SurveyError(
                f"{whose} holds pictures that were added already ({len(twice)} blocks, the first "
                f"is {min(twice)}). Give each part once, and each shard another number."
            )
        self.blocks |= other.blocks
        self.pictures += other.pictures
        self.damaged += other.damaged
        self._list_reasons(other.reasons)
        self.values.merge(other.values)
        self.alike.merge(other.alike)
        self.effects.merge(other.effects)
        self.kinds = self.kinds + other.kinds
        for name, sums in other.classes.items():
            self.classes.setdefault(name, self._class_sums()).merge(sums)
        for name, heads in self.rankings.items():
            pairs = zip(heads, other.rankings[name], strict=True)
            self.rankings[name] = [keep_first([*own, *its]) for own, its in pairs]

    def _class_sums(self) -> ExactSums:
        return ExactSums(self.values.count.shape, squares=False)

    def _list_reasons(self, more: dict[int, str]) -> None:
        self.reasons = dict(sorted((self.reasons | more).items())[:LISTED])

    # -- files ----------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Write it as compressed JSON: equal states give equal bytes."""
        held = {
            "model": self.model,
            "fingerprint": self.fingerprint.to_json(),
            "shape": vars(self.shape),
            "blocks": _to_runs(self.blocks),
            "pictures": self.pictures,
            "damaged": self.damaged,
            "reasons": list(self.reasons.items()),
            "values": self.values.to_json(),
            "classes": {name: self.classes[name].to_json() for name in sorted(self.classes)},
            "kinds": self.kinds.tolist(),
            "alike": self.alike.to_json(),
            "effects": self.effects.to_json(),
            "rankings": self.rankings,
        }
        return gzip.compress(json.dumps(held).encode(), compresslevel=1, mtime=0)

    @classmethod
    def from_bytes(cls, data: bytes) -> SurveyState:
        """Restore what `to_bytes` wrote. Raises SurveyError."""
        try:
            return cls._from_json(json.loads(gzip.decompress(data)))
        except (ValueError, KeyError, TypeError, EOFError, OSError, zlib.error) as error:
            raise SurveyError(
                f"This is no state of a survey, or it is damaged ({error}). Delete it and start "
                "the survey again; other parts of it are not lost."
            ) from None

    @classmethod
    def _from_json(cls, held: dict[str, Any]) -> SurveyState:
        fingerprint = Fingerprint.from_json(held["fingerprint"])
        if fingerprint.format != FORMAT:
            raise ValueError(
                f"made by version {fingerprint.format} of the survey, here is {FORMAT}"
            )
        shape = Shape(
            tuple(held["shape"]["layers"]),
            tuple(held["shape"]["numbers"]),
            tuple(held["shape"]["heads"]),
            tuple((rows, columns) for rows, columns in held["shape"]["grids"]),
            tuple(size and (size[0], size[1]) for size in held["shape"]["windows"]),
            held["shape"]["alone"],
        )
        state = cls(held["model"], fingerprint, shape, _from_runs(held["blocks"]))
        state.pictures, state.damaged = held["pictures"], held["damaged"]
        state.reasons = {number: reason for number, reason in held["reasons"]}
        state.values = ExactSums.from_json(held["values"])
        state.classes = {n: ExactSums.from_json(sums) for n, sums in held["classes"].items()}
        state.kinds = np.array(held["kinds"], np.int64)
        state.alike = ExactSums.from_json(held["alike"])
        state.effects = ExactSums.from_json(held["effects"])
        state.rankings = {
            name: [[RankedPicture(*place) for place in head] for head in heads]
            for name, heads in held["rankings"].items()
        }
        return state

    def save(self, file: Path) -> None:
        """Write it so that a crash leaves the old file or the new one. Raises OSError."""
        beside = file.with_name(f"{file.name}.part")
        with beside.open("wb") as out:
            out.write(self.to_bytes())
            out.flush()
            os.fsync(out.fileno())
        beside.replace(file)

    @classmethod
    def load(cls, file: Path) -> SurveyState:
        """Read what `save` wrote. Raises SurveyError."""
        try:
            return cls.from_bytes(file.read_bytes())
        except OSError as error:
            raise SurveyError(
                f"{file} cannot be read ({error.strerror}). Check the path."
            ) from None
        except SurveyError as error:
            raise SurveyError(f"{file}: {error}") from None


def _to_runs(numbers: set[int]) -> list[list[int]]:
    """Write whole numbers as runs, [first, last] each: {1, 2, 3, 7} -> [[1, 3], [7, 7]]."""
    ordered = enumerate(sorted(numbers))
    runs = (list(run) for _, run in groupby(ordered, lambda pair: pair[1] - pair[0]))
    return [[run[0][1], run[-1][1]] for run in runs]


def _from_runs(runs: list[list[int]]) -> set[int]:
    return {number for first, last in runs for number in range(first, last + 1)}
