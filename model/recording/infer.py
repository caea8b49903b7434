"""Infer what an attention call does not say itself from the module calls around it.

The call sees queries and keys of any lengths. The number of heads, the kind of attention, the
number of images and the windows are known to the modules that are running.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from model.recording.calls import ModuleCall
from model.recording.partitions import known_partitions
from model.recording.windows import Windows

# Names of the argument that holds the sequence to attend to.
_KEYS = (
    *("key", "keys", "k", "kv", "context", "memory"),
    *("key_value_states", "encoder_hidden_states"),
)
_HEADS = ("num_heads", "num_attention_heads", "heads", "n_heads", "n_head", "nhead")


# Names of the size of a window: of Swin and SAM, Twins, EfficientViT and NesT.
_WINDOWS = ("window_size", "ws", "window_resolution", "block_size")
_OF_WINDOWS = frozenset((*_WINDOWS, "attn_type", "partition_block"))


class Roll(NamedTuple):
    """A roll of a tensor inside modules, such as the shift before a grid is cut into windows."""

    inside: list[dict[str, Any]]  # the keyword arguments of the running calls, which identify them
    shape: tuple[int, ...]
    shifts: Any
    dims: Any


def attends(module: nn.Module) -> bool:
    """Whether a module seems to attend, by the name of its class or by having heads."""
    kind = type(module).__name__.lower()
    return any(word in kind for word in ("attn", "attention", "softmax")) or bool(_heads(module))


# -- heads and kind -----------------------------------------------------------------------------


def infer_heads(calls: list[ModuleCall]) -> int | None:
    """Read the number of heads from the innermost module that has one."""
    call = call_with_heads(calls)
    return None if call is None else _heads(call.module)


def infer_kind(name: str, calls: list[ModuleCall], queries: int, keys: int) -> str:
    """Return "self" where tokens attend to themselves, "cross" where to another sequence.

    The name of the module comes first ("crossattention", "self_attn"). Then the module with the
    heads decides: by its own attribute (GPT-2, which with a cache has more keys than queries), or
    by being called with two sequences that differ in their values. The lengths come last: a module
    of one sequence may attend to fewer keys than it has tokens, and to itself.
    """
    lowered = name.lower()
    if "cross" in lowered or "encoder_attn" in lowered:
        return "cross"
    if "self" in lowered:
        return "self"
    with_heads = call_with_heads(calls)
    declared = with_heads and declaration(with_heads.module, "is_cross_attention")
    if isinstance(declared, bool):
        return "cross" if declared else "self"
    if sequences := _two_sequences(with_heads or calls[0]):
        return "self" if _same(*sequences) else "cross"
    if queries == keys:
        return "self"
    return "self" if _pools(with_heads or calls[0], queries, keys) else "cross"


def _pools(call: ModuleCall, queries: int, keys: int) -> bool:
    """Whether queries or keys are a coarser grid of the tokens (PVT, SegFormer, MViT, LeViT).

    Their module is given one sequence, from which both come, and has learned neither.
    """
    tensors = call.tensors
    if len(tensors) != 1 or queries == 1 or _has_learned(call.module, (queries, keys)):
        return False
    counts = tokens_and_widths(tuple(tensors[0].shape))[0]
    if max(queries, keys) in counts or (queries in counts and _pools_to(call.module, keys)):
        return True
    return any(
        count % queries == count % keys == 0 for count in counts if count > max(queries, keys)
    )


def _pools_to(module: nn.Module, keys: int) -> bool:
    """Whether a module pools its tokens to so many, which may be more than it was given (PVT)."""
    pools = (m for m in module.children() if isinstance(m, nn.AdaptiveAvgPool2d))
    sizes = (_pair(pool.output_size) for pool in pools)
    return any(size is not None and size[0] * size[1] == keys for size in sizes)


def _has_learned(module: nn.Module, counts: tuple[int, int]) -> bool:
    """Whether a module has as many vectors of its own as there are queries or keys.

    A table of biases (LeViT) has positions in its last dimension, not features.
    """
    tables = [inner for inner in module.children() if isinstance(inner, nn.Embedding)]
    parameters = (each for own in (module, *tables) for each in own.parameters(recurse=False))
    vectors = (each.shape for each in parameters if each.ndim > 1 and each.shape[-1] not in counts)
    return any(count in shape[:-1] for shape in vectors for count in counts)


def declaration(module: nn.Module, name: str) -> Any:
    """Read an attribute of a module or of its class; None where there is none.

    `getattr` asks a module's own `__getattr__`, which takes long to say no.
    """
    own = module.__dict__
    if name in own:
        return own[name]
    kind: Any = type(module)
    return getattr(module, name) if _has_itself(kind, name) else None


@lru_cache(maxsize=4096)
def _has_itself(kind: Any, name: str) -> bool:
    return hasattr(kind, name)


def call_with_heads(calls: list[ModuleCall]) -> ModuleCall | None:
    """Find the innermost module that has heads."""
    for call in calls:
        if _heads(call.module):
            return call
    return None


def _heads(module: nn.Module) -> int | None:
    own = module.__dict__
    for attribute in _HEADS:
        if attribute in own and isinstance(heads := own[attribute], int) and heads > 0:
            return heads
    kind: Any = type(module)
    for attribute in _heads_of_class(kind):
        heads = declaration(module, attribute)
        if isinstance(heads, int) and heads > 0:
            return heads
    return None


@lru_cache(maxsize=1024)
def _heads_of_class(kind: Any) -> tuple[str, ...]:
    """List the names of heads that a class has itself, such as properties: hardly any has."""
    return tuple(attribute for attribute in _HEADS if _has_itself(kind, attribute))


def _two_sequences(call: ModuleCall) -> tuple[Tensor, Tensor] | None:
    """Find two sequences (B, N, D) of one width among the arguments: of queries, and of keys."""
    given = [*call.args[:2], *(call.kwargs[name] for name in ("query", "q") if name in call.kwargs)]
    given += [call.kwargs[name] for name in _KEYS if name in call.kwargs]
    match given:
        case (Tensor(ndim=3) as first, Tensor(ndim=3) as second, *_):
            if first.shape[-1] == second.shape[-1] and second.is_floating_point():
                return first, second
    return None


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors hold the same sequence: attn(ln(x), ln(x), ln(x)) makes it twice."""
    if first is second or first.shape != second.shape:
        return first is second
    try:
        return torch.equal(first, second)
    except RuntimeError:  # tensors without values, as in AttentionRecorder.estimate
        return True


