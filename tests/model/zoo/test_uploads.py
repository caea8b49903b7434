"""Dropped files lie in one folder, whatever names and archives they came in."""

import importlib.util
import io
import json
import os
import stat
import sys
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save

from model import zoo
from model.errors import ModelRejected
from model.zoo import archives
from model.zoo.uploads import lay_out, name_on_disk
from tests.fuzz.hostile_weights import state_of_vit
from tests.model.zoo.test_hugging_face_folder import assert_same
from tests.model.zoo.test_hugging_face_folder import save as save_folder

hubs = [
    pytest.mark.hubs,
    pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="no transformers"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "laid").mkdir()
    return tmp_path / "laid"


def files_of(folder):
    return [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


def zipped(files, **options) -> tuple[str, bytes]:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", **options) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return "my model.zip", data.getvalue()


CONFIG = ("config.json", json.dumps({"model_type": "vit"}).encode())
WEIGHTS = ("model.safetensors", save({"a": torch.ones(2)}))


def refused(files, folder) -> str:
    with pytest.raises(ModelRejected) as caught:
        lay_out(files, folder)
    message = str(caught.value)
    assert message.endswith((".", "removes it.")) and "\n" not in message and len(message) < 400
    return message


# What opens


@pytest.mark.parametrize("shape", ["files", "zip", "folder in a zip", "deep", "windows", "mac"])
@pytest.mark.parametrize("kind", ["ViT", "Swin"])
@pytest.mark.parametrize("saved", ["safetensors", "shards", "pickle"])
class TestHuggingFace:
    pytestmark = hubs

    def test_a_dropped_folder_opens_as_the_folder_does(self, tmp_path, folder, shape, kind, saved):
        net = save_folder(
            tmp_path / "mine", kind, max_shard_size="40KB" if saved == "shards" else "9GB"
        )
        if saved == "pickle":
            path = tmp_path / "mine" / "model.safetensors"
            torch.save(load_file(path), tmp_path / "mine" / "pytorch_model.bin")
            path.unlink()
        files = files_of(tmp_path / "mine")
        if saved == "shards":
            assert "model.safetensors.index.json" in [name for name, _ in files]
        if shape != "files":
            prefix = {"zip": "", "deep": "a/b/c/", "windows": "mine\\"}.get(shape, "mine/")
            entries = [(prefix + name, data) for name, data in files]
            if shape == "mac":
                entries += [(f"__MACOSX/mine/._{name}", b"\0\5\x16\7") for name, _ in files]
                entries += [("mine/.DS_Store", b"Bud1")]
            if shape == "deep":
                entries += [(f"a/b/c/checkpoint-500/{name}", data) for name, data in files]
            method = zipfile.ZIP_STORED if shape == "zip" else zipfile.ZIP_DEFLATED
            files = [zipped(entries, compression=method)]
        laid = lay_out(files, folder)
        assert laid.path.parent == folder
        assert_same(zoo.load(laid.path), net)


@pytest.mark.parametrize("pack", [False, True])
def test_a_file_with_the_json_beside_it(folder, pack):
    files = [("net (1).safetensors", save(state_of_vit())), ("card.json", b'{"task": "classify"}')]
    laid = lay_out([zipped(files)] if pack else files, folder)
    assert laid.card and laid.path.name == "net__1_.safetensors"
    assert laid.path.with_suffix(".json").read_bytes() == files[1][1]


@pytest.mark.parametrize("pack", [False, True])
def test_what_a_training_leaves_beside_its_weights_is_passed_over(folder, pack):
    data = save(state_of_vit())
    files = [("best.safetensors", data), ("log.txt", b"x"), ("run.yaml", b"a: 1"), ("a.png", b"")]
    if pack:
        files = [(f"run/{name}", content) for name, content in files]
        files += [("run/args.json", b'{"lr": 1}'), ("run/figures.json", b"[1]")]
    laid = lay_out([zipped(files)] if pack else files, folder)
    assert zoo.load(laid.path).net.config.dim == 8 and not laid.card


@pytest.mark.parametrize("name", ["mine.pt", "mine.zip", "noending"])
def test_a_file_of_torch_is_no_archive_of_files(folder, name):
    data = io.BytesIO()
    torch.save(state_of_vit(), data)
    laid = lay_out([(name, data.getvalue())], folder)
    assert zoo.load(laid.path).net.config.dim == 8


def test_all_parts_of_a_model(folder):
    state = state_of_vit()
    names = sorted(state)
    files = [
        (f"net-{n + 1:05d}-of-00002.safetensors", save({k: state[k] for k in names[n::2]}))
        for n in range(2)
    ]
    assert zoo.load(lay_out(files[::-1], folder).path).net.config.dim == 8
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(ModelRejected, match="1 of the 2 parts"):
        zoo.load(lay_out(files[:1], folder).path)


# What is no one model


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ([], "nothing"),
        ([CONFIG], "Choose one file with weights"),
        ([("a.pt", b"1"), ("b.pt", b"2")], "all parts of one model"),
        ([("a.pt", b"1"), ("a.json", b"{}"), ("b.json", b"{}")], "at most one .json"),
        ([WEIGHTS, WEIGHTS], "Two files are named model.safetensors"),
        ([WEIGHTS, ("config.json.txt", CONFIG[1])], "config.json.txt"),  # which says the heads
        ([WEIGHTS, ("tokenizer.json", b"{}")], "tokenizer.json does not say what the model is"),
        ([WEIGHTS, ("run.json", b'{"lr": 1}')], "run.json does not say what the model is"),
        ([WEIGHTS, CONFIG, ("../config.json", b"{}")], "Two files are named config.json"),
        ([zipped([WEIGHTS]), CONFIG], "either one ZIP archive"),
        ([zipped([])], "You chose nothing"),
        ([zipped([("a/config.json", b"{}"), ("b/config.json", b"{}")])], "holds 2 models"),
        ([("x" * 5000 + ".pt", b""), ("y" * 5000, b"")], "all parts"),
    ],
)
def test_what_is_no_one_model_is_a_sentence(folder, files, word):
    assert word in refused(files, folder)


