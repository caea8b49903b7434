import gzip
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from model.datasets.pictures import pack_pictures, read_split
from model.errors import DataError


def pictures(count: int, size: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def write_folders(folder, count=3, size=8):
    """One folder a class, as ImageFolder wants it."""
    for s, split in enumerate(("train", "test")):
        for c, name in enumerate(("cat", "dog")):
            (folder / split / name).mkdir(parents=True)
            for i, picture in enumerate(pictures(count, size, seed=10 * s + c)):
                Image.fromarray(picture).save(folder / split / name / f"{i}.png")


def test_packing_loses_nothing_but_the_order(tmp_path):
    write_folders(tmp_path / "raw")
    pack_pictures(tmp_path / "raw", tmp_path / "packed")
    for split in ("train", "test"):
        raw, packed = read_split(tmp_path / "raw", split), read_split(tmp_path / "packed", split)
        assert packed.classes == raw.classes == ("cat", "dog")
        assert packed.images.dtype == torch.uint8
        assert packed.images.shape == (6, 3, 8, 8)
        assert sorted(zip(map(bytes, raw.images.numpy()), raw.labels.tolist(), strict=True)) == (
            sorted(zip(map(bytes, packed.images.numpy()), packed.labels.tolist(), strict=True))
        )


def test_packing_is_the_same_for_the_same_seed(tmp_path):
    write_folders(tmp_path / "raw")
    for name in ("a", "b"):
        pack_pictures(tmp_path / "raw", tmp_path / name, seed=3)
    assert torch.equal(read_split(tmp_path / "a").images, read_split(tmp_path / "b").images)


def test_grey_packed_pictures_and_boxes(tmp_path):
    images = pictures(4)[..., 0]
    boxes = np.array([[0, 0, 3, 3]] * 4, np.int16)
    np.savez(
        tmp_path / "val.npz", images=images, labels=[0, 1, 1, 0], classes=["a", "b"], boxes=boxes
    )
    split = read_split(tmp_path, "test")  # "val" stands in
    assert split.images.shape == (4, 1, 8, 8)
    assert np.array_equal(split.images[:, 0].numpy(), images)
    assert split.boxes.tolist() == boxes.tolist()
    assert len(split.first(2)) == 2


def test_parts_are_joined_in_order(tmp_path):
    images = pictures(4)[..., 0]
    for i in range(2):
        part = slice(2 * i, 2 * i + 2)
        np.savez(
            tmp_path / f"train-{i}.npz", images=images[part], labels=[i, i], classes=["a", "b"]
        )
    split = read_split(tmp_path)
    assert split.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(split.images[:, 0].numpy(), images)


def test_pictures_of_all_sizes_are_cropped_to_one(tmp_path):
    folder = tmp_path / "train" / "cat"
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 20), "red").save(folder / "wide.jpg")
    Image.new("L", (10, 30), 200).save(folder / "tall.png")
    assert read_split(tmp_path, "train", size=16).images.shape == (2, 3, 16, 16)


def test_fashion_mnist_as_published(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    labels = np.array([0, 1, 2, 3, 9], np.uint8)
    for prefix in ("train", "t10k"):
        head = b"".join(n.to_bytes(4, "big") for n in (0x803, 5, 28, 28))
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = b"".join(n.to_bytes(4, "big") for n in (0x801, 5))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    split = read_split(tmp_path, "train")
    assert np.array_equal(split.images[:, 0].numpy(), images)
    assert split.labels.tolist() == labels.tolist()
    assert split.classes[9] == "Ankle boot"

    (raw / "train-images-idx3-ubyte").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"Fashion-MNIST files .* Fetch them again"):
        read_split(tmp_path, "train")


