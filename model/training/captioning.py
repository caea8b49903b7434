"""Train captioners to predict the next word, given the picture and the words before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from model import zoo
from model.captioning.base import CaptionerConfig, CaptioningNet
from model.captioning.build import build_captioner, config_as_dict
from model.captioning.caption import CaptionBundle
from model.card import Card
from model.datasets import captions, scenes
from model.datasets.captions import CaptionData, DrawnScenes
from model.datasets.vocabulary import SPECIAL
from model.errors import DataError, RecipeError
from model.evaluate import caption
from model.evaluate.caption_glance import (
    TEST_SCENES,
    encode_captions,
    glance,
    word_accuracy,
    word_loss,
)
from model.nets.vit import VisionTransformer, ViTConfig
from model.tokens import TokenLayout
from model.training import ancestors, shipping
from model.training.loop import CurveRow, EpochResult, TrainingRun
from model.training.recipe import CaptionRecipe, check_types
from model.zoo import checkpoints

AnyCaptions = TypeVar("AnyCaptions", bound=CaptionData)


def read_caption_data(
    recipe: CaptionRecipe, folder: Path | None, limit: int | None
) -> tuple[CaptionData, CaptionData]:
    """Read training and validation data, or say which scenes to draw. Raises DataError."""
    if recipe.pictures:
        count = min(recipe.pictures, limit or recipe.pictures)
        return DrawnScenes(count), DrawnScenes(
            min(TEST_SCENES, limit or TEST_SCENES), scenes.TESTING
        )
    if folder is None:
        raise DataError("Give the folder of the photos and captions with --data.")
    train = captions.read_captioned_photos(folder, "train", limit, recipe.captions)
    return train, captions.read_captioned_photos(folder, "val", limit)


def build_for_recipe(recipe: CaptionRecipe, data: CaptionData, folder: Path) -> CaptioningNet[Any]:
    """Build the captioner of a recipe, with the words of the data as its vocabulary.

    Its weights are fresh, or come from the checkpoint in `folder` that the recipe starts from.
    Raises RecipeError, or ValueError for values that make no model.
    """
    check_types(ViTConfig, recipe.encoder, f"[encoder] of recipe {recipe.name}")
    check_types(CaptionerConfig, recipe.decoder, f"[decoder] of recipe {recipe.name}")
    start = find_start(recipe, folder)
    if recipe.drawn and not start:
        raise RecipeError(
            f"The recipe {recipe.name} goes on from a captioner: train {recipe.start or 'one'} "
            f"first, to {folder}."
        )
    trained = checkpoints.load_checkpoint(start)[0] if start else None
    encoder: dict[str, Any] = {
        "num_classes": 0,
        "cls_token": False,
        "pool": "mean",
    } | recipe.encoder
    vocabulary = (*SPECIAL, *_choose_words(recipe, data, trained))
    config = CaptionerConfig(ViTConfig(**encoder), vocabulary, **recipe.decoder)
    net = build_captioner(config)
    if trained is not None and recipe.drawn:
        _load_all_weights(net, trained, recipe)
    elif trained is not None:
        _copy_encoder(trained, net.encoder)
    return net


def _choose_words(
    recipe: CaptionRecipe, data: CaptionData, trained: checkpoints.Net | None
) -> Sequence[str]:
    """List the words to learn: those of the data, or all of a captioner that goes on learning."""
    if recipe.drawn:
        vocabulary = trained.config.vocabulary if isinstance(trained, CaptioningNet) else ()
        return vocabulary[len(SPECIAL) :]
    return data.words() if isinstance(data, DrawnScenes) else data.words(recipe.rarest)


def _load_all_weights(
    net: CaptioningNet[Any], trained: checkpoints.Net, recipe: CaptionRecipe
) -> None:
    try:
        net.load_state_dict(trained.state_dict())
    except RuntimeError:
        raise RecipeError(
            f"{recipe.start} is not the captioner that the recipe {recipe.name} goes on from. "
            "Train it again."
        ) from None


def find_start(recipe: CaptionRecipe, folder: Path) -> Path | None:
    """Find the checkpoint in `folder` that the recipe starts from; None where there is none."""
    start = ancestors.start_file(recipe, folder)
    return start if recipe.start and start.is_file() else None


def _copy_encoder(trained: checkpoints.Net, encoder: VisionTransformer) -> None:
    """Copy every weight of the same name and shape; positions are stretched to the new grid."""
    source = trained.encoder if isinstance(trained, CaptioningNet) else trained
    known, found = encoder.state_dict(), source.state_dict()
    if {"positions.code"} <= known.keys() & found.keys():
        layouts = source.tokens, encoder.tokens
        found["positions.code"] = _stretch_positions(found["positions.code"], *layouts)
    fits = {
        name: value
        for name, value in found.items()
        if name in known and known[name].shape == value.shape
    }
    encoder.load_state_dict(known | fits)


def _stretch_positions(code: Tensor, old: TokenLayout, new: TokenLayout) -> Tensor:
    """Interpolate learned positions (prefix + patches, D) from one grid to another.

    Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", section 3.2.
    """
    before = len(code) - old.patches
    grid = code[before:].unflatten(0, old.grid).movedim(-1, 0)[None]
    grid = F.interpolate(grid, new.grid, mode="bicubic", antialias=True)[0]
    return torch.cat((code[:before], grid.movedim(0, -1).flatten(0, 1)))


class CaptionRun(TrainingRun[CaptioningNet[Any], AnyCaptions, CaptionRecipe]):
    """Training of a captioner on the next word; batches move to the device one by one."""

    def __init__(
        self,
        net: CaptioningNet[Any],
        train_data: AnyCaptions,
        test_data: AnyCaptions,
        recipe: CaptionRecipe,
        device: str,
    ) -> None:
        super().__init__(net, train_data, test_data, recipe, device, net.config.encoder)

    def learn_epoch(self) -> EpochResult:
        """Show every training picture once, and take a step for each batch."""
        self.net.train()
        self.freeze_encoder(self.epoch < self.recipe.frozen)
        seen, losses, right = 0, 0.0, 0.0
        order = torch.randperm(len(self.data)).split(self.recipe.batch)[: self.steps]
        bar = self.show_progress(order)
        for chosen in bar:
            loss, accuracy = self.learn_batch(chosen.tolist())
            seen += len(chosen)
            losses, right = losses + loss * len(chosen), right + accuracy * len(chosen)
            bar.set_postfix(loss=f"{losses / seen:.3f}", accuracy=f"{right / seen:.3f}")
        return EpochResult(losses / seen, right / seen, seen)

    def freeze_encoder(self, frozen: bool) -> None:
        """Keep the encoder's weights and BatchNorm statistics as they are, or let them learn."""
        self.net.encoder.requires_grad_(not frozen)
        self.net.encoder.train(not frozen)

    def learn_batch(self, chosen: list[int]) -> tuple[float, float]:
        """Take one step; return its loss and the accuracy of words."""
        images, texts = self.data.batch(self.epoch, chosen)
        images, _ = self.vary(images.to(self.device), torch.zeros(len(images)))
        inputs, outputs = encode_captions(self.net, texts, self.device)
        with self.precision():
            logits = self.predict_words(images, inputs)
            loss = word_loss(logits, outputs, self.recipe.label_smoothing)
        self.take_step(loss)
        return loss.item(), word_accuracy(logits, outputs)

    def predict_words(self, images: Tensor, inputs: Tensor) -> Tensor:
        """Compute logits for captions (B · n, N): n for each image, one after the other."""
        rows = torch.arange(len(images), device=self.device)
        rows = rows.repeat_interleave(len(inputs) // len(images))
        state = self.net.begin(self.net.encode_image(images)).select(rows)
        return self.net.advance(inputs, state)[0]

    def measure(self) -> dict[str, float]:
        """Measure the net that is `shown` on the first test pictures."""
        return glance(self.shown, self.test_data, self.recipe.data, self.device)


def ship_captioner(
    net: CaptioningNet[Any],
    file: Path,
    recipe: CaptionRecipe,
    test_data: CaptionData,
    curve: list[CurveRow],
    command: str,
    device: str = "cpu",
) -> Card:
    """Save a captioner in float16 with a card; on drawn scenes, measure the file as well.

    Returns the card.
    """
    card = captioner_card(net, file.stem, recipe, curve, command)
    card |= {"machine": shipping.machine_name(device)}
    if find_start(recipe, file.parent):
        card |= ancestors.describe_ancestors([recipe.start], file.parent, card.get("note"))
        card["went_on_from"] = recipe.start
    written = checkpoints.save_checkpoint(net, file, card)
    bundle = zoo.load(file)
    if isinstance(test_data, DrawnScenes) and isinstance(bundle, CaptionBundle):
        metrics = written.metrics | caption.measure_on_scenes(bundle, len(test_data))
        written = checkpoints.save_checkpoint(net, file, written.changed(metrics=metrics))
    return written


def captioner_card(
    net: CaptioningNet[Any],
    name: str,
    recipe: CaptionRecipe,
    curve: list[CurveRow],
    command: str,
) -> dict[str, Any]:
    """Write the card of a captioner, without its figures on test data."""
    return shipping.common_card(net, recipe, curve, command) | {
        "name": name,
        "config": config_as_dict(net.config),
        # As in training: the whole picture, whatever its shape.
        "resize": {"resized": list(net.encoder.tokens.image_size), "interpolation": "bilinear"},
    }
