"""Run one picture through a model and compute the map of any layer from any token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.bundle import Bundle
from model.image_layers import Layer, image_layers, name_others, name_skipped
from model.recording.record import attention_in_image
from model.recording.recorder import AttentionRecord, AttentionRecorder
from model.recording.rollout import explain_no_rollout
from model.tokens import TokenLayout

TOP_CLASSES = 5


@dataclass(frozen=True)
class RecordedImage:
    """An image with its attention records and the model's answer, as `record_image` makes it."""

    records: list[AttentionRecord]
    """One record for each layer that attends within the image, in running order."""
    layers: list[Layer]
    """Heads and tokens of each of these layers."""
    numbers: tuple[int, ...]
    """Their numbers among the model's layers, counted from zero."""
    whole: bool
    """Whether all layers were recorded, as rollout needs."""
    frame: Image.Image
    """The part of the picture that the model saw."""
    guesses: list[tuple[str, float]]
    """The likeliest classes with their probabilities; empty for a model without classes."""
    not_recorded: str | None = field(default=None, kw_only=True)
    """Names the softmaxes that were seen and not recorded, in a sentence; None without any."""
    not_shown: str | None = field(default=None, kw_only=True)
    """Names the layers that were recorded and do not attend from patch to patch, likewise."""
    skipped: str | None = field(default=None, kw_only=True)
    """Name of the first layer that is not shown and ran before the last one shown; None without."""
    answer: np.ndarray | None = field(default=None, kw_only=True)
    """The probability of every class, (classes,) float32; None for a model without classes."""

    @property
    def head_counts(self) -> list[int]:
        """Number of heads of each layer."""
        return [layer.heads for layer in self.layers]

    @property
    def heads(self) -> int:
        """The largest number of heads in a layer."""
        return max(self.head_counts)

    @property
    def windowed(self) -> bool:
        """Whether some layer attends within windows, or on a grid of its own."""
        grids = {grid for layer in self.layers for grid in (layer.tokens, layer.keys) if grid}
        return len(grids) > 1 or any(record.windows for record in self.records)

    @property
    def no_rollout(self) -> str | None:
        """Why rollout is not defined for what was recorded, in a sentence; None where it is."""
        if self.windowed:
            return (
                "Rollout multiplies the maps of all layers, so each map must speak of the same "
                f"tokens. In this model {self._where_tokens_differ()}: rollout is not defined for "
                "it. Look at its layers one by one."
            )
        if not self.whole:
            return (
                "Rollout goes through every layer, and only some of this model's are recorded: "
                "record all of them."
            )
        if self.skipped:
            return (
                "Rollout goes through every layer, and this model has others before or between "
                f"those shown here, such as {self.skipped}: what they move would be left out. Look "
                "at its layers one by one."
            )
        return explain_no_rollout(self.records)

    def _where_tokens_differ(self) -> str:
        for record in self.records:
            if windows := record.windows:
                rows, columns = windows.size
                return f"{record.name} attends within windows of {columns} x {rows} tokens"
        for record, layer in zip(self.records, self.layers, strict=True):
            if layer.keys:
                rows, columns = layer.keys.grid
                return f"{record.name} looks at a grid of its own, {columns} x {rows}"
        for record, layer in zip(self.records, self.layers, strict=True):
            first = self.layers[0].tokens
            if layer.tokens != first:
                return (
                    f"the first layer has {first.tokens:,} tokens, and {record.name} has "
                    f"{layer.tokens.tokens:,}"
                )
        return "the layers differ in their tokens"

    def rows(self, query: int) -> np.ndarray:
        """Compute every head's attention from one token: (layers, heads, tokens) float32.

        For models whose layers share their tokens. A layer with fewer heads than the widest
        has zeros in their place.
        """
        out = np.zeros((len(self.records), self.heads, self.layers[0].tokens.tokens), np.float32)
        for layer, record in enumerate(self.records):
            row = record.weights(queries=[query])[0, :, 0]
            out[layer, : len(row)] = row.numpy()
        return out

    def prefix_shares(self, layer: int, query: int) -> np.ndarray:
        """Compute every head's attention from one place to each prefix token of a layer.

        Token `query` of layer `layer` names the place.

        Returns:
            (layers, heads, prefix tokens) float32; zero for a layer that lacks such a token.
        """
        here = self.layers[layer].tokens
        out = np.zeros((len(self.records), self.heads, len(here.prefix)), np.float32)
        for index, (record, each) in enumerate(zip(self.records, self.layers, strict=True)):
            if each.tokens.prefix == here.prefix:
                token = find_same_place(query, here, each.tokens)
                row = record.weights(queries=[token])[0, :, 0, : len(here.prefix)]
                out[index, : len(row)] = row.numpy()
        return out

    def layer_maps(self, layer: int, query: int) -> np.ndarray:
        """Compute one layer's maps from one of its tokens, as the function `layer_maps`."""
        return layer_maps(self.records[layer], self.layers[layer].tokens, query)

    def maps(self, layer: int, query: int) -> np.ndarray:
        """Compute every head's map from one place: (layers, heads, rows, columns) float32.

        Token `query` of layer `layer` names the place. Where layers have grids of their own,
        coarser maps are repeated to the finest grid.
        """
        rows, columns = (max(each.tokens.grid[axis] for each in self.layers) for axis in (0, 1))
        out = np.zeros((len(self.records), self.heads, rows, columns), np.float32)
        for index, (_, tokens, _) in enumerate(self.layers):
            maps = self.layer_maps(index, find_same_place(query, self.layers[layer].tokens, tokens))
            down = np.arange(rows) * tokens.grid[0] // rows
            across = np.arange(columns) * tokens.grid[1] // columns
            out[index, : len(maps)] = maps[:, down[:, None], across[None, :]]
        return out


