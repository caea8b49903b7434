"""Copy a net's modules without its weights."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

AnyNet = TypeVar("AnyNet", bound=nn.Module)


def copy_sharing_weights(net: AnyNet) -> AnyNet:
    """Copy a net's modules, but share its parameters and buffers.

    Hooks on the copy go unnoticed by whoever else runs the net at the same moment.
    """
    shared = (*net.parameters(), *net.buffers())
    return copy.deepcopy(net, {id(tensor): tensor for tensor in shared})
