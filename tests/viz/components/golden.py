"""Payloads for the JavaScript tests, with the truth computed in float64 beside them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model.recorded_image import Layer, RecordedImage
from model.recording.record import AttentionRecord, attention_in_image
from model.recording.windows import Windows
from model.tokens import TokenLayout
from tests.viz.components.golden_inside import inside_payloads
from viz.components.bundle import FOLDER, join_script
from viz.components.draw_style import DrawStyle
from viz.components.payload import pack
from viz.notebook.layers import layer_payload
from viz.pages.shared.view import View, fit_view, view_url_params
from viz.pictures.colors import COLOR_MAPS, lookup_table

HEADS, TOKENS, DIM = 3, 10, 6  # a width that four does not divide
BLIND = 4  # the token that may look nowhere
TOLERANCE = {"float16": 2e-3, "float32": 1e-6}


def write_golden(folder: Path) -> None:
    """Write everything that the JavaScript tests read."""
    for name, record in records().items():
        for dtype in ("float16", "float32"):
            blob = attention_payload(record, dtype)
            (folder / f"attention-{name}-{dtype}.bin").write_bytes(blob)
    for name, style in STYLES.items():
        (folder / f"style-{name}.bin").write_bytes(style_payload(style))
    tables = {name: lookup_table(name).tobytes().hex() for name in COLOR_MAPS}
    (folder / "color_tables.json").write_text(json.dumps(tables))
    (folder / "types.bin").write_bytes(types_payload())
    for name, payload in inside_payloads():
        (folder / f"inside-{name}.bin").write_bytes(payload)
    (folder / "addresses.json").write_text(json.dumps(addresses()))
    for name, layers in LAYERS.items():
        for number, blob in enumerate(sheet_payloads(layers)):
            (folder / f"sheet-{name}-{number}.bin").write_bytes(blob)
    for name in components():
        (folder / f"bundle-{name}.mjs").write_text(join_script(name), encoding="utf-8")


def components() -> list[str]:
    """The names of the components; each has a page of HTML."""
    return sorted(path.parent.name for path in FOLDER.glob("*/*.html"))


# -- attention ------------------------------------------------------------------------------------


def records() -> dict[str, AttentionRecord]:
    generator = torch.Generator().manual_seed(18)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    def record(**changes: object) -> AttentionRecord:
        parts = {
            "query": normal(1, HEADS, TOKENS, DIM),
            "grouped_key": normal(1, HEADS, TOKENS, DIM),
            "scale": DIM**-0.5,
        }
        shape = (1, HEADS, TOKENS, TOKENS)
        return AttentionRecord("attn", "self", shape, **{**parts, **changes})

    may_look = normal(1, 1, TOKENS, TOKENS) > -0.5
    may_look[..., range(TOKENS), range(TOKENS)] = True
    blind = may_look.clone()
    blind[..., BLIND, :] = False
    large = {"query": 9 * normal(1, HEADS, TOKENS, DIM)}  # a softmax that is all but one-hot
    return {
        "plain": record(),
        "large scores": record(**large),
        "causal": record(causal=True),
        "mask that is bool": record(mask=may_look),
        "mask that is bool, causal": record(mask=may_look, causal=True),
        "mask that hides all from one": record(mask=blind),
        "mask that is added, a head": record(mask=normal(1, HEADS, TOKENS, TOKENS)),
        "mask that is added, for all": record(mask=normal(TOKENS, TOKENS)),
        "keys that heads share": record(grouped_key=normal(1, 1, TOKENS, DIM)),
        "finished maps": record(
            query=None, grouped_key=None, map=normal(1, HEADS, TOKENS, TOKENS).softmax(-1)
        ),
        "windows": windowed(Windows((4, 6), (2, 3)), normal),
        "windows, shifted and padded": windowed(Windows((5, 7), (3, 4), (1, 2)), normal),
    }


def windowed(windows: Windows, normal) -> AttentionRecord:
    shape = (windows.count, HEADS, windows.area, windows.area)
    query, key = (normal(windows.count, HEADS, windows.area, DIM) for _ in range(2))
    return AttentionRecord("attn", "self", shape, query, key, DIM**-0.5, windows=windows)


def attention_payload(record: AttentionRecord, dtype: str) -> bytes:
    """Pack a layer as the page sends it, with its truth: see js/attention.test.mjs."""
    header, arrays = layer_payload(record)
    if dtype == "float32":
        arrays = {**arrays, **dict(single_precision(record, arrays))}
    weights = own_rows(record)
    exact = exact_rows(header, arrays, weights.shape[1])
    header |= {"heads": weights.shape[1], "tokens": weights.shape[0], "blind": BLIND}
    header |= {"tolerance": TOLERANCE[dtype]}
    truth = {"weights": weights.astype(np.float32), "exact": exact.astype(np.float32)}
    return pack(header, **arrays, **truth)


def single_precision(
    record: AttentionRecord, arrays: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of `layer_payload` before they are rounded to float16."""
    tokens = record.shape[-1]
    for name, rounded in arrays.items():
        if name == "maps":
            maps = record.weights().numpy()
            yield name, maps.reshape(rounded.shape)
        elif name == "bias":
            yield name, record.bias.expand(1, -1, tokens, tokens)[0].numpy()
        elif name != "slots":
            yield name, getattr(record, name)[0].numpy()


