"""A file appears whole or not at all."""

import errno
import os

import pytest
import torch

from model.errors import CheckpointError
from model.zoo.checkpoints import save_checkpoint, write_whole
from model.zoo.whole_files import replace_file

resource = pytest.importorskip("resource")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine"
    path.write_bytes(b"before")
    return path


def assert_unchanged(file):
    assert file.read_bytes() == b"before"
    assert os.listdir(file.parent) == ["mine"]


def test_a_new_file_replaces_the_old_one(file):
    write_whole(file, b"after")
    assert file.read_bytes() == b"after" and os.listdir(file.parent) == ["mine"]
    write_whole(file.parent / "new" / "one", b"after")
    assert (file.parent / "new" / "one").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "write",
    [
        lambda unfinished: unfinished.write_bytes(bytes(100_000)),
        lambda unfinished: torch.save(torch.zeros(100_000), unfinished),
    ],
)
def test_a_file_that_does_not_fit_leaves_no_half_of_it(file, write):
    """The system's own limit on the size of a file stands for a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"could not be written: .*unchanged\.$"):
            replace_file(file, write)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_unchanged(file)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full. Free some space"),
        (OSError(errno.EROFS, "Read-only file system"), "nothing may be written there. Give"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0"), "the disk is full"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error. Give another folder"),
    ],
)
def test_it_says_what_to_do(file, error, words):
    def fail(unfinished):
        unfinished.write_bytes(b"half")
        raise error

    with pytest.raises(CheckpointError) as caught:
        replace_file(file, fail)
    assert words in str(caught.value)
    assert_unchanged(file)


def test_another_error_stays_what_it_is(file):
    def fail(unfinished):
        unfinished.write_bytes(b"half")
        raise KeyError("a")

    with pytest.raises(KeyError):
        replace_file(file, fail)
    assert_unchanged(file)


def test_a_folder_that_is_a_file(file):
    net = torch.nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="could not be written"):
        save_checkpoint(net, file / "inside" / "x.safetensors", {"task": "classify"})
    assert_unchanged(file)
