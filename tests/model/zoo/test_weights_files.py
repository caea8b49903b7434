"""A stranger's file gives tensors or a sentence, and never runs."""

import argparse
import collections
import datetime
import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from model import zoo
from model.errors import ModelNotFound, ModelRejected
from model.zoo import archives, networks_in_file, pickled_values, weights_files

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1.0, -2.0])}


def saved(content, **options) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def assert_same(found: dict, wanted: dict) -> None:
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor)


def sentence(path, error=ModelRejected) -> str:
    with pytest.raises(error) as caught:
        weights_files.read_weights(path)
    message = str(caught.value)
    assert message.endswith((".", "git lfs pull"))
    assert "\n" not in message
    return message


@pytest.fixture
def file(tmp_path):
    return tmp_path / "mine.pt"


# What opens


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        OrderedDict,
        lambda s: {"state_dict": s, "epoch": 3, "lr": 0.1},
        lambda s: {"model": s},
        lambda s: {"model_state_dict": s, "optimizer": {"state": {}, "groups": [{"lr": 1.0}]}},
        lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}},
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {f"_orig_mod.module.{k}": v for k, v in s.items()},
        lambda s: {k: nn.Parameter(v) for k, v in s.items()},
        lambda s: {**s, "epoch": 7},
        lambda s: {f"backbone.{k}": v for k, v in s.items()},
        lambda s: {"model_ema": s, "epoch": 7},
        lambda s: {"ema": s},
        lambda s: {"teacher": {f"module.backbone.{k}": v for k, v in s.items()}},
        lambda s: {"student": s},
    ],
)
def test_wrappers_and_prefixes_are_taken_off(file, wrap, legacy):
    file.write_bytes(saved(wrap(STATE), _use_new_zipfile_serialization=not legacy))
    assert_same(weights_files.read_weights(file).tensors, STATE)


def test_what_lacks_the_prefix_of_most_lies_beside(file):
    state = {f"module.model.{name}": tensor for name, tensor in STATE.items()}
    torch.save({**state, "module.criterion.weight": torch.ones(2)}, file)
    found = weights_files.read_weights(file)
    assert_same(found.tensors, STATE)
    assert list(found.beside) == ["criterion.weight"]


def test_a_prefix_of_half_the_names_stays(file):
    state = {**{f"model.{name}": t for name, t in STATE.items()}, "a": STATE["a.bias"]}
    torch.save({**state, "b": STATE["a.bias"]}, file)
    assert list(weights_files.read_weights(file).tensors) == [
        "model.a.weight",
        "model.a.bias",
        "a",
        "b",
    ]


def test_of_several_models_the_first_kind_is_taken_and_the_others_named(file):
    torch.save({"student": {"b": torch.ones(1)}, "teacher": STATE, "dino_loss": {}}, file)
    found = weights_files.read_weights(file)
    assert_same(found.tensors, STATE)
    assert found.others == ["student"]


@pytest.mark.parametrize("name", ["mine.safetensors", "mine.pt", "mine", "mine.pth"])
def test_the_content_decides_not_the_name(tmp_path, name):
    path = tmp_path / name
    save_file(STATE, path)
    assert_same(dict(sorted(weights_files.read_weights(path).tensors.items(), reverse=True)), STATE)
    torch.save(STATE, path)
    assert_same(weights_files.read_weights(path).tensors, STATE)


def test_a_safetensors_file_s_own_notes(tmp_path):
    save_file(STATE, tmp_path / "a", metadata={"mean": "0.5,0.5,0.5"})
    assert weights_files.read_weights(tmp_path / "a").notes == {"mean": "0.5,0.5,0.5"}


def test_floats_become_float32_and_integers_stay(file):
    state = {
        "half": torch.ones(2, dtype=torch.float16),
        "brain": torch.ones(2, dtype=torch.bfloat16),
        "double": torch.ones(2, dtype=torch.float64),
        "count": torch.tensor(2**40),
    }
    torch.save(state, file)
    types = [tensor.dtype for tensor in weights_files.read_weights(file).tensors.values()]
    assert types == [torch.float32] * 3 + [torch.int64]


class Settings:
    """A class of a user's program."""

    def __init__(self):
        self.rate = 0.1


