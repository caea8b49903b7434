"""Learn what other models answer instead of what the labels say.

Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network". That the answers are
asked anew for each variation of a picture is after Beyer et al. 2022, "Knowledge distillation: A
good teacher is patient and consistent".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from model.card import Normalisation
from model.datasets.pictures import Split
from model.errors import TrainingError
from model.training import finish, loop
from model.training.recipe import Recipe
from model.zoo import checkpoints


class TaughtRun(loop.ClassifierRun):
    """An epoch of pictures whose targets are the mean of what `teachers` think of each."""

    def __init__(
        self,
        net: nn.Module,
        train_data: Split,
        test_data: Split,
        recipe: Recipe,
        device: str,
        teachers: Sequence[nn.Module],
    ) -> None:
        super().__init__(net, train_data, test_data, recipe, device)
        self.teachers = [self._place_net(teacher.eval()) for teacher in teachers]

    def vary(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(uint8 images, labels) -> (float images, probabilities (B, classes))."""
        images, _ = super().vary(images, labels)
        with torch.no_grad(), self.precision():
            answers = [teacher(images).float().softmax(1) for teacher in self.teachers]
        return images, torch.stack(answers).mean(0)


def teachers(
    net: nn.Module, recipe: Recipe, classes: Sequence[str], folder: Path
) -> list[nn.Module]:
    """The recipe's teachers of `net`, from `folder`. Raises TrainingError where one is unfit."""
    found = [_teacher(name, net, recipe, classes, folder) for name in recipe.teachers]
    finish.after(recipe.teachers, folder)  # a card that says too little is noticed before training
    return found


def _teacher(
    name: str, net: nn.Module, recipe: Recipe, classes: Sequence[str], folder: Path
) -> nn.Module:
    file = finish.needed(name, recipe, folder)
    teacher, card = checkpoints.load_checkpoint(file)
    if card.task != "classify":
        raise TrainingError(f"{file} is no classifier, so it cannot teach one.")
    if list(card.classes or ()) != list(classes):
        raise TrainingError(
            f"{file} has other classes than the data, or in another order. Give the data that it "
            "was trained on, or train it again."
        )
    seen = Normalisation(mean=list(recipe.data.mean), std=list(recipe.data.std))
    same = teacher.tokens.image_size == net.tokens.image_size
    same = same and teacher.config.in_channels == net.config.in_channels
    if not same or card.normalisation != seen:
        raise TrainingError(
            f"{file} sees other pictures than the recipe {recipe.name}: img_size, in_channels, "
            "mean and std have to be the same."
        )
    return teacher
