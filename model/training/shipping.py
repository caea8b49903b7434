"""Write a trained net as a checkpoint with its card, and measure it as it is shipped."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.card import Card
from model.datasets.split import Split
from model.evaluate.predictions import predict
from model.nets.vit import VisionTransformer
from model.training import ancestors
from model.training.loop import CurveRow
from model.training.recipe import CaptionRecipe, Recipe
from model.zoo import checkpoints


def ship_classifier(
    net: VisionTransformer,
    file: Path,
    recipe: Recipe,
    train_data: Split,
    test_data: Split,
    curve: list[CurveRow],
    command: str,
    device: str = "cpu",
) -> Card:
    """Save a classifier in float16, measure the file on `device`, and complete its card.

    Returns the card.
    """
    card = {"name": file.stem} | classifier_card(net, recipe, train_data, test_data, curve, command)
    card |= {"machine": machine_name(device)} | _name_ancestors(recipe)
    card |= ancestors.describe_ancestors(
        ancestors.ancestor_names(recipe), file.parent, card.get("note")
    )
    written = checkpoints.save_checkpoint(net, file, card)
    shipped, _ = checkpoints.load_checkpoint(file)
    assert isinstance(shipped, VisionTransformer)
    logits = predict(shipped.to(device), test_data, recipe.data, device).cpu()
    right = (logits.argmax(1) == test_data.labels).float().mean().item()
    metrics = written.metrics | {"test_accuracy": round(right, 4)}
    return checkpoints.save_checkpoint(net, file, written.changed(metrics=metrics))


def _name_ancestors(recipe: Recipe) -> dict[str, str]:
    names = {"went_on_from": recipe.start, "teachers": ", ".join(recipe.teachers)}
    return {key: value for key, value in names.items() if value}


def machine_name(device: str) -> str:
    """Name the processor for a card: the GPU's own name, or "CPU"."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"


def classifier_card(
    net: VisionTransformer,
    recipe: Recipe,
    train_data: Split,
    test_data: Split,
    curve: list[CurveRow],
    command: str,
) -> dict[str, Any]:
    """Write the card of a classifier, without its figures on test data."""
    card = common_card(net, recipe, curve, command) | {
        "config": dataclasses.asdict(net.config),
        "classes": list(test_data.classes),
    }
    card["metrics"] |= {
        "training_pictures": len(train_data),
        "test_pictures": len(test_data),
    }
    return card


def common_card(
    net: nn.Module, recipe: Recipe | CaptionRecipe, curve: list[CurveRow], command: str
) -> dict[str, Any]:
    """Write the part of a card that any trained model has."""
    return {
        "title": recipe.title,
        "task": recipe.task,
        "normalisation": {"mean": list(recipe.data.mean), "std": list(recipe.data.std)},
        "data": recipe.data.name,
        "data_licence": recipe.data.licence,
        "recipe": recipe.name,
        "command": command,
        **note_changed_length(curve),
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "parameters": sum(p.numel() for p in net.parameters()),
        "metrics": {"training_seconds": round(sum(row["seconds"] for row in curve))},
        "curve": curve,
        "licence": "MIT",
        "weak_at": recipe.weak_at,
    }


def note_changed_length(curve: list[CurveRow]) -> dict[str, str]:
    """Note on the card that the number of epochs changed, so the command gives another model."""
    plans = [(row["epochs"], row["epoch"]) for row in curve]
    turns = [now for before, now in pairwise(plans) if before[0] != now[0]]
    if not turns:
        return {}
    if len(turns) > 2:
        lengths = [epochs for epochs, _ in plans]
        how = f"{len(turns)} times while it ran, between {min(lengths)} and {max(lengths)}"
    else:
        then = ", ".join(f"then {epochs} from epoch {epoch} on" for epochs, epoch in turns)
        how = f"while it ran: {plans[0][0]}, {then}"
    return {
        "note": f"The planned number of epochs was changed {how}. {ancestors.DIFFERENT}",
    }
