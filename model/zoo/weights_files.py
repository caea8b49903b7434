"""Tensors out of a stranger's file. Nothing in the file is ever run.

A `.pt` file is a pickle, and a pickle is a program. It is followed by a reader that calls nothing
(`model.zoo.pickled_values`): tensors are described, objects of other classes are blanks, and a
file that calls functions is refused. Numbers are read for the model alone, not for what a
training run keeps beside it. What a file is, its content says, not its name.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.errors import ModelNotFound, ModelRejected
from model.zoo.archives import MAX_BYTES, SMALL, open_archive
from model.zoo.foreign_formats import name_foreign_archive, name_foreign_file, name_part
from model.zoo.networks_in_file import (
    SAVE,
    StoredNetwork,
    check_names,
    choose_network,
    items_of,
)
from model.zoo.pickled_values import (
    LEGACY_MAGIC,
    MAX_DUMPED_BYTES,
    Blank,
    Budget,
    ForeignProgram,
    Storage,
    StoredTensor,
    read_pickle,
)

_HEAD = 512  # bytes that tell what a file is
MAX_PARTS = 100
PART_BYTES = 64_000_000  # of what is written at once
MAX_HEADER = 1_500_000  # bytes of a safetensors file's list of tensors; a ViT-L's has 60,000
MAX_PICKLE_BYTES = 20_000_000  # the program alone, without the numbers
MAX_PICKLES = 4  # torch writes one
MAX_GROWTH = 4  # from a file to its tensors in float32; half precision doubles
MAX_SIDE = 100_000_000  # of a tensor

PART = re.compile(r"(.*-)(\d{5})-of-(\d{5})(\.\w+)?")
_PREFIXES = ("module.", "model.", "net.", "backbone.")
# What wrappers of modules put into names, at any place.
_WRAPPED = re.compile(r"(^|(?<=\.))(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_SAFE_DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
    **{"U8": torch.uint8, "BOOL": torch.bool},
}


_HALVES = (torch.float16, torch.bfloat16)


@dataclass
class Weights:
    """What a file of weights holds."""

    tensors: dict[str, Tensor]  # float32, integers as they are; whether finite, nobody has checked
    notes: dict[str, str] = field(default_factory=dict)  # the metadata of a safetensors file
    # Tensors without the prefix that most names have: an added head, or a loss, for instance.
    beside: dict[str, Tensor] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)  # further networks in the file, which are left
    key: str = ""  # the keys that led to this one


def read_weights(path: Path, network: str | None = None) -> Weights:
    """Read the tensors of a safetensors file, or of a file that torch.save has written.

    Wrappers such as {"state_dict": ...} and prefixes such as "module." are taken off, the latter
    where most names have them. Of a model in several parts, all are read.

    Args:
        path: The file, or one of the parts.
        network: Which of several networks in it, by its key, such as "student".

    Raises:
        ModelNotFound: There is no such file.
        ModelRejected: The file is damaged, too large, holds no tensors, or more than tensors.
    """
    found, notes = _read_parts(path, network)
    checked = _check_all(path, found.tensors, finite=False)
    tensors, beside = _bare({_WRAPPED.sub("", name): t for name, t in checked.items()})
    plain = {name: t for name, t in found.beside.items() if not _is_special(t)}
    more = _check_all(path, plain, finite=False)
    return Weights(tensors, notes, beside | more, found.others, found.key)


def read_named(path: Path, as_written: bool = False) -> dict[str, Tensor]:
    """Read the tensors under the file's own names. Raises as `read_weights` does.

    Args:
        path: The file, or one of the parts.
        as_written: Whether to keep half precision, which takes half the memory of float32.
    """
    found, _ = _read_parts(path)
    return _check_all(path, found.tensors, as_written)


def _read_parts(path: Path, network: str | None = None) -> tuple[_Found, dict[str, str]]:
    """Read a model that lies in one file or in several."""
    parts = [_read_file(part, network) for part in parts_of(path)]
    found, notes = parts[0]
    for part, _ in parts[1:]:
        found.tensors |= part.tensors
        found.beside |= part.beside
    if not found.tensors:
        raise ModelRejected(f"{path.name} holds no tensors by name. {SAVE}")
    check_names(path.name, [*found.tensors, *found.beside])
    return found, notes


def parts_of(path: Path) -> list[Path]:
    """List the files of a model that is saved in several, of which `path` is one.

    Raises ModelRejected where one of them is not there: what the others hold is another model.
    """
    found = PART.fullmatch(path.name)
    if not found:
        return [path]
    stem, _, count, ending = found.groups("")
    if not 1 <= int(count) <= MAX_PARTS:
        raise ModelRejected(f"{path.name} is a part of {int(count):,}; no model has so many.")
    every = [path.with_name(f"{stem}{n:05d}-of-{count}{ending}") for n in range(1, int(count) + 1)]
    there = sum(part.is_file() for part in every)
    if there < len(every):
        raise ModelRejected(
            f"{path.name}: here are {there} of the {len(every)} parts of a model, and it opens "
            "only whole. Lay all parts into one folder, or join them: load the model and save its "
            "state_dict() in one file."
        )
    return every


def _read_file(path: Path, network: str | None) -> tuple[_Found, dict[str, str]]:
    """Read one file: what is kept, and a safetensors file's own notes."""
    notes: dict[str, str] = {}
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD)
            kind = _kind_of_file(path, head, size)
            if kind == "safetensors":
                tensors, notes = _read_safetensors(path, int.from_bytes(head[:8], "little"))
                found = _Found(tensors)
            else:
                read = _read_zip if kind == "zip" else _read_legacy
                found = read(path, file, size, network)
    except (ModelRejected, ModelNotFound):
        raise
    except ForeignProgram as error:
        shown = "".join(c for c in error.name if c.isprintable())[:60]
        raise ModelRejected(
            f"{path.name} holds more than tensors ({shown}), and opening that could run a "
            f"stranger's program. Nothing of it was run. {SAVE}"
        ) from error
    except FileNotFoundError as error:
        raise ModelNotFound(f"There is no file {path}. Check its name and folder.") from error
    except Exception as error:  # readers raise nearly anything on a damaged file
        raise ModelRejected(
            f"{path.name} is damaged or stops before its end. Copy or save it again."
        ) from error
    return found, notes


