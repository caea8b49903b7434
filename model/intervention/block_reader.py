"""Read what follows an attention: the output projection, the residual connection, the MLP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.intervention.call_graph import (
    ADDITIONS,
    ARRANGEMENTS,
    LINEAR,
    NORMS,
    SCALINGS,
    Call,
    is_fused,
    is_softmax,
)
from model.intervention.graph_walk import GraphWalk
from model.intervention.layer_numbers import LayerNumbers, MLPNumbers
from model.intervention.token_rows import TokenRows
from model.intervention.torch_calls import (
    as_norm,
    as_projection,
    dropout_of,
    factor_of,
    linear_input,
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
ACTIVATIONS = {
    "gelu": "GELU",
    "relu": "ReLU",
    "silu": "SiLU",
    "sigmoid": "x · sigmoid",
    "tanh": "tanh",
}


class Sublayer(NamedTuple):
    """A branch that is added to the stream: its addition, the branch, the calls that made it."""

    add: Call
    branch: Tensor
    calls: list[Call]

    @property
    def attends(self) -> bool:
        """Whether there is attention in it."""
        return any(is_fused(call) or is_softmax(call) for call in self.calls)

    @property
    def linears(self) -> list[Call]:
        """Its linear layers."""
        return [call for call in self.calls if call.name in LINEAR]


class BlockReader:
    """Reads into `numbers` what comes after the heads."""

    def __init__(self, walk: GraphWalk, rows: TokenRows, numbers: LayerNumbers) -> None:
        self.walk, self.rows, self.numbers = walk, rows, numbers

    def read(self, mixing: Call) -> None:
        """Read on from the call that mixes the values, as far as the parts are found."""
        numbers = self.numbers
        linear = self._find_projection(mixing)
        if linear is None:
            numbers.missing.append(NO_OUTPUT)
            return
        numbers.mixed = self.rows.by_token(linear_input(linear))
        numbers.output = as_projection(linear)
        numbers.projected = self.rows.by_token(linear.result)
        found = self._find_residual(linear)
        if found is None:
            numbers.missing.append(NO_RESIDUAL)
            return
        add, branch = found
        self._read_mlp(add, self._read_residual(add, branch))

    def _find_projection(self, mixing: Call) -> Call | None:
        numbers = self.numbers
        changes: list[str] = []
        for user, _ in self.walk.down(mixing):
            if user.name in LINEAR:
                numbers.between = " and ".join(dict.fromkeys(changes))
                return user
            if user.name in SCALINGS and (factor := factor_of(user)) is not None:
                numbers.gain *= factor
            elif user.name in NORMS:
                changes.append("a LayerNorm")
            elif user.name in SCALINGS:
                changes.append("a gate")
            elif user.name not in ARRANGEMENTS:
                return None
        return None

    # -- the residual connection ------------------------------------------------------------------

    def _find_residual(self, linear: Call) -> tuple[Call, Tensor] | None:
        """Find the addition of the stream and what it adds; LayerScale and dropout on the way."""
        for user, came in self.walk.down(linear):
            if user.name in ADDITIONS and _adds_a_stream(user):
                self.numbers.added = self.rows.by_token(came)
                return user, came
            if user.name not in ARRANGEMENTS | ADDITIONS | SCALINGS | NORMS:
                return None
            self._note(user, came)
        return None

    def _note(self, call: Call, came: Tensor) -> None:
        """Note what happens to the attention's output before it is added."""
        numbers = self.numbers
        if call.name == "dropout":
            numbers.output_dropout = dropout_of(call)
        elif call.name in SCALINGS:
            width = came.shape[-1]
            scales = (t for t in call.given if t is not came and t.shape == (width,))
            numbers.layer_scale = next(scales, None)
        elif call.name in NORMS:
            numbers.branch_norm = True

    def _read_residual(self, add: Call, branch: Tensor) -> Tensor:
        """Read the stream before the addition; return it after, normalised where that is so."""
        numbers = self.numbers
        before = self.rows.by_token(next(t for t in add.given if t is not branch))
        if not _same(before, numbers.entering):
            if numbers.entering is not None and numbers.norm_before is None:
                numbers.missing.append(UNKNOWN_INPUT)
            numbers.norm_before = None
            numbers.entering = before
        numbers.residual = numbers.leaving = self.rows.by_token(add.result)
        norm = self._norm_after(add)
        if norm is None:
            return add.result
        numbers.norm_after = as_norm(norm, self.rows.of_stream(norm.result))
        numbers.leaving = numbers.norm_after.result
        return norm.result

    def _norm_after(self, add: Call) -> Call | None:
        """Find the norm after a residual, in a block that has none in its branches."""
        in_branch = self.numbers.norm_before is not None or self.numbers.branch_norm
        return None if in_branch else self.walk.norm_of(add)

    # -- the MLP ----------------------------------------------------------------------------------

    def _read_mlp(self, after: Call, stream: Tensor) -> None:
        """Find the sublayers after the attention, up to the first without attention: the MLP."""
        numbers = self.numbers
        while (found := self._next_sublayer(after, stream)) is not None:
            if found.linears and not found.attends:
                self._keep_mlp(found, stream)
                return
            numbers.between_sublayers.append("attention" if found.attends else "another sublayer")
            norm = self._norm_after(found.add)
            after, stream = found.add, (norm or found.add).result
        numbers.missing.append(NO_MLP)

    def _next_sublayer(self, after: Call, stream: Tensor) -> Sublayer | None:
        streams = self.walk.arranged(stream, after)
        for call in self.walk.later(after):
            if call.name not in ADDITIONS or not _adds_a_stream(call):
                continue
            first, second = call.given
            for own, branch in ((first, second), (second, first)):
                if any(own is each for each in streams):
                    inside = self.walk.between(streams, call.makers.get(id(branch)))
                    if inside:
                        return Sublayer(call, branch, inside)
        return None

    def _keep_mlp(self, found: Sublayer, stream: Tensor) -> None:
        of_stream = self.rows.of_stream
        norm = next((call for call in found.calls if call.name in (*NORMS, *LINEAR)), None)
        first = norm if norm is not None and norm.name in NORMS else None
        norm_after = self._norm_after(found.add)
        after = None if norm_after is None else as_norm(norm_after, of_stream(norm_after.result))
        self.numbers.mlp = MLPNumbers(
            norm=None if first is None else as_norm(first, of_stream(first.result)),
            before=of_stream(stream),
            hidden=of_stream(linear_input(found.linears[-1])),
            added=of_stream(found.branch),
            activation=_activation(found.calls),
            dropout=max((dropout_of(c) for c in found.calls if c.name == "dropout"), default=0.0),
            norm_after=after,
        )
        self.numbers.leaving = of_stream(found.add.result) if after is None else after.result


def _activation(calls: Sequence[Call]) -> str:
    return next((ACTIVATIONS[call.name] for call in calls if call.name in ACTIVATIONS), "")


def _adds_a_stream(add: Call) -> bool:
    """Whether an addition has two tensors of one size, and not a bias."""
    return len(add.given) == 2 and add.given[0].numel() == add.given[1].numel()


def _same(first: Tensor | None, second: Tensor | None) -> bool:
    if first is None or second is None:
        return False
    return first.shape == second.shape and torch.equal(first, second)
