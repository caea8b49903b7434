"""Rules that change what a head returns, O = A V, before the output projection.

The module returns W_O [O_1 ... O_H] + b = Σ_h W_O^(h) O_h + b, where W_O^(h) holds the columns of
the projection that head h is multiplied with. What happens to O_h thus happens to one term.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import InterventionRefused

Rule = Callable[[Tensor, Sequence[int], str], Tensor]
"""Takes the outputs of all heads of a layer, (B, H, Q, d), the chosen heads and the layer's name.

It returns what the chosen heads give instead, (B, h, Q, d).
"""


def zeros(outputs: Tensor, heads: Sequence[int], layer: str) -> Tensor:
    """O'_h = 0, which subtracts W_O^(h) O_h from what the module returns.

    Michel et al. 2019, "Are Sixteen Heads Really Better than One?".
    """
    return torch.zeros_like(outputs[:, heads])


@dataclass(frozen=True)
class HeadMeans:
    """O'_h = the head's mean output over a set of pictures and all their tokens.

    The model keeps what the head says of every picture, and loses what it says of this one.
    `head_means` computes them.
    """

    means: Mapping[str, Tensor]  # layer's name -> (H, d)
    pictures: str  # which pictures they are from, as a page names them

    def __call__(self, outputs: Tensor, heads: Sequence[int], layer: str) -> Tensor:
        means = _of_layer(self.means, layer)[list(heads)]
        return means[None, :, None].to(outputs).expand_as(outputs[:, heads])


@dataclass(frozen=True)
class FromRun:
    """O'_h = the head's output in another run (activation patching).

    Meng et al. 2022, "Locating and Editing Factual Associations in GPT".
    """

    outputs: Mapping[str, Tensor]  # layer's name -> (1 or B, H, Q, d)

    def __call__(self, outputs: Tensor, heads: Sequence[int], layer: str) -> Tensor:
        other = _of_layer(self.outputs, layer)
        if other.shape[1:] != outputs.shape[1:]:
            raise InterventionRefused(
                f"The other run has {other.shape[2]} tokens in {layer}, and this one "
                f"{outputs.shape[2]}: hide the same patches in both, or remove none."
            )
        return other[:, heads].to(outputs).expand_as(outputs[:, heads])


@dataclass(frozen=True)
class Kept:
    """O'_bh = O_bh where kept, and else what a rule puts there: other heads in each image."""

    keep: Tensor  # (B, H), of booleans
    rule: Rule = zeros

    def __call__(self, outputs: Tensor, heads: Sequence[int], layer: str) -> Tensor:
        keep = self.keep.repeat_interleave(len(outputs) // len(self.keep), 0)  # windows
        others = self.rule(outputs, heads, layer)
        return torch.where(keep[:, list(heads), None, None], outputs[:, heads], others)


def _of_layer(tensors: Mapping[str, Tensor], layer: str) -> Tensor:
    if layer not in tensors:
        known = ", ".join(tensors) or "none"
        raise InterventionRefused(f"Nothing is known of layer {layer} from the other run: {known}.")
    return tensors[layer]
