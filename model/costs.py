"""What a vision transformer costs, counted: operations and bytes, by part.

Only matrix products count, as in torch's own counter; a product of (n, k) by (k, m) is 2 n k m
operations. With N tokens of width D, M the MLP's width, and L layers:

- linear in N: the four projections 8 N D², the MLP 4 N D M, the patch step and the head;
- quadratic in N: the scores Q Kᵀ and the sum A V, 2 N² D each.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from model.patches import pair, stem_strides
from model.vit import VisionTransformer, ViTConfig


@dataclass(frozen=True)
class Cost:
    """Operations of one image's forward pass, and bytes in float32."""

    tokens: int
    embed: int  # operations: patches to tokens
    projections: int  # queries, keys, values and output, all layers
    mlp: int
    scores: int  # Q Kᵀ, all layers
    mixing: int  # A V, all layers
    head: int
    parameters: int
    map_bytes: int  # every attention map of the model, if each was kept
    qk_bytes: int  # every query and key, which is what the recorder keeps
    token_bytes: int  # the tokens between two layers

    @property
    def quadratic(self) -> int:
        """Operations that grow with the square of the number of tokens."""
        return self.scores + self.mixing

    @property
    def linear(self) -> int:
        """Operations that grow with the number of tokens, or not at all."""
        return self.embed + self.projections + self.mlp + self.head

    @property
    def operations(self) -> int:
        return self.linear + self.quadratic


def cost_of(config: ViTConfig) -> Cost:
    """Count one forward pass of one image."""
    tokens, dim, depth = config.tokens.tokens, config.dim, config.depth
    number = 4  # bytes of a float32
    width = config.projection or dim
    head = 2 * dim * config.projection + 2 * width * config.num_classes
    return Cost(
        tokens=tokens,
        embed=_embed_operations(config),
        projections=depth * 8 * tokens * dim**2,
        mlp=depth * 4 * tokens * dim * config.hidden_dim,
        scores=depth * 2 * tokens**2 * dim,
        mixing=depth * 2 * tokens**2 * dim,
        head=head,
        parameters=parameters_of(config),
        map_bytes=depth * config.heads * tokens**2 * number,
        qk_bytes=depth * 2 * tokens * dim * number,
        token_bytes=tokens * dim * number,
    )


def parameters_of(config: ViTConfig) -> int:
    """Trained numbers of the model, without building it in memory."""
    with torch.device("meta"):
        net = VisionTransformer(config)
    return sum(parameter.numel() for parameter in net.parameters())


def doubled(config: ViTConfig) -> dict[str, ViTConfig]:
    """The course's questions: each key is what was doubled, each value the config after.

    The heads' width stays where the width is doubled, so there are twice as many heads.
    A patch that cannot be doubled on this image is left out.
    """
    height, width = pair(config.img_size)
    variants = {
        "width": replace(
            config, dim=2 * config.dim, heads=2 * config.heads, mlp_dim=2 * config.hidden_dim
        ),
        "image side": replace(config, img_size=(2 * height, 2 * width)),
        "layers": replace(config, depth=2 * config.depth),
    }
    twice = 2 * config.patch_size
    if config.embed != "stem" and height % twice == 0 and width % twice == 0:
        variants["patch side"] = replace(config, patch_size=twice)
    order = ("width", "image side", "patch side", "layers")
    return {name: variants[name] for name in order if name in variants}


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one image's forward pass on this machine: medians."""

    attention: float  # softmax(Q Kᵀ) V in all layers, the quadratic part
    whole: float

    @property
    def rest(self) -> float:
        return max(self.whole - self.attention, 0.0)


def measure(config: ViTConfig, repeats: int = 5) -> Timing:
    """Build the model with random weights, run it, and time it."""
    net = VisionTransformer(config).eval()
    image = torch.randn(1, config.in_channels, *config.tokens.image_size)
    shape = 1, config.heads, config.tokens.tokens, config.dim // config.heads
    query, key, value = torch.randn(3, *shape)

    def attention() -> None:
        for _ in range(config.depth):
            F.scaled_dot_product_attention(query, key, value)

    with torch.inference_mode():
        whole = _milliseconds(lambda: net(image), repeats)
        return Timing(_milliseconds(attention, repeats), whole)


def _milliseconds(run: Callable[[], object], repeats: int) -> float:
    run()  # the first run allocates
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def _embed_operations(config: ViTConfig) -> int:
    patches, patch = config.tokens.patches, config.patch_size
    if config.embed != "stem":
        return 2 * patches * config.in_channels * patch**2 * config.dim
    total, side, channels = 0, patch, config.in_channels  # one patch at a time
    strides = stem_strides(patch, config.stem)
    for width, stride in zip(config.stem, strides, strict=True):
        side //= stride
        inside = (config.stem_depth - 1) * width
        total += 2 * side**2 * 9 * (channels + inside) * width
        channels = width
    return patches * (total + 2 * channels * config.dim)
