"""Find the numbers of one attention layer in what a net calls while it runs.

    >>> import torch
    >>> from model.vit import build
    >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3).eval()
    >>> numbers = read_layer(net, torch.randn(1, 3, 32, 32), layer=1)
    >>> numbers.query.shape, numbers.entering.shape  # (H, N, d) and (N, D)
    (torch.Size([3, 5, 16]), torch.Size([5, 48]))
    >>> numbers.missing  # everything was found
    []
    >>> numbers.difference() < 1e-5  # heads times output projection, against the model's own
    True

A call graph is followed from the attention up to the projections and the LayerNorm, and down to the
output projection, the residual and the MLP. What cannot be followed is missing, with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from model.errors import NothingRecorded
from model.intervention.call_graph import (
    ADDITIONS,
    ARRANGEMENTS,
    LINEAR,
    NORMS,
    PRODUCTS,
    SCALINGS,
    Call,
    CallGraph,
    is_fused,
    is_softmax,
)
from model.intervention.layer_numbers import LayerNumbers, MLPNumbers, Norm, Projection, largest
from model.recording.record import AttentionRecord
from model.recording.recorder import AttentionRecorder

NO_PROJECTION = (
    "The projections that make the queries, keys and values could not be found in this model, so "
    "the numbers begin with Q, K and V."
)
NO_VALUES = "The values that this map multiplies could not be found, so the numbers end with it."
NO_SCORES = (
    "The queries and keys of this handwritten attention could not be found, so the finished map "
    "is all there is."
)
NO_OUTPUT = (
    "No output projection was found after the heads, so the numbers end with the heads side by "
    "side."
)
NO_RESIDUAL = (
    "No residual connection was found after the attention, so the numbers end with its output."
)
NO_MLP = "No MLP was found after this attention, so the numbers end with the residual."
UNKNOWN_INPUT = (
    "What lies between the block's input and the projections is neither a LayerNorm nor nothing, "
    "so the numbers begin with what the projections were given."
)
UNEXPLAINED = (
    "What this layer computes from its maps and values differs from its own output by {:.1g}, so "
    "something in it is not shown here."
)
TOLERANCE = 1e-3  # of the largest value; models of half precision stay below it
MASKS = {"masked_fill", "where", "clamp"}
ACTIVATIONS = {
    "gelu": "GELU",
    "relu": "ReLU",
    "silu": "SiLU",
    "sigmoid": "x · sigmoid",
    "tanh": "tanh",
}


def read_layer(
    net: nn.Module, inputs: Tensor | Callable[[], Any], layer: int | str = -1
) -> LayerNumbers:
    """Run a net and collect the numbers of one layer and its block.

    Args:
        net: any PyTorch module that `AttentionRecorder` records; it stays as it is.
        inputs: one image (1, C, H, W), on which the net is called; or a function that runs the
            net on one image or one caption, such as a captioner's decoder.
        layer: number of the layer among the modules that attend, from zero as the recorder counts
            them (negative ones from the last); or a module's name.

    Raises:
        NothingRecorded: where the layer does not attend, or nothing does.
        ValueError: for more than one image.
    """
    run = _runner(net, inputs)
    if isinstance(layer, int) and layer < 0:
        layer = _from_the_last(net, run, layer)
    numbers = _read(net, run, layer, whole=not isinstance(inputs, Tensor))
    if NO_PROJECTION in numbers.missing and isinstance(inputs, Tensor):
        return _read(net, run, layer, whole=True)  # keys may have been made long before
    return numbers


def _runner(net: nn.Module, inputs: Tensor | Callable[[], Any]) -> Callable[[], Any]:
    if not isinstance(inputs, Tensor):
        return inputs
    if inputs.ndim != 4 or len(inputs) != 1:
        raise ValueError(
            f"Give one image, (1, C, H, W), not {tuple(inputs.shape)}; images[:1] is the first of "
            "a batch."
        )
    return lambda: net(inputs)


def _from_the_last(net: nn.Module, run: Callable[[], Any], layer: int) -> int:
    with torch.no_grad(), AttentionRecorder(net) as recorder:
        run()
    count = len({record.name for record in recorder.records})
    if -layer > count:
        raise NothingRecorded(f"There is no layer {layer}: {count} modules attend.")
    return count + layer


def _read(net: nn.Module, run: Callable[[], Any], layer: int | str, whole: bool) -> LayerNumbers:
    recorder = AttentionRecorder(net, [layer])
    graph = CallGraph(recorder, whole)
    with torch.no_grad(), graph, recorder:
        run()
    record = recorder.records[0]
    if record.shape[0] > 1 and record.windows is None:
        raise ValueError(
            f"{record.name} attends in {record.shape[0]} images or captions at once: run it on one."
        )
    return _Reader(graph, record).read()


class _Reader:
    """Follows the call graph around one attention."""

    def __init__(self, graph: CallGraph, record: AttentionRecord) -> None:
        self.calls = graph.calls
        self.place = {id(call): place for place, call in enumerate(self.calls)}
        self.record = record
        self.numbers = LayerNumbers(record, record.shape[1], record.scale)

    def read(self) -> LayerNumbers:
        numbers = self.numbers
        attention = self._find_attention()
        if attention is None:
            numbers.missing.append(NO_SCORES)
            return numbers
        end = self._read_fused(attention) if is_fused(attention) else self._read_softmax(attention)
        if end is None:
            return numbers
        self._read_input()
        self._read_output(end)
        if numbers.difference() > TOLERANCE * max(1.0, largest(self._compared())):
            numbers.missing.append(UNEXPLAINED.format(numbers.difference()))
        return numbers

    def _compared(self) -> Tensor:
        numbers = self.numbers
        compared = numbers.mixed if numbers.projected is None else numbers.projected
        assert compared is not None, "there is a difference, so there is what it is taken from"
        return compared

    # -- the attention itself -------------------------------------------------------------------

    def _find_attention(self) -> Call | None:
        held = self.record.map if self.record.query is None else self.record.query
        assert held is not None, "a record has a map or a query"
        memory = _memory(held)
        for call in self.calls:
            if is_fused(call) and _memory(call.argument(0, "query")) == memory:
                return call
            if is_softmax(call) and _memory(call.result) == memory:
                return call
        return None

    def _read_fused(self, call: Call) -> Call | None:
        numbers = self.numbers
        query, key, value = (
            call.argument(place, name) for place, name in enumerate(("query", "key", "value"))
        )
        self._projected = [self._projection(call, tensor) for tensor in (query, key)]
        numbers.query, numbers.key, numbers.value = map(self._by_head, (query, key, value))
        numbers.bias = self.record.bias
        numbers.attention_dropout = float(call.argument(4, "dropout_p", 0.0) or 0.0)
        return call

    def _read_softmax(self, call: Call) -> Call | None:
        """Read a softmax written by hand: its scores above it, its product with values below."""
        numbers = self.numbers
        if self.record.softmax_map is not None or not self._read_scores(call):
            numbers.missing.append(NO_SCORES)
        product = self._find_product(call)
        if product is None:
            numbers.missing.append(NO_VALUES)
            return None
        numbers.value = self._by_head(_operands(product)[1])
        return product

    def _read_scores(self, call: Call) -> bool:
        """Find scale, queries and keys above a softmax; the bias is what they leave unexplained."""
        scores = call.given[0]
        scale, product = self._scores_product(call.makers.get(id(scores)))
        if product is None:
            return False
        left, right = _operands(product)
        self._projected = [self._projection(product, tensor) for tensor in (left, right)]
        query, key = self._by_head(left), self._by_head(right)
        if query is None or key is None or query.shape[-1] != key.shape[-1]:
            key = self._by_head(right.mT)
        if query is None or key is None or query.shape[-1] != key.shape[-1]:
            return False
        factor = self._projected[0].factor if self._projected[0] else 1.0
        numbers = self.numbers
        numbers.query, numbers.key, numbers.scale = query / factor, key, scale * factor
        return self._explains(scores)

    def _explains(self, scores: Tensor) -> bool:
        """Whether queries and keys make these scores, up to a bias, which is then kept."""
        numbers = self.numbers
        batch, _, queries, keys = self.record.shape
        assert numbers.query is not None and numbers.key is not None
        query = numbers.query.unflatten(1, (batch, queries)).double()
        key = numbers.key.unflatten(1, (batch, keys)).double()
        own = torch.einsum("hbqd,hbkd->bhqk", query, key) * numbers.scale
        if scores.numel() != own.numel():
            return False
        bias = scores.reshape(self.record.shape).double() - own
        rounding = 1e-5 * max(1.0, largest(own))
        if largest(bias.nan_to_num(0.0, 0.0, 0.0)) > rounding or bias.isinf().any():
            numbers.bias = bias.masked_fill(bias < -1e9, -torch.inf).float()
        return True

    def _scores_product(self, call: Call | None) -> tuple[float, Call | None]:
        """Walk up from the softmax to the product of queries and keys; the scale on the way."""
        scale = 1.0
        while call is not None and call.name not in PRODUCTS:
            if call.name in SCALINGS and (factor := _factor(call)) is not None:
                scale *= factor
            elif call.name not in ARRANGEMENTS | ADDITIONS | MASKS:
                return scale, None
            call = next(iter(call.above), None)
        return scale, call

    def _find_product(self, softmax: Call) -> Call | None:
        tensor, call = softmax.result, softmax
        for user in self._down(tensor, call):
            if user.name in PRODUCTS:
                return user
            if user.name not in ARRANGEMENTS:
                return None
            if user.name == "dropout":
                self.numbers.attention_dropout = float(user.argument(1, "p", 0.5))
        return None

    def _by_head(self, tensor: Tensor) -> Tensor | None:
        """(1, H, N, d), (H, N, d), or windows (W, H, n, d) -> (H, N, d)"""
        batch, heads, *_ = self.record.shape
        own = tensor.shape[-3] if tensor.ndim == 4 and batch == 1 else heads
        own = tensor.shape[0] * tensor.shape[1] if tensor.ndim == 4 and batch == 1 else own
        if tensor.numel() % (batch * own * tensor.shape[-2] * tensor.shape[-1]):
            return None
        parts = tensor.reshape(batch, -1, *tensor.shape[-2:])
        if heads % parts.shape[1]:
            return None
        parts = parts.repeat_interleave(heads // parts.shape[1], dim=1)  # heads that share a key
        return parts.transpose(0, 1).flatten(1, 2)

    # -- up to the block's input ----------------------------------------------------------------

    def _projection(self, below: Call, tensor: Tensor) -> _Found | None:
        """Find the one linear layer from which a tensor comes, within the block."""
        waiting = [below.makers[id(tensor)]] if id(tensor) in below.makers else []
        found = _Found()
        seen: set[int] = set()
        while waiting:
            call = waiting.pop()
            if id(call) in seen:
                continue
            seen.add(id(call))
            if call.name in LINEAR:
                found.calls.append(call)
                continue
            if is_fused(call) or is_softmax(call) or "conv" in call.name:
                return None
            found.note(call)
            waiting += call.above
        return found if len(found.calls) == 1 else None

    def _read_input(self) -> None:
        """Find the projections' input, and the LayerNorm before it."""
        numbers = self.numbers
        asking, offering = getattr(self, "_projected", None) or (None, None)
        if asking is None or offering is None:
            if NO_SCORES not in numbers.missing:
                numbers.missing.append(NO_PROJECTION)
            return
        numbers.asking, numbers.offering = map(self._as_projection, (asking.call, offering.call))
        numbers.changed = asking.change or offering.change
        given = _linear_input(asking.call)
        maker = _pass_arrangements(asking.call.makers.get(id(given)))
        numbers.entering = self._tokens(given)
        if maker is not None and maker.name in NORMS:
            numbers.norm_before = self._as_norm(maker)
            numbers.entering = self._tokens(maker.given[0])

    def _as_projection(self, call: Call) -> Projection:
        if call.name == "linear":
            weight, bias = call.argument(1, "weight"), call.argument(2, "bias")
        else:  # addmm(bias, tokens, weight)
            weight, bias = call.argument(2, "mat2").mT, call.argument(0, "input")
        given = _linear_input(call)
        return Projection(weight, bias, given.reshape(-1, given.shape[-1]))

    def _as_norm(self, call: Call) -> Norm:
        plain = call.name == "layer_norm"
        return Norm(
            kind="LayerNorm" if plain else "RMSNorm",
            weight=call.argument(2, "weight"),
            bias=call.argument(3, "bias") if plain else None,
            eps=float(call.argument(4 if plain else 3, "eps", 1e-5) or torch.finfo().eps),
            result=self._required(call.result),
        )

    # -- down to the block's output -------------------------------------------------------------

    def _read_output(self, attention: Call) -> None:
        numbers = self.numbers
        linear = self._to_projection(attention)
        if linear is None:
            numbers.missing.append(NO_OUTPUT)
            return
        numbers.mixed = self._tokens(_linear_input(linear))
        numbers.output = self._as_projection(linear)
        numbers.projected = self._tokens(linear.result)
        residual = self._to_residual(linear)
        if residual is None:
            numbers.missing.append(NO_RESIDUAL)
            return
        stream = self._read_residual(residual)
        self._read_mlp(residual, stream)

    def _to_projection(self, attention: Call) -> Call | None:
        numbers = self.numbers
        changes: list[str] = []
        for user in self._down(attention.result, attention):
            if user.name in LINEAR:
                numbers.between = " and ".join(dict.fromkeys(changes))
                return user
            if user.name in SCALINGS and (factor := _factor(user)) is not None:
                numbers.gain *= factor
            elif user.name in NORMS:
                changes.append("a LayerNorm")
            elif user.name in SCALINGS:
                changes.append("a gate")
            elif user.name not in ARRANGEMENTS:
                return None
        return None

    def _to_residual(self, linear: Call) -> Call | None:
        """Walk down to the addition of the stream; LayerScale and dropout on the way."""
        numbers = self.numbers
        assert numbers.projected is not None
        for user in self._down(linear.result, linear):
            if user.name in ADDITIONS and len(user.given) == 2:
                first, second = user.given
                if first.numel() == second.numel():
                    numbers.added = self._tokens(first if self._came is first else second)
                    return user
            if user.name == "dropout":
                numbers.output_dropout = float(user.argument(1, "p", 0.5))
            elif user.name in SCALINGS:
                numbers.layer_scale = True
            elif user.name in NORMS:
                numbers.branch_norm = True
            elif user.name not in ARRANGEMENTS | ADDITIONS:
                return None
        return None

    def _read_residual(self, add: Call) -> Tensor:
        """Read what the attention was added to; the stream after it, normalised where it is."""
        numbers = self.numbers
        stream = next(t for t in add.given if t is not self._came)
        before = self._tokens(stream)
        if numbers.entering is None or before is None or not _same(before, numbers.entering):
            if numbers.entering is not None and numbers.norm_before is None:
                numbers.missing.append(UNKNOWN_INPUT)
            numbers.norm_before = None
            numbers.entering = before
        numbers.residual = numbers.leaving = self._tokens(add.result)
        norm = self._norm_after(add)
        if norm is None:
            return add.result
        numbers.norm_after = self._as_norm(norm)
        numbers.leaving = numbers.norm_after.result
        return norm.result

    def _read_mlp(self, after: Call, stream: Tensor) -> None:
        """Find the sublayers after the attention, up to the first without attention: the MLP."""
        numbers = self.numbers
        while (found := self._next_sublayer(after, stream)) is not None:
            add, branch, inside = found
            attends = [call for call in inside if is_fused(call) or is_softmax(call)]
            linears = [call for call in inside if call.name in LINEAR]
            norm = self._norm_after(add)
            if not attends and linears:
                self._keep_mlp(add, branch, inside, linears, norm)
                return
            numbers.between_sublayers.append("attention" if attends else "another sublayer")
            after, stream = add, add.result if norm is None else norm.result
        numbers.missing.append(NO_MLP)

    def _keep_mlp(
        self,
        add: Call,
        branch: Tensor,
        inside: Sequence[Call],
        linears: Sequence[Call],
        norm_after: Call | None,
    ) -> None:
        norms = [call for call in inside if call.name in NORMS]
        first = next((n for n in norms if self.place[id(n)] < self.place[id(linears[0])]), None)
        names = [ACTIVATIONS[call.name] for call in inside if call.name in ACTIVATIONS]
        dropouts = [call.argument(1, "p", 0.5) for call in inside if call.name == "dropout"]
        given = _linear_input(linears[-1])
        after = None if norm_after is None else self._as_norm(norm_after)
        self.numbers.mlp = MLPNumbers(
            norm=None if first is None else self._as_norm(first),
            hidden=given.reshape(-1, given.shape[-1]),
            added=self._required(branch),
            activation=names[0] if names else "",
            dropout=float(max(dropouts, default=0.0)),
            norm_after=after,
        )
        self.numbers.leaving = self._tokens(add.result) if after is None else after.result

    def _next_sublayer(self, after: Call, stream: Tensor) -> tuple[Call, Tensor, list[Call]] | None:
        """Find the next addition to the stream, what it adds, and the calls that made that."""
        streams = self._arranged(stream, after)
        for call in self._later(after):
            if call.name not in ADDITIONS or len(call.given) != 2:
                continue
            first, second = call.given
            for own, branch in ((first, second), (second, first)):
                if any(own is t for t in streams) and branch.numel() == own.numel():
                    inside = self._between(streams, call.makers.get(id(branch)))
                    if inside:
                        return call, branch, inside
        return None

    def _between(self, streams: Sequence[Tensor], call: Call | None) -> list[Call]:
        """List the calls from the stream to one call, in running order; none if it is not below."""
        own = {id(tensor) for tensor in streams}
        waiting, found, reached = [call] if call else [], {}, False
        while waiting:
            call = waiting.pop()
            if id(call) in found:
                continue
            found[id(call)] = call
            reached = reached or any(id(t) in own for t in call.given)
            waiting += [
                maker
                for tensor, maker in call.makers.items()
                if tensor not in own and id(maker) not in found
            ]
        return sorted(found.values(), key=lambda call: self.place[id(call)]) if reached else []

    def _norm_after(self, add: Call) -> Call | None:
        """Find the LayerNorm after a residual, in a block that has none before its attention."""
        if self.numbers.norm_before is not None or self.numbers.branch_norm:
            return None
        for call in self._later(add):
            if any(t is add.result for t in call.given) and call.name not in ARRANGEMENTS:
                return call if call.name in NORMS else None
        return None

    def _arranged(self, tensor: Tensor, after: Call) -> list[Tensor]:
        """List a tensor and what is only another arrangement of it."""
        same = [tensor]
        for call in self._later(after):
            if call.name in ARRANGEMENTS and any(t is own for t in call.given for own in same):
                same += [t for t in call.results if t.numel() == tensor.numel()]
        return same

    # -- along the graph ------------------------------------------------------------------------

    def _later(self, call: Call) -> Sequence[Call]:
        return self.calls[self.place[id(call)] + 1 :]

    def _down(self, tensor: Tensor, call: Call) -> Iterator[Call]:
        """Iterate over the calls through which a tensor goes, one after the other.

        `_came` is the tensor as it entered the call that is yielded.
        """
        while True:
            users = self._users(tensor, call)
            if not users:
                return
            # What the recorder makes of a tensor leads nowhere.
            user = next((u for u in users if any(self._users(t, u) for t in u.results)), users[0])
            self._came = tensor
            yield user
            tensor, call = user.result, user

    def _users(self, tensor: Tensor, after: Call) -> list[Call]:
        return [u for u in self._later(after) if any(t is tensor for t in u.given)]

    # -- tokens ---------------------------------------------------------------------------------

    def _tokens(self, tensor: Tensor) -> Tensor | None:
        """Lay tokens out as (N, D), window by window in a windowed layer."""
        batch, _, queries, _ = self.record.shape
        flat = tensor.reshape(-1, tensor.shape[-1])
        windows = self.record.windows
        if windows is None or (batch > 1 and len(tensor) == batch):
            return flat if len(flat) == batch * queries else None
        if len(flat) != windows.grid[0] * windows.grid[1]:
            return None
        slots = windows.join(torch.arange(batch * queries).view(batch, queries)).flatten()
        laid = flat.new_zeros(batch * queries, flat.shape[-1])
        laid[slots.to(flat.device)] = flat
        return laid

    def _required(self, tensor: Tensor) -> Tensor:
        tokens = self._tokens(tensor)
        return tensor.reshape(-1, tensor.shape[-1]) if tokens is None else tokens


