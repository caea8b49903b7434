"""DeiT: a vision transformer that learnt from a teacher through a token of its own."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from model.nets.vit import VisionTransformer, ViTConfig


class DistilledTransformer(VisionTransformer):
    """DeiT with one head: only the class token is classified, not the distillation token.

    Touvron et al. 2021, "Training data-efficient image transformers & distillation through
    attention". The distillation token is kept as a register, its position already added to it.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.tokens = replace(self.tokens, prefix=("cls", "dist"))


class TwoHeadedTransformer(DistilledTransformer):
    """DeiT as published: each of the two tokens has a head, and the answer is the mean of both."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.head_dist = nn.Linear(config.dim, config.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        cls, dist = self.norm(self.encode(images)[:, :2]).unbind(1)
        return (self.head(cls) + self.head_dist(dist)) / 2
