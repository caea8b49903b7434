"""What a vision transformer costs, counted: operations and bytes, by part.

Only matrix products count, as in torch's own counter; a product of (n, k) by (k, m) is 2 n k m
operations. With N tokens of width D, M the MLP's width, and L layers:

- linear in N: the four projections 8 N D², the MLP 4 N D M, the patch step and the head;
- quadratic in N: the scores Q Kᵀ and the sum A V, 2 N² D each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.nets.patch_embedding import stem_strides
from model.nets.vit import VisionTransformer, ViTConfig
from model.tokens import pair

SECONDS = 60.0
"""What one measurement may take."""

LEAST_SECONDS = 6.0
"""What its rounds take at least: quick models run more often, up to `MOST_ROUNDS` times."""

ROUNDS, MOST_ROUNDS = 5, 25


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
    width = config.projection or config.pooled_dim
    head = 2 * config.pooled_dim * config.projection + 2 * width * config.num_classes
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
    """Milliseconds of one image's forward pass on this machine: medians of several runs."""

    attention: float  # softmax(Q Kᵀ) V in all layers, the quadratic part
    whole: float
    quartiles: tuple[float, float]  # of the whole: half of the runs took between these
    runs: int

    @property
    def rest(self) -> float:
        return max(self.whole - self.attention, 0.0)

    @property
    def spread(self) -> float:
        """How far the quartiles lie apart, as a share of the median."""
        low, high = self.quartiles
        return (high - low) / self.whole


Run = tuple[float, float]  # seconds of the whole model, and of its attention alone
Runners = Mapping[str, Callable[[], Run]]
Report = Callable[[str, float, float | None], None]


def time_parts(
    configs: Mapping[str, ViTConfig],
    seconds: float = SECONDS,
    report: Report = lambda name, share, left: None,
) -> dict[str, Timing]:
    """Time models with random weights, one photo each, such that their times can be compared.

    In every round each model runs once, so whatever else the machine does disturbs all alike.

    Args:
        seconds: what it may take. Models with which `ROUNDS` rounds would take longer are left
            out, the most expensive first; where the machine becomes slower meanwhile, there are
            as many rounds as were complete.
        report: is told before each run what runs, the share that is done, and how many seconds
            are left (None as long as nobody can tell).

    Returns:
        Timings by name, of the models that were not left out.
    """
    end = time.perf_counter() + seconds
    runners = _runners(configs)
    with torch.inference_mode():
        took = _try_once(runners, end, report)
        return _timings(list(_rounds({name: runners[name] for name in took}, took, end, report)))


def _try_once(runners: Runners, end: float, report: Report) -> dict[str, float]:
    """Run each once, cheapest first, for the first run allocates: seconds of those to time."""
    took = {}
    for name, run in runners.items():
        report(name, 0.0, None)
        own = sum(run())
        if time.perf_counter() + ROUNDS * (sum(took.values()) + own) > end:
            break
        took[name] = own
    return took


def _rounds(
    runners: Runners, took: Mapping[str, float], end: float, report: Report
) -> Iterator[dict[str, Run]]:
    """Complete rounds, until there are enough or the time is up.

    `took`: seconds of one run of each, as far as is known.
    """
    one = sum(took.values())
    rounds = min(MOST_ROUNDS, max(ROUNDS, int(LEAST_SECONDS / one))) if took else 0
    begun, done = time.perf_counter(), 0.0
    for _ in range(rounds):
        times = {}
        for name, run in runners.items():
            now = time.perf_counter()
            if now > end:
                return
            slower = (now - begun) / done if done else 1.0
            report(name, done / (rounds * one), (rounds * one - done) * slower)
            times[name] = run()
            done += took[name]
        yield times


def _timings(rounds: Sequence[Mapping[str, Run]]) -> dict[str, Timing]:
    timings = {}
    for name in rounds[0] if rounds else ():
        whole, attention = 1000 * np.array([times[name] for times in rounds]).T
        low, middle, high = np.quantile(whole, (0.25, 0.5, 0.75)).tolist()
        timings[name] = Timing(float(np.median(attention)), middle, (low, high), len(rounds))
    return timings


def _runners(configs: Mapping[str, ViTConfig]) -> Runners:
    """What runs each model once, cheapest first.

    Their weights lie in one piece of memory, so that all of them need no more than the largest.
    """
    count = max(parameters_of(config) for config in configs.values())
    some = 0.02 * torch.randn(2**20)
    numbers = some.repeat(-(-count // len(some)))
    order = sorted(configs, key=lambda name: cost_of(configs[name]).operations)
    return {name: _runner(configs[name], numbers) for name in order}


def _runner(config: ViTConfig, numbers: Tensor) -> Callable[[], Run]:
    net = _with_weights(config, numbers)
    image = torch.randn(1, config.in_channels, *config.tokens.image_size)
    shape = 1, config.heads, config.tokens.tokens, config.dim // config.heads
    query, key, value = torch.randn(3, *shape)

    def run() -> Run:
        begun = time.perf_counter()
        net(image)
        between = time.perf_counter()
        for _ in range(config.depth):
            F.scaled_dot_product_attention(query, key, value)
        return between - begun, time.perf_counter() - between

    return run


def _with_weights(config: ViTConfig, numbers: Tensor) -> VisionTransformer:
    """The model with the first of these numbers as its weights, without a copy of them."""
    with torch.device("meta"):
        net = VisionTransformer(config).eval()
    start = 0
    for module in net.modules():
        for name, empty in list(module.named_parameters(recurse=False)):
            weights = numbers[start : start + empty.numel()].view(empty.shape)
            setattr(module, name, nn.Parameter(weights, requires_grad=False))
            start += empty.numel()
        for name, empty in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.ones_like(empty, device="cpu"))
    return net


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
