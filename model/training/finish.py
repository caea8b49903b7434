"""The checkpoint and its card, measured on the file as it is shipped."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from model import checkpoints
from model.training import loop
from model.training.data import Split
from model.training.recipe import Recipe


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
    checkpoints.save(net, file, card)
    shipped, _ = checkpoints.load(file)
    logits = loop.predict(shipped.to(device), test_data, recipe.data, device).cpu()
    right = (logits.argmax(1) == test_data.labels).float().mean().item()
    card["metrics"]["test_accuracy"] = round(right, 4)
    checkpoints.save(net, file, card)
    return card


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
    seconds = sum(row["seconds"] for row in curve)
    return {
        "title": recipe.title,
        "task": "classify",
        "config": dataclasses.asdict(net.config),
        "classes": list(test_data.classes),
        "normalisation": {"mean": list(recipe.data.mean), "std": list(recipe.data.std)},
        "data": recipe.data.name,
        "data_licence": recipe.data.licence,
        "recipe": recipe.name,
        "command": command,
        **changed_length(curve),
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "parameters": sum(p.numel() for p in net.parameters()),
        "metrics": {
            "training_pictures": len(train_data),
            "training_seconds": round(seconds),
            "test_pictures": len(test_data),
        },
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
    told = ", ".join(f"then {epochs} from epoch {epoch} on" for epochs, epoch in turns)
    return {
        "note": f"The planned number of epochs was changed while it ran: {plans[0][0]}, {told}. "
        "The command alone gives a slightly different model."
    }
