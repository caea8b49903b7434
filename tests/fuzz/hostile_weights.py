"""Files of weights that are built to cost more than they should, each of about a given size."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable

import torch
from safetensors.torch import save

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3)}


def torch_zip(content: object) -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def with_entries(data: bytes, entries: dict[str, bytes], packed: bool = True) -> bytes:
    """A ZIP archive with more entries."""
    file = io.BytesIO(data)
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "a", kind) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def zip_of_pickle(program: bytes) -> bytes:
    """An archive as torch writes it, with a program of one's own."""
    entries = {"archive/data.pkl": program, "archive/data/0": bytes(64)}
    return with_entries(_empty_zip(), entries, packed=False)


def _empty_zip() -> bytes:
    file = io.BytesIO()
    zipfile.ZipFile(file, "w").close()
    return file.getvalue()


def safetensors(entries: dict[str, object], numbers: int = 0) -> bytes:
    """A safetensors file with a header of one's own."""
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + bytes(numbers)


def text(content: bytes) -> bytes:
    """The instruction that puts a text on the stack."""
    return b"X" + struct.pack("<I", len(content)) + content


def state_of_vit(dim: int = 8, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    """A timm encoder of one block, 2 x 2 patches of 2 x 2 pixels."""
    block = {
        "attn.qkv.weight": (3 * dim, dim),
        "attn.qkv.bias": (3 * dim,),
        "attn.proj.weight": (dim, dim),
        "attn.proj.bias": (dim,),
        "mlp.fc1.weight": (dim, dim),
        "mlp.fc1.bias": (dim,),
        "mlp.fc2.weight": (dim, dim),
        "mlp.fc2.bias": (dim,),
        **{f"norm{n}.{part}": (dim,) for n in (1, 2) for part in ("weight", "bias")},
    }
    shapes = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, 5, dim),
        "patch_embed.proj.weight": (dim, 3, 2, 2),
        "patch_embed.proj.bias": (dim,),
        **{f"blocks.0.{name}": shape for name, shape in block.items()},
        "norm.weight": (dim,),
        "norm.bias": (dim,),
    }
    return {name: torch.ones(shape) * 0.1 for name, shape in shapes.items()} | more


# -- too many of something --------------------------------------------------------------------


