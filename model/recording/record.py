"""One recorded attention call, and rows of its map on demand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from model.recording.dimensions import Arrangement
from model.recording.origin import Origin, version_of
from model.recording.windows import Windows

Selection = int | slice | Sequence[int] | Tensor | None

HELD = (
    "query",
    "grouped_key",
    "map",
    "softmax_map",
    "mask",
    "value",
    "anchor",
)  # tensors of a record
CHUNK = 1 << 21  # scores computed at a time, 8 MiB: less wastes threads, more wastes cache


@dataclass(eq=False)
class AttentionRecord:
    """One attention call, kept so that rows of softmax(Q Kᵀ · scale + bias) can be computed.

        >>> import torch
        >>> from model import AttentionRecorder
        >>> from model.vit import build
        >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3).eval()
        >>> with AttentionRecorder(net) as recorder:
        ...     logits = net(torch.randn(1, 3, 32, 32))
        >>> record = recorder.records[-1]
        >>> record.name, record.kind, record.shape
        ('blocks.1.attention', 'self', (1, 3, 5, 5))
        >>> weights = record.weights(heads=[0, 2], queries=0)  # from the class token, two heads
        >>> weights.shape
        torch.Size([1, 2, 1, 5])

    A recorder makes the records. They hold the tensors that the model itself used, not copies, so
    everything computed from them can be differentiated with respect to the model's parameters and
    input where the model ran with gradients on. When the model writes into these tensors later
    (dropout in place), reading them raises RuntimeError.
    """

    name: str
    """Name of the module that attended, as in `net.named_modules()`."""
    kind: str
    """"self" where the tokens attend to themselves, "cross" where to another sequence."""
    shape: tuple[int, int, int, int]
    """Shape of the map, (B, H, Q, K): images, heads, queries, keys."""
    query: Tensor | None = None
    """Queries (B, H, Q, d); None where the model wrote its own softmax and `map` is kept."""
    grouped_key: Tensor | None = None
    """Keys (B, H / group, K, d), where the heads of a group share a key; None as for `query`."""
    scale: float = 1.0
    """Factor of the scores before the softmax."""
    mask: Tensor | None = None
    """Broadcasts to `shape`: booleans, True where a query attends, or floats added to scores."""
    causal: bool = False
    """Whether query i attends to keys 0 ... i only."""
    map: Tensor | None = None
    """Finished map (B, H, Q, K) of a model that wrote its own softmax."""
    windows: Windows | None = None
    """Windows of the layer, for which B counts the windows of B / `windows.count` images."""
    ordered: bool = True
    """Whether the tokens stand row by row, or as `windows` tell; False where the model keeps an
    order of its own (Hiera, where it pools the queries)."""
    value: Tensor | None = None
    """Values (B, H / group, K, d'), kept where gradients flow."""
    softmax_map: Tensor | None = None
    """(B, H, Q, K), where the model changes its softmax before it multiplies the values: talking
    heads, a gate, the difference of two. `map` is then what multiplies them. It has more keys than
    `map` where columns are cut off, such as an attention sink's (`sinks`)."""
    anchor: Tensor | None = None
    """Tensor of the model to differentiate for `map_gradient`; kept where gradients flow."""
    arrangement: Arrangement | None = None
    """Way from the model's order of dimensions to (B, H, Q, ...); None: the same."""
    origin: Origin = field(default_factory=Origin)
    """Forward pass and module calls that the record comes from."""
    versions: dict[str, int | None] = field(default_factory=dict)
    """Version counters of the tensors at the time of recording."""

    def __post_init__(self) -> None:
        if not self.versions:
            self._count_versions()

    def _count_versions(self) -> None:
        own, versions = self.__dict__, {}
        for name in HELD:  # each attention call pays for this
            if (tensor := own[name]) is not None:
                versions[name] = version_of(tensor)
        self.versions = versions

    def amend(
        self, map: Tensor, acting: Tensor, arrangement: Arrangement | None, changed: bool
    ) -> None:
        """Hold another map (B, H, Q, K), the one that multiplies the values.

        `acting` is the model's own tensor of it, which `arrangement` arranges; `changed` tells that
        its values are not those of the softmax.
        """
        batch, heads, queries, keys = map.shape
        self.shape = (batch, heads, queries, keys)
        self.softmax_map = self.map if changed else None
        self.map, self.arrangement = map, arrangement
        self.anchor = acting if acting.requires_grad else None
        self._count_versions()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, whose tensors count from zero again."""
        vars(self).update(state, versions={})
        self.__post_init__()

    @property
    def key(self) -> Tensor | None:
        """Keys of every head (B, H, K, d); heads that share one (grouped queries) repeat it."""
        return None if self.grouped_key is None else _ungroup(self.grouped_key, self.shape[1])

    @property
    def bias(self) -> Tensor | None:
        """Bias of the scores, float32 (B or 1, H or 1, Q, K); None where there is none.

        It is -inf where a query may not attend, by a mask or by causality.
        """
        if self.map is not None or (self.mask is None and not self.causal):
            return None
        rows, columns = self.shape[2:]
        bias = torch.zeros(1, 1, rows, columns, device=self.device)
        return self._add_bias(bias, self.mask, torch.arange(rows, device=self.device))

    @property
    def device(self) -> torch.device:
        """Device of the recorded tensors."""
        return self.tensors()[0].device

    @property
    def nbytes(self) -> int:
        """Bytes of memory that this record keeps alive."""
        return storage_bytes(self.tensors())

    @property
    def parts(self) -> int | None:
        """How many parts of each image are counted as images: windows, frames or crops.

        None where the number of images is not known. Where the parts lie, only `windows` tell.
        """
        if len(self.origin.batches) != 1 or self.shape[0] % self.origin.batches[0]:
            return None
        return self.shape[0] // self.origin.batches[0]

    @property
    def sinks(self) -> int:
        """Number of columns of the softmax that multiply no values, such as attention sinks.

        Rows of `weights` sum to less than one then: the rest falls on these columns, which stand in
        `softmax`.
        """
        return 0 if self.softmax_map is None else self.softmax_map.shape[-1] - self.shape[-1]

    def tensors(self) -> list[Tensor]:
        """List the tensors that this record keeps alive."""
        held = (getattr(self, name) for name in HELD)
        return [tensor for tensor in held if tensor is not None]

    def weights(self, heads: Selection = None, queries: Selection = None) -> Tensor:
        """Compute rows of the map.

        Args:
            heads: an index, a slice or a sequence of indices; None for all heads.
            queries: the same for the queries.

        Returns:
            float32 (B, h, q, K). Each row sums to one, to less where the layer has `sinks`; a query
            that may attend to nothing gets zeros, as in `scaled_dot_product_attention`.

        Raises:
            IndexError: where there is no such head or query.
            RuntimeError: where the model has written into the recorded tensors.
        """
        self._refuse_changed("query", "grouped_key", "map", "mask")
        heads = _selection(heads, self.shape[1], "head", self.device)
        queries = _selection(queries, self.shape[2], "query", self.device)
        if self.map is not None:
            return self._checked_rows(self.map, self.map[:, heads][:, :, queries].float())
        query, key = self.query, self.key
        assert query is not None and key is not None, "a record without a map has both"
        query, key = query[:, heads][:, :, queries], key[:, heads].float()
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

    def softmax(self, heads: Selection = None, queries: Selection = None) -> Tensor:
        """Compute rows of the softmax itself, float32 (B, h, q, K); each sums to one.

        They are the rows of `weights`, except where the model changes the map between its softmax
        and the values (`softmax_map`). Raises IndexError and RuntimeError as `weights` does.
        """
        if self.softmax_map is None:
            return self.weights(heads, queries)
        self._refuse_changed("softmax_map")
        heads = _selection(heads, self.softmax_map.shape[1], "head", self.device)
        queries = _selection(queries, self.softmax_map.shape[2], "query", self.device)
        return self.softmax_map[:, heads][:, :, queries].float()

    def map_gradient(
        self, gradient: Tensor, heads: Selection = None, queries: Selection = None
    ) -> Tensor:
        """Compute the gradient ∂y/∂A of an output y with respect to rows of the map A.

            >>> import torch
            >>> from model import AttentionRecorder
            >>> from model.vit import build
            >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3).eval()
            >>> with AttentionRecorder(net) as recorder:
            ...     logits = net(torch.randn(1, 3, 32, 32))
            >>> anchors = [record.anchor for record in recorder.records]
            >>> gradients = torch.autograd.grad(logits[0, 7], anchors)
            >>> recorder.records[0].map_gradient(gradients[0]).shape
            torch.Size([1, 3, 5, 5])

        A fused kernel has no A in its graph. Its output is O = A V, so ∂y/∂A = ∂y/∂O Vᵀ, row by
        row: the anchor is O there, and A itself where the model wrote its own softmax. The result
        is exact unless dropout is active inside the fused call.

        Args:
            gradient: ∂y/∂anchor, shaped like the anchor.
            heads: an index, a slice or a sequence of indices; None for all heads.
            queries: the same for the queries.

        Returns:
            float32 (B, h, q, K).

        Raises:
            IndexError: where there is no such head or query.
            RuntimeError: where the model has written into the recorded tensors.
            ValueError: where the model ran without gradients.
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
        assert self.value is not None, "a fused record with an anchor has its values"
        with torch.autocast(self.device.type, enabled=False):
            return gradient @ _ungroup(self.value, self.shape[1])[:, heads].float().mT

    def arranged(self, gradient: Tensor) -> Tensor:
        """Reorder a gradient of the anchor to (B, H, Q, d), or (B, H, Q, K) for a finished map."""
        gradient = gradient if self.arrangement is None else self.arrangement.apply(gradient)
        return gradient.reshape(*self.shape[:3], -1)

    def _checked_rows(self, map: Tensor, rows: Tensor) -> Tensor:
        """Return rows of a map, checked: in inference mode, only their sums show a change.

        A map that the model itself changed after its softmax need not sum to one.
        """
        sums_to_one = map.is_inference() and self.softmax_map is None
        if sums_to_one and ((rows.sum(-1) - 1).abs() > 0.05).any():
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
    """Count the rows of `width` scores to compute at once: more on a GPU."""
    return max(1, (CHUNK if device.type == "cpu" else 32 * CHUNK) // width)


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Sum the bytes behind the tensors; memory that several of them share counts once."""
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def _ungroup(tensor: Tensor, heads: int) -> Tensor:
    """(B, H / group, K, d) -> (B, H, K, d)"""
    group = heads // tensor.shape[1]
    return tensor if group == 1 else tensor.repeat_interleave(group, dim=1)


def _pick(mask: Tensor, heads: slice | Tensor, queries: slice | Tensor) -> Tensor:
    """Cut out the mask for these heads and queries; a dimension of 1 still stands for all."""
    mask = mask[(None,) * (4 - mask.ndim)]
    mask = mask if mask.shape[2] == 1 else mask[:, :, queries]
    return mask if mask.shape[1] == 1 else mask[:, heads]


def _selection(chosen: Selection, size: int, what: str, device: torch.device) -> slice | Tensor:
    """Make an index that keeps its dimension; IndexError where it points outside."""
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
    """Lay the attention of one token of a windowed layer out over the whole image.

    Args:
        record: a record with windows.
        row: row of the token in the layer's grid.
        column: its column.
        heads: an index, a slice or a sequence of indices; None for all heads.

    Returns:
        float32 (B, h, rows, columns), zero outside the token's window. It sums to one, less the
        attention that falls on padding, to which some models let their tokens attend.

    Raises:
        ValueError: for a layer without windows.
        IndexError: for a token outside the grid.
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


def row_by_row(record: AttentionRecord) -> AttentionRecord:
    """Bring the tokens of each window into rows, where the model keeps another order (Hiera).

    A record in that order already is returned as it is. The copy has no `anchor`; where one window
    holds the whole grid, it has no `windows` either.
    """
    windows = record.windows
    places = None if windows is None else windows.places_by_row
    if windows is None or places is None or record.causal:
        return record
    index = torch.tensor(places, device=record.device)
    held = {name: getattr(record, name) for name in ("query", "grouped_key", "value")}
    held = {name: tensor[:, :, index] for name, tensor in held.items() if tensor is not None}
    for name in ("map", "softmax_map", "mask"):
        if (tensor := getattr(record, name)) is not None:
            for dim in (-2, -1):
                if tensor.shape[dim] > 1:
                    tensor = tensor.index_select(dim, index)
            held[name] = tensor
    plain = None if windows.count == 1 else Windows(windows.grid, windows.size)
    return replace(record, **held, windows=plain, anchor=None, versions={})
