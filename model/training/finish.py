"""The checkpoint and its card, measured on the file as it is shipped."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from model import checkpoints
from model.training import loop
from model.training.data import Split
from model.training.recipe import CaptionRecipe, Recipe
from model.vit import ViTConfig


def ship(
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
    card = {"name": file.stem} | make_card(net, recipe, train_data, test_data, curve, command)
    card["machine"] = machine(device)
    if recipe.start or recipe.teachers:
        names = [*filter(None, [recipe.start]), *recipe.teachers]
        card |= after(dict.fromkeys(names), file.parent, card.get("note"))
    checkpoints.save(net, file, card)
    shipped, _ = checkpoints.load(file)
    logits = loop.predict(shipped.to(device), test_data, recipe.data, device).cpu()
    right = (logits.argmax(1) == test_data.labels).float().mean().item()
    card["metrics"]["test_accuracy"] = round(right, 4)
    checkpoints.save(net, file, card)
    return card


def begin(net: nn.Module, recipe: Recipe, folder: Path) -> None:
    """Give `net` the weights of the checkpoint in `folder` that the recipe goes on with, if it
    goes on with one. Raises TrainingError where that is missing or another model.
    """
    if not recipe.start:
        return
    file = starting_point(recipe, folder)
    if not file.is_file():
        raise loop.TrainingError(
            f"The recipe {recipe.name} goes on with {file.name}, which is not in {folder}. Train "
            f"it there first: python -m model.training {recipe.start} --out {file} ..."
        )
    started, _ = checkpoints.load(file)
    known = started.state_dict()
    if started.config.num_classes != net.config.num_classes:
        known |= {name: part for name, part in net.state_dict().items() if name.startswith("head.")}
    if _shown(started.config) != _shown(net.config):
        raise loop.TrainingError(
            f"{file} is another model than the recipe {recipe.name} describes under [model]."
        )
    net.load_state_dict(known)


def _shown(config: ViTConfig) -> ViTConfig:
    """The model, whatever is left out of it in training, without its head."""
    return dataclasses.replace(config, drop_path=0.0, patch_drop=0.0, init="normal", num_classes=0)


def starting_point(recipe: Recipe | CaptionRecipe, folder: Path) -> Path:
    """The checkpoint that a recipe with `start` goes on with."""
    return folder / f"{recipe.start}.safetensors"


def after(names: Iterable[str], folder: Path, note: str | None = None) -> dict:
    """What a card says of a model that came from the checkpoints `names` in `folder`.

    `commands_first`: the commands that make them, in order. `note`: the model's own and theirs.
    """
    cards = {name: checkpoints.read_card(folder / f"{name}.safetensors") for name in names}
    commands = [
        command
        for card in cards.values()
        for command in (*card.get("commands_first", ()), card["command"])
    ]
    notes = [note] if note else []
    notes += [f"{name}: {card['note']}" for name, card in cards.items() if "note" in card]
    said = {"note": " ".join(notes)} if notes else {}
    return {"commands_first": list(dict.fromkeys(commands))} | said


def machine(device: str) -> str:
    """What a run on that device is said to have run on."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"


def make_card(
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
        "note": f"The planned number of epochs was changed {told}. "
        "The command alone gives a slightly different model."
    }
