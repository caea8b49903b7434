"""Measure every head on every picture of a batch, from one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from model.analysis.head_measures import KINDS, MEASURES, measure_heads, score_kinds
from model.bundle import Bundle
from model.image_layers import ImageLayer, image_layers
from model.recording.recorder import AttentionRecord, AttentionRecorder
from model.recording.rollout import explain_mixed_images
from model.survey.layer_rows import rows_of, spread_queries
from model.survey.rankings import RANKINGS
from model.tokens import TokenLayout

OBJECT = ("object", "object_from_cls")
SURVEYED = (*MEASURES, *OBJECT)
"""The measures of a head on one picture, in the order of a survey's tables.

- those of `model.analysis.head_measures`;
- object: the share of the patches' attention to patches that falls on the object's box, less the
  share of the patches that the box covers; 0 is chance. NaN without a box;
- object_from_cls: the same, of the class token's attention.
"""
TOKENS = 8192
"""Tokens in a batch, about."""


@dataclass(frozen=True)
class Shape:
    """What a model's heads are like, found by one trial pass: the shape of a survey."""

    layers: tuple[str, ...]
    """The names of the layers that attend over the picture."""
    numbers: tuple[int, ...]
    """Their numbers among the model's layers, from zero."""
    heads: tuple[int, ...]
    """How many heads each has."""
    grids: tuple[tuple[int, int], ...]
    """The rows and columns of patches of each."""
    windows: tuple[tuple[int, int] | None, ...]
    """The rows and columns of a window of each; None where it attends over the whole picture."""
    alone: bool
    """Whether pictures must go through the model one by one, for their maps to be told apart."""

    @property
    def table(self) -> tuple[int, int]:
        """Layers, and heads of the widest."""
        return len(self.layers), max(self.heads)

    @property
    def places(self) -> list[tuple[int, int]]:
        """Each layer, by its place among these, and each of its heads."""
        return [(layer, head) for layer, count in enumerate(self.heads) for head in range(count)]


@dataclass
class BatchMeasures:
    """What one forward pass tells of every head, for B pictures, L layers and H heads."""

    values: np.ndarray
    """float64 (B, measures, L, H), as `SURVEYED` names them; NaN where there is none."""
    kinds: np.ndarray
    """int64 (B, L, H): the number in KINDS of what a head does most; -1 where there is no head."""
    alike: np.ndarray
    """float64 (B, heads, heads): Bhattacharyya coefficients of the heads' maps."""
    best: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """For each ranking the least cost over the queries, and that query: (B, L, H) each."""


def find_shape(bundle: Bundle) -> Shape:
    """Find which heads there are, with one pass over two blank pictures.

    Raises:
        NothingRecorded: the model does not attend.
        NothingToShow: it attends, but not from patch to patch.
    """
    image = torch.zeros(2, len(bundle.mean), *bundle.image_size)
    records = _record(bundle, image)
    alone = any(map(explain_mixed_images, records))
    pictures = 1 if alone else 2
    found = image_layers(_record(bundle, image[:1]) if alone else records, bundle.tokens, pictures)
    return Shape(
        tuple(each.record.name for each in found),
        tuple(each.place for each in found),
        tuple(each.layer.heads for each in found),
        tuple(each.layer.tokens.grid for each in found),
        tuple(each.record.windows.size if each.record.windows else None for each in found),
        alone,
    )


def choose_batch(bundle: Bundle, shape: Shape) -> int:
    """Choose how many pictures go through the model at once: a power of two, at most 64."""
    if shape.alone:
        return 1
    return min(64, 1 << max(0, (TOKENS // bundle.tokens.tokens).bit_length() - 1))


def measure_batch(
    bundle: Bundle, images: Tensor, shape: Shape, boxes: Sequence[tuple[float, ...] | None]
) -> BatchMeasures:
    """Measure every head on every picture of a batch.

    Args:
        bundle: the model.
        images: prepared pictures, (B, C, H, W).
        shape: as `find_shape` found it.
        boxes: for each picture the object's box, as shares of the part that the model sees (left,
            top, right, bottom); None where it is not known.
    """
    layers = image_layers(_record(bundle, images), bundle.tokens, len(images))
    size = (len(images), *shape.table)
    values = np.full((len(SURVEYED), *size), np.nan)
    kinds = np.full(size, -1, np.int64)
    costs = {name: np.full(size, np.nan) for name in RANKINGS}
    queries = {name: np.zeros(size, np.int64) for name in RANKINGS}
    roots: list[Tensor] = []
    for number, layer in enumerate(layers):
        rows = rows_of(layer, boxes)
        layout = bundle.tokens if layer.record.windows else rows.layout
        found = measure_heads(rows.record, layout, rows.take)
        heads = slice(0, layer.layer.heads)
        for index, name in enumerate(MEASURES):
            values[index, :, number, heads] = found[name].cpu()
        kinds[:, number, heads] = _dominant(found, layer, bundle.tokens)
        for index, falls in enumerate(rows.on_object(), len(MEASURES)):
            values[index, :, number, heads] = falls
        for name, (cost, query) in rows.best().items():
            costs[name][:, number, heads], queries[name][:, number, heads] = cost, query
        roots.append(rows.roots())
    best = {name: (costs[name], queries[name]) for name in RANKINGS}
    return BatchMeasures(values.swapaxes(0, 1), kinds, _alike(roots, shape, len(images)), best)


def _record(bundle: Bundle, images: Tensor) -> list[AttentionRecord]:
    device = next(bundle.net.parameters()).device
    with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:
        bundle.net(images.to(device))
    return recorder.records


def _dominant(found: dict[str, Tensor], layer: ImageLayer, tokens: TokenLayout) -> np.ndarray:
    """Number what each head does most, by picture: (B, H)."""
    windows = layer.record.windows
    layout = TokenLayout(windows.size) if windows else layer.layer.tokens
    scores = score_kinds({name: values.cpu() for name, values in found.items()}, layout)
    return torch.stack([scores[kind] for kind in KINDS]).nan_to_num(-1).numpy().argmax(0)


def _alike(roots: Sequence[Tensor], shape: Shape, pictures: int) -> np.ndarray:
    """Compare the maps of each pair of heads: (B, heads, heads).

    The Bhattacharyya coefficient Σ √(p q), the mean over the queries: 1 for equal maps, 0 for maps
    that share no patch (Bhattacharyya 1943). It is one product of matrices, where a divergence
    needs logarithms for each pair. NaN for heads on other grids.
    """
    layer_of = np.array([layer for layer, _ in shape.places])
    alike = np.full((pictures, len(layer_of), len(layer_of)), np.nan)
    for grid in dict.fromkeys(shape.grids):
        there = [n for n, own in enumerate(shape.grids) if own == grid]
        joined = torch.cat([roots[n] for n in there], 1)
        queries = len(spread_queries(grid[0] * grid[1]))
        where = np.flatnonzero(np.isin(layer_of, there))
        alike[:, where[:, None], where] = (joined @ joined.mT / queries).clamp_max(1).cpu().numpy()
    return alike
