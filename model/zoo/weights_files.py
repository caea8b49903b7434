"""Tensors out of a stranger's file. Nothing in the file is ever run.

A `.pt` file is a pickle, and a pickle is a program. What that program would call is listed
first, without running it; a file that calls anything but the makers of tensors is refused, and
only then is it read, by torch's reader that knows tensors only. What a file is, its content
says, not its name.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import safe_open
from torch import Tensor

from model.errors import ModelNotFound, ModelRejected

SMALL = 1_000_000  # bytes: what nobody need count
MAX_BYTES = 1_500_000_000  # ViT-L in float32 has 1.2 GB
MAX_PICKLE_BYTES = 20_000_000  # the program alone, without the numbers

_MAKERS_OF_TENSORS = {
    "collections OrderedDict",
    "torch Size",
    "torch.nn.parameter Parameter",
    "torch.storage UntypedStorage",
    *(f"torch._utils _rebuild_{kind}" for kind in ("tensor", "tensor_v2", "parameter")),
    *(f"torch {kind}Storage" for kind in ("Float", "Half", "BFloat16", "Double")),
    *(f"torch {kind}Storage" for kind in ("Long", "Int", "Short", "Char", "Byte", "Bool")),
}
# Of several models in one file the first in this order is taken.
_WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "net", "weights"),
    *("model_ema", "ema", "teacher", "student"),
)
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "backbone.")
_SAVE = "Save it with torch.save(model.state_dict(), PATH)."


@dataclass
class Weights:
    """What a file of weights holds."""

    tensors: dict[str, Tensor]  # float32, integers as they are
    notes: dict[str, str] = field(default_factory=dict)  # the metadata of a safetensors file
    # Tensors without the prefix that most names have: an added head, or a loss, for instance.
    beside: dict[str, Tensor] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)  # further models in the file, which are left


def read_weights(path: Path) -> Weights:
    """Read the tensors of a safetensors file, or of a file that torch.save has written.

    Wrappers such as {"state_dict": ...} and prefixes such as "module." are taken off, the latter
    where most names have them.

    Raises:
        ModelNotFound: There is no such file.
        ModelRejected: The file is damaged, too large, holds no tensors, or more than tensors.
    """
    notes: dict[str, str] = {}
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(16)
            kind = _kind_of_file(path, head, size)
            if kind == "safetensors":
                content, notes = _read_safetensors(path)
            else:
                _refuse_programs(path, kind, file)
                file.seek(0)  # the file, not its path, whose ending torch would believe
                content = torch.load(file, map_location="cpu", weights_only=True)
    except (ModelRejected, ModelNotFound):
        raise
    except FileNotFoundError as error:
        raise ModelNotFound(f"There is no file {path}. Check its name and folder.") from error
    except Exception as error:  # readers raise nearly anything on a damaged file
        raise ModelRejected(
            f"{path.name} is damaged or stops before its end. Copy or save it again."
        ) from error
    named, others = _unwrapped(content)
    if not named:
        raise ModelRejected(f"{path.name} holds no tensors by name. {_SAVE}")
    if 4 * sum(t.numel() for t in named.values()) > max(8 * size, SMALL):
        raise ModelRejected(f"{path.name} is damaged: its tensors are larger than its numbers.")
    tensors, beside = _bare({name: _checked(path, name, t) for name, t in named.items()})
    return Weights(tensors, notes, beside, others)


def _kind_of_file(path: Path, head: bytes, size: int) -> str:
    """Tell "safetensors", "zip" or "pickle" by a file's first bytes. Raises ModelRejected."""
    if size == 0:
        raise ModelRejected(f"{path.name} is empty. Copy or save it again.")
    if size > MAX_BYTES:
        raise ModelRejected(
            f"{path.name} is too large: {size / 1e6:,.0f} MB, where {MAX_BYTES / 1e6:,.0f} MB are "
            "the limit. Open a smaller model."
        )
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if int.from_bytes(head[:8], "little") <= size - 8 and head[8:9] == b"{":
        return "safetensors"
    if head.startswith(b"\x80"):
        return "pickle"
    if head[8:9] == b"{":
        raise ModelRejected(f"{path.name} stops before its end. Copy it again.")
    if head.startswith(b"version https:/"):
        raise ModelRejected(
            f"{path.name} is a Git LFS pointer, not the weights. Fetch them with: git lfs pull"
        )
    raise ModelRejected(
        f"{path.name} is no file of weights: neither safetensors nor saved by torch. {_SAVE}"
    )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        names = file.keys()
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


# Pickles


def _refuse_programs(path: Path, kind: str, file: IO[bytes]) -> None:
    """Raise ModelRejected for a pickle that would call anything but the makers of tensors."""
    programs = _programs_in_zip(path, file) if kind == "zip" else _programs_in_a_row(file)
    for name in chain.from_iterable(map(_calls, programs)):
        if name not in _MAKERS_OF_TENSORS:
            shown = "".join(c for c in name.replace(" ", ".") if c.isprintable())[:60]
            raise ModelRejected(
                f"{path.name} holds more than tensors ({shown}), and opening that could run a "
                f"stranger's program. Nothing of it was run. {_SAVE}"
            )


def _programs_in_zip(path: Path, file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Iterate over the pickles of a file that torch writes since 1.6."""
    archive = zipfile.ZipFile(file)
    entries = archive.infolist()
    if any("/code/" in entry.filename for entry in entries):
        raise ModelRejected(
            f"{path.name} is a TorchScript program, not only tensors. Save those: "
            "torch.save(torch.jit.load(PATH).state_dict(), NEW_PATH)."
        )
    programs = [entry for entry in entries if entry.filename.endswith(".pkl")]
    if not programs:
        raise ModelRejected(f"{path.name} is a ZIP archive that torch has not written. {_SAVE}")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_BYTES or any(entry.file_size > MAX_PICKLE_BYTES for entry in programs):
        raise ModelRejected(f"{path.name} unpacks to far more than a model's tensors. {_SAVE}")
    for entry in programs:
        yield io.BytesIO(archive.read(entry))


def _programs_in_a_row(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Iterate over the pickles of an older file: five in a row, and then the numbers."""
    file.seek(0)
    for _ in range(5):
        yield file


def _calls(program: IO[bytes]) -> Iterator[str]:
    """Iterate over what a pickle would look up, each as "module name", without running it."""
    for opcode, argument, _ in pickletools.genops(program):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument)
        elif opcode.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            yield "a name put together while reading"  # torch.save writes none


# What is kept


def _unwrapped(content: Any) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors by name, and the keys of other models in the file."""
    others = []
    for _ in range(4):
        if not isinstance(content, Mapping):
            return {}, []
        inner = [key for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        others += inner[1:]
        content = content[inner[0]]
    return {str(k): t for k, t in content.items() if isinstance(t, Tensor)}, others


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


def _checked(path: Path, name: str, tensor: Tensor) -> Tensor:
    """Return a tensor as float32, integers as they are. Raises ModelRejected."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        raise ModelRejected(f"{path.name} holds sparse, quantised or complex tensors. {_SAVE}")
    tensor = tensor.detach()
    held = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > held:
        raise ModelRejected(f"{path.name} is damaged: {name[:60]} is larger than its numbers.")
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.float()
    if not tensor.isfinite().all():
        raise ModelRejected(
            f"{path.name} holds values that are not finite, in {name[:60]}: the training went "
            "wrong. Open an earlier checkpoint, or train again with a lower learning rate."
        )
    return tensor
