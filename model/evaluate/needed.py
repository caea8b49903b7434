"""Measure over many photos which heads and patches an answer needs.

`python -m model.evaluate needed NAME --data DIR --limit 200`

Two questions. How often does the answer become another one without the head that the scan calls
most important, and how often without a random head? And how far do the maps of each attribution
method agree with occlusion, which hides patch after patch and looks what happens? One line of
needed-NAME.jsonl is one photo; a second run goes on where the first was stopped. With --workers,
--ray or --shard the photos are shared out.
"""

from __future__ import annotations

import argparse
from functools import partial
from math import isnan
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from model import zoo
from model.attribution.metrics.agreement import rank_correlation
from model.attribution.registry import METHODS, explain
from model.attribution.trace import Trace, trace_class
from model.bundle import Bundle
from model.captioning.caption import CaptionBundle
from model.datasets import pictures
from model.errors import MethodUnsuitable
from model.evaluate.arguments import count
from model.evaluate.attribution import photos_of
from model.evaluate.photo_measure import Task, add_engine_arguments, hash_split, run_photos
from model.intervention import scan_heads, scan_patches

BATCH = 32
KIND = "needed"


def add_needed_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m model.evaluate needed`."""
    parser.set_defaults(measure=run_needed)
    parser.add_argument("name", help="a classifier's name, as model.zoo.load takes it")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--limit", type=count, default=200, help="only the first pictures")
    parser.add_argument("--hide", choices=("mean", "blur", "remove"), default="mean")
    parser.add_argument("--out", type=Path, help="needed-NAME.jsonl where it is not given")
    add_engine_arguments(parser)


def run_needed(options: argparse.Namespace) -> dict[str, Any]:
    """Run the command and return the figures over all pictures. Raises ValueError."""
    out = options.out or Path(f"needed-{Path(options.name).stem}.jsonl")
    state, lines = run_photos(partial(open_needed, options), out, options)
    return state.head | average(lines)


def open_needed(options: argparse.Namespace) -> Task:
    """Open the model and the pictures.

    Raises:
        ValueError: the model is a captioner.
        DataError, ModelNotFound, ModelRejected
    """
    bundle = zoo.load(options.name)
    if isinstance(bundle, CaptionBundle):
        raise ValueError(f"{options.name} writes captions: this measures classifiers.")
    split = pictures.read_split(options.data, "test", min(bundle.image_size))
    photos = photos_of(split.first(options.limit))
    head = {
        "model": options.name,
        "sha256": bundle.card.sha256,
        "data": options.data.resolve().name,
        "hide": options.hide,
    }

    def score(number: int) -> dict[str, Any]:
        images = bundle.prepare(photos[number].image)
        heads = need_of_heads(bundle, images)
        return {"heads": heads, "patches": need_of_patches(bundle, images, options.hide, number)}

    measures = (KIND, *METHODS)
    return Task(head, measures, (bundle,), hash_split(split), len(photos), score, BATCH)


def need_of_heads(bundle: Bundle, images: Tensor) -> dict[str, float]:
    """Scan every head of one photo, for the class that the net answers.

    Returns:
        Whether the answer changed without the most important head, and the share of all heads
        without which it changes: as often as without a random one.
    """
    heads = scan_heads(bundle.net, images, batch_size=BATCH)
    with torch.no_grad():
        answer = int(bundle.net(images)[0].argmax())
    layer, head = heads.ranked("log_odds")[0]
    changed = (heads.effects.likeliest != answer) & (heads.effects.likeliest >= 0)
    return {
        "most_important": float(changed[layer, head]),
        "random": changed.sum().item() / sum(heads.heads),
    }


def need_of_patches(bundle: Bundle, images: Tensor, hide: str, seed: int) -> dict[str, Any]:
    """Hide every patch of one photo, and compare with the map of every attribution method.

    Returns:
        The share of the patches without which the answer changes, and for each method the rank
        correlation of its map with the fall of the log-odds, patch by patch.
    """
    with torch.no_grad():
        answer = int(bundle.net(images)[0].argmax())
    patches = scan_patches(
        bundle.net, images, answer, hide=hide, tokens=bundle.tokens, batch_size=BATCH
    )
    fall = -patches.effect("log_odds")
    trace = trace_class(bundle.net, images, bundle.tokens, answer)
    return {
        "random": (patches.likeliest != answer).float().mean().item(),
        "methods": {
            name: rank_correlation(found[0], fall).item()
            for name in METHODS
            if (found := _map_of(trace, name, seed)) is not None
        },
    }


def average(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Average the figures of photos; a map that is the same everywhere has no correlation."""
    if not lines:
        return {"photos": 0}
    methods = {}
    for name in lines[0]["patches"]["methods"]:
        values = (line["patches"]["methods"][name] for line in lines)
        known = [value for value in values if not isnan(value)]
        methods[name] = round(fmean(known), 4) if known else None
    return {
        "photos": len(lines),
        "changed_without_most_important_head": _mean(lines, "heads", "most_important"),
        "changed_without_random_head": _mean(lines, "heads", "random"),
        "changed_without_random_patch": _mean(lines, "patches", "random"),
        "correlation_with_occlusion": methods,
    }


def _mean(lines: list[dict[str, Any]], what: str, name: str) -> float:
    return round(fmean(line[what][name] for line in lines), 4)


def _map_of(trace: Trace, name: str, seed: int) -> Tensor | None:
    settings = {"seed": seed} if name == "random_map" else {}
    try:
        return explain(trace, name, **settings)
    except MethodUnsuitable:
        return None
