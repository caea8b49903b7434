"""Measure what recording costs: time and memory of a forward pass, plain and recorded.

    python -m benchmarks.recorder              # both sizes, a few minutes
    python -m benchmarks.recorder --rounds 9 --sizes "ViT-S/8 at 480"

It compares our recorder with timm's AttentionExtract and with the eager attention of Hugging
Face. Times are medians over rounds. Each round runs every way once, in one process, so that other
load on the machine affects all ways alike, and ratios are taken within a round. Memory is the
peak of a process of its own, minus its memory with the model loaded. Needs the `hubs` extra.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import nn

from model.nets.torchvision_cpu import ensure_operators
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


def timed(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


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
    parser.add_argument("--peak", help=argparse.SUPPRESS)  # of one way, in this process
    options = parser.parse_args()
    torch.manual_seed(0)
    with torch.inference_mode():
        if options.peak:
            print(own_peak(options.peak, options.sizes[0]))
            return
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, ", end="")
        print(f"{os.cpu_count()} cores; medians of {options.rounds} rounds\n")
        for size in options.sizes:
            print(table(size, options.rounds), end="\n\n")


if __name__ == "__main__":
    main()