# -- images -------------------------------------------------------------------------------------


def infer_batch_sizes(call: ModuleCall) -> tuple[int, ...]:
    """List how many images (or texts) the net may have been given; empty where unknown.

    (B, C, H, W) leaves no doubt, nor does a list of pictures (C, H, W). Tokens come as (B, N, D)
    or (N, B, D), or without a batch.
    """
    lists = [v for v in (*call.args, *call.kwargs.values()) if isinstance(v, list | tuple)]
    if pictures := next((len(each) for each in lists if _are_pictures(each)), 0):
        return (pictures,)
    sizes = (t.shape[:1] if t.ndim >= 4 else (*t.shape[:2], 1) for t in call.tensors)
    return tuple(dict.fromkeys(size for some in sizes for size in some))


def _are_pictures(given: list[Any] | tuple[Any, ...]) -> bool:
    return bool(given) and all(
        isinstance(each, Tensor) and each.ndim == 3 and each.shape[0] in (1, 3, 4) for each in given
    )


def tokens_and_widths(shape: tuple[int, ...]) -> tuple[set[int], set[int]]:
    """The numbers of tokens, and of channels, that a module's input of this shape may have."""
    match shape:
        case (_, tokens, width):  # (B, N, D), or (N, B, D)
            return {tokens, shape[0]}, {width}
        case (_, second, third, last):  # (B, C, H, W), or (B, H, W, C)
            return {third * last, second * third}, {second, last}
    return set(), set()


