"""Training of captioners: the next word, given the words before it and the picture."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from model import captioner, checkpoints, decoding, scenes
from model.captioner import PAD, CaptionerConfig, as_dict
from model.patches import TokenLayout
from model.training import caption_data, finish, loop
from model.training.caption_data import DrawnScenes, Photos
from model.training.recipe import CaptionRecipe, RecipeError, check_types
from model.vit import VisionTransformer, ViTConfig

TEST_SCENES = 1000
GLANCE = 200  # test pictures that are captioned after an epoch
Data = DrawnScenes | Photos


def read(recipe: CaptionRecipe, folder: Path | None, limit: int | None) -> tuple[Data, Data]:
    """Training and validation data. Raises DataError."""
    if recipe.pictures:
        count = min(recipe.pictures, limit or recipe.pictures)
        return DrawnScenes(count), DrawnScenes(
            min(TEST_SCENES, limit or TEST_SCENES), scenes.TESTING
        )
    if folder is None:
        raise caption_data.DataError("Give the folder of the photos and captions with --data.")
    train = caption_data.read_photos(folder, "train", limit, recipe.captions)
    return train, caption_data.read_photos(folder, "val", limit)


def build(recipe: CaptionRecipe, data: Data, folder: Path) -> nn.Module:
    """The captioner of the recipe for the words of the data; `folder` may hold its start.

    Raises RecipeError, or ValueError for values that make no model.
    """
    check_types(ViTConfig, recipe.encoder, f"[encoder] of recipe {recipe.name}")
    check_types(CaptionerConfig, recipe.decoder, f"[decoder] of recipe {recipe.name}")
    start = starting_point(recipe, folder)
    if recipe.drawn and not start:
        raise RecipeError(
            f"The recipe {recipe.name} goes on from a captioner: train {recipe.start or 'one'} "
            f"first, to {folder}."
        )
    trained = checkpoints.load(start)[0] if start else None
    if recipe.drawn:
        words = getattr(trained.config, "vocabulary", ())[len(captioner.SPECIAL) :]
    else:
        words = data.words() if recipe.pictures else data.words(recipe.rarest)
    net = captioner.build(
        CaptionerConfig(
            encoder={"num_classes": 0, "cls_token": False, "pool": "mean"} | recipe.encoder,
            vocabulary=(*captioner.SPECIAL, *words),
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


def starting_point(recipe: CaptionRecipe, folder: Path) -> Path | None:
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


def train(
    net: nn.Module,
    train_data: Data,
    test_data: Data,
    recipe: CaptionRecipe,
    device: str = "cpu",
    state: Path | None = None,
    resume: bool = False,
    log: Path | None = None,
) -> tuple[nn.Module, list[dict]]:
    """As `model.training.loop.train`, for captions: the trained net, and the curve.

    A row of the curve has epoch, epochs, loss, accuracy (of words, given those before), lr,
    seconds, images_per_second, and, where it was measured, test_loss, test_accuracy (of words)
    and test_exact (captions written word for word as the data has them).
    Raises TrainingError.
    """
    kind = run_of(recipe)
    return loop.train(net, train_data, test_data, recipe, device, state, resume, log, kind)


def run_of(recipe: CaptionRecipe) -> type[Run]:
    """What an epoch of the recipe is: of next words, or of captions drawn and what they are
    worth."""
    if not recipe.drawn:
        return Run
    from model.training.self_critical import SelfCriticalRun

    return SelfCriticalRun


class Run(loop.Run):
    """An epoch of captions; saving, resuming, optimiser and average are those of any run."""

    def _place(self, data: Data) -> Data:
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
        ready = self.net.begin(self.net.remember(images)).select(looked_at)
        return self.net.advance(inputs, ready)[0]

    def _ids(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        return _as_ids(self.net, texts, self.device)

    def _test(self) -> dict[str, float]:
        return glance(self.shown, self.test_data, self.recipe.data, self.device)


@torch.inference_mode()
def glance(
    net: nn.Module, data: Data, normalisation: Any, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """How well `net` captions the first few pictures of `data`; `normalisation` has mean and std.

    `test_loss` and `test_accuracy` of words given those before, `test_exact` of whole captions.
    """
    net.eval()
    images, texts = data.batch(0, range(min(GLANCE, len(data))))
    images = prepared(net, images, normalisation, device)
    inputs, outputs = _as_ids(net, texts, device)
    memory = torch.cat([net.remember(part) for part in images.split(100)])
    logits = net.teach(memory, inputs)
    written = decoding.greedy(net, memory, net.config.max_words)
    said = [" ".join(net.config.vocabulary[i] for i in row) for row in written]
    exact = sum(
        a == " ".join(caption_data.plain_words(b)) for a, b in zip(said, texts, strict=True)
    )
    return {
        "test_loss": round(word_loss(logits, outputs).item(), 5),
        "test_accuracy": round(word_accuracy(logits, outputs), 5),
        "test_exact": round(exact / len(said), 4),
    }


def prepared(
    net: nn.Module, images: Tensor, normalisation: Any, device: torch.device | str
) -> Tensor:
    images = loop.as_float(images.to(device), net.config.encoder)
    return loop.normalise(images, normalisation.mean, normalisation.std)


def _as_ids(net: nn.Module, texts: list[str], device: torch.device | str) -> tuple[Tensor, Tensor]:
    config = net.config
    pair = caption_data.as_ids(texts, config.vocabulary, config.max_words)
    return pair[0].to(device), pair[1].to(device)


def word_loss(logits: Tensor, outputs: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of logits (B, N, V) at the words (B, N) that are not <pad>."""
    return F.cross_entropy(
        logits.flatten(0, 1).float(), outputs.flatten(), ignore_index=PAD, label_smoothing=smoothing
    )


def word_accuracy(logits: Tensor, outputs: Tensor) -> float:
    """Share of the words, and ends, that were the likeliest."""
    counted = outputs != PAD
    return (logits.argmax(-1) == outputs)[counted].float().mean().item()


def ship(
    net: nn.Module,
    file: Path,
    recipe: CaptionRecipe,
    test_data: Data,
    curve: list,
    command: str,
    device: str = "cpu",
) -> dict:
    """Save `net` in float16 with a card, and measure it as it is shipped. Returns the card."""
    card = make_card(net, file.stem, recipe, curve, command) | {"machine": finish.machine(device)}
    start = starting_point(recipe, file.parent)
    if start:
        card |= finish.after([recipe.start], file.parent, card.get("note"))
        card["went_on_from"] = recipe.start
    checkpoints.save(net, file, card)
    if isinstance(test_data, DrawnScenes):
        from model import zoo
        from model.evaluate import caption

        card["metrics"] |= caption.scenes_figures(zoo.load(file), len(test_data))
        checkpoints.save(net, file, card)
    return card


def make_card(
    net: nn.Module, name: str, recipe: CaptionRecipe, curve: list[dict], command: str
) -> dict:
    """The card of a captioner, without its figures on test data."""
    return finish.common(net, recipe, curve, command) | {
        "name": name,
        "config": as_dict(net.config),
        # As it learns: the whole picture, whatever its shape.
        "resize": {"resized": list(net.encoder.tokens.image_size), "interpolation": "bilinear"},
    }
