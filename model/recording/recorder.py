"""Record what a model attends to while it runs, without touching the model.

An attention map is softmax(Q Kᵀ · scale + bias). The recorder keeps Q and K as the model made
them, and a row of a map is computed where somebody looks at it.

A `TorchFunctionMode`, which lives in one thread, sees three kinds of calls:
1. `F.scaled_dot_product_attention`: the original runs with its original arguments, so the
   output is the model's own to the bit;
2. `F.multi_head_attention_forward` (`nn.MultiheadAttention`): torch's own code runs, and the
   mode sees the attention inside it. torch itself avoids fused layers, such as the fast path of
   `nn.TransformerEncoderLayer`, while a mode is active;
3. a softmax over the last dimension of a map, written by hand: the finished map is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from model.errors import NothingRecorded
from model.recording.calls import attends
from model.recording.record import AttentionRecord, storage_bytes
from model.recording.tap import Tap, named_modules

__all__ = ["AttentionRecord", "AttentionRecorder", "NothingRecorded"]


class AttentionRecorder:
    """Context manager: `with AttentionRecorder(net) as recorder: net(images)`.

    `recorder.records` has one AttentionRecord for each attention call inside `net`, in the
    order they ran. Only what runs in this thread is seen, the model stays as it is, and its
    output too: to the bit where it calls `scaled_dot_product_attention`. Fast paths of
    `nn.MultiheadAttention` and `nn.TransformerEncoder` are not taken, so their outputs differ by
    the rounding of the model's own precision (by 1e-6 of values near one in float32, by a few
    1e-3 in float16 and 1e-2 in bfloat16; an encoder with a padding mask returns values instead
    of zeros at the padding). Where dropout is active the records hold the attention before it.

    Several pictures one after the other make one list of records, and each record knows its
    forward pass. Rollout takes one pass at a time.

    `layers` chooses what is kept: positions among the modules that attend, in the order in
    which they first run (negative ones count from the last), or names of modules; a name
    stands for everything inside it.

    Leaving the block raises NothingRecorded where nothing, or not every chosen layer, was seen;
    entering it does so for a net of which a part is compiled or scripted.
    """

    def __init__(self, net: nn.Module, layers: Sequence[int | str] | None = None) -> None:
        self.net = net
        self.layers = layers
        self.records: list[AttentionRecord] = []
        self._tap: Tap | None = None

    def __enter__(self) -> Self:
        _refuse_compiled(self.net)
        self.records = []
        self._choice = _Layers(self.layers)
        self._tap = Tap(self.net, self._keep)
        self._tap.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        tap, self._tap = self._tap, None  # it points back here, and records are large
        tap.__exit__(kind, *error)
        self.records = [r for r in self.records if self._choice.has(r.name)]
        if kind is not None:
            return
        if not self._choice.seen:
            raise NothingRecorded(_why_nothing(self.net, tap))
        if missing := self._choice.missing():
            raise NothingRecorded(
                f"No attention ran in layer {_listed(missing)}. The layers that attended, "
                f"counted from 0: {_listed(self._choice.seen)}."
            )

    @property
    def nbytes(self) -> int:
        """Bytes of memory that all records together keep alive."""
        return storage_bytes(t for record in self.records for t in record.tensors())

    @classmethod
    def estimate(
        cls, net: nn.Module, *args: Any, layers: Sequence[int | str] | None = None, **kwargs: Any
    ) -> int:
        """Bytes that recording `net(*args, **kwargs)` will hold, known without computing it.

        The net runs on tensors that have shapes and no values. Raises NothingRecorded as
        recording would.
        """
        return cls._dry_run(net, layers, args, kwargs).nbytes

    @classmethod
    def plan(cls, net: nn.Module, *args: Any, **kwargs: Any) -> list[tuple[str, int]]:
        """(name, bytes) of every record that recording `net(*args, **kwargs)` would hold.

        As cheap as `estimate`, and with the same errors.
        """
        records = cls._dry_run(net, None, args, kwargs).records
        return [(record.name, record.nbytes) for record in records]

    @classmethod
    def _dry_run(
        cls, net: nn.Module, layers: Sequence[int | str] | None, args: tuple, kwargs: dict[str, Any]
    ) -> AttentionRecorder:
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.utils._pytree import tree_map_only

        with FakeTensorMode(allow_non_fake_inputs=True) as shapes:
            args, kwargs = tree_map_only(Tensor, shapes.from_tensor, (args, kwargs))
            with cls(net, layers) as recorder:
                net(*args, **kwargs)
        return recorder

    def _keep(self, record: AttentionRecord) -> None:
        self._choice.see(record.name)
        self.records.append(record)
        if self.layers is not None:
            self.records = [r for r in self.records if self._choice.may_have(r.name)]


class _Layers:
    """Which of the modules that attend are asked for; their order is known as they run."""

    def __init__(self, asked: Sequence[int | str] | None) -> None:
        self.asked = asked
        self.seen: list[str] = []

    def see(self, name: str) -> None:
        if name not in self.seen:
            self.seen.append(name)

    def has(self, name: str) -> bool:
        return self.asked is None or any(name in self._named(layer) for layer in self.asked)

    def may_have(self, name: str) -> bool:
        """While the net runs: number -n can be any of the last n, until more are seen."""
        from_last = self.seen.index(name) - len(self.seen)
        later = any(isinstance(layer, int) and layer <= from_last for layer in self.asked)
        return later or self.has(name)

    def missing(self) -> list[int | str]:
        return [layer for layer in self.asked or () if not self._named(layer)]

    def _named(self, layer: int | str) -> list[str]:
        """The names seen that a number or a name stands for."""
        if isinstance(layer, str):
            return [name for name in self.seen if name == layer or name.startswith(layer + ".")]
        return self.seen[layer:][:1] if -len(self.seen) <= layer < len(self.seen) else []


def _refuse_compiled(net: nn.Module) -> None:
    compiled = any(
        module._compiled_call_impl is not None
        or "_orig_mod" in module._modules
        or isinstance(module, torch.jit.ScriptModule)
        for _, module in named_modules(net)
    )
    if compiled:
        raise NothingRecorded(
            "A compiled or scripted module runs outside Python, where nothing can be seen: "
            "record the module that it was made from."
        )


def _why_nothing(net: nn.Module, tap: Tap) -> str:
    kind = type(net).__name__
    if tap.elsewhere:
        return (
            f"Attention ran, but outside this {kind}: give the recorder the model that you call "
            "inside the with block."
        )
    if not tap.calls:
        return f"{kind} did not run: call it inside the with block, in the thread that opened it."
    return (
        f"No attention was seen in {kind}: nothing in it called scaled_dot_product_attention, "
        "nn.MultiheadAttention or a softmax over the last dimension of a map. "
        f"{_passed_over(tap)}{_closest(net)}"
    )


def _passed_over(tap: Tap) -> str:
    """What was seen and not taken for attention."""
    if not tap.passed_over:
        return ""
    names = list(dict.fromkeys(name or "the model itself" for name in tap.passed_over))
    return (
        f"A softmax ran in {_listed(names)}, but not over a map of tokens, which is "
        "(B, heads, queries, keys) or (B, tokens, tokens): the map of one image and head alone "
        "cannot be told from class probabilities. "
    )


def _closest(net: nn.Module) -> str:
    if any(isinstance(module, torch.fx.GraphModule) for module in net.modules()):
        return "An exported model hides its calls: record the module that it was made from."
    close = [
        f"{name or 'the model itself'} ({type(module).__name__})"
        for name, module in net.named_modules()
        if attends(module)
    ]
    if close:
        return f"The modules that came closest: {_listed(close)}."
    return "None of its modules is named after attention or has heads."


def _listed(items: Sequence[object], most: int = 6) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(map(str, items[:most])) + more
