"""Pack recorded layers for a browser: queries and keys in float16, or finished maps."""

from __future__ import annotations

import numpy as np
import torch

from model.image_layers import Layer
from model.recorded_image import RecordedImage, find_sinks
from model.recording.record import AttentionRecord
from model.recording.rollout import FUSIONS, rollout
from viz.components.payload import pack, photo_bytes
from viz.standalone.figure import LARGEST, FigureTooLarge
from viz.standalone.views import Recorded

MOST_ROLLED_OUT = 600
"""Tokens up to which a file has rollout from each of them."""


def layer_payload(record: AttentionRecord) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Prepare what the browser needs to draw any row of a layer.

    Returns:
        Header entries, and arrays: queries and keys where the record has them; finished maps where
        a model wrote its own softmax, or attends within windows.
    """
    if record.windows:
        windows = record.windows
        slots = windows.join(torch.arange(windows.count * windows.area).view(windows.count, -1))
        arrays = {"maps": record.weights().half().numpy(), "slots": slots.numpy().astype(np.uint32)}
        return {"kind": "windows", "area": windows.area}, arrays
    if record.map is not None or record.query is None or record.key is None:
        return {"kind": "maps"}, {"maps": record.weights()[0].half().numpy()}
    tensors = {"query": record.query[0], "key": record.key[0]}
    if record.bias is not None:
        tokens = record.shape[-1]
        tensors["bias"] = record.bias.expand(1, -1, tokens, tokens)[0]
    header = {"kind": "qk", "dim": record.query.shape[-1], "scale": record.scale}
    return header, {name: tensor.half().numpy() for name, tensor in tensors.items()}


def pack_layer(record: AttentionRecord, layer: Layer, sinks: list[tuple[int, float]]) -> bytes:
    """Pack a layer with all that a browser needs to draw it.

    Args:
        record: what was recorded of the layer.
        layer: its heads and tokens.
        sinks: its attention sinks, as `model.recorded_image.find_sinks` finds them.
    """
    header, arrays = layer_payload(record)
    about = {"heads": layer.heads, "tokens": layer.tokens.tokens, "sinks": sinks}
    return pack(header | about, **arrays)


def layer_bytes(record: AttentionRecord) -> int:
    """Estimate the bytes of a layer as `layer_payload` packs it, in float16."""
    size = int(np.prod(record.shape))
    if record.windows or record.query is None or record.key is None:
        return 2 * size
    return 4 * record.query.numel() + (0 if record.bias is None else 2 * size)


def check_figure_size(recorded: RecordedImage) -> None:
    """Refuse what is too large before it is packed."""
    size = sum(map(layer_bytes, recorded.records))
    if size > LARGEST:
        raise FigureTooLarge(
            f"The {len(recorded.records)} layers have {size / 1e6:.0f} MB of queries, keys and "
            f"maps, and a figure takes {LARGEST / 1e6:.0f}. Choose some, from zero: "
            f"layers=[0, {len(recorded.records) // 2}]."
        )


def pack_recorded(recorded: RecordedImage, model: str, discard: float | None = None) -> Recorded:
    """Pack one picture through one model, to be shown without it.

    Args:
        recorded: what `model.recorded_image.record_image` returns.
        model: the model's name.
        discard: adds rollout with this share of the weakest links ignored, where there is one.
    """
    with torch.inference_mode():
        sinks = [find_sinks(record) for record in recorded.records]
    why = "" if discard is None else _why_no_rollout(recorded)
    return Recorded(
        photo=photo_bytes(recorded.frame),
        layers=[
            pack_layer(*each) for each in zip(recorded.records, recorded.layers, sinks, strict=True)
        ],
        shapes=[(layer.heads, *layer.tokens.grid) for layer in recorded.layers],
        numbers=[number + 1 for number in recorded.numbers],
        prefix=recorded.layers[-1].tokens.prefix,
        guesses=recorded.guesses,
        model=model,
        rollouts={} if why or discard is None else _pack_rollouts(recorded, discard),
        no_rollout=why,
    )


def rollout_bytes(recorded: RecordedImage) -> int:
    """Count the bytes of rollout in a packed recording."""
    tokens = recorded.layers[0].tokens.tokens
    return 0 if _why_no_rollout(recorded) else 2 * len(FUSIONS) * tokens**2


def _why_no_rollout(recorded: RecordedImage) -> str:
    tokens = recorded.layers[0].tokens.tokens
    if not recorded.no_rollout and tokens > MOST_ROLLED_OUT:
        return f"Rollout from each of {tokens:,} tokens is too large for a file."
    return recorded.no_rollout or ""


def _pack_rollouts(recorded: RecordedImage, discard: float) -> dict[str, bytes]:
    """Compute rollout from every token, by the question that a browser asks."""
    tokens = recorded.layers[0].tokens.tokens
    packed = {}
    for fusion in FUSIONS:
        with torch.inference_mode():
            rows = rollout(recorded.records, query=range(tokens), fusion=fusion, discard=discard)
        question = f"rollouts/{fusion}/{discard:.2f}"
        packed[question] = pack({"tokens": tokens}, rows=rows[0].half().numpy())
    return packed
