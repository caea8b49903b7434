"""Read one attention from the calls around it: queries, keys, values, scale, bias and input."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.intervention.call_graph import (
    ADDITIONS,
    ARRANGEMENTS,
    LINEAR,
    NORMS,
    PRODUCTS,
    SCALINGS,
    Call,
    is_fused,
    is_softmax,
)
from model.intervention.graph_walk import GraphWalk
from model.intervention.layer_numbers import LayerNumbers, largest
from model.intervention.token_rows import TokenRows
from model.intervention.torch_calls import (
    as_norm,
    as_projection,
    dropout_of,
    factor_of,
    linear_input,
    operands_of,
)

NO_PROJECTION = (
    "The projections that make the queries, keys and values could not be found in this model, so "
    "the numbers begin with Q, K and V."
)
NO_VALUES = "The values that this map multiplies could not be found, so the numbers end with it."
NO_SCORES = (
    "The queries and keys of this handwritten attention could not be found, so the finished map "
    "is all there is."
)
MASKS = {"masked_fill", "where"}


@dataclass
class ProjectionOrigin:
    """The linear layers from which a tensor comes, and what happened to it since."""

    calls: list[Call] = field(default_factory=list)
    change: str = ""
    factor: float = 1.0

    @property
    def call(self) -> Call:
        """The one linear layer."""
        return self.calls[0]

    def note(self, call: Call) -> None:
        """Note what a call between the linear layer and the attention does."""
        if call.name in ARRANGEMENTS or call.name == "cat" or not call.given:  # a cache
            return
        if call.name in NORMS or call.name == "normalize":
            self.change = self.change or "normalised"
        elif call.name in SCALINGS and (factor := factor_of(call)) is not None:
            self.factor *= factor
        else:
            self.change = "turned"


class AttentionReader:
    """Reads one attention into `numbers`, from its output up to what its projections are given."""

    def __init__(self, walk: GraphWalk, rows: TokenRows, numbers: LayerNumbers) -> None:
        self.walk, self.rows, self.numbers = walk, rows, numbers
        self.record = numbers.record

    def read(self) -> Call | None:
        """Read the attention; return the call that mixes the values, None where there is none."""
        attention = self._find()
        if attention is None:
            self.numbers.missing.append(NO_SCORES)
            return None
        return self._read_fused(attention) if is_fused(attention) else self._read_map(attention)

    def _find(self) -> Call | None:
        """Find the recorded call: it was given the recorded queries, or made the recorded map."""
        held = self.record.map if self.record.query is None else self.record.query
        assert held is not None, "a record has a map or a query"
        memory = _memory(held)
        for call in self.walk.calls:
            if is_fused(call) and _memory(call.argument(0, "query")) == memory:
                return call
            if is_softmax(call) and _memory(call.result) == memory:
                return call
        return None

    def _read_fused(self, call: Call) -> Call:
        numbers, by_head = self.numbers, self.rows.by_head
        query, key, value = (
            call.argument(place, name) for place, name in enumerate(("query", "key", "value"))
        )
        numbers.query, numbers.key, numbers.value = by_head(query), by_head(key), by_head(value)
        numbers.bias = self.record.bias
        numbers.attention_dropout = float(call.argument(4, "dropout_p", 0.0) or 0.0)
        self._read_input(find_origin(call, query), find_origin(call, key))
        return call

    # -- a softmax written by hand ----------------------------------------------------------------

    def _read_map(self, softmax: Call) -> Call | None:
        """Read the scores above a softmax, and its product with the values below."""
        numbers = self.numbers
        if self.record.softmax_map is not None or not self._read_scores(softmax):
            numbers.missing.append(NO_SCORES)
        product = self._find_product(softmax)
        if product is None:
            numbers.missing.append(NO_VALUES)
            return None
        numbers.value = self.rows.by_head(operands_of(product)[1])
        return product

    def _read_scores(self, softmax: Call) -> bool:
        """Find scale, queries and keys above a softmax; the bias is what they leave unexplained."""
        scores = softmax.given[0]
        scale, product = _product_above(softmax.makers.get(id(scores)))
        if product is None:
            return False
        left, right = operands_of(product)
        asking, offering = find_origin(product, left), find_origin(product, right)
        factor = asking.factor if asking else 1.0
        query, key = self.rows.by_head(left), self._keys(left, right)
        if query is None or key is None:
            return False
        query, scale = query / factor, scale * factor
        own = self._scores(query, key, scale)
        if own.numel() != scores.numel():
            return False
        numbers = self.numbers
        numbers.query, numbers.key, numbers.scale = query, key, scale
        numbers.bias = _unexplained(scores.reshape(self.record.shape).double() - own, own)
        self._read_input(asking, offering)
        return True

    def _keys(self, left: Tensor, right: Tensor) -> Tensor | None:
        """Lay the keys out, which a product may be given transposed."""
        width, keys = left.shape[-1], self.record.shape[3]
        return self.rows.by_head(right.mT if right.shape[-2:] == (width, keys) else right)

    def _scores(self, query: Tensor, key: Tensor, scale: float) -> Tensor:
        """Compute scores in float64 as a record has its map, (windows, H, N, M)."""
        batch, _, queries, keys = self.record.shape
        asked = query.unflatten(1, (batch, queries)).double()
        offered = key.unflatten(1, (batch, keys)).double()
        return torch.einsum("hbqd,hbkd->bhqk", asked, offered) * scale

    def _find_product(self, softmax: Call) -> Call | None:
        for user, _ in self.walk.down(softmax):
            if user.name in PRODUCTS:
                return user
            if user.name not in ARRANGEMENTS:
                return None
            if user.name == "dropout":
                self.numbers.attention_dropout = dropout_of(user)
        return None

    # -- up to the block's input ------------------------------------------------------------------

    def _read_input(
        self, asking: ProjectionOrigin | None, offering: ProjectionOrigin | None
    ) -> None:
        """Read the projections, what they are given, and the norm before them."""
        numbers = self.numbers
        if asking is None or offering is None:
            numbers.missing.append(NO_PROJECTION)
            return
        numbers.asking, numbers.offering = as_projection(asking.call), as_projection(offering.call)
        numbers.changed = asking.change or offering.change
        given = linear_input(asking.call)
        maker = asking.call.makers.get(id(given))
        while maker is not None and maker.name in ARRANGEMENTS:
            maker = next(iter(maker.above), None)
        numbers.entering = self.rows.by_token(given)
        if maker is not None and maker.name in NORMS:
            numbers.norm_before = as_norm(maker, self.rows.of_stream(maker.result))
            numbers.entering = self.rows.by_token(maker.given[0])


def find_origin(below: Call, tensor: Tensor) -> ProjectionOrigin | None:
    """Find the one linear layer from which a tensor comes, within the block."""
    waiting = [below.makers[id(tensor)]] if id(tensor) in below.makers else []
    origin, seen = ProjectionOrigin(), set[int]()
    while waiting:
        call = waiting.pop()
        if id(call) in seen:
            continue
        seen.add(id(call))
        if call.name in LINEAR:
            origin.calls.append(call)
        elif is_fused(call) or is_softmax(call) or "conv" in call.name:
            return None
        else:
            origin.note(call)
            waiting += call.above
    return origin if len(origin.calls) == 1 else None


def _product_above(call: Call | None) -> tuple[float, Call | None]:
    """Walk up from the scores to the product of queries and keys; the scale on the way."""
    scale = 1.0
    while call is not None and call.name not in PRODUCTS:
        if call.name in SCALINGS and (factor := factor_of(call)) is not None:
            scale *= factor
        elif call.name not in ARRANGEMENTS | ADDITIONS | MASKS:
            return scale, None
        call = next(iter(call.above), None)
    return scale, call


def _unexplained(bias: Tensor, scores: Tensor) -> Tensor | None:
    """Return what was added to the scores; None where that is nothing but rounding."""
    rounding = 1e-5 * max(1.0, largest(scores))
    if largest(bias.nan_to_num(0.0, 0.0, 0.0)) <= rounding and not bias.isinf().any():
        return None
    return bias.masked_fill(bias < -1e9, -torch.inf).float()


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
