"""Measure what recording costs: time and memory of a forward pass, plain and recorded.

    python -m benchmarks.recorder              # both sizes, a few minutes
    python -m benchmarks.recorder --rounds 9 --sizes "ViT-S/8 at 480"
    python -m benchmarks.recorder --overhead   # four nets on one thread, without other tools

`--overhead` also runs each net under a mode that passes every call on and does nothing else: what
torch itself takes to show every call to Python, as in the first recording of a net, and in all
recordings of a net that writes its softmax itself. The others are shown attention alone. It counts
the time of this thread on a processor.

Without it, the program compares our recorder with timm's AttentionExtract and with the eager
attention of Hugging Face. Times are medians over rounds. Each round runs every way once, in one
process, so that other load on the machine affects all ways alike, and ratios are taken within a
round. Memory is the peak of a process of its own, minus its memory with the model loaded. Needs
the `hubs` extra.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from model import zoo
from model.nets.torchvision_cpu import ensure_operators
from model.nets.vit import build
from model.recording.recorder import AttentionRecorder
from model.recording.rollout import rollout

SIZES = {
    "ViT-B/16 at 224": {"patch": 16, "pixels": 224, "dim": 768, "heads": 12},
    "ViT-S/8 at 480": {"patch": 8, "pixels": 480, "dim": 384, "heads": 6},
}
Step = Callable[[], object]


# The ways: each takes a size, loads its model, and returns the function to be timed.


def timm_model(size: str) -> nn.Module:
    ensure_operators()
    from timm.models import VisionTransformer

    shape = SIZES[size]
    net = VisionTransformer(
        shape["pixels"], shape["patch"], embed_dim=shape["dim"], depth=12, num_heads=shape["heads"]
    )
    return net.eval()


def images(size: str) -> torch.Tensor:
    return torch.randn(1, 3, SIZES[size]["pixels"], SIZES[size]["pixels"])


def plain(size: str) -> Step:
    net, x = timm_model(size), images(size)
    return lambda: net(x)


def recorded(size: str) -> Step:
    net, x = timm_model(size), images(size)

    def step() -> AttentionRecorder:
        with AttentionRecorder(net) as recorder:
            net(x)
        return recorder

    return step


def attention_extract(size: str) -> Step:
    net, x = timm_model(size), images(size)
    from timm.utils import AttentionExtract

    for block in net.blocks:
        block.attn.fused_attn = False
    extract = AttentionExtract(net, method="hook")
    return lambda: extract(x)


def transformers_eager(size: str) -> Step:
    ensure_operators()
    from transformers import ViTConfig, ViTModel

    shape, x = SIZES[size], images(size)
    config = ViTConfig(
        hidden_size=shape["dim"],
        num_attention_heads=shape["heads"],
        intermediate_size=4 * shape["dim"],
        image_size=shape["pixels"],
        patch_size=shape["patch"],
        attn_implementation="eager",
    )
    net = ViTModel(config).eval()
    return lambda: net(x, output_attentions=True)


def record_and_roll_out(size: str) -> Step:
    step = recorded(size)
    return lambda: rollout(step().records)


WAYS = {
    "plain forward": plain,
    "recorded forward": recorded,
    "timm AttentionExtract, fused attention off": attention_extract,
    "Hugging Face eager, output_attentions": transformers_eager,
}
ROLLOUT = "12-layer CLS rollout, from a recording"
ROW = "CLS row of all heads of one layer, from a recording"


# Time.


def times(size: str, rounds: int) -> dict[str, list[float]]:
    """Measure the seconds of each round, by way."""
    steps = {name: way(size) for name, way in WAYS.items()}
    records = steps["recorded forward"]().records
    steps[ROLLOUT] = lambda: rollout(records)
    steps[ROW] = lambda: records[5].weights(queries=0)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            seconds = timed(step)
            if turn:  # the first one warms up
                taken[name].append(seconds)
    return taken


def timed(step: Step, clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    step()
    return clock() - start


# What recording adds on one thread.


class HandAttention(nn.Module):
    """Self-attention whose softmax is written by hand."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        weights = weights.softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(batch, tokens, dim))


class HandBlock(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = HandAttention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm_attention(x))
        return x + self.mlp(self.norm_mlp(x))


