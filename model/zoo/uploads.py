"""Files that somebody drops into the app, laid into a folder as `model.zoo.load` takes them.

A model may come as one file of weights, alone or with the `.json` beside it; as the files of a
Hugging Face folder; or as a ZIP archive of either. Nothing keeps a path that it came with, so that
no name leads out of the folder.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from model.captioning.feature_files import ENDINGS
from model.errors import ModelRejected
from model.zoo import lora
from model.zoo.archives import open_archive
from model.zoo.course_captioner_files import is_vocabulary
from model.zoo.foreign_formats import name_foreign_folder
from model.zoo.hubs.hugging_face_folder import (
    CONFIG,
    MAX_CONFIG_BYTES,
    WEIGHTS,
    is_hugging_face_config,
)
from model.zoo.hubs.hugging_face_repository import may_be_weights
from model.zoo.weights_files import PART

TEXTS = (
    *(CONFIG, "preprocessor_config.json", "processor_config.json", "generation_config.json"),
    "adapter_config.json",
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt"),
)
VOCABULARY = "words of a captioner"  # no file that is uploaded has this name
_OF_A_MODEL = ("task", "sha256", "model_type", "idx_to_word", "word_to_idx")  # keys of a .json
MAX_CARD_BYTES = 20_000_000  # mix-ups of a thousand classes take 3 MB
_OF_TORCH = re.compile(r"[^/]+/(data|constants)\.pkl")  # torch.save writes a ZIP archive, too
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError)


@dataclass(frozen=True)
class LaidOut:
    """Where uploaded files lie now."""

    path: Path  # what `model.zoo.load` opens
    card: bool = False  # a stranger's card of a checkpoint lies beside the weights
    given: dict[str, Path] = field(default_factory=dict)  # further arguments of `load`


@dataclass(frozen=True)
class _File:
    """An uploaded file, or one in an uploaded archive."""

    name: str  # without a path
    content: bytes | zipfile.ZipInfo
    archive: zipfile.ZipFile | None = None

    @property
    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.file_size

    def open(self) -> IO[bytes]:
        if isinstance(self.content, bytes):
            return io.BytesIO(self.content)
        assert self.archive is not None
        return self.archive.open(self.content)

    def lay(self, path: Path) -> None:
        """Write the file. Raises ModelRejected where it is damaged, or there is no room."""
        try:
            with self.open() as source, path.open("wb") as target:
                shutil.copyfileobj(source, target, 2**20)
        except _DAMAGED as error:
            raise ModelRejected(
                f"{self.name[:100]} is damaged in its ZIP archive. Zip the files again."
            ) from error
        except OSError as error:
            raise ModelRejected(
                f"There is no room to lay {self.name[:100]} down ({error.strerror}). Try again "
                "later, or tell whoever runs this server."
            ) from error


def lay_out(uploads: Sequence[tuple[str, bytes]], folder: Path) -> LaidOut:
    """Lay uploaded files into an empty folder.

    Args:
        uploads: Names and contents, in any order: one file of weights, at most with one .json; all
            parts of a model; the files of a Hugging Face folder; a captioner of the CS231n
            assignment with its features and its vocabulary; LoRA adapters with their base; or one
            ZIP archive of these.
        folder: Where to lay them.

    Raises:
        ModelRejected: They are no one model; the message says what to choose.
    """
    files = [_File(_last(name), data) for name, data in uploads]
    archives = [_archive_in(name, data) for name, data in uploads]
    title = name_upload(uploads) if uploads else "nothing"
    if any(archives) and len(files) > 1:
        raise ModelRejected("Choose either one ZIP archive or the files that are in it.")
    if archives and archives[0]:
        title = files[0].name
        files = _without_records(_unzip(title, archives[0]))
    names = [file.name for file in files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ModelRejected(f"Two files are named {twice[:100]}. Choose the files of one model.")
    if any(map(lora.WEIGHTS.fullmatch, names)):
        return _lay_adapters(files, folder / name_on_disk(Path(title).stem))
    if CONFIG in names and any(WEIGHTS.fullmatch(name) for name in names):
        return _lay_hugging_face(files, folder / name_on_disk(Path(title).stem))
    if len(files) > 1 and (foreign := name_foreign_folder(title, names)):
        raise ModelRejected(foreign)
    return _lay_weights(files, folder)


def name_upload(uploads: Sequence[tuple[str, bytes]]) -> str:
    """Name what was uploaded: the archive, the file of weights, or a folder's architecture.

    >>> name_upload([("README.md", b""), ("mine.pt", b"")])
    'mine.pt'
    >>> config = b'{"architectures": ["ViTModel"]}'
    >>> name_upload([("config.json", config), ("model.safetensors", b"")])
    'ViTModel'
    """
    files = {_last(name): data for name, data in uploads}
    weights = [name for name in files if may_be_weights(name) or name.endswith(".zip")]
    adapters = [name for name in weights if lora.WEIGHTS.fullmatch(name)]
    if adapters or CONFIG not in files:
        return [*adapters, *weights, *files][0]
    return _architecture(files[CONFIG]) or [*weights, *files][0]


def _architecture(config: bytes) -> str | None:
    """Return the name of the class that a config describes; None where it has none."""
    try:
        values = json.loads(config) if len(config) <= MAX_CONFIG_BYTES else {}
        name = values.get("architecture") or values["architectures"][0]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return name if isinstance(name, str) and re.fullmatch(r"[\w.-]{1,60}", name) else None


def name_on_disk(name: str) -> str:
    """Shorten a name to what any folder can have; sentences about the file use that.

    >>> name_on_disk("../../my net (1).pt")
    'my_net__1_.pt'
    """
    path = Path(name)
    stem = re.sub(r"[^\w.-]", "_", path.stem)[:40].lstrip(".")
    suffix = re.sub(r"[^\w.]", "", path.suffix)[:16]
    return (stem or "upload") + suffix


def _last(name: str) -> str:
    """Return a name without its path, whichever system wrote it."""
    return PurePosixPath(name.replace("\\", "/")).name


def _archive_in(name: str, data: bytes) -> zipfile.ZipFile | None:
    """Open a ZIP archive of files; None for anything else, a file of torch among them."""
    if not data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return None
    try:
        archive = open_archive(name[:100], io.BytesIO(data), len(data))
    except _DAMAGED as error:
        if isinstance(error, ModelRejected):
            raise
        raise ModelRejected(f"{name[:100]} is damaged. Copy or save it again.") from error
    return None if any(map(_OF_TORCH.fullmatch, archive.namelist())) else archive


def _unzip(name: str, archive: zipfile.ZipFile) -> list[_File]:
    """List the files of one model in an archive: those beside its config.json, or all."""
    entries = [
        (PurePosixPath(entry.filename.replace("\\", "/")), entry)
        for entry in archive.infolist()
        if not entry.is_dir()
    ]
    # macOS lays a folder and files of its own beside everybody's.
    entries = [(p, e) for p, e in entries if "__MACOSX" not in p.parts and p.name[:1] != "."]
    configs = sorted((p for p, _ in entries if p.name == CONFIG), key=lambda p: len(p.parts))
    if configs:
        first, *others = configs
        if any(len(other.parts) == len(first.parts) for other in others):
            raise ModelRejected(
                f"{name[:100]} holds {len(configs)} models, each with a {CONFIG}. Zip the folder "
                "of one of them."
            )
        beside = [(p, e) for p, e in entries if p.parent == first.parent]
        # A training with peft writes its adapters into a folder in the base's.
        inner = [(p, e) for p, e in entries if lora.is_of_adapters(p.name)]
        entries = beside + [each for each in inner if each not in beside]
    return [_File(path.name, entry, archive) for path, entry in entries]


def _without_records(files: list[_File]) -> list[_File]:
    """Leave out texts that belong to no model, such as a training's figures and arguments."""
    kept = [file for file in files if not _is_record(file)]
    return kept if any(may_be_weights(file.name) for file in kept) else files


