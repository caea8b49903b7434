"""What a captioner writes with heads off and patches hidden, each computed once for everybody."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from model.captioning.caption import CaptionBundle
from model.captioning.words import records_of_layers
from model.datasets.vocabulary import START
from model.errors import NothingRecorded
from model.recording.recorder import AttentionRecorder
from viz.pages.shared.captions_written import WORDS
from viz.pages.shared.picture import Picture
from viz.pages.what_if_answers import Subject
from viz.pages.what_if_experiment import Experiment
from viz.server.costs import caption_cost
from viz.server.results import computed_once


@dataclass(frozen=True)
class AttendingLayer:
    """A module of a decoder that attends.

    Args:
        name: the recorder's.
        kind: "self" or "cross".
        number: among the decoder's modules of this kind, from one.
        grid: of its map: the picture's patches, or words by words.
    """

    name: str
    kind: str
    number: int
    heads: int
    grid: tuple[int, int]


@computed_once(
    "decoder that is changed",
    key=lambda bundle, picture, words: (bundle.name, len(words)),
    size=lambda layers: 200 * len(layers) + 100,
    cost=lambda bundle, picture, words: caption_cost(bundle, 1, len(words)),
)
def attending_layers(
    bundle: CaptionBundle, picture: Picture, words: tuple[int, ...]
) -> list[AttendingLayer]:
    """List the modules of a decoder that attend, in running order. Raises NothingRecorded."""
    with torch.no_grad():
        memory = bundle.net.encode_image(bundle.prepare(picture.image))
        with AttentionRecorder(bundle.net) as recorder:
            bundle.net.teacher_force(memory, torch.tensor([[START, *words]]))
    found: dict[str, AttendingLayer] = {}
    for record in records_of_layers(recorder.records):
        number = 1 + sum(layer.kind == record.kind for layer in found.values())
        _, heads, queries, keys = record.shape
        grid = bundle.tokens.grid if record.kind == "cross" else (queries, keys)
        found.setdefault(record.name, AttendingLayer(record.name, record.kind, number, heads, grid))
    return list(found.values())


def layers_of_caption(
    bundle: CaptionBundle, picture: Picture, words: tuple[int, ...]
) -> list[AttendingLayer]:
    """List the modules of a decoder that attend; none where it has no heads."""
    try:
        return attending_layers(bundle, picture, words)
    except NothingRecorded:
        return []


def subject_of_caption(bundle: CaptionBundle, shown: Picture, words: Sequence[str]) -> Subject:
    """Describe a captioner, a picture and the caption that it wrote."""
    last = bundle.word(words, len(words) - 1)
    numbers = (*last.before, last.number)
    layers = layers_of_caption(bundle, shown, numbers)
    return Subject(
        bundle,
        shown.key,
        shown.image,
        tuple(layer.name for layer in layers),
        tuple(layer.heads for layer in layers),
        tuple(range(len(layers))),
        words=numbers,
    )


@dataclass(frozen=True)
class TriedCaption:
    """What a changed captioner writes, and how it reads the caption that it wrote unchanged.

    Args:
        words: that it writes.
        shares: (words,) float32, the probability of each word of the unchanged caption, given
            those before it.
        maps: (layers, heads, places) float32: of cross-attention the mean over words.
    """

    words: tuple[str, ...]
    shares: np.ndarray
    maps: np.ndarray


@computed_once(
    "what if, in words",
    key=lambda subject, experiment: (subject.key, experiment),
    size=lambda tried: tried.shares.nbytes + tried.maps.nbytes + 1000,
    cost=lambda subject, experiment: caption_cost(subject.bundle, 1, 2 * WORDS),
)
def try_caption(subject: Subject, experiment: Experiment) -> TriedCaption:
    """Let a captioner write with heads off and patches hidden. Raises InterventionRefused."""
    bundle = cast(CaptionBundle, subject.bundle)
    with subject.change(experiment):
        written = tuple(bundle.caption(subject.image, max_words=WORDS).words)
    with torch.no_grad(), subject.change(experiment), AttentionRecorder(bundle.net) as recorder:
        logits = subject.run(subject.images)
    words = list(subject.words)
    shares = logits[0].float().softmax(-1)[range(len(words)), words].numpy()
    records = {record.name: record for record in recorder.records}
    maps, first = [], len(bundle.tokens.prefix)  # the first tokens of the memory are no patches
    for name in subject.layers:
        record = records[name]
        weights = record.weights()[0].float()
        is_cross = record.kind == "cross"
        maps.append(weights.mean(1)[:, first:] if is_cross else weights.flatten(1))
    if experiment.hide == "remove" and experiment.hidden:
        kept = [p for p in range(subject.layout.patches) if p not in set(experiment.hidden)]
        maps = [_laid_out(each, kept, subject.layout.patches) for each in maps]
    return TriedCaption(written, shares, _padded(maps))


def _laid_out(maps: torch.Tensor, kept: list[int], patches: int) -> torch.Tensor:
    """Lay out maps (heads, patches that are left) on all patches; others are no such maps."""
    if maps.shape[1] != len(kept):
        return maps
    whole = maps.new_zeros(len(maps), patches)
    whole[:, kept] = maps
    return whole


def _padded(maps: list[torch.Tensor]) -> np.ndarray:
    """Stack maps (heads, places) of layers, with zeros where one has fewer of either."""
    heads, places = (max((each.shape[side] for each in maps), default=0) for side in (0, 1))
    stacked = np.zeros((len(maps), heads, places), np.float32)
    for layer, each in zip(stacked, maps, strict=True):
        layer[: each.shape[0], : each.shape[1]] = each.numpy()
    return stacked
