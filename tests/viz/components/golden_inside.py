"""Layers as the page Inside a head sends them, with the truth computed in float64 beside them."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from model.intervention.graph_reader import read_layer
from model.intervention.layer_numbers import LayerNumbers
from model.nets.vit import build
from model.recording.record import AttentionRecord
from model.recording.windows import Windows
from model.tokens import TokenLayout
from tests.model import captioners
from viz.components.draw_style import DrawStyle
from viz.components.payload import pack
from viz.pages.inside_head_numbers import SentLayer, arrays_of
from viz.pages.inside_head_payload import Looked, header_of

SIZES = {"img_size": 32, "patch_size": 8, "dim": 24, "depth": 2, "heads": 3, "num_classes": 5}
PRESETS = {
    "norms before": {"preset": "vit"},
    "norms after": {"preset": "cs231n"},
    "divided by the full width": {"preset": "einops_b16"},
    "divided after the softmax": {"preset": "vit", "scale_by": "after_softmax"},
}


def inside_payloads() -> Iterator[tuple[str, bytes]]:
    """Name and payload of each layer: see js/head_numbers.test.mjs."""
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    for name, settings in PRESETS.items():
        torch.manual_seed(3)
        net = lively(build(**SIZES | settings))
        yield name, payload(read_layer(net, images, 1), net.config.tokens)
    captioner = lively(captioners.captioner())
    memory, words = captioner.encode_image(captioners.images()), torch.tensor([[1, 4, 5, 7]])
    for kind in ("self", "cross"):
        layer = f"layers.0.{kind}_attention"
        numbers = read_layer(captioner, lambda: captioner.teacher_force(memory, words), layer)
        yield f"a caption, {kind}", payload(numbers, captioner.tokens, ["start", "a", "b", "c"])
    yield "windows", payload(windowed(), TokenLayout((5, 7), (), (4, 4)))


def lively(net: nn.Module) -> nn.Module:
    """Weights that attend unevenly, and norms that do something."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.2 * torch.randn(parameter.shape)
    return net.eval()


def windowed() -> LayerNumbers:
    """A layer of padded and shifted windows with a bias, of which no projection is known."""
    windows, heads, width = Windows((5, 7), (3, 4), (1, 2)), 2, 6
    count, area = windows.count, windows.area
    generator = torch.Generator().manual_seed(6)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    query, key, value = (normal(heads, count * area, width) for _ in range(3))
    split = (heads, count, area, width)
    by_window = (t.reshape(split).transpose(0, 1) for t in (query, key))
    record = AttentionRecord(
        "attn", "self", (count, heads, area, area), *by_window, windows=windows
    )
    bias = normal(1, heads, area, area)
    return LayerNumbers(record, heads, 0.4, query, key, value, bias)


def payload(
    numbers: LayerNumbers, tokens: TokenLayout, words: Sequence[str] | None = None
) -> bytes:
    """Pack a layer as the page does, and beside it what the browser must compute from it."""
    sent = SentLayer(numbers, dict(arrays_of(numbers)), "")
    looked = Looked("m", "p", sent, b"", DrawStyle(), 0, ["1"], ["1"], tokens, words)
    truth = {name: array.astype(np.float32) for name, array in truths(numbers).items()}
    return pack(header_of(looked), **sent.arrays, **truth)


def truths(numbers: LayerNumbers) -> dict[str, np.ndarray]:
    """Maps, heads, output and block in float64, as they are and with something switched off."""
    assert numbers.query is not None and numbers.value is not None
    batch, heads, rows, _ = numbers.record.shape
    maps = map_of(numbers, numbers.scale, masked=True)
    found = {
        "true_maps": maps,
        "true_unscaled": map_of(numbers, 1.0, masked=True),
        "true_unmasked": map_of(numbers, numbers.scale, masked=False),
    }
    value = numbers.value.double().numpy()
    value = value.reshape(heads, batch, -1, value.shape[-1])
    merged = np.broadcast_to(maps.mean(0), maps.shape)
    for name, each in (("true_side", maps), ("true_merged", merged)):
        mixed = np.einsum("hbqk,hbkd->bqhd", each, value).reshape(batch * rows, -1)
        found[name] = numbers.gain * mixed
    if numbers.output is None:
        return found
    weight = numbers.output.weight.detach().double().numpy()
    bias = 0.0 if numbers.output.bias is None else numbers.output.bias.detach().double().numpy()
    found["true_output"] = found["true_side"] @ weight.T + bias
    found["true_merged_output"] = found["true_merged"] @ weight.T + bias
    assert numbers.entering is not None and numbers.leaving is not None
    found["true_residual"] = numbers.entering.double().numpy() + found["true_output"]
    found["true_leaving"] = numbers.leaving.double().numpy()
    return found


def map_of(numbers: LayerNumbers, scale: float, masked: bool) -> np.ndarray:
    """Every row of the map by its formula, (H, windows, Q, K)."""
    assert numbers.query is not None and numbers.key is not None
    batch, heads, rows, keys = numbers.record.shape
    query = numbers.query.double().numpy().reshape(heads, batch, rows, -1)
    key = numbers.key.double().numpy().reshape(heads, batch, keys, -1)
    scores = np.einsum("hbqd,hbkd->hbqk", query, key) * scale
    if masked and numbers.bias is not None:
        scores = scores + numbers.bias.double().numpy().transpose(1, 0, 2, 3)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)