# -- windows ------------------------------------------------------------------------------------


def infer_windows(
    calls: list[ModuleCall], batch: int, tokens: int, roll: Roll | None = None
) -> Windows | None:
    """Infer the windows from the innermost module that was called with a grid and cuts it.

    `roll` is the last one that ran. A size of zero (SAM, ViTDet) marks a layer without windows.
    """
    for number, call in enumerate(calls):
        for windows in known_partitions(call, calls[max(0, number - 1)].module):
            if (len(call.args[0]) * windows.count, windows.area) == (batch, tokens):
                return windows
        size = _window_size(call.module)
        if size and not all(size):
            return None
        if size and (grids := _grids(call)):
            images = len(call.args[0])
            cut = (_shifted(Windows(grid, size), call, roll) for grid in grids)
            fits = (w for w in cut if (images * w.count, w.area) == (batch, tokens))
            return next(fits, None)
    return None


def _window_size(module: nn.Module) -> tuple[int, int] | None:
    """Read the size of the windows that a module cuts: rows and columns of neighbouring tokens.

    MaxViT's grid and CrossFormer's long distance cut tokens apart from each other: no windows.
    """
    kind: Any = type(module)
    if module.__dict__.keys().isdisjoint(_OF_WINDOWS) and not _class_cuts(kind):
        return None  # as of most modules: each of the questions below takes its time
    if declaration(module, "attn_type") == "long":
        return None
    sizes = (_pair(declaration(module, name)) for name in _WINDOWS)
    if size := next((size for size in sizes if size), None):
        return size
    if declaration(module, "partition_block") is True:
        return _pair(declaration(module, "partition_size"))
    return None


@lru_cache(maxsize=4096)
def _class_cuts(kind: Any) -> bool:
    """Whether a class itself has one of the names that tell of windows."""
    return any(_has_itself(kind, name) for name in _OF_WINDOWS)


def _shifted(windows: Windows, call: ModuleCall, roll: Roll | None) -> Windows:
    """Add the shift of the roll that ran, or else the shift that the module's attribute holds."""
    if roll and any(kwargs is call.kwargs for kwargs in roll.inside):
        rolled = tuple(roll.shape[1:3])
        for padded_last, circle in ((False, windows.circle), (True, windows.grid)):
            if len(roll.shape) == 4 and rolled == circle and roll.dims in ((1, 2), [1, 2]):
                down, across = (-int(shift) for shift in roll.shifts)
                return Windows(windows.grid, windows.size, (down, across), padded_last)
    down, across = _pair(declaration(call.module, "shift_size")) or (0, 0)
    # A side that is one window has nothing to shift, even where the module's attribute says so.
    rows, columns = windows.counts
    shift = (down if rows > 1 else 0, across if columns > 1 else 0)
    return Windows(windows.grid, windows.size, shift)


def _grids(call: ModuleCall) -> list[tuple[int, int]]:
    """List the rows and columns that the call's tokens may have, likeliest first.

    (B, rows, columns, D) as in Swin and SAM, (B, D, rows, columns) as in ViTDet, or (B, N, D) and
    a pair: the next argument (Hugging Face), or the module's own (Microsoft's Swin).
    """
    match call.args:
        case (Tensor(ndim=4) as tokens, *_):
            _, first, second, third = tokens.shape
            own_pool = call.module._modules.get("pool")  # before the windows, as in NesT
            halved = [] if own_pool is None else [(-(-second // 2), -(-third // 2))]
            return [(first, second), (second, third), *halved]
        case (Tensor(ndim=3), (int(rows), int(columns)), *_):
            return [(rows, columns)]
        case (Tensor(ndim=3) as tokens, *_):
            own = _pair(declaration(call.module, "input_resolution"))
            return [own] if own and own[0] * own[1] == tokens.shape[1] else []
    return []


def _pair(size: Any) -> tuple[int, int] | None:
    match size:
        case int():
            return size, size
        case (int(rows), int(columns)):
            return rows, columns
    return None