OBJECTS = {
    "Namespace": argparse.Namespace(lr=0.1, when=datetime.datetime(2024, 1, 1)),
    "numpy": np.float64(0.9),
    "array": np.arange(3),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "device": torch.device("cpu"),
    "set": {"a"},
    "path": Path("x"),
    "rng": np.random.default_rng(0),
    "own": Settings(),
    "dtype": torch.float16,
    "partial": partial(nn.LayerNorm, eps=1e-6),
    "pattern": re.compile("a"),
    "masked": np.ma.array([1, 2]),
    "complex": torch.tensor(1j),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", OBJECTS)
def test_what_a_training_keeps_beside_its_tensors_is_passed_over(file, kind, legacy):
    content = {"state_dict": STATE, "extra": OBJECTS[kind], "more": [OBJECTS[kind]]}
    file.write_bytes(saved(content, _use_new_zipfile_serialization=not legacy))
    assert_same(weights_files.read_weights(file).tensors, STATE)


def test_an_optimiser_s_tensors_are_no_model(file):
    net = nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    torch.save({"net": net.state_dict(), "opt": optimiser.state_dict()}, file)
    found = weights_files.read_weights(file)
    assert_same(found.tensors, net.state_dict())
    assert not found.others and not found.beside


@given(
    st.recursive(st.just(None), lambda inner: st.tuples(st.text(max_size=8), inner), max_leaves=3)
)
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_tensors_are_found_below_any_key(tmp_path, keys):
    content, key = STATE, keys
    depth = 0
    while key is not None and not networks_in_file._NO_NETWORK.search(key[0]):
        content, key, depth = {key[0]: content, "epoch": depth}, key[1], depth + 1
    path = tmp_path / "nested"
    torch.save(content, path)
    assert_same(weights_files.read_weights(path).tensors, STATE)


@pytest.mark.parametrize(
    "wrap", [lambda s: [3, s], lambda s: ({"model": s}, {"lr": 1}), lambda s: {7: s, "epoch": 7}]
)
def test_a_network_in_a_short_list_or_by_a_number_is_found(file, wrap):
    torch.save(wrap(STATE), file)
    assert_same(weights_files.read_weights(file).tensors, STATE)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_file_of_pickle_dump_is_read_as_pickle_reads_it(file, protocol):
    content = {"model": {k: torch.nn.Parameter(v) for k, v in STATE.items()}, "epoch": 3}
    file.write_bytes(pickle.dumps(content, protocol=protocol))
    assert_same(weights_files.read_weights(file).tensors, STATE)


def test_a_large_file_of_pickle_dump_says_how_to_save_it(file, monkeypatch):
    monkeypatch.setattr(weights_files, "MAX_DUMPED_BYTES", 10)
    file.write_bytes(pickle.dumps(STATE))
    assert "torch.save(pickle.load(FILE), PATH)" in sentence(file)


@pytest.mark.parametrize("legacy", [False, True])
def test_views_of_one_storage_are_read_as_torch_reads_them(file, legacy):
    base = torch.arange(24.0).reshape(4, 6)
    state = {
        "a": base[1:3, ::2],
        "b": base.T,
        "c": base[2],
        "d": torch.empty(0, 3),
        "e": base[0, 0],
    }
    file.write_bytes(saved(state, _use_new_zipfile_serialization=not legacy))
    assert_same(weights_files.read_weights(file).tensors, torch.load(file, weights_only=True))


# What is refused before any of it runs


class Trap:
    """Unpickling this would call `call(*arguments)`."""

    def __init__(self, call, *arguments):
        self.reduced = (call, arguments)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("kind", ["zip", "legacy", "bare"])
def test_a_malicious_pickle_is_refused_and_does_nothing(tmp_path, file, kind, protocol):
    witness = tmp_path / "created"
    content = {**STATE, "trap": Trap(os.mkdir, str(witness))}
    if kind == "bare":
        data = pickle.dumps({"trap": content["trap"]}, protocol=protocol)
    else:
        data = saved(
            content,
            pickle_protocol=max(protocol, 1),
            _use_new_zipfile_serialization=kind == "zip",
        )
    file.write_bytes(data)
    message = sentence(file)
    assert not witness.exists()
    if data[:1] in (b"P", b"\x80"):
        assert "Nothing of it was run" in message
    pickle.loads(pickle.dumps(content["trap"]))  # and it would have worked
    assert witness.exists()


@pytest.mark.parametrize("depth", [1, 2])
def test_a_trap_within_the_bytes_of_a_tensor_does_nothing(tmp_path, file, depth):
    from torch.storage import _load_from_bytes

    witness = tmp_path / "created"
    inner = Trap(os.mkdir, str(witness))
    for _ in range(depth):
        inner = Trap(_load_from_bytes, saved(inner, _use_new_zipfile_serialization=False))
    file.write_bytes(pickle.dumps({**STATE, "trap": inner}))
    assert sentence(file)
    assert not witness.exists()
    pickle.loads(file.read_bytes())  # and it would have worked
    assert witness.exists()


def test_numbers_that_are_taken_again_and_again_are_counted(file):
    from torch.storage import _load_from_bytes

    data = saved(torch.zeros(2_000_000).untyped_storage(), _use_new_zipfile_serialization=False)
    again = [Trap(_load_from_bytes, data) for _ in range(1_000)]
    file.write_bytes(pickle.dumps({**STATE, "again": again}))
    assert file.stat().st_size < 10_000_000
    assert "damaged" in sentence(file)


@pytest.mark.parametrize("changed", [-4, 4, 400])
def test_bytes_of_a_tensor_that_are_fewer_or_more_than_its_numbers_are_refused(file, changed):
    from torch.storage import _load_from_bytes

    data = saved(torch.arange(6.0).untyped_storage(), _use_new_zipfile_serialization=False)
    data = data[:changed] if changed < 0 else data + bytes(changed)
    file.write_bytes(pickle.dumps({**STATE, "short": Trap(_load_from_bytes, data)}))
    assert "damaged" in sentence(file)


TRAPS = {
    "os": (os.mkdir, "created"),
    "eval": (eval, "__import__('os').mkdir('created')"),
    "import": (__import__, "antigravity"),
    "getattr": (getattr, "a", "upper"),
    "process": (subprocess.Popen, ["mkdir", "created"]),
    "load": (torch.load, "other.pt"),
    "partial": (partial(os.mkdir, "created"),),
    "numpy": (np.load, "other.npy"),
    "hub": (torch.hub.load, "a/b", "c"),
}


@pytest.mark.parametrize("place", ["value", "key", "state", "inside"])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("trap", TRAPS)
def test_no_event_of_the_interpreter_comes_from_a_file(
    tmp_path, monkeypatch, trap, place, protocol
):
    """The names that it asks for are not even imported, wherever they lie."""
    monkeypatch.chdir(tmp_path)
    call = Trap(*TRAPS[trap])
    content = {
        "value": {"state_dict": STATE, "extra": call},
        "key": {"state_dict": STATE, (1, call): 2},
        "state": {"state_dict": STATE, "extra": Stateful(call)},
        "inside": {"state_dict": {**STATE, "b": [call]}},
    }[place]
    torch.save(content, "mine.pt", pickle_protocol=protocol)
    events = []
    watched = {"import", "exec", "compile", "os.mkdir", "subprocess.Popen", "pickle.find_class"}
    watching = [True]

    def watch(event, arguments):
        if watching[0] and event in watched:
            events.append((event, arguments))

    sys.addaudithook(watch)
    try:
        with pytest.raises(ModelRejected, match="Nothing of it was run"):
            weights_files.read_weights(tmp_path / "mine.pt")
    finally:
        watching[0] = False
    assert not events
    assert os.listdir() == ["mine.pt"]


class Stateful:
    def __init__(self, state):
        self.state = state


def program(*instructions: bytes) -> bytes:
    return b"\x80\x02" + b"".join(instructions) + b"."


@pytest.mark.parametrize(
    "content",
    [
        program(b"ccollections\nOrderedDict\n", b"}X\x01\x00\x00\x00aK\x01s", b"b"),
        program(b"ctorch._utils\n_rebuild_tensor_v2\n", b"N}X\x01\x00\x00\x00aK\x01s\x86b"),
        program(b"K\x01)R"),
        program(b"(" * 100),
        program(b"]" * 100_000, b"a" * 99_999),
        program(b")" + b"\x85" * 200_000, b"K\x01", b"}", b"h\x00s"),
        program(b"]q\x00h\x00a"),
        program(b"N0" * 400_000),
        program(b"\x82\x01"),
    ],
)
def test_programs_that_no_torch_writes(file, content):
    file.write_bytes(content)
    sentence(file)
    torch.save(STATE, file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("other/data.pkl", content)
    with suppress(ModelRejected):
        weights_files.read_weights(file)


def test_sixty_pickles_share_one_budget(file, monkeypatch):
    torch.save(STATE, file)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        for number in range(60):
            archive.writestr(f"archive/{number}.pkl", program(b"N0" * 100))
    assert "longer pickles" in sentence(file)
    monkeypatch.setattr(weights_files, "MAX_PICKLES", 100)
    monkeypatch.setattr(pickled_values, "MAX_INSTRUCTIONS", 5_000)
    assert "damaged" in sentence(file)


def test_the_trap_may_lie_in_any_pickle_of_the_archive(tmp_path, file):
    witness = tmp_path / "created"
    torch.save(STATE, file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("other/data.pkl", pickle.dumps(Trap(os.mkdir, str(witness)), protocol=2))
    assert "posix.mkdir" in sentence(file)
    assert not witness.exists()


def test_a_second_entry_of_the_same_name(tmp_path, file):
    witness = tmp_path / "created"
    torch.save(STATE, file)
    with zipfile.ZipFile(file) as archive:
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
    with (
        zipfile.ZipFile(file, "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr(name, pickle.dumps(Trap(os.mkdir, str(witness)), protocol=2))
    sentence(file)
    assert not witness.exists()


def test_a_whole_model_is_refused_with_the_cure(file):
    torch.save(nn.Linear(2, 2), file)
    message = sentence(file)
    assert "torch.nn.modules.linear.Linear" in message
    assert "model.state_dict()" in message


def test_a_name_is_shown_short_and_plain(file):
    file.write_bytes(b"\x80\x02c" + b"x\x1b[31m" * 50 + b"\n" + b"y" * 500 + b"\n.")
    message = sentence(file)
    assert len(message) < 300
    assert "\x1b" not in message


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_program(file):
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), file)
    assert "TorchScript" in sentence(file)


# Files that are something else


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"hello", "holds text"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a PNG picture"),
        (b"GGUF\3\0\0\0" + bytes(50), "a GGUF file"),
        (b"\x08\x08\x12\x07pytorch" + bytes(50), "an ONNX model"),
        (b"\x08\x01\x12\xff\xff" + bytes(50), "a TensorFlow SavedModel"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file"),
        (b"\x1c\0\0\0TFL3" + bytes(50), "TensorFlow Lite"),
        (b"\x82\xa6params\x81\xa3vit\x81" + bytes(50), "a Flax file"),
        (b"\xde\0\x20\xa6params\x81" + bytes(50), "a Flax file"),
        (b"\x12\x34" + bytes(50) + bytes.fromhex("57fb808b247547db"), "a TensorFlow checkpoint"),
        (b'model_checkpoint_path: "model.ckpt-7"\n', "a TensorFlow checkpoint"),
        (b"\x1f\x8b\x08\0" + bytes(50), "Unpack it"),
        (bytes(257) + b"ustar\0" + bytes(300), "Unpack it"),
        (b"\xff" * 100, "no file of weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "git lfs pull"),
        (b"\x80\x02", "damaged"),
        (b"PK\x03\x04" + bytes(100), "damaged"),
        (b"\x00\xff\x00\x00\x00\x00\x00\x00{", "stops before its end"),
        ((50).to_bytes(8, "little") + b'{"a": ' + bytes(60), "damaged"),
    ],
)
def test_other_files(file, content, word):
    file.write_bytes(content)
    assert word in sentence(file)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("__0_0.distcp", "dcp_to_torch"),
        ("zero_pp_rank_0_mp_rank_00_optim_states.pt", "zero_to_fp32.py"),
        ("pytorch_model_fsdp_rank3.bin", "full_state_dict=True"),
    ],
)
def test_a_part_of_another_process_never_opens_as_a_whole(tmp_path, name, word):
    torch.save(STATE, tmp_path / name)
    assert word in sentence(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("cls.npy", "timm reads it"),
        ("model.weights.h5", "a Keras model"),
        ("mine/archive_format", "torch.export"),
        ("MAR-INF/MANIFEST.json", "TorchServe"),
    ],
)
def test_a_zip_archive_of_another_library(file, name, word):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"1")
        archive.writestr("config.json", "{}")
    assert word in sentence(file)


