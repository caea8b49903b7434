"""Training of captioners: the next word, given the words before it and the picture."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from model import zoo
from model.captioning.base import CaptionerConfig
from model.captioning.build import build_captioner as build_captioner
from model.captioning.build import config_as_dict
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
from model.training import finish, loop
from model.training.recipe import CaptionRecipe, check_types
from model.zoo import checkpoints


def read_caption_data(
    recipe: CaptionRecipe, folder: Path | None, limit: int | None
) -> tuple[CaptionData, CaptionData]:
    """Training and validation data. Raises DataError."""
    if recipe.pictures:
        count = min(recipe.pictures, limit or recipe.pictures)
        return DrawnScenes(count), DrawnScenes(
            min(TEST_SCENES, limit or TEST_SCENES), scenes.TESTING
        )
    if folder is None:
        raise DataError("Give the folder of the photos and captions with --data.")
    train = captions.read_captioned_photos(folder, "train", limit, recipe.captions)
    return train, captions.read_captioned_photos(folder, "val", limit)


def build_for_recipe(recipe: CaptionRecipe, data: CaptionData, folder: Path) -> nn.Module:
    """The captioner of the recipe for the words of the data; `folder` may hold its start.

    Raises RecipeError, or ValueError for values that make no model.
    """
    check_types(ViTConfig, recipe.encoder, f"[encoder] of recipe {recipe.name}")
    check_types(CaptionerConfig, recipe.decoder, f"[decoder] of recipe {recipe.name}")
    start = encoder_to_start_from(recipe, folder)
    if recipe.drawn and not start:
        raise RecipeError(
            f"The recipe {recipe.name} goes on from a captioner: train {recipe.start or 'one'} "
            f"first, to {folder}."
        )
    trained = checkpoints.load_checkpoint(start)[0] if start else None
    if recipe.drawn:
        words = getattr(trained.config, "vocabulary", ())[len(SPECIAL) :]
    else:
        words = data.words() if recipe.pictures else data.words(recipe.rarest)
    net = build_captioner(
        CaptionerConfig(
            encoder={"num_classes": 0, "cls_token": False, "pool": "mean"} | recipe.encoder,
            vocabulary=(*SPECIAL, *words),
            **recipe.decoder,
        )
    )
    if recipe.drawn:
        _go_on_from(trained, net, recipe)
    elif trained is not None:
        _take_over(net.encoder, getattr(trained, "encoder", trained))
    return net


def _go_on_from(trained: nn.Module, net: nn.Module, recipe: CaptionRecipe) -> None:
    try:
        net.load_state_dict(trained.state_dict())
    except RuntimeError:
        raise RecipeError(
            f"{recipe.start} is not the captioner that the recipe {recipe.name} goes on from. "
            "Train it again."
        ) from None


def encoder_to_start_from(recipe: CaptionRecipe, folder: Path) -> Path | None:
    """The checkpoint in `folder` whose encoder the recipe starts from, where it is there."""
    start = finish.starting_point(recipe, folder)
    return start if recipe.start and start.is_file() else None


def _take_over(encoder: VisionTransformer, trained: VisionTransformer) -> None:
    """Every weight of the same name and shape; positions are stretched to the encoder's grid."""
    known, found = encoder.state_dict(), trained.state_dict()
    if {"positions.code"} <= known.keys() & found.keys():
        layouts = trained.tokens, encoder.tokens
        found["positions.code"] = _stretched(found["positions.code"], *layouts)
    fits = {
        name: value
        for name, value in found.items()
        if name in known and known[name].shape == value.shape
    }
    encoder.load_state_dict(known | fits)


def _stretched(code: Tensor, old: TokenLayout, new: TokenLayout) -> Tensor:
    """Learned positions (prefix + patches, D) of one grid, for another. Dosovitskiy et al. 2021,
    section 3.2."""
    before = len(code) - old.patches
    grid = code[before:].unflatten(0, old.grid).movedim(-1, 0)[None]
    grid = F.interpolate(grid, new.grid, mode="bicubic", antialias=True)[0]
    return torch.cat((code[:before], grid.movedim(0, -1).flatten(0, 1)))