@dataclass
class _Found:
    """The linear layers found above a tensor, and what happened on the way."""

    calls: list[Call] = field(default_factory=list)
    change: str = ""
    factor: float = 1.0

    @property
    def call(self) -> Call:
        return self.calls[0]

    def note(self, call: Call) -> None:
        """Note what a call between the linear layer and the attention does."""
        if call.name in ARRANGEMENTS or call.name == "cat" or not call.given:  # a cache
            return
        if call.name in NORMS or call.name == "normalize":
            self.change = self.change or "normalised"
        elif call.name in SCALINGS and (factor := _factor(call)) is not None:
            self.factor *= factor
        else:
            self.change = "turned"


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _factor(call: Call) -> float | None:
    """Read the number by which a call multiplies (or divides) a tensor; None for two tensors."""
    numbers = [a for a in (*call.args, *call.kwargs.values()) if isinstance(a, int | float)]
    scalars = [t.item() for t in call.given if t.ndim == 0 and id(t) not in call.makers]
    values = numbers + scalars
    if len(values) != 1:
        return None
    return 1 / float(values[0]) if "div" in call.name else float(values[0])


def _operands(call: Call) -> tuple[Tensor, Tensor]:
    """The two factors of a product, left and right."""
    *_, left, right = call.given
    return (right, left) if call.name == "rmatmul" else (left, right)


def _linear_input(call: Call) -> Tensor:
    return call.argument(0, "input") if call.name == "linear" else call.argument(1, "mat1")


def _pass_arrangements(call: Call | None) -> Call | None:
    while call is not None and call.name in ARRANGEMENTS:
        call = next(iter(call.above), None)
    return call


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first, second)