def record_image(
    bundle: Bundle, image: Image.Image, layers: Sequence[int] | None = None
) -> RecordedImage:
    """Run a picture through a model and record its attention.

        >>> from model import samples, zoo
        >>> recorded = record_image(zoo.load("cs231n-cifar10"), samples.load("chelsea"))
        >>> len(recorded.layers), recorded.heads
        (6, 4)
        >>> recorded.maps(layer=0, query=5).shape  # layers, heads, rows, columns
        (6, 4, 4, 4)
        >>> [name for name, probability in recorded.guesses[:2]]  # a small model, and mistaken
        ['frog', 'cat']

    Args:
        bundle: the model, as `zoo.load` opens it.
        image: any picture; the bundle crops and resizes it.
        layers: layers to keep, counted from zero, in order; None for all.

    Raises:
        NothingRecorded: if the model does not attend.
        NothingToShow: if no layer attends from the image's tokens to the image's tokens, or one
            does so among more images than the one it was given.
    """
    # Not in inference mode: libraries keep tensors of a first pass, which gradients may need later.
    with torch.no_grad(), AttentionRecorder(bundle.net, layers) as recorder:
        logits = bundle.net(bundle.prepare(image))[0]
    found = image_layers(recorder.records, bundle.tokens)
    asked = range(len(recorder.records)) if layers is None else layers
    return RecordedImage(
        records=[each.record for each in found],
        layers=[each.layer for each in found],
        numbers=tuple(asked[each.place] for each in found),
        whole=layers is None,
        frame=bundle.frame(image),
        guesses=_likeliest_classes(logits, bundle.classes),
        answer=_probabilities(logits, bundle.classes),
        not_recorded=recorder.not_recorded,
        not_shown=name_others(recorder.records, found),
        skipped=name_skipped(recorder.records, found),
    )


def bytes_of_layers(bundle: Bundle) -> dict[int, int]:
    """Count the bytes that `record_image` keeps, by the number of the layer, from zero.

    Only layers that attend within the image are among them. Raises NothingRecorded and
    NothingToShow, as `record_image`.
    """
    image = torch.zeros(1, len(bundle.mean), *bundle.image_size)
    with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:
        bundle.net(image)
    found = image_layers(recorder.records, bundle.tokens)
    return {each.place: each.record.nbytes for each in found}


def layer_maps(record: AttentionRecord, tokens: TokenLayout, query: int) -> np.ndarray:
    """Compute one layer's maps from one of its tokens: (heads, rows, columns) float32.

    Prefix tokens are left out, so a map sums to the share of attention that patches get.
    """
    if record.windows:
        place = tokens.position_of(query)
        assert place is not None, "layers with windows have no prefix tokens"
        return attention_in_image(record, *place)[0].numpy()
    row = record.weights(queries=[query])[0, :, 0, tokens.patch_slice]
    return row.unflatten(-1, tokens.grid).numpy()


def find_sinks(
    record: AttentionRecord, times: float = 8.0, most: int = 3, queries: int = 256
) -> list[tuple[int, float]]:
    """Find attention sinks: tokens that draw far more than an even share, largest first.

    Such tokens often hold no content of their own (Darcet et al. 2024, "Vision Transformers Need
    Registers"; Xiao et al. 2024, "Efficient Streaming Language Models with Attention Sinks").

    Args:
        record: the layer's record.
        times: how many even shares (1 / N) a token must draw.
        most: how many tokens to return at most.
        queries: how many evenly spaced queries to average over at most; heads are averaged too.

    Returns:
        (token, its share of the attention) for each; empty for windowed layers.
    """
    if record.windows:
        return []
    asking = torch.linspace(0, record.shape[2] - 1, min(queries, record.shape[2])).round().long()
    share = record.weights(queries=asking).mean((0, 1, 2))
    best = share.topk(min(most, len(share)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [(token, value) for token, value in pairs if value * len(share) >= times]


def find_centre(tokens: TokenLayout) -> int:
    """Find the token of the patch in the middle of the grid."""
    rows, columns = tokens.grid
    return tokens.index_of(rows // 2, columns // 2)


def default_query(tokens: TokenLayout) -> int:
    """Choose the first query: the first prefix token (CLS), or else the centre patch."""
    return 0 if tokens.prefix else find_centre(tokens)


def find_same_place(token: int, old: TokenLayout, new: TokenLayout) -> int:
    """Find the token of another layout at the same place, or with the same name."""
    place = old.position_of(token)
    if place is None:
        name = old.prefix[token]
        return new.prefix.index(name) if name in new.prefix else find_centre(new)
    row, column = (
        int((at + 0.5) * after / before)
        for at, before, after in zip(place, old.grid, new.grid, strict=True)
    )
    return new.index_of(row, column)


def _probabilities(logits: Tensor, classes: list[str] | None) -> np.ndarray | None:
    if classes is None or len(logits) != len(classes):
        return None
    return logits.float().softmax(-1).numpy()


def _likeliest_classes(logits: Tensor, classes: list[str] | None) -> list[tuple[str, float]]:
    if classes is None or len(logits) != len(classes):
        return []
    best = logits.float().softmax(-1).topk(min(TOP_CLASSES, len(classes)))
    pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    return [(classes[index], probability) for probability, index in pairs]
