"""Read the results of a survey, from whoever made it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from model.analysis.head_measures import KINDS
from model.errors import SurveyError
from model.survey.picture_measures import SURVEYED
from model.survey.rankings import KEPT, RANKINGS
from model.survey.state import EFFECTS

LARGEST = 4096
"""Heads that a survey may have, more than any published model."""


class TopPicture(NamedTuple):
    """A picture on which a head is most of something."""

    name: str
    query: int
    """The token that attends, in the layer's order."""
    value: float


@dataclass(frozen=True)
class SurveyResults:
    """What a survey found, checked. Tables are float64 (layers, heads), NaN where nothing is."""

    model: str
    weights: str
    """Of the model, as `model.survey.fingerprint.hash_model` computes it."""
    pictures: int
    damaged: int
    missing: int
    """Blocks of pictures that the survey has not come to."""
    numbers: tuple[int, ...]
    """The layers' numbers among the model's, from zero."""
    heads: tuple[int, ...]
    grids: tuple[tuple[int, int], ...]
    windows: tuple[tuple[int, int] | None, ...]
    """The rows and columns of a layer's windows; None where it attends over the whole picture."""
    mean: dict[str, np.ndarray]
    deviation: dict[str, np.ndarray]
    kinds: dict[str, np.ndarray]
    """On how many pictures a head did this most."""
    similarity: np.ndarray
    """(all heads, all heads), from 0 to 1."""
    effects: dict[str, tuple[np.ndarray, np.ndarray]]
    """How much the answer changes without a head: mean and standard deviation."""
    effect_pictures: int
    classes: dict[str, dict[str, np.ndarray]]
    class_pictures: dict[str, int]
    top: dict[str, list[list[TopPicture]]]
    """For each ranking and each of all heads its first pictures."""

    @property
    def places(self) -> list[tuple[int, int]]:
        """Each layer, by its place among these, and each of its heads."""
        return [(layer, head) for layer, count in enumerate(self.heads) for head in range(count)]


def read_results(data: bytes) -> SurveyResults:
    """Read a survey's JSON file.

    Raises:
        SurveyError: it is none, or not whole.
    """
    try:
        return _read(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise SurveyError(
            f"This is no survey, or it is damaged ({type(error).__name__}: {str(error)[:80]}). "
            "Give the survey.json that python -m model.survey wrote."
        ) from None


def _read(held: dict[str, Any]) -> SurveyResults:
    if held["kind"] != "saccade survey":
        raise ValueError("another kind of file")
    heads = tuple(_count(each) for each in held["heads"])
    if not heads or not all(heads) or sum(heads) > LARGEST:
        raise ValueError("no heads, or too many")
    table, places = (len(heads), max(heads)), sum(heads)
    effects = held["effects"]
    windows = held.get("windows", [None] * len(heads))  # which earlier versions left out
    return SurveyResults(
        model=str(held["model"]),
        weights=str(held["fingerprint"]["weights"]),
        pictures=_count(held["pictures"]),
        damaged=_count(held["damaged"]),
        missing=_count(held["blocks_missing"]),
        numbers=_as_many(tuple(_count(each) for each in held["numbers"]), len(heads)),
        heads=heads,
        grids=_as_many(tuple((_count(r), _count(c)) for r, c in held["grids"]), len(heads)),
        windows=_as_many(
            tuple(size and (_count(size[0]), _count(size[1])) for size in windows), len(heads)
        ),
        mean={name: _table(held["mean"][name], table) for name in SURVEYED},
        deviation={name: _table(held["deviation"][name], table) for name in SURVEYED},
        kinds={kind: _table(held["kinds"][kind], table) for kind in KINDS},
        similarity=_table(held["similarity"], (places, places)),
        effects={
            name: (_table(effects[name]["mean"], table), _table(effects[name]["deviation"], table))
            for name in EFFECTS
        },
        effect_pictures=_count(effects["pictures"]),
        classes={
            str(label): {
                name: _table(values, table)
                for name, values in found["mean"].items()
                if name in SURVEYED
            }
            for label, found in held["classes"].items()
        },
        class_pictures={str(n): _count(found["pictures"]) for n, found in held["classes"].items()},
        top={
            ranking: _as_many([_top(head) for head in held["top"][ranking]], places)
            for ranking in RANKINGS
        },
    )


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError("a count is no whole number")
    return value


def _as_many(values: Any, count: int) -> Any:
    if len(values) != count:
        raise ValueError("a list has another length than there are heads or layers")
    return values


def _table(values: Any, shape: tuple[int, int]) -> np.ndarray:
    """Make a table of numbers, with NaN for None."""
    table = np.array(values, dtype=np.float64)
    if table.shape != shape:
        raise ValueError("a table has another shape than there are heads")
    return table


def _top(head: list[Any]) -> list[TopPicture]:
    found = [TopPicture(str(n), _count(q), float(v)) for n, q, v in head[:KEPT]]
    if not all(math.isfinite(each.value) for each in found):
        raise ValueError("a value is no number")
    return found
