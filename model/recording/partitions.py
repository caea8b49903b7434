"""Read off published modules how they cut their grid of tokens, where no common name tells it.

Each entry is found by the name of the module's class; what it says must fit the number of windows
and of tokens, or it is not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from model.recording.calls import ModuleCall
from model.recording.windows import Windows

Cutter = Callable[[ModuleCall, nn.Module], Iterator[Windows]]


def known_partitions(call: ModuleCall, inside: nn.Module) -> Sequence[Windows]:
    """List the windows that a module of a known class may cut.

    `inside` is the module that it calls, in which attention ran.
    """
    kind: Any = type(call.module)
    cutter = _cutter_of(kind)
    if cutter is None:
        return ()
    try:
        return list(cutter(call, inside))
    except (AttributeError, KeyError, TypeError, ValueError):  # another class of that name
        return ()


@lru_cache(maxsize=4096)
def _cutter_of(kind: Any) -> Cutter | None:
    return _CUTTERS.get(kind.__name__)


def _sides(call: ModuleCall) -> tuple[int, int, int] | None:
    """The last three sizes of (B, x, y, z), the first argument."""
    match call.args:
        case (Tensor(ndim=4) as tokens, *_):
            return tokens.shape[1], tokens.shape[2], tokens.shape[3]
    return None


def _partition(call: ModuleCall, _: nn.Module) -> Iterator[Windows]:
    """MaxViT in timm: blocks of neighbours, or grids of tokens that lie apart."""
    module: Any = call.module
    if sides := _sides(call):
        grid = sides[1:] if "2d" in type(module).__name__ else sides[:2]
        size = tuple(module.partition_size)
        yield (Windows if module.partition_block else Windows.apart)(grid, size)


def _both_partitions(call: ModuleCall, inside: nn.Module) -> Iterator[Windows]:
    """MaxViT in timm with blocks and grids side by side."""
    module: Any = call.module
    if sides := _sides(call):
        size = tuple(module.partition_size)
        yield (Windows.apart if inside is module.attn_grid else Windows)(sides[:2], size)


def _partition_of_torchvision(call: ModuleCall, _: nn.Module) -> Iterator[Windows]:
    module: Any = call.module
    if sides := _sides(call):
        if module.partition_type == "window":
            yield Windows(sides[1:], (module.p, module.p))
        else:
            yield Windows.apart(sides[1:], (module.g, module.g))


def _distances(call: ModuleCall, _: nn.Module) -> Iterator[Windows]:
    """CrossFormer in vit-pytorch: tokens a long distance apart."""
    own = vars(call.module)
    if (sides := _sides(call)) and own.get("attn_type") == "long":
        yield Windows.apart(sides[1:], (own["window_size"], own["window_size"]))


def _unfolded(call: ModuleCall, _: nn.Module) -> Iterator[Windows]:
    """MobileViT: the pixels at one place of every patch attend to each other."""
    own = vars(call.module)
    patch = own.get("patch_size") or (
        own.get("patch_height", own.get("ph")),
        own.get("patch_width", own.get("pw")),
    )
    match _sides(call), patch:
        case (_, height, width), (int(down), int(across)):
            size = -(-height // down), -(-width // across)
            yield Windows.apart((size[0] * down, size[1] * across), size)


def _local(call: ModuleCall, _: nn.Module) -> Iterator[Windows]:
    """Twins in vit-pytorch."""
    side = vars(call.module).get("patch_size")
    if (sides := _sides(call)) and isinstance(side, int):
        yield Windows(sides[1:], (side, side))


def _pixels(call: ModuleCall, _: nn.Module) -> Iterator[Windows]:
    """TNT in timm: the pixels of a patch are its window."""
    module: Any = call.module
    embedding = module.pixel_embed
    (rows, columns), (down, across) = embedding.grid_size, embedding.new_patch_size
    yield Windows((rows * down, columns * across), (down, across))


def _strides_left(module: Any, inside: nn.Module, back: int = 0) -> tuple[Any, Any] | None:
    """Hiera's strides that are not pooled yet, and its grid, in the part `inside` or before it."""
    parts = module._modules.get("blocks") or module._modules.get("stages") or ()
    number = next((n for n, part in enumerate(parts) if part is inside), -1) - back
    found: tuple[Any, Any] | None
    found = getattr(module._modules.get("reroll", module), "schedule", {}).get(number)
    return found


def _mask_units(call: ModuleCall, inside: nn.Module) -> Iterator[Windows]:
    """Hiera in timm, by block, and in transformers, by stage."""
    strides, (rows, columns) = _strides_left(call.module, inside) or ((), (0, 0))
    if strides:
        strides = tuple((int(down), int(across)) for down, across in strides)
        yield Windows.unrolled((rows, columns), strides)
        yield Windows.unrolled((rows, columns), strides, whole=True)


def keeps_own_order(calls: Sequence[ModuleCall], pools: bool) -> bool:
    """Whether the tokens stand in Hiera's order, those of the keys where the queries are pooled."""
    for number, call in enumerate(calls):
        kind: Any = type(call.module)
        if _cutter_of(kind) is _mask_units:
            inside = calls[max(0, number - 1)].module
            steps = (_strides_left(call.module, inside, back) for back in range(1 + pools))
            return any(found and found[0] for found in steps)
    return False


_CUTTERS: dict[str, Cutter] = {
    "PartitionAttentionCl": _partition,
    "PartitionAttention2d": _partition,
    "ParallelPartitionAttention": _both_partitions,
    "PartitionAttentionLayer": _partition_of_torchvision,
    "Attention": _distances,
    "MobileVitBlock": _unfolded,
    "MobileViTLayer": _unfolded,
    "MobileViTBlock": _unfolded,
    "LocalAttention": _local,
    "TNT": _pixels,
    "Hiera": _mask_units,
    "HieraEncoder": _mask_units,
}