def _kind_of_file(path: Path, head: bytes, size: int) -> str:
    """Tell "safetensors", "zip" or "pickle" by a file's first bytes. Raises ModelRejected."""
    if size == 0:
        raise ModelRejected(f"{path.name} is empty. Copy or save it again.")
    if size > MAX_BYTES:
        raise ModelRejected(
            f"{path.name} is too large: {size / 1e6:,.0f} MB, where {MAX_BYTES / 1e6:,.0f} MB are "
            "the limit. Open a smaller model."
        )
    if part := name_part(path):
        raise ModelRejected(part)
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if int.from_bytes(head[:8], "little") <= size - 8 and head[8:9] == b"{":
        return "safetensors"
    if head.startswith(b"\x80"):
        return "pickle"
    if head[8:9] == b"{":
        raise ModelRejected(f"{path.name} stops before its end. Copy it again.")
    if foreign := name_foreign_file(path, head):
        raise ModelRejected(foreign)
    raise ModelRejected(
        f"{path.name} is no file of weights: neither safetensors nor saved by torch. {SAVE}"
    )


def _read_safetensors(path: Path, header: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    if header > MAX_HEADER:
        raise ModelRejected(f"{path.name} lists more tensors than any model has.")
    with safe_open(path, "pt") as file:  # which compares the list with the file
        names, notes = file.keys(), file.metadata() or {}
        check_names(path.name, names)
        rare = {
            name: file.get_tensor(name).clone()
            for name in names
            if file.get_slice(name).get_dtype() not in _SAFE_DTYPES
        }
    with path.open("rb") as plain:
        plain.seek(8)
        listed = json.loads(plain.read(header))
        common = [name for name in names if name not in rare]
        return rare | {n: _read_tensor(plain, 8 + header, listed[n]) for n in common}, notes


def _read_tensor(file: IO[bytes], start: int, entry: dict[str, Any]) -> Tensor:
    """Read one tensor into memory of its own.

    A map of the file would take half the memory, and end the program once somebody shortens it.
    """
    begin, end = entry["data_offsets"]
    tensor = torch.empty(entry["shape"], dtype=_SAFE_DTYPES[entry["dtype"]])
    if tensor.nbytes != end - begin:
        raise ValueError("it has changed since it was opened")
    file.seek(start + begin)
    if tensor.nbytes and file.readinto(_bytes_of(tensor)) != tensor.nbytes:  # type: ignore[attr-defined]  # of a file opened for reading
        raise ValueError("it stops before its end")
    return tensor


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def save_tensors(tensors: dict[str, Tensor], folder: Path, stem: str = "model") -> Path:
    """Write tensors as safetensors files; those that share their numbers are written one by one.

    The library copies what it writes, so a large model is written in parts, with the index that
    transformers reads.

    Args:
        tensors: The tensors by name.
        folder: Where to write.
        stem: How the names of the files begin.

    Returns:
        The file, or the first of its parts.

    Raises:
        ModelRejected: There is no room.
    """
    parts = _split(tensors)
    count = len(parts)
    names = [f"{stem}-{i:05d}-of-{count:05d}" for i in range(1, count + 1)] if count > 1 else [stem]
    paths = [folder / f"{name}.safetensors" for name in names]
    try:
        for path, part in zip(paths, parts, strict=True):
            save_file(_each_with_its_own(part), path, metadata={"format": "pt"})
        if count > 1:
            written = zip(paths, parts, strict=True)
            places = {name: path.name for path, part in written for name in part}
            index = {"metadata": {}, "weight_map": places}
            (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    except (OSError, SafetensorError) as error:
        raise ModelRejected(
            "There is no room to lay the weights down. Make room on the disk, and try again."
        ) from error
    return paths[0]


def _split(tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Split tensors into parts of at most `PART_BYTES`, or of one tensor."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if parts[-1] and size + tensor.nbytes > PART_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += tensor.nbytes
    return parts


def _each_with_its_own(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    seen: set[int] = set()
    own: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        own[name] = tensor.clone() if place in seen else tensor.contiguous()
        seen.add(place)
    return own


def check_weights(path: Path) -> bool:
    """Check a file of weights as `read_named` does, one tensor at a time where that is possible.

    Returns whether it is one safetensors file, which a library may read as it is. Raises as
    `read_weights` does.
    """
    with suppress(OSError), path.open("rb") as file:
        head = file.read(_HEAD)
        safe = len(parts_of(path)) == 1 and not name_part(path)
        if safe and _kind_of_file(path, head, path.stat().st_size) == "safetensors":
            _check_safetensors(path, int.from_bytes(head[:8], "little"))
            return True
    return False


def _check_safetensors(path: Path, header: int) -> None:
    if header > MAX_HEADER:
        raise ModelRejected(f"{path.name} lists more tensors than any model has.")
    try:
        with safe_open(path, "pt") as file:
            check_names(path.name, file.keys())
            for name in file.keys():  # noqa: SIM118  # it is no dictionary
                _checked(path, name, file.get_tensor(name), as_written=True)
    except ModelRejected:
        raise
    except Exception as error:  # readers raise nearly anything on a damaged file
        raise ModelRejected(
            f"{path.name} is damaged or stops before its end. Copy or save it again."
        ) from error


# Pickles


@dataclass
class _Found:
    """What is kept of a file."""

    tensors: dict[str, Tensor]
    beside: dict[str, Tensor] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    key: str = ""


def _read_zip(path: Path, file: IO[bytes], size: int, network: str | None) -> _Found:
    """Read a file that torch writes since 1.6: a ZIP archive of a pickle, and of numbers."""
    archive = open_archive(path.name, file, size)
    entries = {entry.filename: entry for entry in archive.infolist()}
    if any("/code/" in name or name.endswith("constants.pkl") for name in entries):
        raise ModelRejected(
            f"{path.name} is a TorchScript program, not only tensors. Save those: "
            "torch.save(torch.jit.load(PATH).state_dict(), NEW_PATH)."
        )
    programs = [name for name in entries if name.endswith(".pkl")]
    if not programs:
        if foreign := name_foreign_archive(path.name, entries):
            raise ModelRejected(foreign)
        raise ModelRejected(f"{path.name} is a ZIP archive that torch has not written. {SAVE}")
    if (
        len(programs) > MAX_PICKLES
        or sum(entries[name].file_size for name in programs) > MAX_PICKLE_BYTES
    ):
        raise ModelRejected(f"{path.name} holds longer pickles than any model's file. {SAVE}")
    budget = Budget()
    contents = {n: read_pickle(io.BytesIO(archive.read(n)), budget) for n in programs}
    main = next(name for name in programs if name.rpartition("/")[2] == "data.pkl")
    folder = main.removesuffix("data.pkl")
    if f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder") == b"big":
        raise ModelRejected(f"{path.name} was written on a big-endian machine. {SAVE}")
    stored = choose_network(path.name, contents[main], network)
    return _with_numbers(path, stored, size, lambda each: archive.read(f"{folder}data/{each.key}"))


def _read_legacy(path: Path, file: IO[bytes], size: int, network: str | None) -> _Found:
    """Read an older file: five pickles in a row, and then the numbers."""
    file.seek(0)
    dumped = size <= MAX_DUMPED_BYTES
    programs = io.BytesIO(file.read(MAX_DUMPED_BYTES if dumped else MAX_PICKLE_BYTES))
    budget = Budget()
    first = _read_first(path, programs, budget, dumped)
    if first != LEGACY_MAGIC:  # of pickle.dump: in it, each tensor is a small file of torch
        stored = choose_network(path.name, first, network)
        return _with_numbers(path, stored, size, lambda storage: storage.inside or b"")
    _, _, content, keys = (read_pickle(programs, budget) for _ in range(4))
    stored = choose_network(path.name, content, network)
    storages = {each.key: each for each in _storages(content)}
    places: dict[str, tuple[int, int]] = {}
    at = programs.tell()
    for key in keys:
        file.seek(at)
        numbers = int.from_bytes(file.read(8), "little")
        length = numbers * storages[key].dtype.itemsize
        places[key] = at + 8, length
        at += 8 + length

    def read(storage: Storage) -> bytes:
        start, length = places[storage.key]
        if length > size:
            raise ValueError("it stops before its end")
        file.seek(start)
        return file.read(length)

    return _with_numbers(path, stored, size, read)


def _read_first(path: Path, programs: IO[bytes], budget: Budget, dumped: bool) -> Any:
    """Read the first pickle of a file; where it is larger than those of pickle.dump may be, say so.

    Args:
        path: The file, for messages.
        programs: Its beginning.
        budget: How many instructions may be read.
        dumped: Whether the file is small enough for pickle.dump's.
    """
    try:
        first = read_pickle(programs, budget)
    except ValueError as error:
        if dumped or isinstance(error, ForeignProgram):
            raise
        first = None
    if first == LEGACY_MAGIC or dumped:
        return first
    raise ModelRejected(
        f"{path.name} is a pickle that torch.save has not written, larger than "
        f"{MAX_DUMPED_BYTES / 1e6:,.0f} MB. Save the tensors where they were made: "
        "torch.save(pickle.load(FILE), PATH)."
    )


def _storages(content: Any) -> Iterator[Storage]:
    """Iterate over all storages of a file, also those of tensors that are not kept."""
    waiting, seen = [content], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, StoredTensor):
            yield value.storage
        elif isinstance(value, dict | list | tuple | Blank) and id(value) not in seen:
            seen.add(id(value))
            inner = items_of(value)
            waiting.extend(inner.values() if isinstance(inner, dict) else inner)


def _with_numbers(
    path: Path, stored: StoredNetwork, size: int, read: Callable[[Storage], bytes]
) -> _Found:
    """Read the numbers of the tensors that are kept.

    Args:
        path: The file, for messages.
        stored: The tensors.
        size: The file's size in bytes, which bounds the tensors'.
        read: Returns the bytes of a storage.
    """
    kept = [*stored.tensors.items(), *stored.beside.items()]
    needed = {tensor.storage.key: tensor.storage for _, tensor in kept}
    for name, tensor in kept:
        last = tensor.last_number()
        if last >= tensor.storage.numbers or math.prod(tensor.shape) > tensor.storage.numbers:
            raise ModelRejected(f"{path.name} is damaged: {name[:60]} is larger than its numbers.")
    total = sum(math.prod(tensor.shape) for _, tensor in kept)
    limit = min(MAX_BYTES, max(MAX_GROWTH * size, SMALL))
    if max(4 * total, sum(s.numbers * s.dtype.itemsize for s in needed.values())) > limit:
        raise ModelRejected(f"{path.name} is damaged: its tensors are larger than its numbers.")
    numbers = {key: bytearray(read(storage)) for key, storage in needed.items()}

    def make(tensor: StoredTensor) -> Tensor:
        data, dtype = numbers[tensor.storage.key], tensor.storage.dtype
        flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        flat = flat[tensor.storage.start :]
        if flat.numel() < tensor.last_number() + 1:
            raise ValueError("it stops before its end")
        return flat.as_strided(tensor.shape, tensor.stride, tensor.offset)

    made = {id(tensor): make(tensor) for _, tensor in kept}
    return _Found(
        {name: made[id(tensor)] for name, tensor in stored.tensors.items()},
        {name: made[id(tensor)] for name, tensor in stored.beside.items()},
        stored.others,
        stored.key,
    )


# What is kept


def _bare(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Take off the prefixes that wrappers of modules put before names.

    Returns the tensors, and apart from them those without a prefix that most have.
    """
    beside: dict[str, Tensor] = {}
    for prefix in _PREFIXES * 2:
        inside = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        if 2 * len(inside) > len(tensors):
            beside |= {n: t for n, t in tensors.items() if not n.startswith(prefix)}
            tensors = inside
    return tensors, beside


def _check_all(
    path: Path, tensors: dict[str, Tensor], as_written: bool = False, finite: bool = True
) -> dict[str, Tensor]:
    """Return tensors as `_checked` does, and take each out of `tensors`.

    So a model in half precision and its copy in float32 are never held together.
    """
    checked = {}
    for name in list(tensors):
        tensor = tensors.pop(name)
        checked[name] = _checked(path, name, tensor, finite, as_written)
    return checked


def _is_special(tensor: Tensor) -> bool:
    return tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex()


def _checked(
    path: Path, name: str, tensor: Tensor, finite: bool = True, as_written: bool = False
) -> Tensor:
    """Return a tensor as float32, or as it is written; integers as they are.

    Raises ModelRejected.
    """
    if _is_special(tensor):
        raise ModelRejected(f"{path.name} holds sparse, quantised or complex tensors. {SAVE}")
    tensor = tensor.detach()
    if max(tensor.shape, default=0) > MAX_SIDE:
        raise ModelRejected(f"{path.name} is damaged: {name[:60]} is larger than any model's.")
    held = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > held:
        raise ModelRejected(f"{path.name} is damaged: {name[:60]} is larger than its numbers.")
    if not tensor.is_floating_point():
        return tensor
    try:
        single = tensor if as_written and tensor.dtype in _HALVES else tensor.float()
    except RuntimeError as error:  # float4, for instance
        raise ModelRejected(
            f"{path.name} holds numbers of a kind that cannot be read, in {name[:60]}. {SAVE}"
        ) from error
    if finite:
        check_finite(path.name, name, single)
    return tensor if as_written else single


def check_finite(file: str, name: str, tensor: Tensor) -> None:
    """Raise ModelRejected for a tensor of floats with a number that is infinite or none.

    What a model does not use may be so: the best loss of a run, or the mask of a text tower.
    """
    # The extremes take no memory of the tensor's size, and are NaN where one number is.
    extremes = torch.aminmax(tensor) if tensor.numel() else ()
    if not all(math.isfinite(value) for value in extremes):
        raise ModelRejected(
            f"{file} holds values that are not finite, in {name[:60]}: the training went "
            "wrong. Open an earlier checkpoint, or train again with a lower learning rate."
        )
