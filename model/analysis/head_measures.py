"""Measure an attention head: how far it looks, how widely, and at what.

Every measure is a mean over the patches as queries. It is computed from a chunk of the map's rows
at a time, so no N x N map is ever in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from model.image_layers import fit_layout
from model.recording.record import AttentionRecord, row_by_row
from model.tokens import TokenLayout

MEASURES = (
    "distance",
    "distance_patches",
    "entropy",
    "spread",
    "cls",
    "registers",
    "diagonal",
    "neighbours",
    "row",
    "column",
    "content",
)
KINDS = ("neighbours", "row", "column", "uniform", "cls", "content")
CHUNK = 1 << 20  # attention values in memory at a time
Watch = Callable[[slice, Tensor, Tensor], object]
"""Is told of each chunk of rows: which patches ask, the entropy of their rows (B, H, n), and the
rows' part on patches, renormalised (B, H, n, patches)."""
_BY_OFFSET = ("distance", "distance_patches", "neighbours", "row", "column")


def measure_heads(
    record: AttentionRecord, layout: TokenLayout, watch: Watch | None = None
) -> dict[str, Tensor]:
    """Measure each head of one layer: name of a measure -> float32 (B, H).

    The measures are averaged over the rows of all patches; prefix tokens are no queries here.

    Of the whole row, as the softmax made it:
    - entropy: −Σ a ln a in nats; 0 for a row on one token, ln N for a uniform one;
    - spread: exp(entropy) / N, the share of the tokens that a row spreads over;
    - cls, registers: the weight on the class (and distillation) token, and on registers;
    - diagonal: the weight of a patch on itself.

    Of the patches' part of the row, renormalised to sum to one:
    - distance, distance_patches: Σ a · Euclidean distance from the query, in pixels of the
      prepared image and in patches. This is the "mean attention distance" of Dosovitskiy et al.
      2021, "An Image is Worth 16x16 Words", fig. 7;
    - neighbours: the weight on the up to eight patches around;
    - row, column: the weight on the other patches of the same row, or column;
    - content: the share of the map's variance that the offset between two patches does *not*
      explain, 1 - R². 0: the same pattern around each patch, whatever the photo shows.

    For windowed attention `layout` describes the whole image, and distances stay within windows.
    Where the tokens of a window lie apart (MaxViT's grids), none has neighbours, and its row and
    column are those of the window.
    `watch` sees the rows that are computed here anyway; of a windowed layer, each window comes as
    a picture of its own, (B · windows, H, n, ...).
    Raises ValueError for a layer whose queries or keys are not this layout's tokens.
    """
    windows = record.windows
    if windows is None:
        return _measure_windowless(record, layout, watch)
    if windows.places_by_row is not None:
        return measure_heads(row_by_row(record), layout, watch)
    (height, width), spacing = layout.image_size, windows.spacing
    patch = max(1, height // windows.grid[0]), max(1, width // windows.grid[1])
    pixels = patch[0] * spacing[0], patch[1] * spacing[1]
    inside = _measure_windowless(record, TokenLayout(windows.size, (), pixels), watch)
    if spacing != (1, 1):  # the tokens lie apart, so the next one is no neighbour
        in_patches = _measure_windowless(record, TokenLayout(windows.size, (), spacing))
        inside["distance_patches"] = in_patches["distance"]
        inside["neighbours"] = torch.zeros_like(inside["neighbours"])
    return {
        name: values.unflatten(0, (-1, windows.count)).mean(1) for name, values in inside.items()
    }


def measure_layers(records: Iterable[AttentionRecord], layout: TokenLayout) -> dict[str, Tensor]:
    """Measure each head of each layer, averaged over the batch (see `measure_heads`).

    Args:
        records: one per layer, of the same pass.
        layout: the model's tokens.

    Returns:
        Name of a measure -> float32 (L, H). Layers that do not attend over this layout's tokens,
        nor over a coarser grid of the same picture, are left out. NaN where a layer has fewer
        heads than the widest.

    >>> from model.recording.recorder import AttentionRecorder
    >>> from model.vit import build
    >>> net = build("vit", img_size=32, patch_size=8, dim=12, depth=2, heads=3, num_classes=5)
    >>> with torch.no_grad(), AttentionRecorder(net.eval()) as recorder:
    ...     _ = net(torch.rand(1, 3, 32, 32))
    >>> measures = measure_layers(recorder.records, net.tokens)
    >>> measures["distance"].shape, tuple(measures) == MEASURES
    (torch.Size([2, 3]), True)
    """
    found = ((record, _layout_of(record, layout)) for record in records)
    layers = [measure_heads(record, own) for record, own in found if own is not None]
    heads = max((layer["entropy"].shape[1] for layer in layers), default=0)
    table = torch.full((len(MEASURES), len(layers), heads), torch.nan)
    for index, layer in enumerate(layers):
        values = torch.stack([layer[name] for name in MEASURES])  # (measures, B, H)
        table[:, index, : values.shape[2]] = values.mean(1).cpu()
    return dict(zip(MEASURES, table, strict=True))


def _layout_of(record: AttentionRecord, layout: TokenLayout) -> TokenLayout | None:
    """The layout of a layer's tokens; None where it does not attend from patch to patch."""
    if record.windows:
        return layout
    if record.kind != "self" or record.shape[2] != record.shape[3]:
        return None
    return fit_layout(record.shape[2], layout)


class RunningMean:
    """Average the measures of many photos, in the memory of one."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, Tensor] = {}

    def add(self, measures: dict[str, Tensor], photos: int = 1) -> None:
        """Add measures that are the mean over so many photos."""
        self.count += photos
        for name, values in measures.items():
            total = values.double() * photos
            self._sums[name] = self._sums[name] + total if name in self._sums else total

    def mean(self) -> dict[str, Tensor]:
        """Return the mean so far, float32 (L, H) each. Raises ValueError before the first photo."""
        if not self.count:
            raise ValueError("There is no mean of no photos: add one first.")
        return {name: (total / self.count).float() for name, total in self._sums.items()}


def chance_measures(layout: TokenLayout) -> dict[str, float]:
    """Compute each measure for a head that attends to all tokens equally."""
    patches, tokens = layout.patches, layout.tokens
    means = _offset_counts(layout).double() @ _offset_values(layout).double() / patches**2
    values = dict(zip(_BY_OFFSET, means.tolist(), strict=True))
    registers = sum(name.startswith("reg") for name in layout.prefix)
    return values | {
        "entropy": float(torch.tensor(tokens, dtype=torch.float64).log()),
        "spread": 1.0,
        "cls": (len(layout.prefix) - registers) / tokens,
        "registers": registers / tokens,
        "diagonal": 1 / tokens,
        "content": 0.0,
    }


def score_kinds(
    measures: dict[str, Tensor], layouts: TokenLayout | Sequence[TokenLayout]
) -> dict[str, Tensor]:
    """Score how strongly each head is of each kind in KINDS: kind -> (L, H), from 0 to 1.

    Shares are counted above a uniform head's, (share - chance) / (1 - chance): 0 is chance
    and 1 means that the head does nothing else. "uniform" is the spread. "content" is the part
    that position does not explain, for heads that are not uniform.
    `layouts`: one for all layers, or one per layer where their tokens differ (for windowed layers,
    the tokens of one window).
    """
    layers = len(measures["spread"])
    if isinstance(layouts, TokenLayout):
        layouts = [layouts] * layers
    by_layout = {layout: chance_measures(layout) for layout in set(layouts)}
    scores = {}
    for kind in ("neighbours", "row", "column", "cls"):
        chance = torch.tensor([[by_layout[layout][kind]] for layout in layouts])
        chance = chance.clamp_max(1 - 1e-6)
        scores[kind] = ((measures[kind] - chance) / (1 - chance)).clamp_min(0)
    scores["uniform"] = measures["spread"]
    patches_only = 1 - measures["cls"] - measures["registers"]
    scores["content"] = measures["content"] * (1 - measures["spread"]) * patches_only
    return {kind: scores[kind] for kind in KINDS}


def dominant_kind(scores: dict[str, Tensor]) -> list[list[str | None]]:
    """Name the kind with the highest score, by layer and head; None where nothing was measured."""
    stacked = torch.stack([scores[kind] for kind in KINDS])
    best = stacked.nan_to_num(-1).argmax(0)
    return [
        [
            None if stacked[0, layer, head].isnan() else KINDS[best[layer, head]]
            for head in range(best.shape[1])
        ]
        for layer in range(best.shape[0])
    ]


# -- one layer ----------------------------------------------------------------------------------


def _measure_windowless(
    record: AttentionRecord, layout: TokenLayout, watch: Watch | None = None
) -> dict[str, Tensor]:
    batch, heads, queries, keys = record.shape
    if queries != layout.tokens or keys != layout.tokens:
        raise ValueError(
            f"{record.name} attends from {queries} to {keys} tokens, and the image has "
            f"{layout.tokens}: its heads have no distances on this grid."
        )
    first, patches = len(layout.prefix), layout.patches
    entropy, diagonal = (torch.zeros(batch, heads, device=record.device) for _ in range(2))
    prefix = torch.zeros(batch, heads, first, device=record.device)
    squares = torch.zeros(batch, heads, device=record.device)
    by_offset = torch.zeros(batch, heads, _offset_count(layout), device=record.device)

    for part in _chunks(patches, batch * heads * keys):
        rows = record.weights(queries=slice(first + part.start, first + part.stop))
        # The rows' least values would be denormal; ln(1e-30) times them is zero all the same.
        of_rows = -torch.linalg.vecdot(rows, rows.clamp_min(1e-30).log_())
        entropy += of_rows.sum(-1)
        prefix += rows[..., :first].sum(2)
        own = torch.arange(part.start, part.stop, device=rows.device)
        diagonal += rows[:, :, own - part.start, first + own].sum(-1)

        rows = rows[..., first:]
        rows = rows / rows.sum(-1, keepdim=True).clamp_min(1e-12) if first else rows
        if watch:
            watch(part, of_rows, rows)
        squares += torch.linalg.vecdot(rows, rows).sum(-1)
        offsets = _offsets(layout, part.start, part.stop).to(rows.device)
        by_offset.index_add_(-1, offsets, rows.flatten(2))

    means = by_offset @ _offset_values(layout).to(by_offset.device) / patches
    named = dict(zip(_BY_OFFSET, means.unbind(-1), strict=True))
    entropy = (entropy / patches).clamp_min(0)
    registers = [name.startswith("reg") for name in layout.prefix]
    shares = prefix / patches
    return named | {
        "entropy": entropy,
        "spread": entropy.exp() / keys,
        "cls": shares[..., [not is_register for is_register in registers]].sum(-1),
        "registers": shares[..., registers].sum(-1),
        "diagonal": diagonal / patches,
        "content": _unexplained(by_offset, squares, layout),
    }


def _unexplained(by_offset: Tensor, squares: Tensor, layout: TokenLayout) -> Tensor:
    """Compute 1 - R² of a map explained by offsets: (B, H, offsets) and (B, H) -> (B, H)."""
    patches = layout.patches
    counts = _offset_counts(layout).to(by_offset.device)
    # Rows sum to one, so the mean of all values is 1 / N, and N² values squared make 1.
    total = (squares - 1.0).clamp_min(0)
    explained = (by_offset.square() / counts).sum(-1) - 1.0
    share = 1 - explained / total.clamp_min(1e-12)
    # A map that is flat has no variance to explain, only rounding.
    return torch.where(total > 1e-6 * patches, share.clamp(0, 1), torch.zeros_like(share))


# -- the grid -----------------------------------------------------------------------------------


def _chunks(rows: int, values_a_row: int) -> Iterable[slice]:
    step = max(1, CHUNK // values_a_row)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _row_and_column_offsets(layout: TokenLayout, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Count rows and columns from the patches start ... stop - 1 to all: (stop - start, N) each."""
    rows, columns = layout.grid
    index = torch.arange(rows * columns)
    row, column = index // columns, index % columns
    return row - row[start:stop, None], column - column[start:stop, None]


@lru_cache(maxsize=4)
@torch.inference_mode(False)  # a cached tensor must also serve callers outside inference mode
def _offsets(layout: TokenLayout, start: int, stop: int) -> Tensor:
    """Number the offset from each query to each key, flat (n · N,)."""
    down, across = _row_and_column_offsets(layout, start, stop)
    rows, columns = layout.grid
    return ((down + rows - 1) * (2 * columns - 1) + across + columns - 1).flatten()


def _offset_count(layout: TokenLayout) -> int:
    rows, columns = layout.grid
    return (2 * rows - 1) * (2 * columns - 1)


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def _offset_counts(layout: TokenLayout) -> Tensor:
    """Count the pairs of patches at each offset: float32 (offsets,)."""
    rows, columns = layout.grid
    down = rows - torch.arange(1 - rows, rows).abs()
    across = columns - torch.arange(1 - columns, columns).abs()
    return (down[:, None] * across).flatten().float()


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def _offset_values(layout: TokenLayout) -> Tensor:
    """Weigh each offset in the measures of _BY_OFFSET: float32 (offsets, k)."""
    rows, columns = layout.grid
    height, width = layout.patch
    down = torch.arange(1 - rows, rows).repeat_interleave(2 * columns - 1)
    across = torch.arange(1 - columns, columns).repeat(2 * rows - 1)
    patches = torch.hypot(down.float(), across.float())
    pixels = torch.hypot(down.float() * height, across.float() * width)
    near = (down.abs() <= 1) & (across.abs() <= 1) & (patches > 0)
    same_row, same_column = (down == 0) & (across != 0), (across == 0) & (down != 0)
    return torch.stack([pixels, patches, near, same_row, same_column], dim=-1).float()
