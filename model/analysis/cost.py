"""Count what a vision transformer costs, in operations and bytes, and time it.

Only matrix products count, as in torch's own counter; a product of (n, k) by (k, m) is 2 n k m
operations. With N tokens of width D, M the MLP's width, and L layers:

- linear in N: the four projections 8 N D², the MLP 4 N D M, the patch step and the head;
- quadratic in N: the scores Q Kᵀ and the sum A V, 2 N² D each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.nets.patch_embedding import stem_strides
from model.nets.vit import VisionTransformer, ViTConfig
from model.tokens import pair

SECONDS = 60.0
"""The longest that one measurement may take."""

LEAST_SECONDS = 6.0
"""The shortest that its rounds may take: quick models run up to `MOST_ROUNDS` times."""

ROUNDS, MOST_ROUNDS = 5, 25


@dataclass(frozen=True)
class Cost:
    """Operations of one image's forward pass, summed over layers, and bytes in float32."""

    tokens: int
    """The number of tokens, prefix tokens included."""
    embed: int
    """Operations that turn patches into tokens."""
    projections: int
    """Operations for queries, keys, values and the output projection."""
    mlp: int
    """Operations of the MLPs."""
    scores: int
    """Operations of Q Kᵀ."""
    mixing: int
    """Operations of A V."""
    head: int
    """Operations of the classifier."""
    parameters: int
    """The number of trained numbers."""
    map_bytes: int
    """Memory for the attention maps of all heads and layers."""
    qk_bytes: int
    """Memory for all queries and keys, which the recorder keeps instead of the maps."""
    token_bytes: int
    """Memory for the tokens between two layers."""

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
        """All operations."""
        return self.linear + self.quadratic


def cost_of(config: ViTConfig) -> Cost:
    """Count the operations and the memory of one forward pass of one image.

    >>> from model.nets.vit import ViTConfig
    >>> small, large = (cost_of(ViTConfig(img_size=size, pool="mean", cls_token=False))
    ...                 for size in (32, 64))
    >>> large.tokens / small.tokens, large.quadratic / small.quadratic
    (4.0, 16.0)
    """
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
        parameters=count_parameters(config),
        map_bytes=depth * config.heads * tokens**2 * number,
        qk_bytes=depth * 2 * tokens * dim * number,
        token_bytes=tokens * dim * number,
    )


@lru_cache(maxsize=256)
def count_parameters(config: ViTConfig) -> int:
    """Count the parameters of a model without building it in memory."""
    with torch.device("meta"):
        net = VisionTransformer(config)
    return sum(parameter.numel() for parameter in net.parameters())


def doubled_configs(config: ViTConfig) -> dict[str, ViTConfig]:
    """Double one setting at a time: the setting's name -> the config with it doubled.

    Where the width is doubled, each head keeps its width, so there are twice as many heads. The
    patch side is left out where the doubled patch does not fit this image.
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

    attention: float
    """softmax(Q Kᵀ) V in all layers, the quadratic part."""
    whole: float
    """The whole forward pass."""
    quartiles: tuple[float, float]
    """Half of the runs of the whole pass took between these two."""
    runs: int
    """How many times it ran."""

    @property
    def rest(self) -> float:
        """The whole pass without its attention."""
        return max(self.whole - self.attention, 0.0)

    @property
    def spread(self) -> float:
        """The distance between the quartiles, as a share of the median."""
        low, high = self.quartiles
        return (high - low) / self.whole


Seconds = tuple[float, float]  # of the whole model, and of its attention alone
Runners = Mapping[str, Callable[[], Seconds]]
Report = Callable[[str, float, float | None], None]


def time_parts(
    configs: Mapping[str, ViTConfig],
    seconds: float = SECONDS,
    report: Report = lambda name, share, left: None,
) -> dict[str, Timing]:
    """Time models with random weights on one photo, so that their times can be compared.

    In every round each model runs once, so other work on the machine disturbs all of them alike.

    Args:
        configs: the models, by name.
        seconds: the time limit. If `ROUNDS` rounds would take longer, models are left out, the most
            expensive first. If the machine slows down meanwhile, only complete rounds count.
        report: called before each run with the model's name, the share that is done, and the
            seconds that are left (None as long as they cannot be estimated).

    Returns:
        Timings by name, of the models that were not left out.
    """
    end = time.perf_counter() + seconds
    runners = _make_runners(configs)
    with torch.inference_mode():
        took = _warm_up(runners, end, report)
        rounds = _run_rounds({name: runners[name] for name in took}, took, end, report)
        return _summarise(list(rounds))


def _warm_up(runners: Runners, end: float, report: Report) -> dict[str, float]:
    """Run each model once, cheapest first, as first runs allocate memory: name -> seconds.

    Stops before the first model for which there is no time.
    """
    took: dict[str, float] = {}
    for name, run in runners.items():
        report(name, 0.0, None)
        own = sum(run())
        if time.perf_counter() + ROUNDS * (sum(took.values()) + own) > end:
            break
        took[name] = own
    return took


def _run_rounds(
    runners: Runners, took: Mapping[str, float], end: float, report: Report
) -> Iterator[dict[str, Seconds]]:
    """Yield complete rounds, until there are enough or the time is up.

    `took`: the seconds of one run of each model.
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


def _summarise(rounds: Sequence[Mapping[str, Seconds]]) -> dict[str, Timing]:
    timings = {}
    for name in rounds[0] if rounds else ():
        whole, attention = 1000 * np.array([times[name] for times in rounds]).T
        low, middle, high = np.quantile(whole, (0.25, 0.5, 0.75)).tolist()
        timings[name] = Timing(float(np.median(attention)), middle, (low, high), len(rounds))
    return timings


def _make_runners(configs: Mapping[str, ViTConfig]) -> Runners:
    """Build the models, cheapest first: name -> a function that runs the model once.

    Their weights share one piece of memory, so all of them together need no more than the largest.
    """
    count = max(count_parameters(config) for config in configs.values())
    some = 0.02 * torch.randn(2**20)
    numbers = some.repeat(-(-count // len(some)))
    order = sorted(configs, key=lambda name: cost_of(configs[name]).operations)
    return {name: _make_runner(configs[name], numbers) for name in order}


def _make_runner(config: ViTConfig, numbers: Tensor) -> Callable[[], Seconds]:
    net = _with_weights(config, numbers)
    image = torch.randn(1, config.in_channels, *config.tokens.image_size)
    shape = 1, config.heads, config.tokens.tokens, config.dim // config.heads
    query, key, value = torch.randn(3, *shape)

    def run() -> Seconds:
        begun = time.perf_counter()
        net(image)
        between = time.perf_counter()
        for _ in range(config.depth):
            F.scaled_dot_product_attention(query, key, value)
        return between - begun, time.perf_counter() - between

    return run


def _with_weights(config: ViTConfig, numbers: Tensor) -> VisionTransformer:
    """Build a model whose weights are views of the first of these numbers."""
    with torch.device("meta"):
        net = VisionTransformer(config).eval()
    start = 0
    for module in net.modules():
        for name, empty in list(module.named_parameters(recurse=False)):
            weights = numbers[start : start + empty.numel()].view(empty.shape)
            setattr(module, name, nn.Parameter(weights, requires_grad=False))
            start += empty.numel()
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.ones_like(buffer, device="cpu"))
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
