"""Name the modules of a net, and keep the names for as long as it is built the same way."""

from __future__ import annotations

import weakref

import torch
from torch import nn

# These run inside one kernel where no function mode is on.
_WITH_FAST_PATHS = (nn.MultiheadAttention, nn.TransformerEncoder, nn.TransformerEncoderLayer)


def named_modules(net: nn.Module) -> list[tuple[str, nn.Module]]:
    """List names and modules as `net.named_modules()` does, which takes several times as long."""
    named = [("", net)]
    seen = {id(net)}

    def visit(module: nn.Module, prefix: str) -> None:
        for part, inner in module._modules.items():
            if inner is not None and id(inner) not in seen:
                seen.add(id(inner))
                named.append((prefix + part, inner))
                if inner._modules:
                    visit(inner, f"{prefix}{part}.")

    visit(net, "")
    return named


class Structure:
    """Names of the modules of a net. It refers to them weakly."""

    def __init__(self, net: nn.Module) -> None:
        named = named_modules(net)
        kinds = {type(module) for _, module in named}
        self.names = {id(module): name for name, module in named}
        self.scripted = any(issubclass(kind, torch.jit.ScriptModule) for kind in kinds)
        self.has_fast_paths = any(issubclass(kind, _WITH_FAST_PATHS) for kind in kinds)
        self.wraps_compiled = any("_orig_mod" in module._modules for _, module in named)
        self.has_compiled = any(is_compiled(module) for _, module in named)
        self._modules = [] if self.scripted else [_describe(module) for _, module in named]

    @property
    def is_compiled(self) -> bool:
        """Whether a module runs outside Python, where nothing can be seen."""
        return self.scripted or self.wraps_compiled or self.has_compiled

    def still_holds(self) -> bool:
        """Whether every module still holds the same modules under the same names.

        On its way it looks whether one has been compiled: each recording pays for this way.
        """
        self.has_compiled = False
        for ref, parts, ids in self._modules:
            module = ref()
            if module is None:
                return False
            inside = module._modules
            if not inside and not parts:
                pass
            elif list(inside) != parts or list(map(id, inside.values())) != ids:
                return False
            if "_compiled_call_impl" in module.__dict__ and is_compiled(module):
                self.has_compiled = True
        return not self.scripted


def is_compiled(module: nn.Module) -> bool:
    """Whether `module.compile()` has been called."""
    return vars(module).get("_compiled_call_impl") is not None


_known: dict[int, tuple[weakref.ref[nn.Module], Structure]] = {}


def structure_of(net: nn.Module) -> Structure:
    """Find the structure of a net, anew where it has been rebuilt."""
    number = id(net)
    ref, structure = _known.get(number, (None, None))
    if ref is None or structure is None or ref() is not net or not structure.still_holds():
        structure = Structure(net)
        _known[number] = weakref.ref(net, lambda ref: _forget(number, ref)), structure
    return structure


def _forget(number: int, ref: weakref.ref[nn.Module]) -> None:
    found = _known.get(number)
    if found is not None and found[0] is ref:
        del _known[number]


def _describe(module: nn.Module) -> tuple[weakref.ref[nn.Module], list[str], list[int]]:
    inside = module._modules
    return weakref.ref(module), list(inside), list(map(id, inside.values()))
