"""Measure every head on every picture of a batch, from one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from model.analysis.head_measures import KINDS, MEASURES, measure_heads, score_kinds
from model.attribution.metrics.localisation import box_cover
from model.bundle import Bundle
from model.image_layers import ImageLayer, image_layers
from model.recording.recorder import AttentionRecord, AttentionRecorder
from model.recording.rollout import explain_mixed_images
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
PLACES = 16
"""Queries, spread evenly over the grid, from which the maps of two heads are compared."""
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
    windowed: tuple[bool, ...]
    """Which attend within windows."""
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
        tuple(each.record.windows is not None for each in found),
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
    roots: list[Tensor | None] = []
    for number, layer in enumerate(layers):
        rows = _Rows(layer, boxes)
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


class _Rows:
    """Looks at the rows of one layer while `measure_heads` goes through them."""

    def __init__(self, layer: ImageLayer, boxes: Sequence[tuple[float, ...] | None]) -> None:
        record, self.windowed = layer.record, layer.record.windows is not None
        self.layout = layer.layer.tokens
        self.covers = _covers(self.layout, boxes).to(record.device)
        self.boxes = bool((~self.covers.isnan()).any()) and not self.windowed
        self.record = _lay_heads_apart(record)
        self.chosen = _spread(self.layout.patches)
        self.inside = torch.zeros(record.shape[:2], device=record.device)
        self.rows: dict[str, list[Tensor]] = {"distance": [], "peak": [], "entropy": []}
        self.kept: list[Tensor] = []

    def take(self, part: slice, entropy: Tensor, patches: Tensor) -> None:
        """Look at a chunk of rows, as a `Watch` of `measure_heads`; none come of windows."""
        distance = torch.linalg.vecdot(patches, _distances(self.layout, part, patches.device))
        self.rows["distance"].append(distance)
        self.rows["peak"].append(patches.amax(-1))
        self.rows["entropy"].append(entropy)
        own = self.chosen[(self.chosen >= part.start) & (self.chosen < part.stop)]
        self.kept.append(patches[:, :, own - part.start].sqrt())
        if self.boxes:
            self.inside += (patches.sum(2) * self.covers[:, None]).sum(-1)

    def best(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Find for each ranking the least cost of a query, and the first query that has it."""
        if self.windowed:
            return {}
        found = {}
        for name, (measure, sign) in RANKINGS.items():
            rows = torch.cat(self.rows[measure], -1).cpu().numpy() * -float(sign)
            query = rows.argmin(-1)  # numpy's is the first of equals
            cost = np.take_along_axis(rows, query[..., None], -1)[..., 0]
            found[name] = (cost, query + len(self.layout.prefix))
        return found

    def roots(self) -> Tensor | None:
        """Square roots of the maps that are compared, (B, H, queries · patches)."""
        return torch.cat(self.kept, 2).flatten(2) if self.kept else None

    def on_object(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute by how much attention exceeds the box's share, of patches and of CLS: (B, H)."""
        nothing = np.full((len(self.covers), self.record.shape[1]), np.nan)
        if not self.boxes:
            return nothing, nothing
        chance = self.covers.mean(-1)[:, None]
        of_patches = (self.inside / self.layout.patches - chance).cpu().numpy()
        if "cls" not in self.layout.prefix:
            return of_patches, nothing
        cls = self.record.weights(queries=self.layout.prefix.index("cls"))[:, :, 0]
        cls = cls[..., self.layout.patch_slice]
        falls = (cls * self.covers[:, None]).sum(-1) / cls.sum(-1).clamp_min(1e-12)
        return of_patches, (falls - chance).cpu().numpy()


def _record(bundle: Bundle, images: Tensor) -> list[AttentionRecord]:
    device = next(bundle.net.parameters()).device
    with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:
        bundle.net(images.to(device))
    return recorder.records


def _lay_heads_apart(record: AttentionRecord) -> AttentionRecord:
    """Copy queries and keys head by head once, which each product of a chunk would do again."""
    if record.query is None or record.grouped_key is None:
        return record
    query, key = record.query.contiguous(), record.grouped_key.contiguous()
    return replace(record, query=query, grouped_key=key, versions={})


def _dominant(found: dict[str, Tensor], layer: ImageLayer, tokens: TokenLayout) -> np.ndarray:
    """Number what each head does most, by picture: (B, H)."""
    windows = layer.record.windows
    layout = TokenLayout(windows.size) if windows else layer.layer.tokens
    scores = score_kinds({name: values.cpu() for name, values in found.items()}, layout)
    return torch.stack([scores[kind] for kind in KINDS]).nan_to_num(-1).numpy().argmax(0)


def _alike(roots: Sequence[Tensor | None], shape: Shape, pictures: int) -> np.ndarray:
    """Compare the maps of each pair of heads: (B, heads, heads).

    The Bhattacharyya coefficient Σ √(p q), the mean over the queries: 1 for equal maps, 0 for maps
    that share no patch (Bhattacharyya 1943). It is one product of matrices, where a divergence
    needs logarithms for each pair. NaN for heads on other grids, or within windows.
    """
    layer_of = np.array([layer for layer, _ in shape.places])
    alike = np.full((pictures, len(layer_of), len(layer_of)), np.nan)
    for grid in dict.fromkeys(shape.grids):
        there = [n for n, own in enumerate(shape.grids) if own == grid and roots[n] is not None]
        maps = [found for n in there if (found := roots[n]) is not None]
        if maps:
            joined = torch.cat(maps, 1)
            queries = len(_spread(grid[0] * grid[1]))
            where = np.flatnonzero(np.isin(layer_of, there))
            alike[:, where[:, None], where] = (
                (joined @ joined.mT / queries).clamp_max(1).cpu().numpy()
            )
    return alike


def _spread(patches: int) -> Tensor:
    """Choose queries evenly."""
    return torch.linspace(0, patches - 1, min(PLACES, patches)).round().long()


def _covers(layout: TokenLayout, boxes: Sequence[tuple[float, ...] | None]) -> Tensor:
    """Compute the share of each patch that the box covers: float32 (B, patches), NaN without."""
    known = torch.tensor([box or (torch.nan,) * 4 for box in boxes])
    covered = box_cover(known, (1.0, 1.0), layout.grid).flatten(1)
    return torch.where(known.isnan().any(1)[:, None], torch.nan, covered).float()


def _distances(layout: TokenLayout, part: slice, device: torch.device) -> Tensor:
    """Compute the pixels from each of the patches `part` to all: float32 (n, patches)."""
    row, column = (torch.arange(layout.patches) // layout.grid[1], torch.arange(layout.patches))
    column = column % layout.grid[1]
    down = (row - row[part, None]) * layout.patch[0]
    across = (column - column[part, None]) * layout.patch[1]
    return (down.square() + across.square()).float().sqrt().to(device)
