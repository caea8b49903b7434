"""What a browser may ask about a recorded image, answered without a rerun of the page.

A question is a path: ``layer/LAYER``, ``mean/LAYER``, ``sheet/LAYER/QUERY``,
``rollout/FUSION/DISCARD/QUERY``, or ``rollouts/FUSION/DISCARD``. Layers and tokens count from zero.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from model.errors import CheckpointError, NothingRecorded, NothingToShow
from model.recording.rollout import FUSIONS
from viz.components.payload import pack
from viz.notebook.layers import layer_bytes, pack_layer
from viz.pages.shared import model_variants, picture
from viz.pages.shared.recorded_images import (
    ShownImage,
    all_rollouts,
    mean_rows,
    recorded_image,
    rollout_from,
    sinks_of,
)
from viz.pictures.sheet import quantise
from viz.server.passes import NoSuchQuestion, Reply, SourceGone

SENT_WHOLE = 8 * 2**20
"""Bytes of all layers up to which a browser gets them, and draws every head's map by itself."""


@dataclass(frozen=True)
class RecordedSource:
    """A recorded image as a source of answers: it keeps names, and never the tensors."""

    id: str
    model: str
    picture: str
    layers: tuple[int, ...] | None

    def answer(self, question: str) -> Reply:
        """Reply a question, as `viz.server.passes.Source`."""
        kind, *numbers = question.split("/")
        if kind not in _ANSWERS:
            raise NoSuchQuestion(question)
        try:
            return _ANSWERS[kind](self._find(), *numbers)
        except (TypeError, ValueError, IndexError) as problem:
            raise NoSuchQuestion(question) from problem

    def _find(self) -> ShownImage:
        """Return the recording, or record anew where it had to make room for others."""
        image = picture.find_image(self.picture)
        if image is None:
            raise SourceGone(self.picture)
        try:
            bundle = model_variants.open_variant(self.model)
            return recorded_image(bundle, self.picture, image, self.layers)
        except (CheckpointError, NothingRecorded, NothingToShow) as problem:
            raise SourceGone(self.model) from problem


def fits_in_browser(shown: ShownImage) -> bool:
    """Say whether a browser gets all layers, to draw every head's map by itself."""
    return sum(map(layer_bytes, shown.records)) <= SENT_WHOLE


def _number(text: str, below: int) -> int:
    if not re.fullmatch(r"\d{1,6}", text) or int(text) >= below:
        raise ValueError(text)
    return int(text)


def _layer(shown: ShownImage, layer: str) -> Reply:
    number = _number(layer, len(shown.records))
    place = shown.layers[number]
    return Reply(pack_layer(shown.records[number], place, sinks_of(shown, number)))


def _sheet(shown: ShownImage, layer: str, query: str) -> Reply:
    number = _number(layer, len(shown.records))
    tokens = shown.layers[number].tokens
    token = _number(query, tokens.tokens)
    maps = shown.maps(number, token)
    values, maxima = quantise(maps.reshape(*maps.shape[:2], -1))
    shares = np.zeros((0, *maxima.shape), np.float32)
    if tokens.prefix:
        shares = np.moveaxis(shown.prefix_shares(number, token).astype(np.float32), -1, 0)
    return Reply(pack({"grid": maps.shape[2:]}, values=values, maxima=maxima, shares=shares.copy()))


def _mean(shown: ShownImage, layer: str) -> Reply:
    number = _number(layer, len(shown.records))
    rows = mean_rows(shown, number)
    return Reply(pack({"heads": rows.shape[0], "tokens": rows.shape[1]}, rows=rows))


def _rollouts(shown: ShownImage, fusion: str, discard: str) -> Reply:
    _check_rollout(fusion, discard)
    rows = all_rollouts(shown, fusion, float(discard))
    return Reply(pack({"tokens": len(rows)}, rows=rows.astype(np.float16)))


def _check_rollout(fusion: str, discard: str) -> None:
    if fusion not in FUSIONS or not re.fullmatch(r"0\.\d\d", discard):
        raise ValueError(fusion)


def _rollout(shown: ShownImage, fusion: str, discard: str, query: str) -> Reply:
    _check_rollout(fusion, discard)
    token = _number(query, shown.layers[0].tokens.tokens)
    row = rollout_from(shown, token, fusion, float(discard))
    return Reply(pack({}, row=row.astype(np.float32)))


_ANSWERS: dict[str, Callable[..., Reply]] = {
    "layer": _layer,
    "mean": _mean,
    "sheet": _sheet,
    "rollout": _rollout,
    "rollouts": _rollouts,
}
