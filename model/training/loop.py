"""The training loop: plain, resumable, and the same on CPU and CUDA."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from model.datasets.pictures import Split
from model.errors import TrainingError
from model.evaluate.predictions import predict
from model.preprocessing import normalise, resize_batch
from model.training import augment
from model.training.muon import Muon
from model.training.recipe import PARTS, Augment, Optimiser, Recipe, Schedule


def train_classifier(
    net: nn.Module,
    train_data: Split,
    test_data: Split,
    recipe: Recipe,
    device: str = "cpu",
    state: Path | None = None,
    resume: bool = False,
    log: Path | None = None,
    kind: Callable[..., ClassifierRun] | None = None,
) -> tuple[nn.Module, list[dict]]:
    """Train `net` as the recipe says; the trained net (the average where there is one) and the
    curve: one dict an epoch with epoch, epochs (planned), loss, accuracy, lr, seconds,
    images_per_second, and test_accuracy where it was measured.

    The seed is set before `net` is built, by the caller. After each epoch everything is saved to
    `state`; `resume` goes on from there, to the same end as a run never interrupted (on the CPU to
    the bit; on CUDA the gradient of attention may add up in another order). With another number
    of epochs than the run was begun with, the schedule goes on as if it had always had that many.
    `log` gets the curve as JSON lines. `kind`: another kind of run than that of labels.
    Raises TrainingError.
    """
    run = (kind or ClassifierRun)(net, train_data, test_data, recipe, device)
    if resume and state is not None and state.exists():
        run.restore(state)
    while run.epoch < recipe.epochs:
        _report(run.train_epoch(), recipe.epochs)
        if state is not None:
            run.save(state)
        if log is not None:
            lines = "".join(json.dumps(row) + "\n" for row in run.curve)
            replace(log, lambda unfinished, lines=lines: unfinished.write_text(lines))
    return run.shown.to("cpu").eval(), run.curve


def check_data(config, train_data: Split, test_data: Split, recipe: Recipe) -> None:
    """Raise TrainingError where the data does not fit the model."""
    classes, channels = train_data.classes, train_data.images.shape[1]
    if config.num_classes != len(classes):
        raise TrainingError(
            f"The recipe {recipe.name} makes a model of {config.num_classes} classes, the data "
            f"has {len(classes)}. Add --set model.num_classes={len(classes)}."
        )
    if len(recipe.data.mean) != config.in_channels or len(recipe.data.std) != config.in_channels:
        raise TrainingError(
            f"The recipe {recipe.name} needs {config.in_channels} values for mean and std each."
        )
    if channels not in (1, config.in_channels):
        raise TrainingError(
            f"The data has {channels} channels, the model takes {config.in_channels}. "
            f"Add --set model.in_channels={channels}."
        )


class ClassifierRun:
    """All that an epoch changes, and so all that is saved after it."""

    def __init__(self, net, train_data: Split, test_data: Split, recipe: Recipe, device: str):
        self.recipe, self.device = recipe, torch.device(device)
        self.net, self.forward = net, self._place_net(net)
        self.data, self.test_data = self._place(train_data), self._place(test_data)
        self.steps = max(1, len(train_data) // recipe.batch)
        self.optimiser = optimiser(self.net, recipe.optimiser)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, schedule(recipe.schedule, self.steps * recipe.epochs)
        )
        self.average = Average(self.net, recipe.ema) if recipe.ema else None
        classes = len(getattr(train_data, "classes", ()))
        self.vary_much, self.vary_little = (
            variation(options, recipe.data, net.config, classes)
            for options in (recipe.augment, augment.calm(recipe.augment))
        )
        self.epoch, self.curve = 0, []

    def _place_net(self, net: nn.Module) -> nn.Module:
        """The same net on the device; on a GPU its steps are fused, faster after a slow start."""
        net.to(self.device)
        if self.device.type != "cuda":
            return net
        return torch.compile(net.to(memory_format=torch.channels_last))

    def _place(self, data: Split) -> Split:
        """The data where the net is."""
        return dataclasses.replace(
            data, images=data.images.to(self.device), labels=data.labels.to(self.device)
        )

    @property
    def shown(self) -> nn.Module:
        """The net that is measured and shipped."""
        return self.net if self.average is None else self.average.module

    def precision(self) -> torch.autocast:
        """The context in which the net runs: bfloat16 on a GPU, elsewhere if the recipe says so."""
        half = self.device.type == "cuda" or self.recipe.bfloat16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=half)

    def vary(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(uint8 images, labels) -> (float images as the net wants them, targets)."""
        left = self.recipe.epochs - self.epoch
        plain = left <= round(self.recipe.epochs * self.recipe.augment.plain)
        return (self.vary_little if plain else self.vary_much)(images, labels)

    def train_epoch(self) -> dict:
        """One look at every training picture; the row of the curve."""
        self.net.train()
        loss_sum = torch.zeros((), device=self.device)
        right = torch.zeros((), device=self.device)
        started, seen = time.perf_counter(), 0
        bar = tqdm(
            self._batches(),
            total=self.steps,
            desc=f"epoch {self.epoch + 1}/{self.recipe.epochs}",
            disable=not sys.stderr.isatty(),
            leave=False,
        )
        for step, (images, labels) in enumerate(bar):
            images, targets = self.vary(images, labels)
            with self.precision():
                logits = self.forward(images)
                loss = F.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)
            self._step(loss)
            seen += len(labels)
            loss_sum += loss.detach() * len(labels)
            right += (logits.argmax(1) == labels).sum()
            if not bar.disable and step % 10 == 0:  # each look waits for the device
                bar.set_postfix(loss=f"{loss_sum / seen:.3f}", accuracy=f"{right / seen:.3f}")
        seconds = time.perf_counter() - started
        self.epoch += 1
        return self._record(float(loss_sum) / seen, float(right) / seen, seen, seconds)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.data)).to(self.device)
        for chosen in order.split(self.recipe.batch)[: self.steps]:
            yield self.data.images[chosen], self.data.labels[chosen]

    def _step(self, loss: Tensor) -> None:
        loss.backward()
        if self.recipe.optimiser.clip:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.optimiser.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.scheduler.step()
        if self.average is not None:
            self.average.update_parameters(self.net)

    def _record(self, loss: float, accuracy: float, seen: int, seconds: float) -> dict:
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss is no longer finite in epoch {self.epoch}. Lower the learning rate "
                "with --set optimiser.lr=..., or add warm-up."
            )
        row = {
            "epoch": self.epoch,
            "epochs": self.recipe.epochs,
            "loss": round(loss, 5),
            "accuracy": round(accuracy, 5),
            "lr": self.scheduler.get_last_lr()[0],
            "seconds": round(seconds, 2),
            "images_per_second": round(seen / seconds, 1),
        }
        if self.epoch % self.recipe.test_every == 0 or self.epoch == self.recipe.epochs:
            row |= self._test()
        self.curve.append(row)
        return row

    def _test(self) -> dict[str, float]:
        with self.precision():
            logits = predict(self.shown, self.test_data, self.recipe.data, self.device)
        right = logits.argmax(1) == self.test_data.labels
        return {"test_accuracy": round(right.float().mean().item(), 5)}

    # Saving and going on ---------------------------------------------------------------------

    def _stateful(self) -> dict:
        parts = {"net": self.net, "optimiser": self.optimiser, "scheduler": self.scheduler}
        return parts if self.average is None else parts | {"average": self.average}

    def save(self, file: Path) -> None:
        """Write the state in one move: a kill leaves the old state or the new, never half."""
        state = {name: part.state_dict() for name, part in self._stateful().items()}
        state["random"] = torch.get_rng_state()
        if self.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(self.device)
        state["epoch"], state["curve"] = self.epoch, self.curve
        state["recipe"], state["pictures"] = _json(self.recipe), len(self.data)
        replace(file, lambda unfinished: torch.save(state, unfinished))

    def restore(self, file: Path) -> None:
        """Go on from what `save` wrote. Raises TrainingError."""
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
            begun = json.loads(state["recipe"])
        except Exception as error:  # pickle, zip and key errors alike
            raise TrainingError(
                f"{file} cannot be read ({type(error).__name__}). Delete it and start again "
                "without --resume."
            ) from None
        same = _since_filled(begun, self.recipe) | {"epochs": self.recipe.epochs}
        if same != json.loads(_json(self.recipe)) or state["epoch"] > self.recipe.epochs:
            raise TrainingError(
                f"{file} was begun with another recipe. Give the same recipe and --set values "
                "(only epochs may change, and not below those done), or delete the file."
            )
        if state.get("pictures", len(self.data)) != len(self.data):
            raise TrainingError(
                f"{file} was begun with {state['pictures']:,} training pictures, these are "
                f"{len(self.data):,}. Give the same --data and --limit, or delete the file."
            )
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])
        factors = [factor(self.scheduler.last_epoch) for factor in self.scheduler.lr_lambdas]
        groups = self.optimiser.param_groups  # whose rate may be that of another number of epochs
        for group, base, factor in zip(groups, self.scheduler.base_lrs, factors, strict=True):
            group["lr"] = base * factor
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        self.epoch = state["epoch"]
        self.curve = [{"epochs": begun["epochs"]} | row for row in state["curve"]]