def empty_tensors(size: int) -> bytes:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return safetensors({f"t{n}": entry for n in range(size // 56)})


def tensors_of_one_number(size: int) -> bytes:
    return save(
        {f"blocks.{n}.mlp.fc1.weight": torch.ones(1) for n in range(min(size // 90, 9_000))}
    )


def entries_of_a_zip(size: int) -> bytes:
    data = io.BytesIO(torch_zip(STATE))
    with zipfile.ZipFile(data, "a") as archive:
        for n in range(min(size // 100, 200_000)):
            archive.writestr(f"d/{n}", b"")
    return data.getvalue()


def pickles_in_a_zip(size: int) -> bytes:
    program = b"\x80\x02" + b"N0" * (size // 120) + b"N."
    return with_entries(torch_zip(STATE), {f"{n}.pkl": program for n in range(60)}, packed=False)


def instructions(size: int) -> bytes:
    return zip_of_pickle(b"\x80\x02" + b"]q\x00" * min(size // 3, 9_000_000) + b"}.")


def mappings(size: int) -> bytes:
    content = {f"k{n}": {"w": torch.zeros(1)} for n in range(min(size // 150, 3_000))}
    return torch_zip(content)


def mappings_of_one_tensor(size: int) -> bytes:
    """Small networks by the thousand, all with the same numbers."""
    shared = torch.zeros(1)
    content = {f"k{n}": {"w": shared} for n in range(min(size // 10, 20_000))}
    return torch_zip({"net": state_of_vit(), **content})


def layers(size: int) -> bytes:
    count = min(size // 150, 3_900)
    names = {f"{p}patch_embed.proj.weight": torch.ones(1) for p in ("", "a.", "a.b.", "a.b.c.")}
    return save(names | {f"a.b.c.blocks.{n}.norm1.weight": torch.ones(1) for n in range(count)})


# -- long names, and texts that grow ------------------------------------------------------------


def dots_in_a_name(size: int) -> bytes:
    return save({"a." * (size // 2) + "patch_embed.proj.weight": torch.ones(4)})


def long_name(size: int) -> bytes:
    return torch_zip({"x" * size: torch.ones(4), **state_of_vit()})


def long_class_often(size: int) -> bytes:
    """A long name, put together again and again."""
    program = text(b"A" * (size // 2)) + b"q\x00" + b"h\x00h\x00\x93" * min(size // 10, 60_000)
    return zip_of_pickle(b"\x80\x02" + program + b".")


def long_size_often(size: int) -> bytes:
    """A text taken for the sides of a tensor, again and again."""
    start = b"\x80\x02ctorch\nSize\nq\x00" + text(b"A" * (size // 2)) + b"q\x01"
    return zip_of_pickle(start + b"h\x00h\x01\x85R" * min(size // 12, 60_000) + b".")


def reference_that_doubles(size: int) -> bytes:
    """A key of numbers that would be written in 2^40 characters."""
    doubled = b"]q\x00" + b"".join(
        b"](h" + bytes([n]) + b"h" + bytes([n]) + b"eq" + bytes([n + 1]) for n in range(40)
    )
    stored = text(b"storage") + b"ctorch\nFloatStorage\nh\x28" + text(b"cpu") + b"K\x01tQ"
    return zip_of_pickle(b"\x80\x02" + doubled + b"(" + stored + b".")


def long_reference_often(size: int) -> bytes:
    start = b"\x80\x02(" + b"K\x01" * min(size, 100_000) + b"tq\x00"
    return zip_of_pickle(start + b"h\x00Q" * 60_000 + b".")


def doubling_lists(size: int) -> bytes:
    doubled = b"]q\x00" + b"".join(
        b"](h" + bytes([n]) + b"h" + bytes([n]) + b"eq" + bytes([n + 1]) for n in range(60)
    )
    return zip_of_pickle(b"\x80\x02" + doubled + b"}" + text(b"a") + b"h\x3cs.")


def deep_header(size: int) -> bytes:
    header = b'{"a":' + b"[" * size
    return struct.pack("<Q", len(header)) + header


# -- a small file, much memory ------------------------------------------------------------------


def zeros_in_a_zip(size: int) -> bytes:
    zeros = bytes(min(1_000 * size, 300_000_000))
    return with_entries(torch_zip(STATE), {"archive/data/9": zeros})


def zeros_in_the_pickle(size: int) -> bytes:
    program = b"\x80\x02" + text(bytes(min(1_000 * size, 19_000_000))) * 8 + b"}."
    return with_entries(_empty_zip(), {"archive/data.pkl": program})


def one_number_expanded(size: int) -> bytes:
    return torch_zip({"a": torch.ones(1).expand(size, size), **state_of_vit()})


def one_storage_many_views(size: int) -> bytes:
    shared = torch.zeros(max(size // 4, 1))
    return torch_zip({f"layer{n}": shared[n % 3 :] for n in range(1_000)})


def half_precision(size: int) -> bytes:
    return torch_zip(state_of_vit() | {"x": torch.zeros(size, dtype=torch.float16)})


def scale_of_a_column(size: int) -> bytes:
    """A scale and a layer whose product would have as many numbers as each of them, squared."""
    side = max(size // 8, 8)
    state = state_of_vit() | {"blocks.0.ls1.gamma": torch.ones(side)}
    return torch_zip(state | {"blocks.0.attn.proj.weight": torch.ones(1, side)})


def registers_without_end(size: int) -> bytes:
    return torch_zip(state_of_vit(dim=1, reg_token=torch.ones(1, max(size // 4, 1), 1)))


def width_of_no_model(size: int) -> bytes:
    dim = max(size // 32, 8) * 4
    state = {
        "to_patch_embedding.1.weight": torch.ones(dim, 1),
        "transformer.layers.0.0.norm.weight": torch.ones(1),
        "transformer.layers.0.1.net.1.weight": torch.ones(1, 1),
        "linear_head.1.weight": torch.ones(1, 1),
    }
    return torch_zip(state)


def patch_of_a_wall(size: int) -> bytes:
    side = max(int((size / 4) ** 0.5), 2)
    return torch_zip(state_of_vit() | {"patch_embed.proj.weight": torch.ones(1, 1, side, side)})


def sides_of_nothing(size: int) -> bytes:
    entry = {"dtype": "F32", "shape": [2**62, 0], "data_offsets": [0, 0]}
    return safetensors({"patch_embed.proj.weight": entry, "blocks.0.mlp.fc1.weight": entry})


def many_dimensions(size: int) -> bytes:
    entry = {"dtype": "F32", "shape": [1] * min(size // 3, 4000), "data_offsets": [0, 4]}
    return safetensors({"a": entry}, 4)


def half_a_byte(size: int) -> bytes:
    entry = {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}
    return safetensors({"a": entry}, 4)


def number_of_many_digits(size: int) -> bytes:
    header = b'{"a":{"dtype":"F32","shape":[' + b"9" * size + b'],"data_offsets":[0,4]}}'
    return struct.pack("<Q", len(header)) + header + bytes(4)


KINDS: dict[str, Callable[[int], bytes]] = {
    build.__name__: build
    for build in (
        empty_tensors,
        tensors_of_one_number,
        entries_of_a_zip,
        pickles_in_a_zip,
        instructions,
        mappings,
        mappings_of_one_tensor,
        layers,
        dots_in_a_name,
        long_name,
        long_class_often,
        long_size_often,
        reference_that_doubles,
        long_reference_often,
        doubling_lists,
        deep_header,
        zeros_in_a_zip,
        zeros_in_the_pickle,
        one_number_expanded,
        one_storage_many_views,
        half_precision,
        scale_of_a_column,
        registers_without_end,
        width_of_no_model,
        patch_of_a_wall,
        sides_of_nothing,
        many_dimensions,
        half_a_byte,
        number_of_many_digits,
    )
}
