"""Score every attribution method on one picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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
from model.evaluate.pointing import edges, shares

STEPS = 10  # Chefer's test wants tenths
MASS = 0.6


@dataclass(frozen=True)
class Photo:
    """A picture of a data set; `box` is left, top, right, bottom with the last pixels inside."""

    image: Image.Image
    label: str
    box: Sequence[int] | None


@dataclass(frozen=True)
class Task:
    """What is measured: `score` makes the file's line for each of the pictures, from 0."""

    head: dict[str, Any]  # the file's first line, which tells this run from others
    pictures: int
    score: Callable[[int], dict[str, Any]]


def attribution_scores(
    trace_of: Callable[[Bundle], Trace],
    models: tuple[Bundle, Bundle],
    photo: Photo,
    target: int,
    seed: int,
) -> dict[str, Any]:
    """Of one photo and one target, a class or the number of a word: what a line tells of it.

    `models`: the one that is explained, and the same one with random weights. `trace_of` makes a
    trace of either.
    """
    bundle, untrained = models
    device = next(bundle.net.parameters()).device
    started = _now(device)
    trace = trace_of(bundle)
    seconds = _now(device) - started
    maps, times = _maps(trace, seed)
    found: dict[str, dict[str, float]] = {name: {} for name in maps}
    for columns in (
        _faithful(trace, maps, target),
        _on_the_object(bundle, photo, maps),
        _like_untrained(trace_of(untrained), maps, seed),
        [{"milliseconds": 1000 * value} for value in times],
    ):
        for name, values in zip(maps, columns, strict=True):
            found[name] |= values
    return {
        "pass_milliseconds": 1000 * seconds,
        "box": _chance(bundle, photo),
        "methods": found,
    }


def _maps(trace: Trace, seed: int) -> tuple[dict[str, Tensor], list[float]]:
    maps, times = {}, []
    for name in METHODS:
        if why_unsuitable(trace, name):
            continue
        started = _now(trace.images.device)
        maps[name] = explain(trace, name, **_settings(name, seed))
        times.append(_now(trace.images.device) - started)
    return maps, times


def _settings(name: str, seed: int) -> dict[str, int]:
    """Another random map for each photo."""
    return {"seed": seed} if name == "random_map" else {}


def _faithful(trace: Trace, maps: dict[str, Tensor], target: int) -> list[dict[str, float]]:
    """All methods' curves in one go: the same photo, once a method."""
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


def _on_the_object(bundle: Bundle, photo: Photo, maps: dict[str, Tensor]) -> list[dict[str, float]]:
    placed = _box_in_frame(bundle, photo)
    if placed is None:
        return [{}] * len(maps)
    box, size = placed
    together = torch.cat(list(maps.values())).cpu()
    boxes = edges(box).expand(len(together), -1)
    hits = peak_inside(together, boxes, size)
    overlaps = iou(mass_mask(together, MASS), box_mask(boxes, size, together.shape[1:]))
    return [
        {"pointing": float(hit), "iou": iou}
        for hit, iou in zip(hits.tolist(), overlaps.tolist(), strict=True)
    ]


def _like_untrained(other: Trace, maps: dict[str, Tensor], seed: int) -> list[dict[str, float]]:
    """How far a map is that of the same model with random weights; 1 would be damning."""
    found = []
    for name, values in maps.items():
        map_ = explain(other, name, **_settings(name, seed))
        value = float(rank_correlation(values, map_))
        found.append({"untrained": value} if value == value else {})  # no order, no correlation
    return found


def _chance(bundle: Bundle, photo: Photo) -> dict[str, float] | None:
    """How often a random point, and the middle of the photo, lie in the box."""
    placed = _box_in_frame(bundle, photo)
    if placed is None:
        return None
    box, (height, width) = placed
    middle = torch.tensor([[width / 2, height / 2]])
    return {
        "chance": float(shares(box, (height, width))),
        "centre": float(points_inside(middle, edges(box))),
    }


def _box_in_frame(bundle: Bundle, photo: Photo) -> tuple[Tensor, tuple[int, int]] | None:
    """The box (1, 4) in the part of the photo that the patches cover, and that part's size.

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


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
