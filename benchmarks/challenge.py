"""Time a recipe's training beside the reference: `python benchmarks/challenge.py`.

`cs231n-challenge` and `cs231n-cifar10` take turns at steps on noise of CIFAR-10's size, with the
same number of pictures each; the table shows medians. Both recipes are two epochs long, so the
ratio holds for whole trainings, too.
"""

import argparse
import statistics
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from model.datasets.pictures import Split  # noqa: E402
from model.nets.vit import build  # noqa: E402
from model.training import recipe  # noqa: E402
from model.training.classification import ClassifierRun  # noqa: E402


def begin_run(name: str, pictures: Split) -> ClassifierRun:
    """Build the net of a recipe, and start its training on these pictures."""
    chosen = recipe.load_recipe(name)
    torch.manual_seed(chosen.seed)
    options = dict(chosen.model)
    net = build(options.pop("preset"), **options)
    return ClassifierRun(net, pictures, pictures, chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", nargs=2, default=["cs231n-cifar10", "cs231n-challenge"])
    parser.add_argument("--pictures", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = torch.randint(0, 256, (options.pictures, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 10, (options.pictures,))
    pictures = Split(images, labels, tuple(map(str, range(10))))
    runs = [begin_run(name, pictures) for name in options.recipes]
    seconds = [[], []]
    for _ in range(options.rounds + 1):
        for run, times in zip(runs, seconds, strict=True):
            times.append(run.train_epoch()["seconds"])
    for name, times in zip(options.recipes, seconds, strict=True):
        rate = options.pictures / statistics.median(times[1:])
        print(f"{name:24}{rate:8.0f} pictures a second")
    ratio = statistics.median(seconds[1][1:]) / statistics.median(seconds[0][1:])
    print(f"{'ratio of training times':24}{ratio:8.2f}")


if __name__ == "__main__":
    main()
