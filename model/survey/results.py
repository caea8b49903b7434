"""Write what a survey found: one JSON file, and the same as Parquet tables.

Read a table with one line: `pandas.read_parquet("DIR/heads.parquet")`. The columns are described
in docs/survey.md. Layers and heads are counted from zero, layers among all of the model's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.analysis.head_measures import KINDS
from model.survey.listing import Listing
from model.survey.picture_measures import SURVEYED
from model.survey.rankings import RANKINGS
from model.survey.state import EFFECTS, SurveyState

RESULTS = "survey.json"
DIGITS = 6
"""Significant digits in JSON; similarities have two fewer, and means of a class three."""


def write_results(state: SurveyState, listing: Listing, folder: Path) -> Path:
    """Write the results of a state into a folder, and return the JSON file."""
    names = _names_of_top(state, listing)
    tables = {
        "heads": _heads_table(state),
        "classes": _classes_table(state),
        "similarity": _similarity_table(state),
        "top": _top_table(state, names),
    }
    for name, rows in tables.items():
        beside = folder / f"{name}.parquet.part"
        pq.write_table(pa.Table.from_pylist(rows) if rows else pa.table({}), beside)
        beside.replace(folder / f"{name}.parquet")
    file = folder / RESULTS
    beside = file.with_name(f"{RESULTS}.part")
    beside.write_text(
        json.dumps(to_json(state, names), separators=(",", ":")) + "\n", encoding="utf-8"
    )
    beside.replace(file)
    return file


def to_json(state: SurveyState, names: dict[int, str]) -> dict[str, Any]:
    """Gather the results for JSON: `layers`, `heads` and so on as in docs/survey.md."""
    shape = state.shape
    means, deviations = state.values.mean(), state.values.deviation()
    effects = zip(EFFECTS, state.effects.mean(), state.effects.deviation(), strict=True)
    return {
        "kind": "saccade survey",
        "model": state.model,
        "fingerprint": state.fingerprint.to_json(),
        "pictures": state.pictures,
        "blocks_missing": _blocks(state) - len(state.blocks),
        "damaged": state.damaged,
        "damaged_pictures": list(state.reasons.values()),
        "layers": list(shape.layers),
        "numbers": list(shape.numbers),
        "heads": list(shape.heads),
        "grids": [list(grid) for grid in shape.grids],
        "windows": [size and list(size) for size in shape.windows],
        "mean": {n: _rounded(m) for n, m in zip(SURVEYED, means, strict=True)},
        "deviation": {n: _rounded(d) for n, d in zip(SURVEYED, deviations, strict=True)},
        "kinds": {kind: state.kinds[index].tolist() for index, kind in enumerate(KINDS)},
        "similarity": _rounded(state.alike.mean(), DIGITS - 2),
        "effects": {
            "pictures": int(state.effects.count.max()),
            **{name: {"mean": _rounded(m), "deviation": _rounded(d)} for name, m, d in effects},
        },
        "classes": {
            name: {
                "pictures": int(sums.count.max()),
                "mean": {
                    measure: _rounded(values, DIGITS - 3)
                    for measure, values in zip(SURVEYED, sums.mean(), strict=True)
                    if not np.isnan(values).all()
                },
            }
            for name, sums in sorted(state.classes.items())
        },
        "top": {
            ranking: [
                [[names[place.picture], place.query, _digits(value)] for place, value in head]
                for head in heads
            ]
            for ranking, heads in _top(state).items()
        },
    }


def _blocks(state: SurveyState) -> int:
    return -(-state.fingerprint.pictures // state.fingerprint.block)


def _top(state: SurveyState) -> dict[str, list[list[tuple[Any, float]]]]:
    """The places of each ranking and head, each with the measure it goes by."""
    return {
        ranking: [[(place, -RANKINGS[ranking][1] * place.cost) for place in head] for head in heads]
        for ranking, heads in state.rankings.items()
    }


def _names_of_top(state: SurveyState, listing: Listing) -> dict[int, str]:
    """Name the pictures that are in some ranking."""
    heads = (head for heads in state.rankings.values() for head in heads)
    wanted = sorted({place.picture for head in heads for place in head})
    return {picture: listing.read_picture(picture).name for picture in wanted}


# -- tables ---------------------------------------------------------------------------------------


def _heads(state: SurveyState) -> Iterator[tuple[int, int, dict[str, int]]]:
    """Each layer by its place, each head, and the columns that name them."""
    for layer, head in state.shape.places:
        yield layer, head, {"layer": state.shape.numbers[layer], "head": head}


def _heads_table(state: SurveyState) -> list[dict[str, Any]]:
    means, deviations = state.values.mean(), state.values.deviation()
    effect, spread = state.effects.mean(), state.effects.deviation()
    rows = []
    for layer, head, named in _heads(state):
        row: dict[str, Any] = dict(named)
        at = (slice(None), layer, head)
        for name, mean, deviation in zip(SURVEYED, means[at], deviations[at], strict=True):
            row |= {name: _cell(mean), f"{name}_deviation": _cell(deviation)}
        for name, mean, deviation in zip(EFFECTS, effect[at], spread[at], strict=True):
            row |= {f"without_{name}": _cell(mean), f"without_{name}_deviation": _cell(deviation)}
        for kind, count in zip(KINDS, state.kinds[at].tolist(), strict=True):
            row[f"pictures_{kind}"] = count
        rows.append(row | {"pictures": state.pictures})
    return rows


def _classes_table(state: SurveyState) -> list[dict[str, Any]]:
    return [
        {"class": name, "pictures": int(sums.count.max())}
        | row
        | {each: _cell(value) for each, value in zip(SURVEYED, means[:, layer, head], strict=True)}
        for name, sums in sorted(state.classes.items())
        for means in [sums.mean()]
        for layer, head, row in _heads(state)
    ]


def _similarity_table(state: SurveyState) -> list[dict[str, Any]]:
    alike, heads = state.alike.mean(), [row for _, _, row in _heads(state)]
    return [
        row
        | {"other_layer": other["layer"], "other_head": other["head"]}
        | {"similarity": _cell(alike[i, j])}
        for i, row in enumerate(heads)
        for j, other in enumerate(heads)
        if i < j
    ]


def _top_table(state: SurveyState, names: dict[int, str]) -> list[dict[str, Any]]:
    return [
        {"ranking": ranking, "rank": rank, "picture": names[place.picture]}
        | {"number": place.picture, "query": place.query, RANKINGS[ranking][0]: value}
        | row
        for ranking, heads in _top(state).items()
        for (_, _, row), head in zip(_heads(state), heads, strict=True)
        for rank, (place, value) in enumerate(head)
    ]


def _cell(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _digits(value: float, digits: int = DIGITS) -> float | None:
    return None if math.isnan(value) else float(f"{value:.{digits}g}")


def _rounded(values: np.ndarray, digits: int = DIGITS) -> Any:
    """Round a table for JSON; None where there is no value."""
    if values.ndim == 0:
        return _digits(float(values), digits)
    return [_rounded(each, digits) for each in values]