# Hostile archives


@pytest.mark.parametrize(
    "name",
    [
        "../config.json",
        "../../../../tmp/config.json",
        "/etc/config.json",
        "C:\\Windows\\config.json",
        "..\\config.json",
        "a/../../config.json",
    ],
)
@pytest.mark.parametrize("pack", [False, True])
def test_no_name_leads_out_of_the_folder(tmp_path, folder, name, pack):
    beside = name.replace("config.json", "model.safetensors")
    files = [(name, CONFIG[1]), (beside, WEIGHTS[1]), (name.replace("config.json", "evil.py"), b"")]
    before = {path for path in tmp_path.rglob("*") if folder not in path.parents}
    laid = lay_out([zipped(files)] if pack else files, folder)
    assert {path.name for path in laid.path.iterdir()} == {"config.json", "model.safetensors"}
    assert {path for path in tmp_path.rglob("*") if folder not in path.parents} == before


def test_a_link_is_refused(folder):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(*CONFIG)
        link = zipfile.ZipInfo("model.safetensors")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "links in place of files" in refused([("a.zip", data.getvalue())], folder)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_rare_ways_of_packing_are_refused(folder, method):
    """A few bytes of LZMA may ask for gigabytes of memory."""
    assert "rarely used" in refused([zipped([CONFIG, WEIGHTS], compression=method)], folder)


def test_a_bomb_is_refused_before_it_is_unpacked(folder):
    files = [CONFIG, ("model.safetensors", bytes(50_000_000))]
    packed = zipped(files, compression=zipfile.ZIP_DEFLATED)
    assert len(packed[1]) < 100_000
    assert "unpacks to far more" in refused([packed], folder)
    assert not list(folder.iterdir())


