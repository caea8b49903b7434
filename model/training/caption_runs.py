"""Train a captioner: on the next word, or on what its own captions are worth."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from model.datasets.captions import CaptionData
from model.training import captioning, loop
from model.training.recipe import CaptionRecipe
from model.training.self_critical import SelfCriticalRun


def train_captioner(
    net: nn.Module,
    train_data: CaptionData,
    test_data: CaptionData,
    recipe: CaptionRecipe,
    device: str = "cpu",
    state: Path | None = None,
    resume: bool = False,
    log: Path | None = None,
) -> tuple[nn.Module, list[dict]]:
    """As `model.training.loop.train_classifier`, for captions: the trained net, and the curve.

    A row of the curve has epoch, epochs, loss, accuracy (of words, given those before), lr,
    seconds, images_per_second, and, where it was measured, test_loss, test_accuracy (of words)
    and test_exact (captions written word for word as the data has them).
    Raises TrainingError.
    """
    kind = run_of(recipe)
    return loop.train_classifier(
        net, train_data, test_data, recipe, device, state, resume, log, kind
    )


def run_of(recipe: CaptionRecipe) -> type[captioning.CaptionRun]:
    """What an epoch of the recipe is: of next words, or of captions drawn and what they are
    worth."""
    if not recipe.drawn:
        return captioning.CaptionRun
    return SelfCriticalRun