class CaptionRun(loop.ClassifierRun):
    """An epoch of captions; saving, resuming, optimiser and average are those of any run."""

    def _place(self, data: CaptionData) -> CaptionData:
        """Batches are moved one by one."""
        return data

    def train_epoch(self) -> dict:
        """One look at every training picture; the row of the curve."""
        self.net.train()
        self._freeze_encoder(self.epoch < self.recipe.frozen)
        started, seen, losses, right = time.perf_counter(), 0, 0.0, 0.0
        order = torch.randperm(len(self.data)).split(self.recipe.batch)[: self.steps]
        bar = tqdm(
            order,
            desc=f"epoch {self.epoch + 1}/{self.recipe.epochs}",
            disable=not sys.stderr.isatty(),
            leave=False,
        )
        for chosen in bar:
            loss, accuracy = self._learn(chosen.tolist())
            seen += len(chosen)
            losses, right = losses + loss * len(chosen), right + accuracy * len(chosen)
            bar.set_postfix(loss=f"{losses / seen:.3f}", accuracy=f"{right / seen:.3f}")
        seconds = time.perf_counter() - started
        self.epoch += 1
        return self._record(losses / seen, right / seen, seen, seconds)

    def _freeze_encoder(self, frozen: bool) -> None:
        """Neither its weights nor its BatchNorm statistics change, and no gradient is computed."""
        self.net.encoder.requires_grad_(not frozen)
        self.net.encoder.train(not frozen)

    def _learn(self, chosen: list[int]) -> tuple[float, float]:
        """A step; the loss, and the share of the words that were the likeliest."""
        images, texts = self.data.batch(self.epoch, chosen)
        images, _ = self.vary(images.to(self.device), torch.zeros(len(images)))
        inputs, outputs = self._ids(texts)
        with self.precision():
            logits = self._answers(images, inputs)
            loss = word_loss(logits, outputs, self.recipe.label_smoothing)
        self._step(loss)
        return loss.item(), word_accuracy(logits, outputs)

    def _answers(self, images: Tensor, inputs: Tensor) -> Tensor:
        """Logits of the captions (B, N), of which each image has as many, one after the other."""
        looked_at = torch.arange(len(images), device=self.device)
        looked_at = looked_at.repeat_interleave(len(inputs) // len(images))
        ready = self.net.begin(self.net.encode_image(images)).select(looked_at)
        return self.net.advance(inputs, ready)[0]

    def _ids(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        return encode_captions(self.net, texts, self.device)

    def _test(self) -> dict[str, float]:
        return glance(self.shown, self.test_data, self.recipe.data, self.device)


def ship_captioner(
    net: nn.Module,
    file: Path,
    recipe: CaptionRecipe,
    test_data: CaptionData,
    curve: list,
    command: str,
    device: str = "cpu",
) -> dict:
    """Save `net` in float16 with a card, and measure it as it is shipped. Returns the card."""
    card = captioner_card(net, file.stem, recipe, curve, command) | {
        "machine": finish.machine(device)
    }
    start = encoder_to_start_from(recipe, file.parent)
    if start:
        card |= finish.after([recipe.start], file.parent, card.get("note"))
        card["went_on_from"] = recipe.start
    checkpoints.save_checkpoint(net, file, card)
    if isinstance(test_data, DrawnScenes):
        card["metrics"] |= caption.measure_on_scenes(zoo.load(file), len(test_data))
        checkpoints.save_checkpoint(net, file, card)
    return card


def captioner_card(
    net: nn.Module, name: str, recipe: CaptionRecipe, curve: list[dict], command: str
) -> dict:
    """The card of a captioner, without its figures on test data."""
    return finish.common(net, recipe, curve, command) | {
        "name": name,
        "config": config_as_dict(net.config),
        # As it learns: the whole picture, whatever its shape.
        "resize": {"resized": list(net.encoder.tokens.image_size), "interpolation": "bilinear"},
    }