class PassOn(TorchFunctionMode):
    """Sees every call, and does nothing."""

    def __torch_function__(
        self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        return func(*args, **kwargs) if kwargs else func(*args)


def nets() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """Each net with its input."""
    photos = zoo.load("photos")
    small = build("vit", img_size=32, patch_size=8, dim=48, depth=12, heads=3).eval()
    by_hand = nn.Sequential(*(HandBlock(48, 3) for _ in range(12))).eval()
    return {
        "ViT-S/8 at 480, 3,601 tokens": (timm_model("ViT-S/8 at 480"), images("ViT-S/8 at 480")),
        "the default model, `photos`": (photos.net, torch.randn(1, 3, *photos.image_size)),
        "12 fused layers of width 48, 17 tokens": (small, torch.randn(1, 3, 32, 32)),
        "12 such layers, softmax by hand": (by_hand, torch.randn(1, 17, 48)),
    }


def overhead(net: nn.Module, x: torch.Tensor, seconds: float) -> list[float]:
    """Medians: milliseconds of the plain pass, and times plain with PassOn, and recorded."""

    def under(mode: Callable[[], AbstractContextManager]) -> Step:
        def step() -> None:
            with mode():
                net(x)

        return step

    steps = (under(nullcontext), under(PassOn), under(lambda: AttentionRecorder(net)))
    taken: list[list[float]] = [[], [], []]
    rounds = max(4, int(seconds / 3 / max(timed(steps[0]), timed(steps[0])))) + 1
    for turn in range(rounds):
        for step, column in zip(steps, taken, strict=True):
            spent = timed(step, time.thread_time)
            if turn:
                column.append(spent)
    ratios = [median(t / p for t, p in zip(column, taken[0], strict=True)) for column in taken[1:]]
    return [1000 * median(taken[0]), *ratios]


def print_overhead() -> None:
    print("| net | plain | a mode that does nothing | recorded |\n|---|---|---|---|")
    for name, (net, x) in reversed(nets().items()):  # the quickest first
        plain, passed_on, recorded = overhead(net, x, seconds=20)
        cells = (name, f"{plain:,.1f} ms", f"{passed_on:.2f}", f"{recorded:.2f}")
        print(f"| {' | '.join(cells)} |", flush=True)


# Memory.


def peak_of(way: str, size: str) -> float:
    """Measure the peak in MiB, above the loaded model, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.recorder", "--peak", way, "--sizes", size]
    root = Path(__file__).parents[1]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    return float(result.stdout)


def own_peak(way: str, size: str) -> float:
    """Measure the peak of this process in MiB, above the loaded model."""
    step = (WAYS | {ROLLOUT: record_and_roll_out})[way](size)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    step()
    return memory("VmHWM") - before


def memory(field: str) -> float:
    """Read a memory counter of this process, in MiB, from Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}: memory is measured on Linux only.")


# The table.


def table(size: str, rounds: int) -> str:
    taken = times(size, rounds)
    tokens = 1 + (SIZES[size]["pixels"] // SIZES[size]["patch"]) ** 2
    lines = [
        f"### {size} ({tokens:,} tokens)\n",
        "| way | median time | times the plain forward | peak over the model | over plain |",
        "|---|---|---|---|---|",
    ]
    plain_peak = peak_of("plain forward", size)
    for name, seconds in taken.items():
        ratios = [t / p for t, p in zip(seconds, taken["plain forward"], strict=True)]
        cells = [name, f"{1000 * median(seconds):,.1f} ms", f"{median(ratios):.3f}"]
        if name == ROW:
            cells += ["", ""]
        else:
            peak = plain_peak if name == "plain forward" else peak_of(name, size)
            cells += [f"{peak:,.0f} MiB", f"{peak - plain_peak:,.0f} MiB"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--overhead", action="store_true", help="on one thread, four nets")
    parser.add_argument("--peak", help=argparse.SUPPRESS)  # of one way, in this process
    options = parser.parse_args()
    torch.manual_seed(0)
    with torch.inference_mode():
        if options.overhead:
            torch.set_num_threads(1)
            print_overhead()
            return
        if options.peak:
            print(own_peak(options.peak, options.sizes[0]))
            return
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, ", end="")
        print(f"{os.cpu_count()} cores; medians of {options.rounds} rounds\n")
        for size in options.sizes:
            print(table(size, options.rounds), end="\n\n")


if __name__ == "__main__":
    main()
