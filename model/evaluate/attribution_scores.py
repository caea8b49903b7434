"""Score every attribution method on one picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from model.attribution.metrics.agreement import rank_correlation
from model.attribution.metrics.faithfulness import Curve, deletion, insertion, perturbation
from model.attribution.metrics.localisation import (
    box_mask,
    iou,
    mass_mask,
    peak_inside,
    points_inside,
)
from model.attribution.registry import METHODS, explain, why_unsuitable
from model.attribution.trace import Trace
from model.bundle import Bundle
from model.evaluate.pointing import box_edges, box_shares

STEPS = 10  # Chefer's test wants tenths
MASS = 0.6

AnyBundle = TypeVar("AnyBundle", bound=Bundle)


@dataclass(frozen=True)
class Photo:
    """A picture of a data set, with its label and the object's box."""

    image: Image.Image
    label: str
    box: Sequence[int] | None
    """Left, top, right and bottom, the last pixels inside; None if unknown."""


def score_methods(
    trace_of: Callable[[AnyBundle], Trace],
    models: tuple[AnyBundle, AnyBundle],
    photo: Photo,
    target: int,
    seed: int,
) -> dict[str, Any]:
    """Score every method on one photo and one target.

    Args:
        trace_of: traces the target in a model.
        models: the model to explain, and the same model with random weights.
        photo: the picture, with its box where that is known.
        target: a class, or the number of a word.
        seed: of the random map.

    Returns:
        The time of the pass, the chance of hitting the box, and each method's scores.
    """
    bundle, untrained = models
    device = next(bundle.net.parameters()).device
    started = _seconds(device)
    trace = trace_of(bundle)
    seconds = _seconds(device) - started
    maps, times = _time_maps(trace, seed)
    found: dict[str, dict[str, float]] = {name: {} for name in maps}
    for columns in (
        _measure_faithfulness(trace, maps, target),
        _measure_localisation(bundle, photo, maps),
        _compare_with_untrained(trace_of(untrained), maps, seed),
        [{"milliseconds": 1000 * value} for value in times],
    ):
        for name, values in zip(maps, columns, strict=True):
            found[name] |= values
    return {
        "pass_milliseconds": 1000 * seconds,
        "box": _measure_chance(bundle, photo),
        "methods": found,
    }


def _time_maps(trace: Trace, seed: int) -> tuple[dict[str, Tensor], list[float]]:
    maps, times = {}, []
    for name in METHODS:
        if why_unsuitable(trace, name):
            continue
        started = _seconds(trace.images.device)
        maps[name] = explain(trace, name, **_settings(name, seed))
        times.append(_seconds(trace.images.device) - started)
    return maps, times


def _settings(name: str, seed: int) -> dict[str, int]:
    """Give the random map another seed for each photo."""
    return {"seed": seed} if name == "random_map" else {}


def _measure_faithfulness(
    trace: Trace, maps: dict[str, Tensor], target: int
) -> list[dict[str, float]]:
    """Draw the curves of all methods at once: a batch that holds the photo once per method."""
    together = torch.cat(list(maps.values()))
    copies = trace.images.expand(len(together), -1, -1, -1)

    def curve(which: Any, kind: str) -> Curve:
        return which(trace.net, copies, together, target, trace.layout, kind, STEPS)

    blurred = curve(deletion, "blurred"), curve(insertion, "blurred")
    zeroed = curve(deletion, "zeroed"), curve(insertion, "zeroed")
    columns = {
        "deletion": blurred[0].area,
        "insertion": blurred[1].area,
        "deletion_zeroed": zeroed[0].area,
        "insertion_zeroed": zeroed[1].area,
    }
    columns["positive"], columns["negative"] = perturbation(*zeroed)
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _measure_localisation(
    bundle: Bundle, photo: Photo, maps: dict[str, Tensor]
) -> list[dict[str, float]]:
    placed = _box_in_frame(bundle, photo)
    if placed is None:
        return [{}] * len(maps)
    box, size = placed
    together = torch.cat(list(maps.values())).cpu()
    boxes = box_edges(box).expand(len(together), -1)
    hits = peak_inside(together, boxes, size)
    overlaps = iou(mass_mask(together, MASS), box_mask(boxes, size, together.shape[1:]))
    return [
        {"pointing": float(hit), "iou": iou}
        for hit, iou in zip(hits.tolist(), overlaps.tolist(), strict=True)
    ]


def _compare_with_untrained(
    untrained: Trace, maps: dict[str, Tensor], seed: int
) -> list[dict[str, float]]:
    """Correlate each map with the map of the untrained model; 1 means that training is ignored."""
    found = []
    for name, values in maps.items():
        other = explain(untrained, name, **_settings(name, seed))
        value = float(rank_correlation(values, other))
        found.append({"untrained": value} if value == value else {})  # no order, no correlation
    return found


def _measure_chance(bundle: Bundle, photo: Photo) -> dict[str, float] | None:
    """Compute how often a random point, and the middle of the photo, lie in the box."""
    placed = _box_in_frame(bundle, photo)
    if placed is None:
        return None
    box, (height, width) = placed
    middle = torch.tensor([[width / 2, height / 2]])
    return {
        "chance": float(box_shares(box, (height, width))),
        "centre": float(points_inside(middle, box_edges(box))),
    }


def _box_in_frame(bundle: Bundle, photo: Photo) -> tuple[Tensor, tuple[int, int]] | None:
    """Move the box (1, 4) into the part of the photo that patches cover; also return its size.

    None where no box is known, or it lies outside.
    """
    if photo.box is None:
        return None
    left, top, right, bottom = bundle.frame_box(photo.image)
    x0, y0, x1, y1 = photo.box
    box = max(x0, left), max(y0, top), min(x1, right - 1), min(y1, bottom - 1)
    if box[2] < box[0] or box[3] < box[1]:
        return None
    return torch.tensor([box]) - torch.tensor([left, top, left, top]), (bottom - top, right - left)


def _seconds(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