def _is_record(file: _File) -> bool:
    if not file.name.lower().endswith(".json") or file.name in TEXTS:
        return False
    if file.name.lower().endswith(".index.json") or file.size > MAX_CARD_BYTES:
        return False
    try:
        with file.open() as opened:
            values = json.loads(opened.read())
    except (*_DAMAGED, RecursionError, OSError):
        return False
    keys = values.keys() if isinstance(values, dict) else ()
    return not any(key in keys for key in _OF_A_MODEL)


def _lay_adapters(files: list[_File], folder: Path) -> LaidOut:
    """Lay down LoRA adapters, and their base where it came too: its folder, or one file."""
    if any(WEIGHTS.fullmatch(file.name) for file in files):
        return _lay_hugging_face(files, folder)
    bases = [f for f in files if may_be_weights(f.name) and not lora.is_of_adapters(f.name)]
    if len(bases) > 1:
        raise ModelRejected(
            f"You chose adapters and {', '.join(f.name[:40] for f in bases[:4])}. Choose the one "
            "file that they change: × beside a name removes it."
        )
    laid = _lay_hugging_face(files, folder)
    if not bases:
        return laid
    bases[0].lay(base := folder / name_on_disk(bases[0].name))
    return LaidOut(folder, given={"base": base})


def _lay_hugging_face(files: list[_File], folder: Path) -> LaidOut:
    """Lay down what transformers reads of a folder; the rest of a training is passed over."""
    folder.mkdir()
    for file in files:
        if file.name in TEXTS and file.size > MAX_CONFIG_BYTES:
            raise ModelRejected(f"{file.name} is larger than any model's. Fetch or save it again.")
        if file.name in TEXTS or WEIGHTS.fullmatch(file.name) or lora.is_of_adapters(file.name):
            file.lay(folder / file.name)
    return LaidOut(folder)


