"""A card is read with types, and written as it was read."""

import json
from pathlib import Path

import pytest

from model.card import Card, Normalisation, OwnFileCard
from model.errors import CheckpointError
from model.zoo import cards

SHIPPED = sorted((Path(__file__).parents[3] / "checkpoints").glob("*.json"))
LEAST = {"task": "classify", "config": {"depth": 1}, "sha256": "abc"}


def write(folder: Path, values: object) -> Path:
    (folder / "mine.json").write_text(json.dumps(values))
    return folder / "mine.safetensors"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_card_is_written_as_it_was_read(file):
    card = cards.read_card(file.with_suffix(".safetensors"))
    assert cards.card_as_json(card) == file.read_bytes()
    assert not card.model_extra  # every key has a field
    assert card.name == file.stem and card.epochs == card.curve[-1]["epoch"]


def test_unknown_keys_are_kept_in_their_place(tmp_path):
    values = {"mood": ["calm"], **LEAST, "_given": 1, "self": 2, "as_dict": 3}
    card = cards.read_card(write(tmp_path, values))
    assert list(card.as_dict().items()) == list(values.items())
    assert list(card.changed(task="caption", seed=3).as_dict()) == [*values, "seed"]
    assert next(iter(card.without(["config", "mood"]).as_dict())) == "task"


def test_numbers_stay_whole_or_broken():
    card = Card(metrics={"seconds": 3, "right": 0.5}, normalisation={"mean": [0], "std": [1.0]})
    assert isinstance(card.metrics["seconds"], int) and isinstance(card.metrics["right"], float)
    assert card.normalisation == Normalisation(mean=[0.0], std=[1])
    assert json.dumps(card.as_dict()["normalisation"]) == '{"mean": [0], "std": [1.0]}'


def test_a_card_never_changes():
    card = Card(epochs=3)
    with pytest.raises(ValueError, match="frozen"):
        card.epochs = 4
    assert card.changed(epochs=4).epochs == 4 and card.epochs == 3
    assert Card() == Card() and Card().metrics == {} and Card().as_dict() == {}


def test_what_is_made_here_can_be_written():
    card = OwnFileCard(
        checkpoint_format="timm's",
        assumed=["heads"],
        left_out="",
        normalisation=Normalisation(mean=[0.5], std=[0.25]),
    )
    assert json.loads(cards.card_as_json(card))["normalisation"] == {"mean": [0.5], "std": [0.25]}
    assert isinstance(card.without(["normalisation"]), OwnFileCard)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"classes": "abc"}, "classes that are no names. Mend it."),
        ({"classes": ["a", 1]}, "classes that are no names. Mend it."),
        (
            {"normalisation": {"mean": ["x"], "std": [1]}},
            "normalised and resized (normalisation.mea",
        ),
        ({"resize": {"zoom": 2}}, "normalised and resized (resize.zoom: extra inputs"),
        ({"metrics": {"top5": "high"}}, "(metrics.top5: input should be a valid number). Mend it."),
        ({"seed": 1.5}, "(seed: input should be a valid integer). Mend it."),
        ({"title": ["a"]}, "(title: input should be a valid string). Mend it."),
        ({"curve": [3]}, "(curve.0: input should be a valid dictionary). Mend it."),
    ],
)
def test_a_wrong_type_is_a_sentence(tmp_path, values, words):
    with pytest.raises(CheckpointError) as caught:
        cards.read_card(write(tmp_path, LEAST | values))
    message = str(caught.value)
    assert message.startswith("The card of mine.safetensors ") and words in message
    assert message.endswith(".") and "\n" not in message


def test_a_task_is_read_again_where_the_card_changed(tmp_path):
    path = write(tmp_path, LEAST)
    assert cards.read_task(path) == cards.read_task(path) == "classify"
    write(tmp_path, LEAST | {"task": "caption"})
    assert cards.read_task(path) == "caption"
    write(tmp_path, {"task": "caption"})
    with pytest.raises(CheckpointError, match="no config and no sha256"):
        cards.read_task(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(CheckpointError, match="no file"):
        cards.read_task(path)
