"""Train classifiers on labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from model.datasets.split import Split
from model.errors import TrainingError
from model.evaluate.predictions import predict
from model.nets.vit import VisionTransformer, ViTConfig
from model.training.loop import EpochResult, TrainingRun
from model.training.recipe import Recipe


def check_data(config: ViTConfig, train_data: Split, recipe: Recipe) -> None:
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


class ClassifierRun(TrainingRun[VisionTransformer, Split, Recipe]):
    """Training of a classifier on the labels of pictures; the data lies on the device."""

    def __init__(
        self,
        net: VisionTransformer,
        train_data: Split,
        test_data: Split,
        recipe: Recipe,
        device: str = "cpu",
    ) -> None:
        train_data, test_data = _move(train_data, device), _move(test_data, device)
        classes = len(train_data.classes)
        super().__init__(net, train_data, test_data, recipe, device, net.config, classes)

    def learn_epoch(self) -> EpochResult:
        """Show every training picture once, and take a step for each batch."""
        self.net.train()
        loss_sum = torch.zeros((), device=self.device)
        right = torch.zeros((), device=self.device)
        seen, bar = 0, self.show_progress(self._batches())
        for step, (images, labels) in enumerate(bar):
            images, targets = self.vary(images, labels)
            with self.precision():
                logits = self.forward(images)
                loss = F.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)
            self.take_step(loss)
            seen += len(labels)
            loss_sum += loss.detach() * len(labels)
            right += (logits.argmax(1) == labels).sum()
            if not bar.disable and step % 10 == 0:  # reading a number waits for the device
                bar.set_postfix(loss=f"{loss_sum / seen:.3f}", accuracy=f"{right / seen:.3f}")
        return EpochResult(float(loss_sum) / seen, float(right) / seen, seen)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.data)).to(self.device)
        for chosen in order.split(self.recipe.batch)[: self.steps]:
            yield self.data.images[chosen], self.data.labels[chosen]

    def measure(self) -> dict[str, float]:
        """Compute `test_accuracy` of the net that is `shown`."""
        with self.precision():
            logits = predict(self.shown, self.test_data, self.recipe.data, self.device)
        right = logits.argmax(1) == self.test_data.labels
        return {"test_accuracy": round(right.float().mean().item(), 5)}


def _move(data: Split, device: str) -> Split:
    return dataclasses.replace(data, images=data.images.to(device), labels=data.labels.to(device))
