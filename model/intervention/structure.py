"""Find the blocks and sublayers of a net from its modules, without running it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from model.errors import InterventionRefused
from model.recording.infer import attends
from model.recording.structure import named_modules

CONTAINERS = (nn.ModuleList, nn.Sequential, nn.ModuleDict)


def attention_names(net: nn.Module) -> list[str]:
    """List the innermost modules that seem to attend, in the order in which they are defined.

    That is the order in which they run in almost every net; whoever relies on it compares it with
    a run.

        >>> from model.vit import build
        >>> attention_names(build("vit", img_size=32, dim=12, depth=2, heads=3))
        ['blocks.0.attention', 'blocks.1.attention']
    """
    names = [name for name, module in named_modules(net) if _may_attend(module)]
    return [n for n in names if not any(o != n and _inside(o, n) for o in names)]


def block_of(net: nn.Module, attention: str) -> str:
    """Find the block that holds an attention module and the MLP beside it, by name.

    Raises InterventionRefused where the block is no module of its own.
    """
    parts = attention.split(".")
    for end in range(len(parts) - 1, 0, -1):
        name, parent = ".".join(parts[:end]), ".".join(parts[: end - 1])
        in_container = isinstance(net.get_submodule(parent), CONTAINERS)
        sublayer = f"{name}.{parts[end]}"
        if in_container and type(net.get_submodule(name)) not in CONTAINERS:
            outside = (n for n, _ in _matrices(net, name) if not _inside(n, sublayer))
            if next(outside, None) is not None:
                return name
    raise InterventionRefused(
        f"The block around {attention} is no module of its own in this net, so its tokens and its "
        "sublayers cannot be reached. Its heads can."
    )


def attention_projection(net: nn.Module, attention: str) -> Tensor:
    """Find the weights of the projection after an attention module's heads.

    It is the last matrix of the sublayer that returns tokens of the block's width.
    """
    try:
        around = block_of(net, attention)
        sublayer = _child(around, attention)
    except InterventionRefused:
        around = sublayer = attention
    return _last_projection(net, around, _matrices(net, sublayer))


def mlp_projection(net: nn.Module, attention: str) -> Tensor:
    """Find the weights of the last matrix of the MLP in an attention module's block."""
    block = block_of(net, attention)
    attending = {_child(block, n) for n in attention_names(net) if n.startswith(block + ".")}
    outside = (
        (name, module)
        for name, module in _matrices(net, block)
        if not any(_inside(name, sublayer) for sublayer in attending)
    )
    return _last_projection(net, block, outside)


def _last_projection(
    net: nn.Module, around: str, matrices: Iterable[tuple[str, nn.Module]]
) -> Tensor:
    """Find the last matrix that returns tokens of the width that the block normalises."""
    norms = (getattr(m, "weight", None) for m in net.get_submodule(around).modules())
    width = next((len(w) for w in norms if isinstance(w, Tensor) and w.ndim == 1), None)
    fitting = [m for _, m in matrices if width in (None, _rows(m))]
    if not fitting:
        raise InterventionRefused(f"No projection back to the tokens was found in {around}.")
    weight = fitting[-1].weight
    assert isinstance(weight, Tensor)
    return weight


def _rows(module: nn.Module) -> int:
    """Count the channels that a module's matrix returns; GPT-2's is stored the other way round."""
    weight = _matrix(module)
    assert weight is not None
    return weight.shape[1] if type(module).__name__ == "Conv1D" else weight.shape[0]


def _may_attend(module: nn.Module) -> bool:
    """Whether a module attends by its name, or has heads and weights (a rotary code has none)."""
    if isinstance(module, nn.Softmax) or not attends(module):
        return False
    kind = type(module).__name__.lower()
    named = "attn" in kind or "attention" in kind
    return named or any(_matrix(m) is not None for m in module.modules())


def _matrix(module: nn.Module) -> Tensor | None:
    weight = getattr(module, "weight", None)
    return weight if isinstance(weight, Tensor) and weight.ndim == 2 else None


def _matrices(net: nn.Module, inside: str) -> Iterator[tuple[str, nn.Module]]:
    """List the modules inside one that hold a matrix of weights."""
    for name, module in named_modules(net.get_submodule(inside)):
        if _matrix(module) is not None:
            yield (f"{inside}.{name}" if name else inside), module


def _child(outer: str, name: str) -> str:
    """Name the part of `outer` that holds the module `name`."""
    return f"{outer}.{name[len(outer) + 1 :].split('.')[0]}"


def _inside(name: str, outer: str) -> bool:
    return name == outer or name.startswith(outer + ".")
