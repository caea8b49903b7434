"""Pack recorded layers for a browser: queries and keys in float16, or finished maps."""

from __future__ import annotations

import numpy as np
import torch

from model.image_layers import Layer
from model.recorded_image import RecordedImage, find_sinks
from model.recording.record import AttentionRecord
from viz.components.payload import pack, photo_bytes
from viz.standalone.views import Recorded


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


def pack_recorded(recorded: RecordedImage, model: str) -> Recorded:
    """Pack one picture through one model, to be shown without it.

    Args:
        recorded: what `model.recorded_image.record_image` returns.
        model: the model's name.
    """
    with torch.inference_mode():
        sinks = [find_sinks(record) for record in recorded.records]
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
    )