def own_rows(record: AttentionRecord) -> np.ndarray:
    """The record's own weights: (queries, heads, keys), over the image where it has windows."""
    if record.windows is None:
        return record.weights()[0].transpose(0, 1).numpy()
    rows, columns = record.windows.grid
    places = [(row, column) for row in range(rows) for column in range(columns)]
    return np.stack([attention_in_image(record, *at)[0].flatten(1).numpy() for at in places])


def exact_rows(header: Mapping, arrays: Mapping[str, np.ndarray], heads: int) -> np.ndarray:
    """The same from what is sent, written down from the formulas, in float64."""
    sent = {name: array.astype(np.float64) for name, array in arrays.items()}
    if header["kind"] == "maps":
        return sent["maps"].transpose(1, 0, 2)
    if header["kind"] == "windows":
        return rows_of_windows(sent["maps"], arrays["slots"].ravel(), header["area"], heads)
    scores = sent["query"] @ sent["key"].transpose(0, 2, 1) * header["scale"]
    scores = scores + sent.get("bias", 0.0)
    highest = scores.max(-1, keepdims=True)
    shares = np.exp(scores - np.where(np.isfinite(highest), highest, 0.0))
    total = shares.sum(-1, keepdims=True)
    return np.divide(shares, total, out=np.zeros_like(shares), where=total > 0).transpose(1, 0, 2)


def rows_of_windows(maps: np.ndarray, slots: np.ndarray, area: int, heads: int) -> np.ndarray:
    rows = np.zeros((len(slots), heads, len(slots)))
    for token, (window, place) in enumerate(zip(*divmod(slots, area), strict=True)):
        for other, (there, at) in enumerate(zip(*divmod(slots, area), strict=True)):
            if there == window:
                rows[token, :, other] = maps[window, :, place, at]
    return rows


# -- views in the address, and sheets --------------------------------------------------------------

LAYERS = {
    "plain": [Layer(3, TokenLayout((4, 5), ("cls", "reg1")))] * 3,
    "stages": [
        Layer(2, TokenLayout((4, 6))),
        Layer(2, TokenLayout((4, 6))),
        Layer(3, TokenLayout((2, 3))),
    ],
}


