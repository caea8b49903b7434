"""Train classifiers on the answers of other models instead of the labels.

Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network". The teachers answer for
each augmented picture anew, after Beyer et al. 2022, "Knowledge distillation: A good teacher is
patient and consistent".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from model.card import Normalisation
from model.datasets.split import Split
from model.errors import TrainingError
from model.nets.vit import VisionTransformer
from model.training import ancestors
from model.training.classification import ClassifierRun
from model.training.recipe import Recipe
from model.zoo import checkpoints


class DistillationRun(ClassifierRun):
    """Training of a classifier on the mean answer of `teachers` to each picture."""

    def __init__(
        self,
        net: VisionTransformer,
        train_data: Split,
        test_data: Split,
        recipe: Recipe,
        device: str,
        teachers: Sequence[VisionTransformer],
    ) -> None:
        super().__init__(net, train_data, test_data, recipe, device)
        self.teachers = [self.place_net(teacher.eval()) for teacher in teachers]

    def vary(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Augment uint8 images and prepare them for the net; targets are (B, classes)."""
        images, _ = super().vary(images, labels)
        with torch.no_grad(), self.precision():
            answers = [teacher(images).float().softmax(1) for teacher in self.teachers]
        return images, torch.stack(answers).mean(0)


def load_teachers(
    net: VisionTransformer, recipe: Recipe, classes: Sequence[str], folder: Path
) -> list[VisionTransformer]:
    """Load the recipe's teachers of `net` from `folder`.

    Raises TrainingError where one is missing, or does not see the same pictures and classes.
    """
    found = [_load_teacher(name, net, recipe, classes, folder) for name in recipe.teachers]
    ancestors.describe_ancestors(
        recipe.teachers, folder
    )  # so that a poor card is noticed before training
    return found


def _load_teacher(
    name: str, net: VisionTransformer, recipe: Recipe, classes: Sequence[str], folder: Path
) -> VisionTransformer:
    file = ancestors.require_checkpoint(name, recipe, folder)
    teacher, card = checkpoints.load_checkpoint(file)
    if not isinstance(teacher, VisionTransformer):
        raise TrainingError(f"{file} is no classifier, so it cannot teach one.")
    if list(card.classes or ()) != list(classes):
        raise TrainingError(
            f"{file} has other classes than the data, or in another order. Give the data that it "
            "was trained on, or train it again."
        )
    channels = Normalisation(mean=list(recipe.data.mean), std=list(recipe.data.std))
    same = teacher.tokens.image_size == net.tokens.image_size
    same = same and teacher.config.in_channels == net.config.in_channels
    if not same or card.normalisation != channels:
        raise TrainingError(
            f"{file} sees other pictures than the recipe {recipe.name}: img_size, in_channels, "
            "mean and std have to be the same."
        )
    return teacher
