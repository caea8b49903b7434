"""The training loop: plain, resumable, and the same on CPU and CUDA.

`TrainingRun` is one run with everything that it changes; `train` takes it from epoch to epoch, and
saves it in between. What is learned stands in the subclasses, in `classification`, `distillation`,
`captioning` and `self_critical`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sized
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from model.errors import TrainingError
from model.nets.vit import ViTConfig
from model.snapshots import SnapshotRecorder
from model.training import augment
from model.training.optimisers import Average, make_optimiser, make_schedule
from model.training.recipe import PARTS, TrainingRecipe
from model.zoo.whole_files import replace_file

CurveRow = dict[str, Any]
"""One epoch: epoch, epochs (planned), loss, accuracy, lr, seconds, images_per_second, and the
figures of `TrainingRun.measure` where they were measured."""

AnyNet = TypeVar("AnyNet", bound=nn.Module)
AnyData = TypeVar("AnyData", bound=Sized)
AnyRecipe = TypeVar("AnyRecipe", bound=TrainingRecipe)


def train(
    run: TrainingRun[AnyNet, Any, Any],
    state: Path | None = None,
    resume: bool = False,
    log: Path | None = None,
    recorder: SnapshotRecorder | None = None,
) -> tuple[AnyNet, list[CurveRow]]:
    """Train until the recipe's last epoch.

    The caller sets the seed before it builds the net. A resumed run ends like one that was never
    interrupted: to the bit on the CPU; on CUDA the gradient of attention may add up in another
    order. A run that is resumed with another number of epochs goes on with the schedule of a run
    that had this number from the beginning.

    Args:
        run: a fresh run.
        state: the file to which everything is saved after each epoch.
        resume: whether to go on from `state`, if it is there.
        log: a file for the curve, as JSON lines.
        recorder: keeps snapshots of the net that is `shown`.

    Returns:
        The trained net (the average where there is one) on the CPU in eval mode, and the curve.

    Raises:
        TrainingError: the state does not belong to this run, or the loss is no longer finite.
    """
    if resume and state is not None and state.exists():
        run.restore(state)
        if recorder is not None:
            recorder.go_on(run.epoch)
    if recorder is not None:
        run.on_step = recorder.see
    while run.epoch < run.recipe.epochs:
        _report(run.train_epoch(), run.recipe.epochs)
        if state is not None:
            run.save(state)
        if log is not None:
            lines = "".join(json.dumps(row) + "\n" for row in run.curve)
            _write_text(log, lines)
    return run.shown.to("cpu").eval(), run.curve


class EpochResult(NamedTuple):
    """What one epoch came to: mean loss, accuracy, and how many pictures were shown."""

    loss: float
    accuracy: float
    pictures: int


class TrainingRun(ABC, Generic[AnyNet, AnyData, AnyRecipe]):
    """One training run: a net, its data, and everything that changes as the net learns.

    A subclass says what is learned:

    - `learn_epoch` shows every training picture once, and calls `take_step` with the loss of each
      batch;
    - `measure` computes the figures of `shown` on the test data.

    The rest is the same for every run: optimiser, schedule, average of the weights, augmentation,
    the curve, saving and resuming.

    Args:
        net: the net to train.
        train_data, test_data: the data; their number of pictures is their length.
        recipe: how to train.
        device: "cpu" or "cuda".
        config: the size and channels of the net's pictures.
        classes: the number of classes, which mixing pictures needs.
    """

    def __init__(
        self,
        net: AnyNet,
        train_data: AnyData,
        test_data: AnyData,
        recipe: AnyRecipe,
        device: str,
        config: ViTConfig,
        classes: int = 0,
    ) -> None:
        self.recipe, self.device = recipe, torch.device(device)
        self.net, self.forward = net, self.place_net(net)
        self.data, self.test_data = train_data, test_data
        self.steps = max(1, len(train_data) // recipe.batch)
        self.optimiser = make_optimiser(self.net, recipe.optimiser)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, make_schedule(recipe.schedule, self.steps * recipe.epochs)
        )
        self.average = Average(self.net, recipe.ema) if recipe.ema else None
        self.augment, self.augment_gently = (
            augment.make_augmentation(options, recipe.data, config, classes)
            for options in (recipe.augment, augment.gentle(recipe.augment))
        )
        self.epoch = 0
        self.curve: list[CurveRow] = []
        self.on_step: Callable[[float], None] | None = None
        """Called after each step with the epochs that are done."""

    @abstractmethod
    def learn_epoch(self) -> EpochResult:
        """Show every training picture once, and take a step for each batch."""

    @abstractmethod
    def measure(self) -> dict[str, float]:
        """Compute the figures of the net that is `shown` on the test data."""

    def place_net(self, net: nn.Module) -> Callable[..., Tensor]:
        """Move a net to the device; return how to call it.

        On a GPU the call is compiled: faster, after a slow start.
        """
        net.to(self.device)
        if self.device.type != "cuda":
            return net
        # torch's types lack this argument
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return torch.compile(net)

    @property
    def shown(self) -> AnyNet:
        """The net that is measured and shipped: the average, where there is one."""
        return self.net if self.average is None else self.average.module

    def precision(self) -> torch.autocast:
        """The context in which the net runs: bfloat16 on a GPU, elsewhere if the recipe asks."""
        half = self.device.type == "cuda" or self.recipe.bfloat16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=half)

    def vary(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Augment uint8 images and prepare them for the net; labels become targets."""
        left = self.recipe.epochs - self.epoch
        gently = left <= round(self.recipe.epochs * self.recipe.augment.plain)
        return (self.augment_gently if gently else self.augment)(images, labels)

    def show_progress(self, batches: Iterable[Any]) -> tqdm:
        """Iterate over an epoch's batches behind a progress bar, where there is a terminal."""
        return tqdm(
            batches,
            total=self.steps,
            desc=f"epoch {self.epoch + 1}/{self.recipe.epochs}",
            disable=not sys.stderr.isatty(),
            leave=False,
        )

    def take_step(self, loss: Tensor) -> None:
        """Run backward from a loss, and update weights, learning rate and average."""
        loss.backward()
        if self.recipe.optimiser.clip:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.optimiser.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.scheduler.step()
        if self.average is not None:
            self.average.update_parameters(self.net)
        if self.on_step is not None:
            self.on_step(self.scheduler.last_epoch / self.steps)

    def train_epoch(self) -> CurveRow:
        """Train for one epoch; return the row that it adds to the curve."""
        started = time.perf_counter()
        result = self.learn_epoch()
        seconds = time.perf_counter() - started
        self.epoch += 1
        row = self.record_epoch(result, seconds)
        self.curve.append(row)
        return row

    def record_epoch(self, result: EpochResult, seconds: float) -> CurveRow:
        """Make the curve's row of an epoch that has just ended, with test figures where due."""
        if not math.isfinite(result.loss):
            raise TrainingError(
                f"The loss is no longer finite in epoch {self.epoch}. Lower the learning rate "
                "with --set optimiser.lr=..., or add warm-up."
            )
        row = {
            "epoch": self.epoch,
            "epochs": self.recipe.epochs,
            "loss": round(result.loss, 5),
            "accuracy": round(result.accuracy, 5),
            "lr": self.scheduler.get_last_lr()[0],
            "seconds": round(seconds, 2),
            "images_per_second": round(result.pictures / seconds, 1),
        }
        if self.epoch % self.recipe.test_every == 0 or self.epoch == self.recipe.epochs:
            row |= self.measure()
        return row

    # -- saving and resuming -----------------------------------------------------------------------

    def _parts(self) -> dict[str, Any]:
        """Everything with a state_dict."""
        parts = {"net": self.net, "optimiser": self.optimiser, "scheduler": self.scheduler}
        return parts if self.average is None else parts | {"average": self.average}

    def save(self, file: Path) -> None:
        """Save the run in one move: a kill leaves the old state or the new, never half of it."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state["random"] = torch.get_rng_state()
        if self.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(self.device)
        state["epoch"], state["curve"] = self.epoch, self.curve
        state["recipe"], state["pictures"] = _as_json(self.recipe), len(self.data)
        replace_file(file, lambda unfinished: torch.save(state, unfinished))

    def restore(self, file: Path) -> None:
        """Go on from a saved run. Raises TrainingError where it is damaged or another run."""
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
            begun = json.loads(state["recipe"])
        except Exception as error:  # pickle, zip and key errors alike
            raise TrainingError(
                f"{file} cannot be read ({type(error).__name__}). Delete it and start again "
                "without --resume."
            ) from None
        self._check_same_run(file, begun, state)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        factors = [factor(self.scheduler.last_epoch) for factor in self.scheduler.lr_lambdas]
        groups = self.optimiser.param_groups  # their rate may be from another number of epochs
        for group, base, factor in zip(groups, self.scheduler.base_lrs, factors, strict=True):
            group["lr"] = base * factor
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        self.epoch = state["epoch"]
        self.curve = [{"epochs": begun["epochs"]} | row for row in state["curve"]]

    def _check_same_run(self, file: Path, begun: dict[str, Any], state: dict[str, Any]) -> None:
        same = _with_new_defaults(begun, self.recipe) | {"epochs": self.recipe.epochs}
        if same != json.loads(_as_json(self.recipe)) or state["epoch"] > self.recipe.epochs:
            raise TrainingError(
                f"{file} was begun with another recipe. Give the same recipe and --set values "
                "(only epochs may change, and not below those done), or delete the file."
            )
        if state.get("pictures", len(self.data)) != len(self.data):
            raise TrainingError(
                f"{file} was begun with {state['pictures']:,} training pictures, these are "
                f"{len(self.data):,}. Give the same --data and --limit, or delete the file."
            )


def _write_text(file: Path, text: str) -> None:
    replace_file(file, lambda unfinished: unfinished.write_text(text))


def _as_json(recipe: TrainingRecipe) -> str:
    return json.dumps(dataclasses.asdict(recipe), sort_keys=True)


def _with_new_defaults(begun: dict[str, Any], recipe: TrainingRecipe) -> dict[str, Any]:
    """Add the defaults of fields that recipes did not have yet when a run was begun."""
    parts = {name: _defaults(kind) | begun.get(name, {}) for name, kind in PARTS.items()}
    return json.loads(json.dumps(_defaults(type(recipe)) | begun | parts))


def _defaults(kind: type[Any]) -> dict[str, Any]:
    fields = dataclasses.fields(kind)
    return {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}


def _report(row: CurveRow, epochs: int) -> None:
    left = (epochs - row["epoch"]) * row["seconds"] / 60
    test = f", test {row['test_accuracy']:.4f}" if "test_accuracy" in row else ""
    test += f", reward {row['reward']:.4f}" if "reward" in row else ""
    print(
        f"epoch {row['epoch']}/{epochs}: loss {row['loss']:.4f}, accuracy {row['accuracy']:.4f}"
        f"{test}, {row['images_per_second']:.0f} images/s, about {left:.0f} min left",
        flush=True,
    )
