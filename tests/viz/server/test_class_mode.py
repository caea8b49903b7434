"""The modes: one table in code, the same in the docs, changed by a file and a variable."""

import re
from pathlib import Path

import pytest

from model import zoo
from viz.pages.shared import open_models
from viz.server.class_mode import MODES, NO_HUBS, NO_WEIGHTS, Mode, read_mode

ROOT = Path(__file__).parents[3]


def test_a_laptop_may_do_everything_and_a_class_less(tmp_path):
    absent = tmp_path / "absent.toml"
    laptop, of_class = read_mode({}, absent), read_mode({"SACCADE_MODE": "class"}, absent)
    assert laptop.hubs and laptop.own_weights and laptop.models is None
    assert not of_class.hubs and not of_class.own_weights
    assert of_class.photo_megabytes < laptop.photo_megabytes
    assert of_class.longest_seconds < laptop.longest_seconds


def test_a_file_changes_single_entries_of_its_own_mode(tmp_path):
    file = tmp_path / "saccade.toml"
    file.write_text('[class]\nmodels = ["photos"]\nhubs = true\nmemory_megabytes = 100\n')
    of_class = read_mode({"SACCADE_MODE": "class"}, file)
    assert of_class.hubs and of_class.lists("photos") and not of_class.lists("cifar10")
    assert of_class.budget_bytes == 100_000_000
    assert read_mode({"SACCADE_CONFIG": str(file)}, tmp_path / "absent").hubs
    assert read_mode({}, file) == MODES["laptop"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[class]\nhub = true\n", "hub"),
        ("[class]\nhubs = 3\n", "hubs"),
        ("[class]\nphoto_megabytes = 0\n", "photo_megabytes"),
        ("[school]\nhubs = true\n", "sections"),
        ("[class\n", "saccade.toml"),
    ],
)
def test_a_wrong_file_is_a_sentence_that_names_the_entry(tmp_path, text, named):
    file = tmp_path / "saccade.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=named):
        read_mode({"SACCADE_MODE": "class"}, file)


def test_an_unknown_mode_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="laptop or class"):
        read_mode({"SACCADE_MODE": "school"}, tmp_path / "absent.toml")


def cells(mode: Mode) -> dict[str, str]:
    """What the docs say of a mode, by entry."""
    words = {True: "yes", False: "no", None: "not given", float("inf"): "no limit"}
    values = {name: getattr(mode, name) for name in Mode.model_fields if name != "name"}
    return {
        name: words[value] if isinstance(value, bool) or value in words else f"{value:g}"
        for name, value in values.items()
    }


def test_the_docs_have_the_table_of_the_code():
    text = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.M))
    laptop, of_class = cells(MODES["laptop"]), cells(MODES["class"])
    fields = {name: each for name, each in Mode.model_fields.items() if name != "name"}
    assert rows.keys() == fields.keys()
    for name, field in fields.items():
        assert rows[name].split(" | ") == [field.description, laptop[name], of_class[name]]


@pytest.fixture
def in_class(monkeypatch):
    for module in ("open_models", "captioner_choice"):
        monkeypatch.setattr(f"viz.pages.shared.{module}.MODE", MODES["class"])


def test_a_class_opens_neither_hubs_nor_files(in_class):
    with pytest.raises(zoo.ModelRejected, match=NO_HUBS):
        open_models.open_model_named("timm/deit_tiny_patch16_224")
    with pytest.raises(zoo.ModelRejected, match=NO_HUBS):
        open_models.open_model_named("timm/deit_tiny_patch16_224 (random weights)")
    with pytest.raises(zoo.ModelRejected, match=NO_WEIGHTS):
        open_models.open_files([("mine.safetensors", b"")])


def test_a_class_sees_the_models_that_its_file_lists(monkeypatch):
    monkeypatch.setattr(open_models, "MODE", Mode(models=["cifar10"]))
    assert open_models.shipped_names() == ["cifar10"]
    assert not open_models.is_open("photos") or "photos" in open_models._shelf
    assert open_models.shipped_names("caption") == zoo.names("caption"), "never an empty list"
