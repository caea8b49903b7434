"""Record what a model attends to while it runs, without changing the model.

An attention map is softmax(Q Kᵀ · scale + bias). The recorder keeps Q and K as the model made
them, and computes a row of a map when it is asked for.

A `TorchFunctionMode`, which lives in one thread, sees three kinds of calls. Once a net has shown
the first kind alone, torch's dispatcher shows this thread just those (`model.recording.kernels`):
1. `F.scaled_dot_product_attention`: the original runs with its original arguments, so the
   output is the model's own to the bit;
2. `F.multi_head_attention_forward` (`nn.MultiheadAttention`): torch's own code runs, and the
   mode sees the attention inside it. torch itself avoids fused layers, such as the fast path of
   `nn.TransformerEncoderLayer`, while a mode is active;
3. a softmax that the model writes itself: the finished map is kept, once it has multiplied values
   (`model.recording.uses`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from model.errors import NothingRecorded
from model.recording.heads_apart import join_heads
from model.recording.infer import attends
from model.recording.record import AttentionRecord, storage_bytes
from model.recording.structure import Structure, structure_of
from model.recording.tap import Tap

__all__ = ["AttentionRecord", "AttentionRecorder", "NothingRecorded"]


class AttentionRecorder:
    """Record every attention call of a net that runs inside a `with` block.

        >>> import torch
        >>> from model import AttentionRecorder
        >>> from model.vit import build
        >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3).eval()
        >>> with AttentionRecorder(net) as recorder:
        ...     logits = net(torch.randn(1, 3, 32, 32))
        >>> [record.name for record in recorder.records]
        ['blocks.0.attention', 'blocks.1.attention']
        >>> recorder.records[0].shape  # images, heads, queries, keys
        (1, 3, 5, 5)

    `recorder.records` has one AttentionRecord for each attention call inside `net`, in the
    order in which they ran. Several forward passes make one list, and each record knows its
    pass; rollout takes one pass at a time. Only this thread is recorded.

    Where a net had only fused attention in its last recording, and writes a softmax itself this
    time, the scores of its first softmax are assumed to be a product of queries and keys: nobody
    has watched them come about. Record it once more to be sure.

    The model's output stays the same: to the bit where it calls `scaled_dot_product_attention`.
    Fast paths of `nn.MultiheadAttention` and `nn.TransformerEncoder` are not taken, so their
    outputs differ by the rounding of the model's own precision (by 1e-6 of values near one in
    float32, by a few 1e-3 in float16 and 1e-2 in bfloat16; an encoder with a padding mask returns
    values instead of zeros at the padding). Where dropout is active, the records hold the
    attention before it.

    Args:
        net: any PyTorch module. The recorder neither patches it nor leaves hooks on it.
        layers: which layers to keep, None for all: positions among the modules that attend, in
            the order in which they first run (negative ones count from the last), or names of
            modules, each standing for every module inside it.

    Raises:
        NothingRecorded: on leaving the block, where no attention ran, or a chosen layer did not
            attend; on entering it, where a part of the net is compiled or scripted.
    """

    def __init__(self, net: nn.Module, layers: Sequence[int | str] | None = None) -> None:
        self.net = net
        self.layers = layers
        self.records: list[AttentionRecord] = []
        self.not_recorded: str | None = None
        """Names the softmaxes that were seen and not recorded, in a sentence; None without any."""
        self._tap: Tap | None = None

    def __enter__(self) -> Self:
        structure = structure_of(self.net)
        _refuse_compiled(structure)
        self.records = []
        self._choice = _Layers(self.layers)
        self._tap = Tap(self.net, structure, self._keep, self._withdraw)
        self._tap.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        tap, self._tap = self._tap, None  # it points back here, and records are large
        assert tap is not None, "__enter__ has run"
        tap.__exit__(kind, *error)
        tap.finish()
        self.not_recorded = _name_passed_over(tap)
        self.records = join_heads([r for r in self.records if self._choice.has(r.name)])
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
        """Bytes of memory that all records together keep alive; shared memory counts once."""
        return storage_bytes(t for record in self.records for t in record.tensors())

    @classmethod
    def estimate(
        cls, net: nn.Module, *args: Any, layers: Sequence[int | str] | None = None, **kwargs: Any
    ) -> int:
        """Compute how many bytes recording `net(*args, **kwargs)` would hold, without running it.

        The net runs on tensors that have shapes and no values.

            >>> import torch
            >>> from model.vit import build
            >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3)
            >>> with torch.no_grad():
            ...     AttentionRecorder.estimate(net, torch.randn(1, 3, 32, 32))
            3840

        Args:
            net: the module to record.
            args: what the net is called with.
            layers: which layers to keep, as for the recorder itself.
            kwargs: keyword arguments of that call.

        Raises:
            NothingRecorded: where recording would raise it.
        """
        return cls._dry_run(net, layers, args, kwargs).nbytes

    @classmethod
    def plan(cls, net: nn.Module, *args: Any, **kwargs: Any) -> list[tuple[str, int]]:
        """List the name and the bytes of each record that `net(*args, **kwargs)` would make.

        It costs as little as `estimate`, and raises the same errors.

            >>> import torch
            >>> from model.vit import build
            >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3)
            >>> with torch.no_grad():
            ...     AttentionRecorder.plan(net, torch.randn(1, 3, 32, 32))
            [('blocks.0.attention', 1920), ('blocks.1.attention', 1920)]
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

    def _withdraw(self, record: AttentionRecord) -> None:
        self._choice.forget(record.name)
        self.records = [r for r in self.records if r is not record]


