"""The checkpoints that a recipe builds on: the one it starts from, and its teachers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model.errors import TrainingError
from model.nets.vit import VisionTransformer, ViTConfig
from model.training.recipe import Recipe, TrainingRecipe
from model.zoo import checkpoints
from model.zoo.cards import read_card

DIFFERENT = "The command alone gives a slightly different model."


def ancestor_names(recipe: Recipe) -> list[str]:
    """List the checkpoints that a recipe needs."""
    return [*filter(None, [recipe.start]), *recipe.teachers]


def start_file(recipe: TrainingRecipe, folder: Path) -> Path:
    """Return where the checkpoint lies that a recipe with `start` goes on from."""
    return folder / f"{recipe.start}.safetensors"


def require_checkpoint(name: str, recipe: Recipe, folder: Path) -> Path:
    """Find a checkpoint that a recipe needs. Raises TrainingError where it is missing."""
    file = folder / f"{name}.safetensors"
    if not file.is_file():
        there = ", ".join(sorted(f.stem for f in folder.glob("*.safetensors"))) or "none"
        raise TrainingError(
            f"The recipe {recipe.name} needs {file.name}, which is not in {folder} (checkpoints "
            f"there: {there}). Train it there first, or correct its name in the recipe."
        )
    return file


def load_start(net: VisionTransformer, recipe: Recipe, folder: Path) -> None:
    """Give `net` the weights of the checkpoint that the recipe goes on from, if it has one.

    A head for another number of classes keeps its fresh weights. Raises TrainingError where the
    checkpoint in `folder` is missing or another model.
    """
    if not recipe.start:
        return
    file = require_checkpoint(recipe.start, recipe, folder)
    describe_ancestors([recipe.start], folder)  # so that a poor card is noticed before the training
    start, _ = checkpoints.load_checkpoint(file)
    same_kind = isinstance(start, VisionTransformer)
    other = _differences(start.config, net.config) if same_kind else ["the kind of model"]
    if other or not isinstance(start, VisionTransformer):
        raise TrainingError(
            f"{file} is another model than the recipe {recipe.name} describes under [model]. "
            f"Not the same: {', '.join(other)}."
        )
    same_head = start.config.num_classes == net.config.num_classes
    net.load_state_dict(_without_head(start) | _head(start if same_head else net))


def _differences(start: Any, config: ViTConfig) -> list[str]:
    """List the fields that shape the weights and differ, except the head."""
    unseen = {"num_classes", "init", "drop_path", "patch_drop", "proj_dropout"}
    unseen |= {"dropout", "embed_dropout", "attention_dropout"}
    names = [field.name for field in dataclasses.fields(ViTConfig) if field.name not in unseen]
    return [name for name in names if getattr(start, name) != getattr(config, name)]


def _head(net: nn.Module) -> dict[str, Tensor]:
    return {name: part for name, part in net.state_dict().items() if name.startswith("head.")}


def _without_head(net: nn.Module) -> dict[str, Tensor]:
    return {name: part for name, part in net.state_dict().items() if not name.startswith("head.")}


def describe_ancestors(
    names: Iterable[str], folder: Path, note: str | None = None
) -> dict[str, Any]:
    """Describe for a card the checkpoints in `folder` that a model came from.

    `commands_first` lists the commands that make them, in order. `note` joins the model's own note
    and theirs. Empty without checkpoints and note. Raises TrainingError for a card without a
    command.
    """
    cards = {name: read_card(folder / f"{name}.safetensors") for name in names}
    commands: list[str] = []
    for name, card in cards.items():
        if card.command is None:
            raise TrainingError(
                f"The card {name}.json does not say by which command {name} was made. Train it "
                "again, or add its command to the card."
            )
        commands += [*card.commands_first, card.command]
    notes = [note] if note else []
    notes += [f"{name}: {card.note}" for name, card in cards.items() if card.note is not None]
    facts = {"commands_first": list(dict.fromkeys(commands)), "note": _join_notes(notes)}
    return {key: value for key, value in facts.items() if value}


def _join_notes(notes: Sequence[str]) -> str:
    """Join notes; the sentence that several of them end with comes once."""
    short = [note.replace(DIFFERENT, "").strip() for note in notes]
    return " ".join(short if short == list(notes) else [*short, DIFFERENT])