def _lay_weights(files: list[_File], folder: Path) -> LaidOut:
    """Lay down one file of weights with the .json that belongs to it, or all parts of a model."""
    names = ", ".join(file.name[:40] for file in files[:4]) + (" ..." if len(files) > 4 else "")
    texts = [file for file in files if file.name.lower().endswith(".json")]
    texts = [file for file in texts if not file.name.lower().endswith(".index.json")]
    weights = [file for file in files if not file.name.lower().endswith(".json")]
    features = [file for file in weights if file.name.lower().endswith(ENDINGS)]
    named = [file for file in weights if may_be_weights(file.name)]
    others = [file.name for file in weights if file not in named + features]
    if len(named) == 1 and all(PurePosixPath(n).suffix and "json" not in n for n in others):
        weights = named + features  # the others are notes, logs or pictures of the training
    if len(features) == 1 < len(weights):  # what a captioner of the CS231n assignment takes
        weights.remove(features[0])
        features[0].lay(path := folder / name_on_disk(features[0].name).lower())
        given = {"features": path}
    else:
        given = {}
    if not weights or len(texts) > 1:
        raise ModelRejected(
            f"You chose {names or 'nothing'}. Choose one file with weights, and at most one .json "
            "file with it, or all files of a Hugging Face folder: × beside a name removes it."
        )
    parts = len(weights) > 1 and all(PART.fullmatch(file.name) for file in weights)
    if len(weights) > 1 and not parts:
        raise ModelRejected(
            f"You chose {names}. Choose one file with weights, all parts of one model, or all "
            f"files of a Hugging Face folder with its {CONFIG}: × beside a name removes it."
        )
    paths = [folder / (f.name[-80:] if parts else name_on_disk(f.name)) for f in weights]
    for file, path in zip(weights, paths, strict=True):
        file.lay(path)
    if not texts or parts:
        return LaidOut(min(paths), given=given)
    if texts[0].name == lora.CONFIG:  # of adapters that lie beside their base in one file
        if texts[0].size > MAX_CONFIG_BYTES:
            raise ModelRejected(f"{lora.CONFIG} is larger than any model's. Save it again.")
        texts[0].lay(paths[0].with_name(lora.CONFIG))
        return LaidOut(paths[0], given=given)
    beside = paths[0].with_suffix(".json")
    if texts[0].size > MAX_CARD_BYTES:
        raise ModelRejected(f"{texts[0].name[:100]} is larger than any card. Fetch it again.")
    texts[0].lay(beside)
    if _is_record(texts[0]) or (texts[0].name in TEXTS and texts[0].name != CONFIG):
        raise ModelRejected(
            f"{texts[0].name[:100]} does not say what the model is: it is neither the card of a "
            f"checkpoint nor a {CONFIG} of transformers. Choose that, or leave it out: × beside "
            "its name removes it."
        )
    if is_vocabulary(beside):
        given["vocabulary"] = beside.rename(folder / VOCABULARY)
        return LaidOut(paths[0], given=given)
    return LaidOut(paths[0], card=not is_hugging_face_config(beside), given=given)