def optimiser(net: nn.Module, options: Optimiser) -> torch.optim.Optimizer:
    """Decay on matrices and filters alone, unless `decay_all`; Muon inside the net alone."""
    parameters = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    if options.name == "muon":
        inside = [p for n, p in parameters if _is_inside(n, p)]
        parameters = [(n, p) for n, p in parameters if not _is_inside(n, p)]
    decayed = [p for n, p in parameters if options.decay_all or _is_weight(n, p)]
    rest = [p for n, p in parameters if not (options.decay_all or _is_weight(n, p))]
    groups = [{"params": decayed, "weight_decay": options.weight_decay}]
    if rest:
        groups.append({"params": rest, "weight_decay": 0.0})
    if options.name == "sgd":
        return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum)
    if options.name == "muon":
        groups.append({"params": inside, "weight_decay": options.weight_decay, "orthogonal": True})
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "muon": Muon}[options.name]
    return kind(groups, lr=options.lr, betas=options.betas)


def _is_weight(name: str, parameter: Tensor) -> bool:
    own = name.removeprefix("encoder.")  # of a captioner
    return parameter.ndim >= 2 and not own.startswith(("cls_token", "positions", "registers"))


def _is_inside(name: str, parameter: Tensor) -> bool:
    """A weight between hidden features: neither a stem's first filters nor the last layer's, no
    embedding of words. The projection of whole patches counts."""
    ends = ("embed.stages.0.0.", "embed.weight", "head.")
    inside = not any(end in name for end in ends) and not name.endswith("score.weight")
    return inside and _is_weight(name, parameter)


