"""An eager vision transformer: every map explicit and in the graph, written out once more.

The reference for methods that need ∂y/∂A. It takes the weights of a VisionTransformer and
nothing else of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.captioning.transformer import Captioner
from model.nets.vit import VisionTransformer


def forward(
    net: VisionTransformer, images: Tensor, nudges: dict[int, Tensor] | None = None
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Logits (B, classes), the maps (B, H, N, N) and the tokens (B, N, D) after each block.

    `nudges`: what is added to the map of a layer before it is used.
    """
    config = net.config
    tokens = net.embed(images)
    if net.cls_token is not None:
        tokens = torch.cat((net.cls_token.expand(len(tokens), -1, -1), tokens), 1)
    tokens = net.positions(tokens)
    maps, after = [], []
    for block in net.blocks:
        layer = block.attention

        def attend(x, layer=layer):
            q, k, v = (
                part(x).unflatten(-1, (config.heads, -1)).transpose(1, 2)
                for part in (layer.query, layer.key, layer.value)
            )
            scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * layer.scale
            weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
            maps.append(weights + (nudges or {}).get(len(maps), 0))
            return layer.proj(torch.einsum("bhqk,bhkd->bqhd", maps[-1], v).flatten(2))

        if config.norm == "pre":
            tokens = tokens + attend(block.norm_attention(tokens))
            tokens = tokens + block.mlp(block.norm_mlp(tokens))
        else:
            tokens = block.norm_attention(tokens + attend(tokens))
            tokens = block.norm_mlp(tokens + block.mlp(tokens))
        after.append(tokens)
    return end(net, tokens), maps, after


def end(net: VisionTransformer, tokens: Tensor) -> Tensor:
    """The logits that the net's norm, pooling and head make of (B, N, D)."""
    config = net.config
    if config.pool == "cls":
        pooled = tokens[:, 0]
    else:
        pooled = tokens[:, int(config.cls_token) if config.pool == "mean" else 0 :].mean(1)
    return net.head(net.norm(pooled))


def score(logits: Tensor, classes: list[int]) -> Tensor:
    return sum(logits[i, c] for i, c in enumerate(classes))


def gradients(net: VisionTransformer, images: Tensor, classes: list[int]):
    """The maps A and ∂y/∂A of every layer."""
    logits, maps, _ = forward(net, images)
    return maps, torch.autograd.grad(score(logits, classes), maps)


def write(
    net: Captioner, images: Tensor, words: Tensor, nudges: dict[int, Tensor] | None = None
) -> tuple[Tensor, list[Tensor], Tensor, list[Tensor]]:
    """A captioner: logits (B, N, V), the maps, the memory, and the encoder's tokens by block.

    The maps are the encoder's, then each decoder layer's self- and cross-attention.
    """
    nudges = nudges or {}
    _, maps, after = forward(net.encoder, images, nudges)
    memory = remembered(net, after[-1])
    return decode(net, memory, words, maps, nudges), maps, memory, after


def remembered(net: Captioner, tokens: Tensor) -> Tensor:
    """The memory that is made of the encoder's tokens (B, N, D)."""
    return net.bridge(net.encoder.norm(tokens[:, net.encoder.tokens.patch_slice]))


def decode(
    net: Captioner,
    memory: Tensor,
    words: Tensor,
    maps: list[Tensor],
    nudges: dict[int, Tensor] | None = None,
) -> Tensor:
    """Logits (B, N, V); the maps are added to `maps`."""
    count, heads = words.shape[1], net.config.heads
    x = net.embed(words) + net.positions.code[:count]

    def attend(layer, x, seen, causal):
        q, k, v = (
            part(t).unflatten(-1, (heads, -1)).transpose(1, 2)
            for part, t in ((layer.query, x), (layer.key, seen), (layer.value, seen))
        )
        scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * (net.config.dim // heads) ** -0.5
        if causal:
            scores = scores - torch.ones(count, count).triu(1) * 1e9
        maps.append(scores.softmax(-1) + (nudges or {}).get(len(maps), 0))
        return layer.proj(torch.einsum("bhqk,bhkd->bqhd", maps[-1], v).flatten(2))

    for layer in net.layers:
        x = layer.norm_self(x + attend(layer.self_attention, x, x, True))
        x = layer.norm_cross(x + attend(layer.cross_attention, x, memory, False))
        x = layer.norm_mlp(x + layer.mlp(x))
    return net.head(x)
