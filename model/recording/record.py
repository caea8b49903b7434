"""One attention call as it happened, and the rows of its map on demand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from model.recording.origin import Origin, version_of
from model.recording.windows import Windows

Selection = int | slice | Sequence[int] | Tensor | None

HELD = ("query", "grouped_key", "map", "mask", "value", "anchor")  # tensors of a record
CHUNK = 1 << 21  # scores computed at a time, 8 MiB: less wastes threads, more wastes cache


@dataclass(eq=False)
class AttentionRecord:
    """softmax(Q Kᵀ · scale + bias) of one call: B images, H heads, Q queries, K keys.

    It holds the tensors that the model itself used, not copies, so whatever is computed from
    them is differentiable with respect to the model's parameters and input where the model ran
    with gradients on. A model that writes into them later (dropout in place) is noticed when they
    are read. `query` and `key` are None where the model wrote its own softmax; the
    finished `map` is kept then.
    """

    name: str  # of the module that attended, as in net.named_modules()
    kind: str  # "self" | "cross"
    shape: tuple[int, int, int, int]  # (B, H, Q, K)
    query: Tensor | None = None  # (B, H, Q, d)
    grouped_key: Tensor | None = None  # (B, H / group, K, d): grouped heads share a key
    scale: float = 1.0
    mask: Tensor | None = None  # broadcasts to shape: bool (True: may look) or added to scores
    causal: bool = False  # query i sees keys 0 ... i only
    map: Tensor | None = None  # (B, H, Q, K)
    windows: Windows | None = None  # where B counts the windows of B / windows.count images
    value: Tensor | None = None  # (B, H / group, K, d'), kept where gradients flow
    anchor: Tensor | None = None  # see map_gradient; kept where gradients flow
    order: tuple[int, ...] | None = None  # of the model's dimensions, where ours is another
    origin: Origin = field(default_factory=Origin)
    versions: dict[str, int | None] | None = None  # of the tensors, when they were recorded

    def __post_init__(self) -> None:
        if self.versions is None:
            held = {name: getattr(self, name) for name in HELD}
            self.versions = {k: version_of(t) for k, t in held.items() if t is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy has tensors that count from zero."""
        vars(self).update(state, versions=None)
        self.__post_init__()

    @property
    def key(self) -> Tensor | None:
        """(B, H, K, d); heads that share a key (grouped-query attention) repeat it."""
        return None if self.grouped_key is None else _ungroup(self.grouped_key, self.shape[1])

    @property
    def bias(self) -> Tensor | None:
        """What is added to the scores, float32 (B or 1, H or 1, Q, K); None if nothing.

        Where a query may not look it is -inf, whether by a mask or by causality.
        """
        if self.map is not None or (self.mask is None and not self.causal):
            return None
        rows, columns = self.shape[2:]
        bias = torch.zeros(1, 1, rows, columns, device=self.device)
        return self._add_bias(bias, self.mask, torch.arange(rows, device=self.device))

    @property
    def device(self) -> torch.device:
        return self.tensors()[0].device

    @property
    def nbytes(self) -> int:
        """Bytes of memory that this record keeps alive."""
        return storage_bytes(self.tensors())

    def tensors(self) -> list[Tensor]:
        """Every tensor that is held."""
        held = (getattr(self, name) for name in HELD)
        return [tensor for tensor in held if tensor is not None]

    def weights(self, heads: Selection = None, queries: Selection = None) -> Tensor:
        """Rows of the map, float32 (B, h, q, K); only what is asked for is computed.

        `heads` and `queries` are an index, a slice or a sequence of indices; None is all. Each
        row sums to one, but for a query that may look nowhere, which gets zeros, as in
        `scaled_dot_product_attention`. Raises IndexError where there is no such head or query,
        and RuntimeError where the model has written into what was recorded.
        """
        self._refuse_changed("query", "grouped_key", "map", "mask")
        heads = _selection(heads, self.shape[1], "head", self.device)
        queries = _selection(queries, self.shape[2], "query", self.device)
        if self.map is not None:
            return self._summing_to_one(self.map[:, heads][:, :, queries].float())
        query = self.query[:, heads][:, :, queries]
        key = self.key[:, heads].float()
        mask = None if self.mask is None else _pick(self.mask, heads, queries)
        positions = torch.arange(self.shape[2], device=self.device)[queries]

        batch, count, rows, _ = query.shape
        step = rows_at_a_time(batch * count * self.shape[3], self.device)
        if rows <= step:
            return self._rows(query, key, mask, positions)
        weights = key.new_empty(batch, count, rows, self.shape[3])
        for start in range(0, rows, step):
            part = slice(start, start + step)
            masked = None if mask is None else _pick(mask, slice(None), part)
            weights[:, :, part] = self._rows(query[:, :, part], key, masked, positions[part])
        return weights

    def map_gradient(
        self, gradient: Tensor, heads: Selection = None, queries: Selection = None
    ) -> Tensor:
        """∂y/∂A, float32 (B, h, q, K), from `gradient` = ∂y/∂anchor, where

            gradients = torch.autograd.grad(logit, [record.anchor for record in records])

        A fused kernel has no A in its graph, and needs none: its output is O = A V, so
        ∂y/∂A = ∂y/∂O Vᵀ, row by row. The anchor is O there, and A where the model made a map.
        Exact unless dropout is active inside the fused call. Raises ValueError where the model
        ran without gradients, and RuntimeError where it has written into what was recorded.
        """
        if self.anchor is None:
            raise ValueError(
                f"{self.name} ran without gradients: run the net outside no_grad and "
                "inference_mode, on an input or with parameters that require them."
            )
        heads = _selection(heads, self.shape[1], "head", self.device)
        queries = _selection(queries, self.shape[2], "query", self.device)
        self._refuse_changed("anchor", "value")
        gradient = self.arranged(gradient)[:, heads][:, :, queries].float()
        if self.map is not None:
            return gradient
        with torch.autocast(self.device.type, enabled=False):
            return gradient @ _ungroup(self.value, self.shape[1])[:, heads].float().mT

    def arranged(self, gradient: Tensor) -> Tensor:
        """∂y/∂anchor as the model has it -> (B, H, Q, d), or (B, H, Q, K) of a finished map."""
        gradient = gradient if self.order is None else gradient.permute(self.order)
        return gradient.reshape(*self.shape[:3], -1)

    def _summing_to_one(self, rows: Tensor) -> Tensor:
        """Rows of the map. In inference mode, only their sums tell whether they are changed."""
        if self.map.is_inference() and ((rows.sum(-1) - 1).abs() > 0.05).any():
            raise RuntimeError(_CHANGED.format(self.name, "map"))
        return rows

    def _refuse_changed(self, *names: str) -> None:
        for name in names:
            tensor = getattr(self, name)
            if tensor is not None and version_of(tensor) != self.versions[name]:
                raise RuntimeError(_CHANGED.format(self.name, name))

    def _rows(self, query: Tensor, key: Tensor, mask: Tensor | None, positions: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            scores = (query.float() * self.scale) @ key.mT
        if mask is None and not self.causal:
            return scores.softmax(-1)
        scores = self._add_bias(scores, mask, positions)
        nowhere = scores.amax(-1, keepdim=True) == -torch.inf
        return scores.softmax(-1).masked_fill(nowhere, 0.0)

    def _add_bias(self, scores: Tensor, mask: Tensor | None, positions: Tensor) -> Tensor:
        if self.causal:
            later = torch.arange(self.shape[3], device=scores.device) > positions[:, None]
            scores = scores.masked_fill(later, -torch.inf)
        if mask is None:
            return scores
        if mask.dtype == torch.bool:
            return torch.where(mask, scores, -torch.inf)
        return scores + mask.float()


_CHANGED = (
    "The model has written into the {1} of {0} after it attended, so what was recorded is lost. "
    "Let it write into a copy; or where it is dropout with inplace=True, record in eval mode."
)


def rows_at_a_time(width: int, device: torch.device) -> int:
    """How many rows of `width` scores to compute at once; a GPU wants more to do at a time."""
    return max(1, (CHUNK if device.type == "cpu" else 32 * CHUNK) // width)


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes behind the tensors; memory that several of them share counts once."""
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def _ungroup(tensor: Tensor, heads: int) -> Tensor:
    """(B, H / group, K, d) -> (B, H, K, d)"""
    group = heads // tensor.shape[1]
    return tensor if group == 1 else tensor.repeat_interleave(group, dim=1)


def _pick(mask: Tensor, heads: slice | Tensor, queries: slice | Tensor) -> Tensor:
    """The mask's part for these heads and queries; a side of 1 goes on to stand for all."""
    mask = mask[(None,) * (4 - mask.ndim)]
    mask = mask if mask.shape[2] == 1 else mask[:, :, queries]
    return mask if mask.shape[1] == 1 else mask[:, heads]


def _selection(chosen: Selection, size: int, what: str, device: torch.device) -> slice | Tensor:
    """An index that keeps its dimension; IndexError where it points outside."""
    if chosen is None:
        return slice(None)
    if isinstance(chosen, slice):
        return chosen if (chosen.step or 1) > 0 else torch.arange(size)[list(range(size))[chosen]]
    index = torch.as_tensor(chosen, dtype=torch.long, device=device).reshape(-1)
    outside = index[(index < -size) | (index >= size)]
    if outside.numel():
        raise IndexError(f"There is no {what} {int(outside[0])}: the map has {size} of them.")
    return index % size


def attention_in_image(
    record: AttentionRecord, row: int, column: int, heads: Selection = None
) -> Tensor:
    """Where the token at (row, column) looks: float32 (B, h, rows, columns).

    Zero outside the token's window. Sums to one, less what falls on padding, which some models
    let their tokens look at. Raises ValueError for a layer without windows and IndexError for
    a token outside the grid.
    """
    windows = record.windows
    if windows is None:
        raise ValueError(f"{record.name} attends over the whole image: it has no windows.")
    window, place = windows.locate(row, column)
    weights = record.weights(heads, place).unflatten(0, (-1, windows.count))
    row_of_window = weights[:, window, :, 0]  # (B, h, n)
    spread = row_of_window.new_zeros(*row_of_window.shape[:2], windows.count, windows.area)
    spread[:, :, window] = row_of_window
    return windows.join(spread)
