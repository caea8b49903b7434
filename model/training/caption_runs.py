"""Train captioners: on the next word, or on how good their own captions are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.captioning.base import CaptioningNet
from model.datasets.captions import CaptionData, CaptionedPhotos
from model.errors import TrainingError
from model.training.captioning import CaptionRun
from model.training.loop import CurveRow, train
from model.training.recipe import CaptionRecipe
from model.training.self_critical import SelfCriticalRun


def train_captioner(
    net: CaptioningNet[Any],
    train_data: CaptionData,
    test_data: CaptionData,
    recipe: CaptionRecipe,
    device: str = "cpu",
    state: Path | None = None,
    resume: bool = False,
    log: Path | None = None,
) -> tuple[CaptioningNet[Any], list[CurveRow]]:
    """Train a captioner by its recipe, see `model.training.loop.train`.

    A row of the curve has epoch, epochs, loss, accuracy (of words, given the true words before
    them), lr, seconds and images_per_second. Where it was measured it also has test_loss,
    test_accuracy (of words) and test_exact (the share of captions that are word for word as in
    the data). A self-critical run adds reward. Raises TrainingError.
    """
    run = make_caption_run(net, train_data, test_data, recipe, device)
    return train(run, state, resume, log)


def make_caption_run(
    net: CaptioningNet[Any],
    train_data: CaptionData,
    test_data: CaptionData,
    recipe: CaptionRecipe,
    device: str = "cpu",
) -> CaptionRun[Any]:
    """Choose the kind of run: self-critical where the recipe draws captions, else next words.

    Raises TrainingError where captions would be drawn for anything but captioned photos.
    """
    if not recipe.drawn:
        return CaptionRun(net, train_data, test_data, recipe, device)
    if not (isinstance(train_data, CaptionedPhotos) and isinstance(test_data, CaptionedPhotos)):
        raise TrainingError(
            f"The recipe {recipe.name} compares captions with what people wrote, so it needs "
            "captioned photos."
        )
    return SelfCriticalRun(net, train_data, test_data, recipe, device)
