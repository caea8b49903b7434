"""The numbers of a layer as the browser gets them: all heads and tokens, in one blob."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model import AttentionRecorder
from model.analysis.position_codes import find_position_code
from model.analysis.token_order import without_position_code
from model.bundle import Bundle
from model.captioning.caption import CaptionBundle
from model.captioning.words import records_of_layers
from model.datasets.vocabulary import START
from model.errors import NothingRecorded
from model.intervention.graph_reader import read_layer
from model.intervention.layer_numbers import LayerNumbers, Norm
from viz.pages.shared.picture import Picture
from viz.pages.shared.recorded_images import ShownImage
from viz.server.costs import caption_cost, forward_cost
from viz.server.results import computed_once

HALVED_ABOVE = 16 * 2**20  # bytes; more go to the browser in half precision
MOST = 56 * 2**20  # bytes that one message to the browser takes

NO_ADDED_CODE = (
    "This model adds no position code to its tokens: places come in within the layers, so there is "
    "none to take away here."
)
WORDS_NEED_ORDER = (
    "The decoder's words have a position code too. What a photo's model does without its code can "
    "be tried with a model that classifies."
)


@dataclass(frozen=True)
class SentLayer:
    """A layer's numbers as arrays by name, and what they describe.

    ``without_positions`` says why nothing was computed without position codes; empty where it was.
    """

    numbers: LayerNumbers
    arrays: Mapping[str, np.ndarray]
    without_positions: str

    @property
    def nbytes(self) -> int:
        """Bytes of everything that is kept."""
        return 2 * sum(array.nbytes for array in self.arrays.values())


@computed_once(
    "inside a head",
    key=lambda bundle, picture, shown, layer: (shown.key, layer),
    size=lambda sent: sent.nbytes,
    cost=lambda bundle, picture, shown, layer: forward_cost(bundle, 2),
)
def layer_of_photo(bundle: Bundle, picture: Picture, shown: ShownImage, layer: int) -> SentLayer:
    """Collect the numbers of a recorded layer, and its queries and keys without position codes."""
    images, number = bundle.prepare(picture.image), shown.numbers[layer]
    numbers = read_layer(bundle.net, images, number)
    code = find_position_code(bundle.net, bundle.tokens)
    arrays = dict(arrays_of(numbers))
    if code.patches is None or numbers.query is None:
        return SentLayer(numbers, _fitting(arrays), NO_ADDED_CODE)
    flat = read_layer(without_position_code(bundle.net, code), images, number)
    for name, tensor in (("query_flat", flat.query), ("key_flat", flat.key)):
        assert tensor is not None, "the same net, so the same parts"
        arrays[name] = tensor.half().numpy()
    return SentLayer(numbers, _fitting(arrays), "")


@computed_once(
    "inside a captioner's head",
    key=lambda bundle, picture, words, layer: (bundle.name, picture.key, words, layer),
    size=lambda sent: sent.nbytes,
    cost=lambda bundle, picture, words, layer: caption_cost(bundle, 1, len(words)),
)
def layer_of_caption(
    bundle: CaptionBundle, picture: Picture, words: tuple[str, ...], layer: str
) -> SentLayer:
    """Collect the numbers of a decoder's layer, as it reads a whole caption at once."""
    run = _Caption(bundle, picture, words)
    numbers = read_layer(bundle.net, run, layer)
    return SentLayer(numbers, _fitting(dict(arrays_of(numbers))), WORDS_NEED_ORDER)


@computed_once(
    "layers of a decoder",
    key=lambda bundle, picture, words: bundle.name,
    size=lambda layers: 100 * len(layers) + 100,
    cost=lambda bundle, picture, words: caption_cost(bundle, 1, len(words)),
)
def decoder_layers(
    bundle: CaptionBundle, picture: Picture, words: tuple[str, ...]
) -> list[tuple[str, str]]:
    """List the modules of a decoder that attend: name and kind, in running order.

    Raises:
        NothingRecorded: none of them has heads, as in a recurrent decoder.
    """
    run = _Caption(bundle, picture, words)
    with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:
        run()
    layers = records_of_layers(recorder.records)
    if not layers:
        raise NothingRecorded("No layer of this decoder has heads.")
    return list(dict.fromkeys((record.name, record.kind) for record in layers))


class _Caption:
    """Runs a captioner's decoder on a photo and all words of a caption."""

    def __init__(self, bundle: CaptionBundle, picture: Picture, words: tuple[str, ...]) -> None:
        self.net = bundle.net
        last = bundle.word(words, len(words) - 1)
        self.words = torch.tensor([[START, *last.before, last.number]])
        with torch.no_grad():
            self.memory = self.net.encode_image(bundle.prepare(picture.image))

    def __call__(self) -> Tensor:
        return self.net.teacher_force(self.memory, self.words)


# -- arrays ---------------------------------------------------------------------------------------


def arrays_of(numbers: LayerNumbers) -> Iterator[tuple[str, np.ndarray]]:
    """Name every array that the browser computes from or shows."""
    mlp = numbers.mlp
    tensors: dict[str, Tensor | None] = {
        "query": numbers.query,
        "key": numbers.key,
        "value": numbers.value,
        "bias": numbers.bias,
        "maps": None if numbers.query is not None else numbers.record.weights(),
        "mixed": numbers.mixed if numbers.between else None,
        "projected": numbers.projected,
        "entering": numbers.entering,
        "layer_scale": numbers.layer_scale,
        "added": None if _is_computed(numbers) else numbers.added,
    }
    if numbers.output is not None:
        tensors |= {"out_weight": numbers.output.weight, "out_bias": numbers.output.bias}
    if numbers.norm_before is not None:
        tensors["norm_before"] = numbers.norm_before.result
    if mlp is not None:
        tensors |= {"mlp_added": mlp.added, "leaving": numbers.leaving}
        tensors["before_mlp"] = mlp.before if numbers.between_sublayers else None
    for name, norm in norms_of(numbers).items():
        tensors |= {f"{name}_weight": norm.weight, f"{name}_bias": norm.bias}
    for name, tensor in tensors.items():
        if tensor is not None:
            yield name, tensor.detach().float().numpy()
    if mlp is not None:
        yield "hidden", mlp.hidden.detach().half().numpy()
        if mlp.norm is not None:
            yield "norm_mlp", mlp.norm.result.detach().half().numpy()
    if windows := numbers.record.windows:
        slots = windows.join(torch.arange(windows.count * windows.area).view(windows.count, -1))
        yield "slots", slots.numpy().astype(np.uint32)


def _is_computed(numbers: LayerNumbers) -> bool:
    """Whether what is added to the stream is the output, or the output times LayerScale."""
    if numbers.added is None or numbers.projected is None:
        return True
    return numbers.layer_scale is not None or torch.equal(numbers.added, numbers.projected)


def norms_of(numbers: LayerNumbers) -> dict[str, Norm]:
    """Name the norms whose formula the browser computes."""
    after = numbers.mlp.norm_after if numbers.mlp else None
    named = {
        "norm_before": numbers.norm_before,
        "norm_after": numbers.norm_after,
        "norm_end": after,
    }
    return {name: norm for name, norm in named.items() if norm is not None}


def _fitting(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Halve the precision of large layers."""
    if sum(array.nbytes for array in arrays.values()) <= HALVED_ABOVE:
        return arrays
    return {
        name: array.astype(np.float16) if array.dtype == np.float32 else array
        for name, array in arrays.items()
    }