def addresses() -> list[dict[str, object]]:
    """Views, and the parameters that Python writes for them."""
    changes: list[dict[str, object]] = [
        {},
        {"head": 2, "query": 1, "held": True},
        {"head": "max", "query": 21, "opacity": 0.35, "discard": 0.05, "colors": "magma"},
        {"opacity": 1.0, "discard": 0.0, "scaling": "layer", "lines": False, "smooth": True},
        {"opacity": 0.0, "discard": 0.95, "fusion": "min", "layer": 0},
    ]
    written = []
    for name, layers in LAYERS.items():
        for change in changes:
            view = fit_view(View(**{"layer": 2, "query": 3} | change), layers)
            params = view_url_params(view, layers, [1, 4, 9])
            header = {
                "layers": [[layer.heads, *layer.tokens.grid] for layer in layers],
                "numbers": [2, 5, 10],
                "prefix": layers[0].tokens.prefix,
            }
            written.append({"of": name, "view": asdict(view), "header": header, "params": params})
    return written


def sheet_payloads(layers: list[Layer]) -> Iterator[bytes]:
    """The layers of a model with finished maps, and what Python makes of them from some tokens."""
    generator = np.random.default_rng(6)
    records = [
        AttentionRecord(
            "attn",
            "self",
            (1, heads, tokens.tokens, tokens.tokens),
            map=torch.from_numpy(
                generator.dirichlet(np.ones(tokens.tokens), (1, heads, tokens.tokens))
            )
            .half()
            .float(),
        )
        for heads, tokens in ((layer.heads, layer.tokens) for layer in layers)
    ]
    recorded = RecordedImage(records, layers, (0, 1, 2), True, Image.new("RGB", (6, 4)), [])
    header = {
        "layers": [[layer.heads, *layer.tokens.grid] for layer in layers],
        "prefix": layers[0].tokens.prefix,
    }
    given = {f"maps{i}": record.weights()[0].half().numpy() for i, record in enumerate(records)}
    for layer, query in ((0, 0), (1, 17), (2, 5)):
        maps = recorded.maps(layer, query).astype(np.float32)
        prefix = len(layers[0].tokens.prefix)
        shares = np.zeros((0, *maps.shape[:2]), np.float32)
        if prefix:
            shares = np.moveaxis(
                recorded.prefix_shares(layer, query).astype(np.float32), -1, 0
            ).copy()
        view = {"layer": layer, "query": query}
        yield pack(
            header | {"view": view, "grid": maps.shape[2:]}, maps=maps, shares=shares, **given
        )


# -- styles and types -----------------------------------------------------------------------------

STYLES = {
    "default": DrawStyle(),
    "cividis, opaque": DrawStyle("cividis", opacity=1.0),
    "magma, clear": DrawStyle("magma", opacity=0.0),
    "gray, steep": DrawStyle("gray", opacity=0.6, gamma=2.0),
}


def style_payload(style: DrawStyle) -> bytes:
    """A style, and the 256 steps of its palette as red, green, blue and opacity."""
    steps = np.arange(256) / 255
    alpha = np.floor(255 * style.opacity * steps**style.gamma + 0.5)  # rounded as JavaScript does
    rgba = np.concatenate([lookup_table(style.colors), alpha[:, None].astype(np.uint8)], axis=1)
    return pack({"style": style.as_header()}, rgba=rgba.ravel())


def types_payload() -> bytes:
    """An array of each type; the header repeats their values, those that JSON lacks as text."""
    halves = [0, 1, -2.5, 6.104e-5, 5.96e-8, 65504, float("inf"), float("-inf"), float("nan")]
    arrays = {
        "halves": np.array(halves, np.float16),
        "floats": np.array([0.1, -3e38, 1e-40], np.float32),
        "bytes": np.array([0, 255, 7], np.uint8),
        "words": np.array([0, 2**32 - 1], np.uint32),
        "none": np.zeros((0, 3), np.float32),
    }
    names = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}
    expected = {
        name: [names.get(str(value), value) for value in array.astype(float).ravel().tolist()]
        for name, array in arrays.items()
    }
    return pack({"expected": expected}, **arrays)