class _Layers:
    """Match the layers that were asked for with the modules that attend, as these run."""

    def __init__(self, asked: Sequence[int | str] | None) -> None:
        self.asked = asked
        self.seen: list[str] = []
        self._records: Counter[str] = Counter()  # of each module

    def see(self, name: str) -> None:
        count = self._records.get(name, 0)  # a Counter takes long to say that it has none
        if not count:
            self.seen.append(name)
        self._records[name] = count + 1

    def forget(self, name: str) -> None:
        """Take back one record of a module, which turned out to be no attention."""
        self._records[name] -= 1
        if not self._records[name]:
            self.seen.remove(name)

    def has(self, name: str) -> bool:
        return self.asked is None or any(name in self._named(layer) for layer in self.asked)

    def may_have(self, name: str) -> bool:
        """Whether a later call may still choose this layer: -n is one of the last n so far."""
        from_last = self.seen.index(name) - len(self.seen)
        later = any(isinstance(layer, int) and layer <= from_last for layer in self.asked or ())
        return later or self.has(name)

    def missing(self) -> list[int | str]:
        return [layer for layer in self.asked or () if not self._named(layer)]

    def _named(self, layer: int | str) -> list[str]:
        """Names of the modules that a number or a name stands for."""
        if isinstance(layer, str):
            return [name for name in self.seen if name == layer or name.startswith(layer + ".")]
        return self.seen[layer:][:1] if -len(self.seen) <= layer < len(self.seen) else []


def _refuse_compiled(structure: Structure) -> None:
    if structure.is_compiled:
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
    if tap.began_quietly and not tap.ran:
        return (
            f"{kind} attended when it was recorded before, and no attention of it was seen this "
            "time: call it inside the with block, in the thread that opened it."
        )
    if not tap.ran:
        return f"{kind} did not run: call it inside the with block, in the thread that opened it."
    seen = _name_passed_over(tap)
    return (
        f"No attention was seen in {kind}: nothing in it called scaled_dot_product_attention, "
        "nn.MultiheadAttention, or a softmax that multiplies values. "
        f"{seen + ' ' if seen else ''}{_closest(net)}"
    )


def _name_passed_over(tap: Tap) -> str | None:
    """Count and name the softmaxes that were not recorded; None where all were."""
    if not tap.passed_over:
        return None
    count = len(tap.passed_over)
    named = [f"{name or 'the model itself'} ({why})" for name, why in tap.passed_over]
    were = "softmax was" if count == 1 else "softmaxes were"
    return f"{count} {were} seen and not recorded: {_listed(list(dict.fromkeys(named)))}."


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
