"""Look at the rows of one layer's maps while the head measures go through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from model.attribution.metrics.localisation import box_cover
from model.image_layers import ImageLayer
from model.recording.recorder import AttentionRecord
from model.recording.windows import Windows
from model.survey.rankings import RANKINGS
from model.tokens import TokenLayout

PLACES = 16
"""Queries, spread evenly over the grid, from which the maps of two heads are compared."""
Boxes = Sequence[tuple[float, ...] | None]


class LayerRows:
    """Gathers what a survey wants of single rows: the extreme ones, some maps, the object's share.

    Args:
        layer: the layer, of B pictures.
        boxes: of each picture's object, as shares of the part that the model sees; None if unknown.
    """

    def __init__(self, layer: ImageLayer, boxes: Boxes) -> None:
        self.layout = layer.layer.tokens
        self.record = _lay_heads_apart(layer.record)
        self.covers = _covers(self.layout, boxes).to(self.record.device)
        self.boxes = bool((~self.covers.isnan()).any())
        self.chosen = spread_queries(self.layout.patches)
        shape = len(self.covers), self.record.shape[1]
        self.inside = torch.zeros(shape, device=self.record.device)
        self.rows: dict[str, list[Tensor]] = {"distance": [], "peak": [], "entropy": []}
        self.kept: list[Tensor] = []

    def take(self, part: slice, entropy: Tensor, patches: Tensor) -> None:
        """Look at a chunk of rows, as a `Watch` of `measure_heads`."""
        distances = _distances(self.layout, part, patches.device)
        self.rows["distance"].append(torch.linalg.vecdot(patches, distances))
        self.rows["peak"].append(patches.amax(-1))
        self.rows["entropy"].append(entropy)
        own = self.chosen[(self.chosen >= part.start) & (self.chosen < part.stop)]
        self.kept.append(patches[:, :, own - part.start].sqrt())
        if self.boxes:
            self.inside += (patches.sum(2) * self.covers[:, None]).sum(-1)

    def of_queries(self, measure: str) -> Tensor:
        """Return a measure of each query, (B, H, patches)."""
        return torch.cat(self.rows[measure], -1)

    def best(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Find for each ranking the least cost of a query, and the first query that has it."""
        found = {}
        for name, (measure, sign) in RANKINGS.items():
            rows = self.of_queries(measure).cpu().numpy() * -float(sign)
            query = rows.argmin(-1)  # numpy's is the first of equals
            cost = np.take_along_axis(rows, query[..., None], -1)[..., 0]
            found[name] = (cost, query + len(self.layout.prefix))
        return found

    def roots(self) -> Tensor:
        """Square roots of the maps that are compared, (B, H, queries · patches)."""
        return torch.cat(self.kept, 2).flatten(2)

    def on_object(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute by how much attention exceeds the box's share, of patches and of CLS: (B, H)."""
        nothing = np.full(self.inside.shape, np.nan)
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


class WindowRows(LayerRows):
    """The same for a layer that attends within windows; a row is laid out over the whole picture.

    Distances are those between the places of two tokens in the picture. What falls on the padding
    around a picture is left out and the rest of the row sums to one; tokens of the padding are no
    queries. Windows, shifted and cut ones too, divide the picture among them, so a head that
    attends evenly within its windows still gives a box its share of the picture.
    """

    def __init__(self, layer: ImageLayer, boxes: Boxes) -> None:
        super().__init__(layer, boxes)
        assert self.record.windows is not None
        self.windows: Windows = self.record.windows
        count, area = self.windows.count, self.windows.area
        numbers = torch.arange(count * area).view(count, area)
        self.slots = self.windows.join(numbers).flatten()  # where each token of the picture lies
        self.token = torch.full((count * area,), -1)  # of each place in a window; -1 is padding
        self.token[self.slots] = torch.arange(self.layout.patches)
        self.token = self.token.view(count, area)
        self.maps: dict[int, Tensor] = {}

    def take(self, part: slice, entropy: Tensor, patches: Tensor) -> None:
        rows = patches.unflatten(0, (-1, self.windows.count))  # (B, windows, H, n, keys)
        there = (self.token >= 0).to(rows.device)
        if not bool(there.all()):
            rows = rows * there[:, None, None]
            rows = rows / rows.sum(-1, keepdim=True).clamp_min(1e-12)
        distances = self._distances(part).to(rows.device)
        self.rows["distance"].append(torch.linalg.vecdot(rows, distances[:, None]))
        self.rows["peak"].append(rows.amax(-1))
        self.rows["entropy"].append(entropy.unflatten(0, (-1, self.windows.count)))
        if self.boxes:
            of_keys = self.covers[:, self.token.clamp_min(0)] * there
            self.rows.setdefault("object", []).append(
                torch.linalg.vecdot(rows, of_keys[:, :, None, None])
            )
        for query in self.chosen.tolist():
            window, place = divmod(int(self.slots[query]), self.windows.area)
            if part.start <= place < part.stop:
                row = rows[:, window, :, place - part.start]
                self.maps[query] = self._over_the_picture(row, window).sqrt()

    def of_queries(self, measure: str) -> Tensor:
        joined = torch.cat(self.rows[measure], -1).transpose(1, 2)  # (B, H, windows, n)
        return joined.flatten(2)[..., self.slots.to(joined.device)]

    def roots(self) -> Tensor:
        return torch.stack([self.maps[query] for query in self.chosen.tolist()], 2).flatten(2)

    def on_object(self) -> tuple[np.ndarray, np.ndarray]:
        if self.boxes:
            self.inside = self.of_queries("object").sum(-1)
        return super().on_object()

    def _over_the_picture(self, row: Tensor, window: int) -> Tensor:
        """Lay a row of one window out over the picture: (B, H, n) -> (B, H, patches)."""
        token = self.token[window].to(row.device)
        spread = row.new_zeros(*row.shape[:2], self.layout.patches)
        spread[..., token[token >= 0]] = row[..., token >= 0]
        return spread

    def _distances(self, part: slice) -> Tensor:
        """Compute the pixels from each query of `part` to each key: (windows, n, keys)."""
        token = self.token.clamp_min(0)
        columns = self.layout.grid[1]
        down = (token // columns) * float(self.layout.patch[0])
        across = (token % columns) * float(self.layout.patch[1])
        return torch.hypot(
            down[:, None] - down[:, part, None], across[:, None] - across[:, part, None]
        )


def rows_of(layer: ImageLayer, boxes: Boxes) -> LayerRows:
    """Look at the rows of a layer, within windows or over the whole picture."""
    return (WindowRows if layer.record.windows else LayerRows)(layer, boxes)


def spread_queries(patches: int) -> Tensor:
    """Choose queries evenly."""
    return torch.linspace(0, patches - 1, min(PLACES, patches)).round().long()


def _lay_heads_apart(record: AttentionRecord) -> AttentionRecord:
    """Copy queries and keys head by head once, which each product of a chunk would do again."""
    if record.query is None or record.grouped_key is None:
        return record
    query, key = record.query.contiguous(), record.grouped_key.contiguous()
    return replace(record, query=query, grouped_key=key, versions={})


def _covers(layout: TokenLayout, boxes: Boxes) -> Tensor:
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
