"""One vision transformer whose attention runs by each route that the recorder knows."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from model.nets.attention import MultiHeadAttention
from model.nets.vit import VisionTransformer, build

SMALL = {"img_size": 32, "patch_size": 8, "dim": 24, "depth": 3, "heads": 3, "num_classes": 5}
PRESETS = ("vit", "cs231n", "d2l", "einops_b16", "clip_b32")


def small_net(preset: str = "vit", **overrides) -> VisionTransformer:
    """A small net with weights large enough for maps that are far from even."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build(preset, **{**SMALL, "mlp_dim": 48, **overrides}).eval()
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.3)
    return net


class Library(nn.Module):
    """The same attention by nn.MultiheadAttention."""

    def __init__(self, ours: MultiHeadAttention, need_weights: bool) -> None:
        super().__init__()
        self.mha = nn.MultiheadAttention(ours.proj.out_features, ours.heads, batch_first=True)
        self.need_weights = need_weights
        parts = (ours.query, ours.key, ours.value)
        with torch.no_grad():
            self.mha.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
            self.mha.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
            self.mha.out_proj.load_state_dict(ours.proj.state_dict())

    @property
    def proj(self) -> nn.Linear:
        return self.mha.out_proj

    def forward(self, tokens: Tensor) -> Tensor:
        return self.mha(tokens, tokens, tokens, need_weights=self.need_weights)[0]


class Handwritten(nn.Module):
    """The same attention with a softmax by hand, and a product in one of several spellings."""

    def __init__(self, ours: MultiHeadAttention, spelling: str) -> None:
        super().__init__()
        self.heads, self.scale, self.spelling = ours.heads, ours.scale, spelling
        self.query, self.key, self.value = ours.query, ours.key, ours.value
        self.proj = ours.proj

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            part(tokens).unflatten(-1, (self.heads, -1))
            for part in (self.query, self.key, self.value)
        )  # (B, N, H, d)
        if self.spelling == "einsum":
            weights = torch.softmax(torch.einsum("bqhd,bkhd->bhqk", query, key) * self.scale, -1)
            mixed = torch.einsum("bhqk,bkhd->bqhd", weights, value)
            return self.proj(mixed.flatten(2))
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        if self.spelling == "stacked":  # (B·H, N, d)
            query, key, value = (part.flatten(0, 1) for part in (query, key, value))
            mixed = torch.bmm((query @ key.mT * self.scale).softmax(-1), value)
            mixed = mixed.unflatten(0, (-1, self.heads))
        else:
            mixed = (query @ key.mT * self.scale).softmax(dim=-1) @ value
        return self.proj(mixed.transpose(1, 2).flatten(2))


ROUTES: dict[str, Callable[[MultiHeadAttention], nn.Module]] = {
    "fused": lambda ours: ours,
    "nn.MultiheadAttention": lambda ours: Library(ours, need_weights=False),
    "nn.MultiheadAttention with maps": lambda ours: Library(ours, need_weights=True),
    "softmax": lambda ours: Handwritten(ours, "matmul"),
    "softmax and einsum": lambda ours: Handwritten(ours, "einsum"),
    "softmax of stacked heads": lambda ours: Handwritten(ours, "stacked"),
}


def by_route(route: str, **overrides) -> VisionTransformer:
    """The small net, its attention by a route of `ROUTES`."""
    net = copy.deepcopy(small_net(**overrides))
    for block in net.blocks:
        block.attention = ROUTES[route](block.attention)
    return net.eval()


def projection_of(net: VisionTransformer, layer: int) -> nn.Linear:
    """The output projection of a layer, whichever the route."""
    return net.blocks[layer].attention.proj