def test_an_archive_in_an_archive_stays_one(folder):
    inner = zipped([CONFIG, WEIGHTS])[1]
    assert "You chose inner.zip" not in str(lay_out([zipped([("inner.zip", inner)])], folder))
    with pytest.raises(ModelRejected, match="torch has not written"):
        zoo.load(folder / "inner.zip")


def test_more_entries_than_any_model_has(folder, monkeypatch):
    monkeypatch.setattr(archives, "MAX_ENTRIES", 5)
    many = [(f"{n}.txt", b"") for n in range(9)]
    assert "9 files: no model has so many" in refused([zipped(many)], folder)
    monkeypatch.setattr(archives, "MAX_DIRECTORY", 100)
    assert "more files than any model" in refused([zipped(many)], folder)


def test_a_password(folder):
    name, data = zipped([CONFIG, WEIGHTS])
    locked = bytearray(data)
    at = locked.find(b"PK\x01\x02")
    locked[at + 8] |= 1
    assert "password" in refused([(name, bytes(locked))], folder)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_torn_archive(folder, share):
    name, data = zipped([CONFIG, WEIGHTS])
    assert "damaged" in refused([(name, data[: int(share * len(data))])], folder)


def test_an_archive_whose_content_is_changed(folder):
    name, data = zipped([CONFIG, WEIGHTS])
    assert "damaged" in refused([(name, data.replace(b"vit", b"vat", 1))], folder)


@pytest.mark.parametrize("pack", [False, True])
def test_a_config_of_megabytes(folder, pack):
    files = [("config.json", os.urandom(6_000_000)), WEIGHTS]
    assert "config.json is larger" in refused([zipped(files)] if pack else files, folder)


def test_no_event_of_the_interpreter_comes_from_dropped_files(folder):
    files = [CONFIG, WEIGHTS, ("modeling_mine.py", b"import os; os.mkdir('created')")]
    watched = {"import", "exec", "compile", "subprocess.Popen", "os.system", "pickle.find_class"}
    lay_out([zipped(files)], folder / "..")  # what Python itself loads late is loaded now
    events, watching = [], [True]

    def watch(event, arguments):
        outside = event == "open" and not str(arguments[0]).startswith(str(folder))
        if watching[0] and (event in watched or outside):
            events.append((event, arguments))

    sys.addaudithook(watch)
    try:
        laid = lay_out([zipped(files)], folder)
    finally:
        watching[0] = False
    assert not events
    assert sorted(path.name for path in laid.path.iterdir()) == ["config.json", "model.safetensors"]


class TestPrograms:
    pytestmark = hubs

    @pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
    def test_a_dropped_folder_runs_no_program_of_its_own(self, tmp_path, folder, name):
        save_folder(tmp_path / "mine")
        config = json.loads((tmp_path / "mine" / name).read_text())
        config["auto_map"] = {"AutoModelForImageClassification": "modeling_mine.Mine"}
        (tmp_path / "mine" / name).write_text(json.dumps(config))
        files = [*files_of(tmp_path / "mine"), ("modeling_mine.py", b"raise SystemExit")]
        with pytest.raises(ModelRejected, match="never runs"):
            zoo.load(lay_out(files, folder).path)


@pytest.mark.parametrize(
    ("name", "on_disk"),
    [
        ("my net (1).pt", "my_net__1_.pt"),
        ("../../etc/mine.safetensors", "mine.safetensors"),
        ("a.b.safetensors", "a.b.safetensors"),
        ("模型.pt", "模型.pt"),
        ("noending", "noending"),
        (".safetensors", "safetensors"),
        ("..", "upload"),
        ("", "upload"),
        ("x" * 300 + ".pt", "x" * 40 + ".pt"),
    ],
)
def test_the_name_of_an_uploaded_file_on_disk(tmp_path, name, on_disk):
    assert name_on_disk(name) == on_disk
    (tmp_path / on_disk).write_bytes(b"")
