"""Every form of a data set gives the same pictures, classes and order."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from model.datasets import packed
from model.datasets.split import Split
from model.errors import DataError
from model.images import ImageRejected
from model.survey.blocks import open_entry
from model.survey.listing import Listing, write_listing
from model.survey.sources.listed_picture import ListedPicture
from model.survey.sources.recognise import list_pictures

CLASSES = ("cats", "dogs")


@pytest.fixture(scope="module")
def pictures(folder):
    """(class, encoded bytes) of each picture, in the order of the folder."""
    files = sorted(folder.rglob("*.png"))
    return [(file.parent.name, file.read_bytes()) for file in files]


def add(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def write_tars(root, pictures):
    for shard in range(2):
        with tarfile.open(root / f"shard-{shard}.tar", "w") as tar:
            half = len(pictures) // 2
            for number, (label, data) in enumerate(pictures[shard * half : (shard + 1) * half]):
                add(tar, f"{number:04}.png", data)
                add(tar, f"{number:04}.cls", label.encode())
    return root


def write_npz(root, pictures, save):
    blob = np.frombuffer(b"".join(data for _, data in pictures), np.uint8)
    offsets = np.cumsum([0, *(len(data) for _, data in pictures)])
    labels = np.array([CLASSES.index(label) for label, _ in pictures])
    boxes = np.array([(1, 2, 30, 40)] * len(pictures), np.int16)
    classes = np.array(CLASSES)
    save(root / "val.npz", blob=blob, offsets=offsets, labels=labels, classes=classes, boxes=boxes)
    return root / "val"


def write_arrow(root, pictures):
    """Write the files of `Dataset.save_to_disk`, as its format says."""
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(CLASSES), "_type": "ClassLabel"},
    }
    (root / "dataset_info.json").write_text(json.dumps({"features": features}))
    name = "data-00000-of-00001.arrow"
    (root / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("label", pa.int64())])
    with pa.OSFile(str(root / name), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for start in range(0, len(pictures), 7):
            rows = [
                {"image": {"bytes": data, "path": None}, "label": CLASSES.index(label)}
                for label, data in pictures[start : start + 7]
            ]
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
    return root


FORMS = {
    "tar": write_tars,
    "packed": lambda root, pictures: write_npz(root, pictures, np.savez),
    "compressed": lambda root, pictures: write_npz(root, pictures, np.savez_compressed),
    "hugging face": write_arrow,
}


def read(source, room):
    return [(e.label, open_entry(e).tobytes()) for e in list_pictures(source, room)]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pictures(folder, pictures, tmp_path, form):
    source = FORMS[form](tmp_path, pictures)
    assert read(source, tmp_path / "room") == read(folder, tmp_path)
    assert len(pictures) == 40


def test_the_projects_own_packed_files_are_read(tmp_path):
    images = (np.random.default_rng(0).random((5, 3, 8, 8)) * 255).astype(np.uint8)
    import torch

    for name, shown in (("colour", images), ("grey", images[:, :1])):
        split = Split(torch.from_numpy(shown), torch.arange(5) % 2, CLASSES)
        packed.write_packed(tmp_path / f"{name}.npz", split, torch.arange(5))
        entries = list(list_pictures(tmp_path / name, tmp_path / "room"))
        assert [entry.label for entry in entries] == ["cats", "dogs", "cats", "dogs", "cats"]
        for entry, image in zip(entries, shown, strict=True):
            found = np.asarray(open_entry(entry))
            np.testing.assert_array_equal(
                found, np.broadcast_to(image, (3, 8, 8)).transpose(1, 2, 0)
            )


def test_boxes_and_numbered_parts_are_read(tmp_path, pictures):
    for part in range(2):
        write_npz(tmp_path, pictures[part * 20 : part * 20 + 20], np.savez)
        (tmp_path / "val.npz").rename(tmp_path / f"train-{part}.npz")
    entries = list(list_pictures(tmp_path / "train", tmp_path))
    assert [entry.name for entry in entries][19:21] == ["train-0.npz#19", "train-1.npz#0"]
    assert {entry.box for entry in entries} == {(1, 2, 31, 41)}, "the last pixels are included"


def test_pictures_at_any_depth_in_the_order_of_their_names(tmp_path):
    for name in ("b/x/1.png", "a/2.png", "b/0.png", "top.png", "a/.hidden.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name, "PNG")
    found = [(entry.name, entry.label) for entry in list_pictures(tmp_path, tmp_path)]
    assert found == [("a/2.png", "a"), ("b/0.png", "b"), ("b/x/1.png", "b"), ("top.png", None)]


def test_a_tar_that_is_cut_off_gives_what_comes_before(tmp_path, pictures):
    write_tars(tmp_path, pictures)
    whole = (tmp_path / "shard-0.tar").read_bytes()
    cut = next(e for e in list_pictures(tmp_path / "shard-0.tar", tmp_path) if "0010" in e.name)
    (tmp_path / "shard-0.tar").write_bytes(whole[: cut.offset + 100])
    entries = list(list_pictures(tmp_path, tmp_path))
    assert [entry.problem is None for entry in entries] == [True] * 10 + [False] + [True] * 20
    with pytest.raises(ImageRejected, match=r"shard-0.tar is cut off .* Fetch it again"):
        open_entry(entries[10])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda root: root / "nothing", "There are no pictures at"),
        (lambda root: root, "There are no pictures in it"),
        (lambda root: written(root / "a.tar.gz"), "Unpack it"),
        (lambda root: written(root / "val.npz"), "damaged or no packed data set"),
        (lambda root: written(root / "dataset_info.json").parent, "no data set that save_to_disk"),
        (lambda root: packed_without_last_part(root), "train-1.npz is missing"),
    ],
)
def test_what_is_no_data_set_is_told_in_a_sentence(tmp_path, make, told):
    with pytest.raises(DataError, match=told):
        write_listing(list_pictures(make(tmp_path), tmp_path), tmp_path / "listing", 4)


def written(file):
    file.write_bytes(b"{}")
    return file


def packed_without_last_part(root):
    for part in (0, 2):
        write_npz(root, [("cats", b"data")], np.savez)
        (root / "val.npz").rename(root / f"train-{part}.npz")
    return root / "train"


@pytest.mark.parametrize("together", [1, 8, 64, 500])
def test_a_listing_gives_its_blocks_and_pictures_back(tmp_path, monkeypatch, together):
    """Also where it was written with other row groups than now."""
    monkeypatch.setattr("model.survey.listing.BLOCKS_TOGETHER", together)
    entries = [
        ListedPicture(f"{n}", "f", n, 1, box=(0, 0, n, 1), pixels=(2, 2)) for n in range(1000)
    ]
    write_listing(iter(entries), tmp_path / "listing", 3)
    monkeypatch.undo()
    listing = Listing(tmp_path / "listing")
    assert (listing.pictures, listing.blocks, listing.block) == (1000, 334, 3)
    found = [entry for block in listing.read_blocks(range(334)) for entry in block.entries]
    assert found == entries
    assert listing.read_block(200).first == 600
    assert listing.read_picture(601) == entries[601]


def test_another_data_set_has_another_digest(tmp_path):
    digests = set()
    for size, label in ((1, "a"), (2, "a"), (1, "b")):
        write_listing([ListedPicture("x", "anywhere", 0, size, label)], tmp_path / "listing", 1)
        digests.add(Listing(tmp_path / "listing").digest)
    assert len(digests) == 3
    write_listing([ListedPicture("x", "elsewhere", 9, 1, "a")], tmp_path / "listing", 1)
    assert Listing(tmp_path / "listing").digest in digests, "wherever the files lie"