def schedule(options: Schedule, steps: int) -> Callable[[int], float]:
    """The factor on the learning rate at each step."""
    warmup = options.warmup * steps

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if options.name == "constant":
            return 1.0
        done = (step - warmup) / max(1.0, steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return factor


class Average(AveragedModel):
    """Exponential moving average of weights and BatchNorm statistics.

    Early on the decay is smaller, (1 + n) / (10 + n) after n updates, so that the first, random
    weights are soon forgotten in a short run. torch's own update reads or sends n, and so waits at
    each step for all that a GPU has still to do.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        super().__init__(net, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, net: nn.Module) -> None:
        updates = float(self.n_averaged)
        decay = min(self.decay, (1 + updates) / (10 + updates)) if updates else 0.0
        pairs = zip(_tensors(self.module), _tensors(net), strict=True)
        weights, counters = [], []
        for pair in pairs:
            (weights if pair[0].is_floating_point() else counters).append(pair)
        torch._foreach_lerp_(*map(list, zip(*weights, strict=True)), 1 - decay)
        for averaged, current in counters:
            averaged.copy_(current)
        self.n_averaged += 1


def _tensors(net: nn.Module) -> list[Tensor]:
    return [*net.parameters(), *net.buffers()]


def variation(options: Augment, data, config, classes: int) -> Callable:
    """(uint8 images, labels) -> (float images as the net wants them, targets)."""
    mix = augment.mixer(options.mixup, options.cutmix, classes)

    def vary(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if options.crop:
            images = augment.crop(images, options.crop)
        if options.flip:
            images = augment.flip(images)
        images = resize_batch(images, config)
        if options.zoom:
            images = augment.zoom(images, options.zoom)
        if options.turn:
            images = augment.turn(images, options.turn)
        if options.colour:
            images = augment.colour(images, options.colour)
        images = normalise(images, data.mean, data.std)
        if options.erase:
            images = augment.erase(images, options.erase)
        return mix(images, labels) if mix else (images, labels)

    return vary


def replace(file: Path, write: Callable[[Path], object]) -> None:
    """Write beside `file` and move into place: readers see the old file or the new."""
    unfinished = file.with_name(f".{file.name}.unfinished")
    write(unfinished)
    os.replace(unfinished, file)


def _json(recipe: Recipe) -> str:
    return json.dumps(dataclasses.asdict(recipe), sort_keys=True)


def _since_filled(begun: dict, recipe: Recipe) -> dict:
    """`begun`, as `_json` wrote it, with the defaults of what recipes did not have yet then."""
    parts = {name: _defaults(kind) | begun.get(name, {}) for name, kind in PARTS.items()}
    return json.loads(json.dumps(_defaults(recipe) | begun | parts))


def _defaults(kind: Any) -> dict[str, Any]:
    fields = dataclasses.fields(kind)
    return {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}


def _report(row: dict, epochs: int) -> None:
    left = (epochs - row["epoch"]) * row["seconds"] / 60
    test = f", test {row['test_accuracy']:.4f}" if "test_accuracy" in row else ""
    test += f", reward {row['reward']:.4f}" if "reward" in row else ""
    print(
        f"epoch {row['epoch']}/{epochs}: loss {row['loss']:.4f}, accuracy {row['accuracy']:.4f}"
        f"{test}, {row['images_per_second']:.0f} images/s, about {left:.0f} min left",
        flush=True,
    )
