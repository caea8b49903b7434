"""Optimisers, learning-rate schedules, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from model.training.muon import Muon
from model.training.recipe import Optimiser, Schedule

AnyNet = TypeVar("AnyNet", bound=nn.Module)


def make_optimiser(net: nn.Module, options: Optimiser) -> torch.optim.Optimizer:
    """Build the optimiser of a recipe.

    Weight decay acts on matrices and filters alone, unless `decay_all`. Muon takes the hidden
    matrices alone, and AdamW the rest.
    """
    parameters = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    hidden: list[nn.Parameter] = []
    if options.name == "muon":
        hidden = [p for n, p in parameters if _is_hidden(n, p)]
        parameters = [(n, p) for n, p in parameters if not _is_hidden(n, p)]
    decayed = [p for n, p in parameters if options.decay_all or _is_matrix(n, p)]
    rest = [p for n, p in parameters if not (options.decay_all or _is_matrix(n, p))]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": options.weight_decay}]
    if rest:
        groups.append({"params": rest, "weight_decay": 0.0})
    if options.name == "sgd":
        return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum)
    if options.name == "muon":
        groups.append({"params": hidden, "weight_decay": options.weight_decay, "orthogonal": True})
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "muon": Muon}[options.name]
    return kind(groups, lr=options.lr, betas=options.betas)


def _is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is a matrix or a filter, and not a token or a position code."""
    own = name.removeprefix("encoder.")  # of a captioner
    return parameter.ndim >= 2 and not own.startswith(("cls_token", "positions", "registers"))


def _is_hidden(name: str, parameter: Tensor) -> bool:
    """Whether a matrix lies between hidden features.

    The projection of whole patches counts. A stem's first filters, the last layer and word
    embeddings do not.
    """
    ends = ("embed.stages.0.0.", "embed.weight", "head.")
    inside = not any(end in name for end in ends) and not name.endswith("score.weight")
    return inside and _is_matrix(name, parameter)


def make_schedule(options: Schedule, steps: int) -> Callable[[int], float]:
    """Build the factor on the learning rate, as a function of the step."""
    warmup = options.warmup * steps

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if options.name == "constant":
            return 1.0
        done = (step - warmup) / max(1.0, steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return factor


class Average(AveragedModel, Generic[AnyNet]):
    """Exponential moving average of weights and BatchNorm statistics.

    Early on the decay is smaller, (1 + n) / (10 + n) after n updates, so that a short run soon
    forgets its first, random weights. torch's own update reads n at each step, and so waits for
    all that a GPU has still to do.
    """

    module: AnyNet

    def __init__(self, net: AnyNet, decay: float) -> None:
        super().__init__(net, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, net: nn.Module) -> None:
        """Move the average towards the weights of a net."""
        updates = float(self.n_averaged)
        decay = min(self.decay, (1 + updates) / (10 + updates)) if updates else 0.0
        pairs = list(zip(_tensors_of(self.module), _tensors_of(net), strict=True))
        averages = [average for average, _ in pairs if average.is_floating_point()]
        currents = [current for average, current in pairs if average.is_floating_point()]
        torch._foreach_lerp_(averages, currents, 1 - decay)
        for average, current in pairs:
            if not average.is_floating_point():  # a counter
                average.copy_(current)
        self.n_averaged += 1


def _tensors_of(net: nn.Module) -> list[Tensor]:
    return [*net.parameters(), *net.buffers()]