def test_tiny_imagenet_as_published(tmp_path):
    (tmp_path / "wnids.txt").write_text("n2\nn1\n")
    (tmp_path / "words.txt").write_text('n0\tzero\nn1\tone "1", uno\nn2\ttwo, due\n')
    for i in ("n1", "n2"):
        folder = tmp_path / "train" / i / "images"
        folder.mkdir(parents=True)
        for k in range(2):
            Image.new("RGB", (64, 64), "red" if i == "n1" else "blue").save(folder / f"{k}.JPEG")
    (tmp_path / "val" / "images").mkdir(parents=True)
    Image.new("L", (64, 64)).save(tmp_path / "val" / "images" / "a.JPEG")
    (tmp_path / "val" / "val_annotations.txt").write_text("a.JPEG\tn1\t0\t5\t63\t60\n")
    (tmp_path / "test" / "images").mkdir(parents=True)  # published without labels

    train, val = read_split(tmp_path, "train"), read_split(tmp_path, "test")
    assert train.classes == val.classes == ("two", 'one "1"')
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert train.images[:, 0].float().mean((1, 2)).round().tolist() == [0, 0, 254, 254]
    assert (val.labels.tolist(), val.boxes.tolist()) == ([1], [[0, 5, 63, 60]])
    assert read_split(tmp_path, "train", limit=2).labels.tolist() == [0, 1]

    (tmp_path / "words.txt").write_text("")
    with pytest.raises(DataError, match="Tiny ImageNet lists"):
        read_split(tmp_path, "train")


def test_classes_in_another_order(tmp_path):
    write_folders(tmp_path, count=1)
    split = read_split(tmp_path)
    assert split.labels.tolist() == [0, 1]
    other = split.with_classes(["dog", "cat"])
    assert (other.classes, other.labels.tolist()) == (("dog", "cat"), [1, 0])
    with pytest.raises(DataError, match=r"other classes \(cat, dog\) than are wanted \(cow\)"):
        split.with_classes(["cow"])


def test_a_changed_cifar10_file_is_never_unpickled(tmp_path):
    class Creates:
        def __reduce__(self):
            return (open, (str(tmp_path / "created"), "w"))

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("batches.meta", "test_batch", *(f"data_batch_{i}" for i in range(1, 6))):
        (folder / name).write_bytes(pickle.dumps(Creates()))
    with pytest.raises(DataError, match=r"CIFAR-10 files .* incomplete or damaged"):
        read_split(tmp_path, "train")
    assert not (tmp_path / "created").exists()


def test_damage_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match=r"There is no folder .* --data"):
        read_split(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no train data: expected train\.npz"):
        read_split(tmp_path)

    file = tmp_path / "train.npz"
    file.write_bytes(gzip.compress(b"not this"))
    with pytest.raises(DataError, match=r"damaged .* Fetch or pack it again"):
        read_split(tmp_path)
    np.savez(file, pixels=[1])
    with pytest.raises(DataError, match=r"not a packed data set"):
        read_split(tmp_path)
    np.savez(file, images=pictures(2)[..., 0], labels=[0, 7], classes=["a", "b"])
    with pytest.raises(DataError, match="label 7, but only 2 classes"):
        read_split(tmp_path)
    np.savez(file, images=pictures(2)[..., 0], labels=[0], classes=["a"])
    with pytest.raises(DataError, match="cut short"):
        read_split(tmp_path)
    np.savez(file, blob=np.zeros(9, np.uint8), offsets=[0, 9], labels=[0], classes=["a"])
    with pytest.raises(DataError, match="damaged"):
        read_split(tmp_path)


def test_a_missing_part_and_parts_that_do_not_fit_are_named(tmp_path):
    for number, side in ((0, 8), (1, 4)):
        images = np.zeros((2, side, side), np.uint8)
        file = tmp_path / f"train-{number}.npz"
        np.savez(file, images=images, labels=[0, 0], classes=["a"])
    with pytest.raises(DataError, match="different sizes"):
        read_split(tmp_path)
    (tmp_path / "train-0.npz").unlink()
    with pytest.raises(DataError, match=r"train-0\.npz is missing"):
        read_split(tmp_path)


def test_a_broken_picture_is_named(tmp_path):
    folder = tmp_path / "train" / "cat"
    folder.mkdir(parents=True)
    (folder / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad\.jpg is no readable picture"):
        read_split(tmp_path, "train", size=8)
