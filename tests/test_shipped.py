"""The checkpoints that come with the app are small, and are what their cards say."""

import dataclasses
import json
import shlex
from pathlib import Path

import pytest
from safetensors import safe_open

from model import zoo
from model.captioning.base import CaptionerConfig
from model.nets.vit import PRESETS, ViTConfig
from model.training import recipe

FOLDER = Path(__file__).parents[1] / "checkpoints"
FILES = sorted(FOLDER.glob("*.safetensors"))
MEGABYTE = 10**6


def card_of(file: Path) -> dict:
    return json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))


def test_all_together_they_are_quickly_cloned():
    sizes = [file.stat().st_size for file in FOLDER.rglob("*.safetensors")]
    assert sizes and max(sizes) < 25 * MEGABYTE and sum(sizes) < 60 * MEGABYTE


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_weights_are_in_half_precision(file):
    with safe_open(file, "pt") as weights:
        kinds = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
    assert kinds <= {"F16", "I64"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_command_on_the_card_makes_this_very_model(file):
    card = card_of(file)
    words = shlex.split(card["command"])
    changes = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    made_by = recipe.load_recipe(words[words.index("model.training") + 1], changes)
    if card["task"] == "caption":
        wanted, config = caption_config(made_by, card), CaptionerConfig(**card["config"])
    else:
        options = dict(made_by.model)
        wanted = dataclasses.replace(PRESETS[options.pop("preset")], **options)
        config = ViTConfig(**card["config"])
    assert config == wanted
    assert (card["epochs"], card["seed"]) == (made_by.epochs, made_by.seed)
    normalisation = {"mean": list(made_by.data.mean), "std": list(made_by.data.std)}
    assert card["normalisation"] == normalisation


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_to_be_trained_first_is_on_the_card(file):
    card = card_of(file)
    first = [shlex.split(command) for command in card.get("commands_first", [])]
    made = set()
    for words in (*first, shlex.split(card["command"])):
        made_by = recipe.load_recipe(words[words.index("model.training") + 1])
        assert {made_by.start, *getattr(made_by, "teachers", ())} <= made | {""}
        made.add(Path(words[words.index("--out") + 1]).stem)


def caption_config(made_by: recipe.CaptionRecipe, card: dict) -> CaptionerConfig:
    encoder = {"num_classes": 0, "cls_token": False, "pool": "mean"} | made_by.encoder
    words = card["config"]["vocabulary"]
    return CaptionerConfig(encoder=encoder, vocabulary=tuple(words), **made_by.decoder)


@pytest.mark.parametrize("task", ["classify", "caption"])
def test_every_shipped_checkpoint_opens(task):
    shipped = zoo.names(task)
    assert shipped
    for name in shipped:
        assert zoo.load(name).card.task == task
