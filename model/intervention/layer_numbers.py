"""Every number of one attention layer and of the block around it, for one image.

The numbers are the model's own tensors, as `model.intervention.graph_reader` finds them. What is
computed from them here is computed in float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.recording.record import AttentionRecord

CHUNK = 512  # queries computed at a time


@dataclass(frozen=True)
class Norm:
    """A LayerNorm (or RMSNorm) with its result, (N, D)."""

    kind: str
    weight: Tensor | None
    bias: Tensor | None
    eps: float
    result: Tensor

    def apply(self, tokens: Tensor) -> Tensor:
        """Compute the norm of tokens (N, D) in float64 by its formula."""
        tokens = tokens.double()
        if self.kind == "LayerNorm":
            tokens = tokens - tokens.mean(-1, keepdim=True)
        tokens = tokens / (tokens.square().mean(-1, keepdim=True) + self.eps).sqrt()
        tokens = tokens if self.weight is None else tokens * self.weight.double()
        return tokens if self.bias is None else tokens + self.bias.double()


@dataclass(frozen=True)
class Projection:
    """A linear layer: its weight (out, in), its bias and the tokens that it was given."""

    weight: Tensor
    bias: Tensor | None
    given: Tensor

    def apply(self, tokens: Tensor) -> Tensor:
        """Compute the layer's result in float64."""
        projected = tokens.double() @ self.weight.double().T
        return projected if self.bias is None else projected + self.bias.double()


@dataclass(frozen=True)
class MLPNumbers:
    """The MLP of a block: its LayerNorm, what its last layer was given, and what it adds."""

    norm: Norm | None
    before: Tensor  # (N, D), the stream to which it adds
    hidden: Tensor  # (N, F), after the activation
    added: Tensor  # (N, D), as it is added to the stream
    activation: str
    dropout: float
    norm_after: Norm | None
    """The LayerNorm after the residual, in a block whose norms stand there."""


