"""Names for weights that are no PyTorch checkpoint, each with the way out.

Other libraries' files and folders are told by their first bytes, their names, or what lies in them.
None of them is opened.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path, PurePath

from model.zoo.hubs.config_numbers import LFS_POINTER

_SAVE = "Save it with torch.save(model.state_dict(), PATH)"
_TENSORFLOW = (
    "Open the PyTorch weights of this model; transformers up to version 4 converts its own: "
    "AutoModel.from_pretrained(FOLDER, from_tf=True).save_pretrained(NEW_FOLDER)."
)
_FLAX = (
    "Open the PyTorch weights of this model; transformers up to version 4 converts its own: "
    "AutoModel.from_pretrained(FOLDER, from_flax=True).save_pretrained(NEW_FOLDER)."
)
_JAX_ARRAYS = (
    "If it is a ViT of Google's, timm reads it: torch.save(timm.create_model(NAME, "
    "checkpoint_path=PATH).state_dict(), NEW_PATH)."
)
_PARTS_OF_TORCH = (
    "Join them: python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER model.pt"
    " -- then open model.pt."
)
_DEEPSPEED = "Join them: python zero_to_fp32.py . model.pt -- then open model.pt."
_PROGRAM = f"{_SAVE}, before it is exported."
_ONNX = "an ONNX model, whose tensors have no names of layers"
_SAVED_MODEL = "a TensorFlow SavedModel, which is a program"
_CHECKPOINT = "a TensorFlow checkpoint"
_UNPACK = "Unpack it, and choose the files in it."

# First bytes: (offset, bytes found there, what the file is, the way out)
_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"GGUF", "a GGUF file, whose weights are quantised", "Open the model it was made from."),
    (0, b"ggml", "a GGML file, whose weights are quantised", "Open the model it was made from."),
    (0, b"\x89HDF", "an HDF5 file, as Keras writes it", _TENSORFLOW),
    (0, b"\x93NUMPY", "a NumPy array, not the weights of a model", f"{_SAVE}."),
    (4, b"TFL3", "a TensorFlow Lite program", _TENSORFLOW),
    (4, b"ET12", "an ExecuTorch program", _PROGRAM),
    (0, b"\x08\x01\x12", _SAVED_MODEL, _TENSORFLOW),
    (0, b"\x08", _ONNX, "Open its PyTorch weights."),
    (0, b"\x1f\x8b", "a compressed archive (gzip)", _UNPACK),
    (0, b"BZh", "a compressed archive (bzip2)", _UNPACK),
    (0, b"\xfd7zXZ", "a compressed archive (xz)", _UNPACK),
    (0, b"7z\xbc\xaf", "a compressed archive (7z)", _UNPACK),
    (0, b"Rar!", "a compressed archive (rar)", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a compressed archive (zstd)", _UNPACK),
    (257, b"ustar", "an archive (tar)", _UNPACK),
    (0, b"\xff\xd8\xff", "a JPEG picture", "Choose it as a photo, on Explore."),
    (0, b"\x89PNG", "a PNG picture", "Choose it as a photo, on Explore."),
    (0, b"/annex/objects/", "a pointer of git-annex", "Fetch the file with: git annex get"),
)
# Parts of a model that other processes have the rest of, whatever they hold.
_PARTS: tuple[tuple[str, str, str], ...] = (
    (r".*\.distcp|\.metadata", "a part of a distributed checkpoint (FSDP, DCP)", _PARTS_OF_TORCH),
    (r"(bf16_)?zero_pp_rank_\d+.*\.pt", "a part of a DeepSpeed checkpoint", _DEEPSPEED),
    (
        r"pytorch_model(_fsdp)?(_\d+)?_rank_?\d+\.(bin|pt)",
        "the part of one process of a distributed training",
        "Gather the whole model in the training, with torch.distributed.checkpoint.state_dict."
        "get_model_state_dict and full_state_dict=True, and save that.",
    ),
)
# Endings, where first bytes do not tell.
_NAMES: tuple[tuple[str, str, str], ...] = (
    (r".*\.data-\d{5}-of-\d{5}", f"the numbers of {_CHECKPOINT}", _TENSORFLOW),
    (r".*\.ckpt(-\d+)?\.(index|meta)", f"the list of {_CHECKPOINT}", _TENSORFLOW),
    (r".*\.onnx", _ONNX, "Open its PyTorch weights."),
    (r".*\.pb(txt)?", "a TensorFlow program", _TENSORFLOW),
    (r".*\.msgpack", "a Flax file (msgpack)", _FLAX),
    (r".*\.mlmodel", "a Core ML program", _PROGRAM),
    (r".*\.(engine|plan|trt)", "a TensorRT program", _PROGRAM),
)
# What a ZIP archive is, by a name in it.
_ARCHIVES: tuple[tuple[str, str, str], ...] = (
    (r"(.*/)?model\.weights\.h5", "a Keras model", _TENSORFLOW),
    (
        r"(.*/)?(archive_format|archive_version|serialized_exported_program\.json|models/.+\.json)",
        "a program that torch.export has written",
        _PROGRAM,
    ),
    (r"(.*/)?MAR-INF/.*", "an archive of TorchServe", _UNPACK),
    (r".*\.npy", "an archive of NumPy arrays, as JAX's models are saved", _JAX_ARRAYS),
    (r"(.*/)?Manifest\.json", "a Core ML program", _PROGRAM),
)
# What a folder is, by a name in it: (pattern, what the folder is, the way out)
_FOLDERS: tuple[tuple[str, str, str], ...] = (
    (r".*\.distcp", "a distributed checkpoint (FSDP, DCP), cut into parts", _PARTS_OF_TORCH),
    (
        r"zero_to_fp32\.py|(bf16_)?zero_pp_rank_\d+.*\.pt|mp_rank_\d+_model_states\.pt",
        "a DeepSpeed checkpoint, cut into parts",
        _DEEPSPEED,
    ),
    (r"(saved_model|keras_metadata)\.pb(txt)?", _SAVED_MODEL, _TENSORFLOW),
    (r".*\.data-\d{5}-of-\d{5}|.*\.ckpt(-\d+)?\.(index|meta)", _CHECKPOINT, _TENSORFLOW),
    (r"_CHECKPOINT_METADATA|manifest\.ocdbt", "a checkpoint of Orbax (JAX, Flax)", _FLAX),
    (r"tf_model\.h5|.*\.weights\.h5|.*\.keras", "a Keras model", _TENSORFLOW),
    (r".*\.msgpack", "a Flax model (msgpack)", _FLAX),
    (r".*\.onnx", _ONNX, "Open its PyTorch weights."),
    (r".*\.gguf", "a GGUF model, whose weights are quantised", "Open the model it was made from."),
    (r".*\.mlmodel|coremldata\.bin", "a Core ML program", _PROGRAM),
)
# An end of LevelDB's tables, in which TensorFlow lists a checkpoint.
_TABLE_END = bytes.fromhex("57fb808b247547db")


def name_part(path: Path) -> str | None:
    """Say in a sentence that a file is one process's part of a model; None for any other file.

    Example:
        >>> name_part(Path("__0_0.distcp"))
        '__0_0.distcp is a part of a distributed checkpoint (FSDP, DCP). Join them: ...'
    """
    return _named(path.name, [path.name], _PARTS)


def name_foreign_archive(shown: str, names: Iterable[str]) -> str | None:
    """Say in a sentence what a ZIP archive of such files is; None where nothing tells.

    Example:
        >>> name_foreign_archive("ViT-B_16.npz", ["cls.npy", "embedding/kernel.npy"])
        "ViT-B_16.npz is an archive of NumPy arrays, as JAX's models are saved. ..."
    """
    return _named(shown, names, _ARCHIVES)


def name_foreign_file(path: Path, head: bytes) -> str | None:
    """Say in a sentence what a file is that no PyTorch has written; None where nothing tells.

    Args:
        path: The file.
        head: Its first bytes, some hundreds.

    Example:
        >>> name_foreign_file(Path("vit.gguf"), b"GGUF")
        'vit.gguf is a GGUF file, whose weights are quantised. Open the model it was made from.'
        >>> name_foreign_file(Path("vit.pt"), b"PK")
    """
    shown = path.name[:100]
    if head.startswith(LFS_POINTER):
        return f"{shown} is a Git LFS pointer, not the weights. Fetch them with git lfs pull."
    if named := _named(shown, [path.name], _NAMES):
        return named
    for offset, mark, what, cure in _MAGIC:
        if head.startswith(mark, offset):
            return f"{shown} is {what}. {cure}"
    if _ends_with(path, _TABLE_END):
        return f"{shown} is the list of {_CHECKPOINT}. {_TENSORFLOW}"
    if _begins_msgpack(head):
        return f"{shown} is a Flax file (msgpack). {_FLAX}"
    return _name_text(shown, head)


def name_foreign_folder(shown: str, names: Iterable[str]) -> str | None:
    """Say in a sentence what a folder is, by the names of its files; None where nothing tells.

    Example:
        >>> name_foreign_folder("run", ["__0_0.distcp", ".metadata"])
        'run is a distributed checkpoint (FSDP, DCP), cut into parts. Join them: ...'
    """
    return _named(shown, [PurePath(name).name for name in names], _FOLDERS)


def names_in(folder: Path) -> list[str]:
    """List the names in a folder and in the folders in it, a few thousand at most."""
    inner = [folder, *(each for each in islice(folder.iterdir(), 100) if each.is_dir())]
    return [each.name for place in inner for each in islice(place.iterdir(), 1_000)]


def _named(shown: str, names: Iterable[str], kinds: tuple[tuple[str, str, str], ...]) -> str | None:
    """Say what the first kind is that one of some names belongs to."""
    names = list(names)
    for pattern, what, cure in kinds:
        if any(re.fullmatch(pattern, name, re.IGNORECASE) for name in names):
            return f"{shown[:100]} is {what}. {cure}"
    return None


def _ends_with(path: Path, mark: bytes) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-len(mark), 2)
            return file.read() == mark
    except (OSError, ValueError):
        return False


def _begins_msgpack(head: bytes) -> bool:
    """Say whether a mapping of msgpack begins here: its number of entries, then a text."""
    if head[:1] in (b"\xde", b"\xdf"):
        at = 3 if head[:1] == b"\xde" else 5
    elif b"\x81" <= head[:1] <= b"\x8f":
        at = 1
    else:
        return False
    key = head[at : at + 1]
    return b"\xa1" <= key <= b"\xbf" or key == b"\xd9"


def _name_text(shown: str, head: bytes) -> str | None:
    try:  # the last character may be cut
        text = codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < 400).lower()
    except UnicodeDecodeError:
        return None
    if not head or not all(c.isprintable() or c.isspace() for c in text):
        return None
    if text.startswith("model_checkpoint_path"):
        return f"{shown} names {_CHECKPOINT}. {_TENSORFLOW}"
    if "<html" in text or "<!doctype html" in text:
        return f"{shown} is a web page, not the weights. Download the file itself."
    return f"{shown} holds text, not weights. Choose the file of weights."
