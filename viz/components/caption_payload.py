"""Pack a caption with all its maps, for the browser to draw alone.

Stepping from word to word, head to head or patch to word then asks the server nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from viz.components.draw_style import DrawStyle
from viz.components.payload import pack, with_photo

MEMORY_OF_ONE = (
    "This captioner gets the photo as one single vector. Cross-attention divides 100 % among the "
    "vectors that it can look at. With only one, that one gets 100 % from every word, in every "
    "head and layer, on any photo, so there is no map to show. The photo still reaches the words, "
    "through that vector's values."
)
SURE = 0.995
"""From this probability on, a word bears no number: a row of 100.0 % tells nothing."""
NO_SELF = (
    "This decoder is recurrent: it hands one state on from word to word, and has no attention "
    "among words that could be shown."
)


class CaptionLike(Protocol):
    """A caption with its attention; arrays are numpy, logarithms natural."""

    words: list[str]
    logprobs: np.ndarray  # (words,)
    alternatives: list[list[tuple[str, float]]]
    cross: list[np.ndarray]  # per layer: (heads, words, memory tokens)
    self_: list[np.ndarray]  # per layer: (heads, words, 1 + words), <start> first; or none
    beams: list[tuple[str, float]]
    unknown: list[int]


@dataclass(frozen=True)
class Objects:
    """The objects of a drawn scene, and the words that name them.

    ``boxes`` are (left, top, right, bottom) as shares of the photo, ``labels`` their names;
    ``named`` pairs a word of the caption with the object that it names, and ``hits`` of these
    words have the peak of their attention in its box.
    """

    boxes: Sequence[tuple[float, float, float, float]] = ()
    labels: Sequence[str] = ()
    named: Sequence[tuple[int, int]] = ()
    hits: int = 0

    @property
    def chance(self) -> float:
        """Count the named objects that a place chosen blindly would hit, on average."""
        areas = [(right - left) * (bottom - top) for left, top, right, bottom in self.boxes]
        return sum(areas[i] for _, i in self.named)


def caption_payload(
    caption: CaptionLike,
    photo: bytes | Mapping[str, str],
    grid: tuple[int, int],
    view: dict[str, object],
    style: DrawStyle,
    prefix: Sequence[str] = (),
    beams: Sequence[tuple[str, float]] = (),
    beam: int = 0,
    given: int = 0,
    objects: Objects | None = None,
    memory_of_one: bool = False,
    summary: str = "",
    key: str = "",
    revision: str = "",
    what_if: str = "",
    about_memory: str = "",
    scope: str = "captions",
    fixed: bool = False,
) -> bytes:
    """Pack a caption, its maps and its photo.

    Args:
        photo: JPEG of what the model sees, or the header entries with which the browser asks for
            it.
        grid: (rows, columns) of the memory's patches.
        view: where to begin: layer, head (or "mean"), word, and whether boxes are drawn.
        prefix: names of memory tokens before the patches.
        beams: captions to choose from, with their log-probabilities; ``beam`` is this one.
        given: how many words at the beginning somebody has chosen.
        objects: the objects of a drawn scene.
        style: how maps are drawn.
        summary: plain text under the words.
        key: tells this caption from others.
        revision: names the view with which it begins, in what the browser reports.
        scope: tells captions apart that share a page.
        fixed: whether no captioner is there to go on from another word.
        what_if: the address at which this captioner and picture are tried; none without it.
        about_memory: why each word has a map, in plain text.
    """
    objects = objects or Objects()
    header = {
        "id": key,
        "revision": revision,
        "scope": scope,
        "fixed": fixed,
        "words": list(caption.words),
        "probabilities": np.exp(caption.logprobs).tolist(),
        "logprobs": np.maximum(caption.logprobs, -999).tolist(),
        "alternatives": [[(w, float(p)) for w, p in words] for words in caption.alternatives],
        "beams": [(text, float(logprob)) for text, logprob in beams],
        "beam": beam,
        "unknown": list(caption.unknown),
        "given": given,
        "summary": summary,
        "whatIf": what_if,
        # Rows of the sheet on What if: self- and cross-attention of each layer in turn. A decoder
        # without self-attention has no heads to switch off.
        "crossRows": [2 * i + 1 for i in range(len(caption.self_))],
        "layers": [len(layer) for layer in caption.cross],
        "grid": grid,
        "prefix": list(prefix),
        "boxes": [list(map(float, box)) for box in objects.boxes],
        "labels": list(objects.labels),
        "names": [list(map(int, pair)) for pair in objects.named],
        "memoryOfOne": memory_of_one,
        "noMaps": MEMORY_OF_ONE if memory_of_one else "",
        "aboutMemory": "" if memory_of_one else about_memory,
        "sure": SURE,
        "noSelf": NO_SELF,
        "view": view,
        "style": style.as_header(),
    }
    maps = {f"cross_{i}": layer for i, layer in enumerate(caption.cross)}
    maps |= {f"self_{i}": layer for i, layer in enumerate(caption.self_)}
    halves = {name: layer.astype(np.float16) for name, layer in maps.items()}
    header, arrays = with_photo(header, photo)
    return pack(header, **arrays, **halves)