@dataclass
class LayerNumbers:
    """What one attention layer computes for one image, as `read_layer` finds it.

    N tokens ask and M offer: the same in self-attention. In a windowed layer the tokens stand
    window by window, and a token attends to the M of its own window. What was not found is None,
    and `missing` says so.
    """

    record: AttentionRecord
    heads: int
    scale: float
    """Factor of the products, as a rule 1 / sqrt(d)."""
    query: Tensor | None = None  # (H, N, d)
    key: Tensor | None = None  # (H, M, d), or (H, N, d) for windows
    value: Tensor | None = None  # (H, M, dv), or (H, N, dv) for windows
    bias: Tensor | None = None  # (windows or 1, H or 1, N, M), -inf where a query may not look
    changed: str = ""
    """What happens to queries and keys after their projection: "turned" or "normalised"."""
    entering: Tensor | None = None  # (N, D), the tokens as they enter the block
    norm_before: Norm | None = None
    asking: Projection | None = None  # the layer that makes the queries
    offering: Projection | None = None  # the layer that makes the keys
    gain: float = 1.0
    """Factor of the heads between the values and the output projection."""
    between: str = ""
    """What changes the heads before the output projection, besides a factor."""
    mixed: Tensor | None = None  # (N, H · dv), the heads side by side, as the projection gets them
    output: Projection | None = None
    projected: Tensor | None = None  # (N, D), the output projection's result
    added: Tensor | None = None  # (N, D), as it is added to the stream: dropout, LayerScale
    layer_scale: Tensor | None = None  # (D,), factors of the attention's output
    branch_norm: bool = False
    """Whether a norm stands between the output projection and the residual."""
    residual: Tensor | None = None  # (N, D), after the residual connection
    norm_after: Norm | None = None
    between_sublayers: list[str] = field(default_factory=list)
    """Other attention between this one and the MLP, by the names of their modules."""
    mlp: MLPNumbers | None = None
    leaving: Tensor | None = None  # (N, D), the tokens as they leave the block
    attention_dropout: float = 0.0
    output_dropout: float = 0.0
    missing: list[str] = field(default_factory=list)

    @property
    def windows(self) -> int:
        """Number of windows; 1 where the layer attends over all tokens."""
        return self.record.shape[0]

    @property
    def norm_first(self) -> bool:
        """Whether the LayerNorm stands before the attention."""
        return self.norm_before is not None

    def row(self, head: int, query: int) -> Tensor:
        """Compute one row of the map in float64, (M,), from the model's queries and keys."""
        return self.rows(head, slice(query, query + 1))[0]

    def rows(self, head: int, queries: slice) -> Tensor:
        """Compute rows of the map in float64, (q, M); the queries lie in one window."""
        if self.query is None or self.key is None:
            window, place = divmod(queries.start, self.record.shape[2])
            places = slice(place, place + queries.stop - queries.start)
            return self.record.weights(head, places)[window, 0].double()
        return self.scores(head, queries).softmax(-1).nan_to_num(0.0)

    def scores(self, head: int, queries: slice, masked: bool = True) -> Tensor:
        """Compute scaled scores in float64, (q, M), with the mask or without."""
        assert self.query is not None and self.key is not None, "the queries and keys are there"
        window, place = divmod(queries.start, self.record.shape[2])
        keys = self.key[head, self.keys_of(queries.start)].double()
        scores = self.query[head, queries].double() @ keys.T * self.scale
        if self.bias is None or not masked:
            return scores
        bias = self.bias[min(window, len(self.bias) - 1)]
        places = slice(place, place + queries.stop - queries.start)
        return scores + bias[min(head, len(bias) - 1), places].double()

    def keys_of(self, query: int) -> slice:
        """Find the tokens that a query attends to: all of them, or its window's."""
        window, keys = query // self.record.shape[2], self.record.shape[3]
        return slice(window * keys, (window + 1) * keys)

    def mix(self, queries: slice) -> Tensor:
        """Compute tokens' heads side by side in float64, (q, H · dv), from maps and values."""
        assert self.value is not None, "the values are there"
        keys = self.keys_of(queries.start)
        heads = (self.rows(h, queries) @ self.value[h, keys].double() for h in range(self.heads))
        return self.gain * torch.cat(list(heads), dim=-1)

    def difference(self) -> float:
        """Compute how far sum_h A_h V_h W_h + b lies from the model's own output, at most.

        Computed in float64 for every token; the map comes from queries, keys and bias. Where no
        output projection was found, or something else comes before it, the heads side by side are
        compared; NaN where there is nothing to compare.
        """
        if self.value is None or self.mixed is None or self.between:
            return float("nan")
        step, largest = min(CHUNK, self.record.shape[2]), 0.0
        for window in range(0, len(self.mixed), self.record.shape[2]):
            for start in range(window, window + self.record.shape[2], step):
                queries = slice(start, min(start + step, window + self.record.shape[2]))
                largest = max(largest, self._difference(queries))
        return largest

    def _difference(self, queries: slice) -> float:
        assert self.mixed is not None
        own, given = self.mix(queries), self.mixed[queries]
        if self.output is not None and self.projected is not None:
            own, given = self.output.apply(own), self.projected[queries]
        return largest(own - given.double())

    def block_difference(self) -> float:
        """Compute how far input + attention + MLP lies from the block's own output, at most.

        Norms after a residual are computed by their formula in float64. NaN where a part is
        missing, or another sublayer stands between.
        """
        parts = self.entering, self.added, self.mlp, self.leaving
        entering, added, mlp, leaving = parts
        if entering is None or added is None or mlp is None or leaving is None:
            return float("nan")
        if self.between_sublayers:
            return float("nan")
        stream = entering.double() + added.double()
        stream = stream if self.norm_after is None else self.norm_after.apply(stream)
        stream = stream + mlp.added.double()
        stream = stream if mlp.norm_after is None else mlp.norm_after.apply(stream)
        return largest(stream - leaving.double())


def largest(difference: Tensor) -> float:
    return difference.abs().max().item()
