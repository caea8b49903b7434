"""The checkpoint and its card, measured on the file as it is shipped."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.datasets.pictures import Split
from model.errors import TrainingError
from model.evaluate.predictions import predict
from model.nets.vit import ViTConfig
from model.training.recipe import CaptionRecipe, Recipe
from model.zoo import checkpoints
from model.zoo.cards import read_card

DIFFERENT = "The command alone gives a slightly different model."


def ship_classifier(
    net: nn.Module,
    file: Path,
    recipe: Recipe,
    train_data: Split,
    test_data: Split,
    curve: list[dict],
    command: str,
    device: str = "cpu",
) -> dict:
    """Save `net` in float16, load the file again, measure it on `device`, and write the figures on
    its card. Returns the card.
    """
    card = {"name": file.stem} | classifier_card(net, recipe, train_data, test_data, curve, command)
    card |= {"machine": machine(device)} | _ancestry(recipe)
    card |= after(parents(recipe), file.parent, card.get("note"))
    checkpoints.save_checkpoint(net, file, card)
    shipped, _ = checkpoints.load_checkpoint(file)
    logits = predict(shipped.to(device), test_data, recipe.data, device).cpu()
    right = (logits.argmax(1) == test_data.labels).float().mean().item()
    card["metrics"]["test_accuracy"] = round(right, 4)
    checkpoints.save_checkpoint(net, file, card)
    return card


def go_on_from(net: nn.Module, recipe: Recipe, folder: Path) -> None:
    """Give `net` the weights of the checkpoint in `folder` that the recipe goes on with, if it
    goes on with one. Raises TrainingError where that is missing or another model.
    """
    if not recipe.start:
        return
    file = needed(recipe.start, recipe, folder)
    after([recipe.start], folder)  # a card that says too little is noticed before the training
    started, _ = checkpoints.load_checkpoint(file)
    if other := _differences(started.config, net.config):
        raise TrainingError(
            f"{file} is another model than the recipe {recipe.name} describes under [model]. "
            f"Not the same: {', '.join(other)}."
        )
    same_head = started.config.num_classes == net.config.num_classes
    net.load_state_dict(_without_head(started) | _head(started if same_head else net))


def _differences(started: Any, config: ViTConfig) -> list[str]:
    """The fields in which two models differ that can be seen in the weights, but for the head."""
    if not isinstance(started, ViTConfig):
        return ["the kind of model"]
    unseen = {"num_classes", "init", "drop_path", "patch_drop", "proj_dropout"}
    unseen |= {"dropout", "embed_dropout", "attention_dropout"}
    names = [field.name for field in dataclasses.fields(ViTConfig) if field.name not in unseen]
    return [name for name in names if getattr(started, name) != getattr(config, name)]


def _head(net: nn.Module) -> dict[str, Tensor]:
    return {name: part for name, part in net.state_dict().items() if name.startswith("head.")}


def _without_head(net: nn.Module) -> dict[str, Tensor]:
    return {name: part for name, part in net.state_dict().items() if not name.startswith("head.")}


def starting_point(recipe: Recipe | CaptionRecipe, folder: Path) -> Path:
    """The checkpoint that a recipe with `start` goes on with."""
    return folder / f"{recipe.start}.safetensors"


def needed(name: str, recipe: Recipe, folder: Path) -> Path:
    """The file of a checkpoint that the recipe needs. Raises TrainingError where it is missing."""
    file = folder / f"{name}.safetensors"
    if not file.is_file():
        there = ", ".join(sorted(f.stem for f in folder.glob("*.safetensors"))) or "none"
        raise TrainingError(
            f"The recipe {recipe.name} needs {file.name}, which is not in {folder} (checkpoints "
            f"there: {there}). Train it there first, or correct its name in the recipe."
        )
    return file


def parents(recipe: Recipe) -> list[str]:
    """The checkpoints that a recipe needs."""
    return [*filter(None, [recipe.start]), *recipe.teachers]


def _ancestry(recipe: Recipe) -> dict[str, str]:
    said = {"went_on_from": recipe.start, "teachers": ", ".join(recipe.teachers)}
    return {key: names for key, names in said.items() if names}


def after(names: Iterable[str], folder: Path, note: str | None = None) -> dict:
    """What a card says of a model that came from the checkpoints `names` in `folder`.

    `commands_first`: the commands that make them, in order. `note`: the model's own and theirs.
    Nothing where there are none and no note. Raises TrainingError for a card without a command.
    """
    cards = {name: read_card(folder / f"{name}.safetensors") for name in names}
    for name, card in cards.items():
        if card.command is None:
            raise TrainingError(
                f"The card {name}.json does not say by which command {name} was made. Train it "
                "again, or add its command to the card."
            )
    commands = [
        command for card in cards.values() for command in (*card.commands_first, card.command)
    ]
    notes = [note] if note else []
    notes += [f"{name}: {card.note}" for name, card in cards.items() if card.note is not None]
    said = {"commands_first": list(dict.fromkeys(commands)), "note": _together(notes)}
    return {key: value for key, value in said.items() if value}


def _together(notes: Sequence[str]) -> str:
    """The notes one after the other; what several of them end with is said once."""
    told = [note.replace(DIFFERENT, "").strip() for note in notes]
    return " ".join(told if told == list(notes) else [*told, DIFFERENT])


def machine(device: str) -> str:
    """What a run on that device is said to have run on."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"


def classifier_card(
    net: nn.Module,
    recipe: Recipe,
    train_data: Split,
    test_data: Split,
    curve: list[dict],
    command: str,
) -> dict:
    """The card of a classifier, without its figures on test data."""
    card = common(net, recipe, curve, command) | {
        "config": dataclasses.asdict(net.config),
        "classes": list(test_data.classes),
    }
    card["metrics"] |= {
        "training_pictures": len(train_data),
        "test_pictures": len(test_data),
    }
    return card


def common(net: nn.Module, recipe: Recipe | CaptionRecipe, curve: list[dict], command: str) -> dict:
    """What the card of any trained model says."""
    return {
        "title": recipe.title,
        "task": recipe.task,
        "normalisation": {"mean": list(recipe.data.mean), "std": list(recipe.data.std)},
        "data": recipe.data.name,
        "data_licence": recipe.data.licence,
        "recipe": recipe.name,
        "command": command,
        **changed_length(curve),
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "parameters": sum(p.numel() for p in net.parameters()),
        "metrics": {"training_seconds": round(sum(row["seconds"] for row in curve))},
        "curve": curve,
        "licence": "MIT",
        "weak_at": recipe.weak_at,
    }


def changed_length(curve: list[dict]) -> dict[str, str]:
    """A note where the command alone does not make this very model again."""
    plans = [(row["epochs"], row["epoch"]) for row in curve]
    turns = [now for before, now in pairwise(plans) if before[0] != now[0]]
    if not turns:
        return {}
    if len(turns) > 2:
        lengths = [epochs for epochs, _ in plans]
        told = f"{len(turns)} times while it ran, between {min(lengths)} and {max(lengths)}"
    else:
        then = ", ".join(f"then {epochs} from epoch {epoch} on" for epochs, epoch in turns)
        told = f"while it ran: {plans[0][0]}, {then}"
    return {
        "note": f"The planned number of epochs was changed {told}. {DIFFERENT}",
    }