@pytest.mark.parametrize(
    ("names", "word"),
    [
        ([".metadata", "__0_0.distcp"], "dcp_to_torch"),
        (["latest", "zero_to_fp32.py", "global_step9/mp_rank_00_model_states.pt"], "zero_to_fp32"),
        (["saved_model.pb", "variables/variables.index"], "SavedModel"),
        (["checkpoint", "model.ckpt-7.index", "model.ckpt-7.data-00000-of-00001"], "checkpoint"),
        (["_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt"], "Orbax"),
        (["config.json", "tf_model.h5"], "a Keras model"),
        (["config.json", "flax_model.msgpack"], "a Flax model"),
        (["config.json", "onnx/model.onnx"], "an ONNX model"),
        (["config.json", "vit-q4.gguf"], "a GGUF model"),
        (["notes.txt"], "a folder without config.json"),
    ],
)
def test_folders_of_other_libraries(tmp_path, names, word):
    for name in names:
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text('{"model_type": "vit"}')
    for path in (tmp_path / "mine", str(tmp_path / "mine")):
        with pytest.raises(ModelRejected, match=word):
            zoo.load(path)


def test_a_pointer_in_place_of_a_hugging_face_folder_s_weights(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 346\n"
    (tmp_path / "model.safetensors").write_bytes(pointer)
    with pytest.raises(ModelRejected, match=r"model\.safetensors is a Git LFS pointer"):
        zoo.load(tmp_path)
    (tmp_path / "config.json").write_bytes(pointer)
    with pytest.raises(ModelRejected, match=r"config\.json is a Git LFS pointer"):
        zoo.load(tmp_path)


def test_a_zip_archive_of_another_kind(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    assert "torch has not written" in sentence(file)


@pytest.mark.parametrize("content", [[torch.ones(2)], torch.ones(2), {"epoch": 3}, {}, 7])
def test_files_of_torch_without_named_tensors(file, content):
    torch.save(content, file)
    assert "no tensors by name" in sentence(file)


def test_missing_files_and_folders(tmp_path):
    assert "no file" in sentence(tmp_path / "none.pt", ModelNotFound)
    sentence(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_truncated_files(tmp_path, file, kind, share):
    if kind == "safetensors":
        save_file(STATE, file)
    else:
        torch.save(STATE, file, _use_new_zipfile_serialization=kind == "zip")
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    message = sentence(file)
    assert "stops before its end" in message or "neither safetensors" in message


def test_a_file_too_large(file, monkeypatch):
    torch.save(STATE, file)
    monkeypatch.setattr(weights_files, "MAX_BYTES", 1000)
    assert "too large" in sentence(file)


def test_an_archive_that_unpacks_to_too_much(file, monkeypatch):
    torch.save(STATE, file)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/9", bytes(100_000))
    monkeypatch.setattr(archives, "MAX_BYTES", 50_000)
    assert "unpacks to far more" in sentence(file)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite(file, value):
    torch.save({**STATE, "head.weight": torch.tensor([1.0, value])}, file)
    with pytest.raises(ModelRejected, match=r"not finite, in head\.weight"):
        weights_files.read_named(file)


def test_a_tensor_larger_than_its_numbers(file):
    torch.save({"a": torch.ones(1).expand(1000, 1000, 1000, 1000)}, file)
    assert "larger than its numbers" in sentence(file)


def test_more_tensors_than_any_model_has(file, monkeypatch):
    monkeypatch.setattr(networks_in_file, "MAX_TENSORS", 1)
    torch.save(STATE, file)
    assert "holds 2 tensors" in sentence(file)
    save_file(STATE, file)
    assert "holds 2 tensors" in sentence(file)


def test_a_part_of_absurdly_many(tmp_path):
    path = tmp_path / "model-00001-of-99999.bin"
    torch.save(STATE, path)
    assert "no model has so many" in sentence(path)


def test_many_names_for_the_same_numbers(file):
    shared = torch.ones(100_000, dtype=torch.float16)
    torch.save({f"layer{i}": shared for i in range(1000)}, file)
    assert "larger than its numbers" in sentence(file)


@pytest.mark.parametrize(
    "tensor", [torch.eye(2).to_sparse(), torch.ones(2, dtype=torch.complex64)], ids=["coo", "i"]
)
def test_tensors_of_other_kinds(file, tensor):
    torch.save({"a": tensor}, file)
    sentence(file)


def _real_files() -> list[bytes]:
    files = [saved(STATE), saved(STATE, _use_new_zipfile_serialization=False)]
    from safetensors.torch import save

    return [*files, save(STATE)]


REAL = _real_files()


@given(st.sampled_from(REAL), st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.filterwarnings("ignore")
def test_mutated_files_open_or_are_refused(tmp_path, original, draw):
    data = bytearray(original)
    edits = st.tuples(
        st.integers(0, len(data) - 1) | st.integers(0, min(300, len(data) - 1)),
        st.binary(min_size=1, max_size=4),
    )
    for at, new in draw.draw(st.lists(edits, min_size=1, max_size=4)):
        data[at : at + len(new)] = new
    path = tmp_path / "mutated"
    path.write_bytes(bytes(data))
    with suppress(ModelRejected):
        weights_files.read_weights(path)
