"""The files of a clip through a model: each frame's map and numbers, the animation, and tables."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from model.bundle import Bundle
from model.captioning.caption import CaptionBundle
from model.errors import ClipRejected
from model.recorded_image import RecordedImage, default_query, find_same_place, record_image
from model.video import Clip, open_clip, open_frames
from model.video.recording import (
    FrameAttention,
    Head,
    attention_from,
    likeliest_classes,
    spread_of_map,
)
from viz.components.payload import photo_bytes
from viz.export.attention import patch_box
from viz.export.clip import ClipMap, clip_export, recording_code
from viz.export.export import Export
from viz.export.names import token_name
from viz.export.program import Code
from viz.files.attention import NUMBERS, write_numbers
from viz.files.wanted import Wanted, write_beside, write_export
from viz.pictures.animation import KINDS, animate
from viz.pictures.overlay import overlay
from viz.standalone import Figure, export_html
from viz.standalone.clips import RecordedClip, clip_figure
from viz.standalone.views import Start

FRAME_SIDE = 448
"""Longer side of the animation, in pixels."""
FRAMES = "frames"
"""The folder of single frames: a picture and numbers each."""

Chosen = tuple[int, Head]
"""A layer, from the first recorded one, and the head, or "rollout"."""


def write_clip(
    bundle: Bundle, wanted: Wanted, path: Path, out: Path, made: str, every: int, shown: str | None
) -> None:
    """Write the files of a clip; frames that an earlier run has finished are kept.

    Args:
        path: of a file, or of a folder of pictures.
        out: the folder to write into; nothing is written before the clip is known to be taken.
        made: all that the files depend on, the clip apart.
        every: 1 for each frame, 2 for every other one, and so on.
        shown: LAYER.HEAD from zero, LAYER.mean, or rollout; None for the last layer's mean.

    Raises:
        ValueError: with a sentence, where the clip, the map or the token is none that there is.
    """
    clip = _open(bundle, path, every)
    first = record_image(bundle, clip.frames[0], wanted.layers)
    query = wanted.query_among(first.layers[-1].tokens) if wanted.query else None
    chosen = read_chosen(shown, first.head_counts, first.no_rollout is None)
    made = f"{made} {clip.key}"
    (out / FRAMES).mkdir(parents=True, exist_ok=True)
    frames, pictures = [], []
    for frame, picture in _walk(bundle, clip, wanted, out / FRAMES, made, query, chosen):
        frames.append(frame)
        pictures.append(picture)
    for kind in KINDS:
        write_beside(out / f"attention.{kind}", animate(pictures, kind, clip.milliseconds))
    write_beside(out / "frames.csv", _table(bundle, clip, frames, chosen))
    if wanted.all:
        _write_all(Walked(bundle, clip, first, frames, wanted, path, every, query), chosen, out)
    write_numbers(out / NUMBERS, _gather(clip, frames, made))


def _open(bundle: Bundle, path: Path, every: int) -> Clip:
    if isinstance(bundle, CaptionBundle):
        raise ClipRejected("A clip is seen by a model that classifies, not by a captioner.")
    clip = open_frames(path, every) if path.is_dir() else open_clip(path, every)
    if clip.note:
        tqdm.write(f"{path.name}: {clip.note}")
    return clip


def figure_of_clip(
    bundle: Bundle, wanted: Wanted, path: Path, every: int, shown: str | None
) -> Figure:
    """Make the figure of a clip, which becomes one HTML file; arguments as of `write_clip`."""
    clip = _open(bundle, path, every)
    first = record_image(bundle, clip.frames[0], wanted.layers)
    query = wanted.query_among(first.layers[-1].tokens) if wanted.query else None
    chosen = read_chosen(shown, first.head_counts, first.no_rollout is None)
    asking, last = _asking(first, query), len(first.layers) - 1
    frames = [
        attention_from(record_image(bundle, image, wanted.layers), asking, last)
        for image in tqdm(clip.frames, unit="frame")
    ]
    return Walked(bundle, clip, first, frames, wanted, path, every, query).figure(chosen)


def _asking(recorded: RecordedImage, query: int | None) -> int:
    """Return the token of the last layer that asks."""
    return default_query(recorded.layers[-1].tokens) if query is None else query


@dataclass(frozen=True)
class Walked:
    """A clip through a model, and what was asked for.

    Attributes:
        first: the first frame, recorded.
        frames: the attention of each.
        query: the token of the last layer that asks; None for the default.
    """

    bundle: Bundle
    clip: Clip
    first: RecordedImage
    frames: Sequence[FrameAttention]
    wanted: Wanted
    path: Path
    every: int
    query: int | None

    @property
    def asking(self) -> int:
        """The token of the last layer that asks."""
        return _asking(self.first, self.query)

    def asking_in(self, layer: int) -> int:
        """Find the token of a layer that asks."""
        layers = self.first.layers
        return find_same_place(self.asking, layers[-1].tokens, layers[layer].tokens)

    def figure(self, chosen: Chosen) -> Figure:
        """Make the figure of all frames, layers and heads."""
        layer, head = chosen
        frames, clip, bundle = self.frames, self.clip, self.bundle
        followed = [frame.rollout for frame in frames if frame.rollout is not None]
        answers = [frame.answer for frame in frames if frame.answer is not None]
        names, shares = likeliest_classes(bundle.classes, answers, len(frames))
        recorded = RecordedClip(
            [photo_bytes(bundle.frame(image), FRAME_SIDE) for image in clip.frames],
            [np.stack([f.maps[at] for f in frames]) for at in range(len(frames[0].maps))],
            np.stack(followed) if len(followed) == len(frames) else None,
            [number + 1 for number in self.first.numbers],
            self.first.layers[layer].tokens.prefix,
            self.asking_in(0),
            clip.milliseconds,
            clip.seconds,
            names,
            shares,
        )
        begin = "mean" if head == "rollout" else head
        start = Start(layer, begin, self.asking_in(layer), True, self.wanted.style)
        about = [f"{self.path.name}: {len(frames)} frames."]
        return clip_figure(recorded, start, f"{bundle.name}, frame by frame", about)

    def export(self, layer: int, head: Head) -> Export:
        """Describe what can be saved of one map over time."""
        place = 0 if head == "rollout" else layer
        tokens, asking = self.first.layers[place].tokens, self.asking_in(place)
        opened = "open_frames" if self.path.is_dir() else "open_clip"
        opening = Code(
            [f"clip = {opened}({str(self.path)!r}, every={self.every})"],
            [f"from model.video import {opened}"],
        )
        last = len(self.first.layers) - 1
        recording = recording_code(self.asking, self.wanted.layers, last, halved=False)
        shown = ClipMap(
            self.bundle.name,
            self.bundle.name,
            self.first.numbers[place] + 1,
            head,
            token_name(asking, tokens),
            patch_box(asking, tokens),
            self.clip.numbers,
            self.clip.seconds,
            self.clip.milliseconds,
            lambda frames: [self.bundle.frame(self.clip.frames[at]) for at in frames],
            lambda frames: np.stack([self.frames[at].map_of(place, head) for at in frames]),
            [self.wanted.opening_model + opening, recording],
            self.wanted.style,
            place,
        )
        return clip_export(shown)


def _write_all(walked: Walked, chosen: Chosen, out: Path) -> None:
    """Write what `--all` asks for besides: the chosen map, rollout, and one HTML file."""
    layer, head = chosen
    exports = {} if head == "rollout" else {"map": walked.export(layer, head)}
    if not walked.first.no_rollout:
        exports["rollout"] = walked.export(layer, "rollout")
    for name, export in exports.items():
        write_export(export, out, name, walked.wanted.width, ("npz",))
    export_html(walked.figure(chosen), out / "figure.html")


def read_chosen(text: str | None, heads: list[int], rollout: bool) -> Chosen:
    """Read which map is shown, among layers with so many heads.

    >>> read_chosen("1.2", [4, 4], rollout=True), read_chosen(None, [4, 4], rollout=False)
    ((1, 2), (1, 'mean'))

    Raises:
        ValueError: there is no such map; the message says which there are.
    """
    if text is None:
        return len(heads) - 1, "mean"
    if text == "rollout" and rollout:
        return len(heads) - 1, "rollout"
    layer, _, head = text.partition(".")
    if layer.isdecimal() and int(layer) < len(heads):
        if head in ("mean", "max", "min"):
            return int(layer), head
        if head.isdecimal() and int(head) < heads[int(layer)]:
            return int(layer), int(head)
    also = ", or rollout" if rollout else ""
    raise ValueError(
        f"--map {text}: give LAYER.HEAD, LAYER.mean, LAYER.max or LAYER.min{also}. This model has "
        f"layers 0 to {len(heads) - 1} with {max(heads)} heads, from zero."
    )


def _walk(
    bundle: Bundle,
    clip: Clip,
    wanted: Wanted,
    folder: Path,
    made: str,
    query: int | None,
    chosen: Chosen,
) -> Iterator[tuple[FrameAttention, Image.Image]]:
    """Record each frame that has not been finished, and draw every frame's map."""
    for number, image in enumerate(tqdm(clip.frames, unit="frame")):
        name = f"frame-{number + 1:04d}"
        frame = _read_frame(folder / f"{name}.npz", made)
        if frame is None:
            recorded = record_image(bundle, image, wanted.layers)
            frame = attention_from(recorded, _asking(recorded, query), len(recorded.layers) - 1)
            picture = _draw(bundle, image, frame.map_of(*chosen), wanted)
            write_beside(folder / f"{name}.png", _as_png(picture))
            _write_frame(folder / f"{name}.npz", frame, made)
        else:
            picture = _draw(bundle, image, frame.map_of(*chosen), wanted)
        yield frame, picture


def _draw(bundle: Bundle, image: Image.Image, weights: np.ndarray, wanted: Wanted) -> Image.Image:
    """Lay a map over what the model sees of a frame, all frames in one size."""
    height, width = bundle.image_size
    scale = FRAME_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    photo = bundle.frame(image).resize(size, Image.Resampling.BICUBIC)
    return overlay(photo, weights, color_map=wanted.colors, opacity=wanted.opacity)


def _as_png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _write_frame(path: Path, frame: FrameAttention, made: str) -> None:
    """Write a frame's numbers; their presence says that it is done."""
    arrays: dict[str, Any] = {"made": np.array(made), "layers": np.array(len(frame.maps))}
    arrays |= {f"layer{number}": each for number, each in enumerate(frame.maps)}
    if frame.rollout is not None:
        arrays["rollout"] = frame.rollout
    if frame.answer is not None:
        arrays["answer"] = frame.answer
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    write_beside(path, file.getvalue())


def _read_frame(path: Path, made: str) -> FrameAttention | None:
    """Read a frame that was finished with the same options; None for any other."""
    try:
        with np.load(path) as arrays:
            if str(arrays["made"]) != made:
                return None
            maps = tuple(arrays[f"layer{number}"] for number in range(int(arrays["layers"])))
            named = {name: arrays.get(name) for name in ("rollout", "answer")}
            return FrameAttention(maps, **named)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _table(bundle: Bundle, clip: Clip, frames: list[FrameAttention], chosen: Chosen) -> bytes:
    """Write a line a frame: its number and time, the spread of the map, and the likeliest class."""
    file = io.StringIO()
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(["frame", "seconds", "spread_nats", "patches_get", "class", "probability"])
    for place, frame in enumerate(frames):
        weights = frame.map_of(*chosen)
        seconds = "" if clip.seconds is None else clip.seconds[place]
        name, probability = "", ""
        if frame.answer is not None and bundle.classes is not None:
            best = int(frame.answer.argmax())
            name, probability = bundle.classes[best], f"{frame.answer[best]:.6f}"
        spread, total = f"{spread_of_map(weights):.6f}", f"{weights.sum():.6f}"
        lines.writerow([clip.numbers[place] + 1, seconds, spread, total, name, probability])
    return file.getvalue().encode()


def _gather(clip: Clip, frames: list[FrameAttention], made: str) -> dict[str, Any]:
    """Gather the numbers of all frames: a stack for each layer, (frames, heads, rows, columns)."""
    arrays: dict[str, Any] = {"made": np.array(made), "numbers": np.array(clip.numbers)}
    for layer in range(len(frames[0].maps)):
        arrays[f"layer{layer}"] = np.stack([frame.maps[layer] for frame in frames])
    for name in ("rollout", "answer"):
        parts = [getattr(frame, name) for frame in frames]
        if all(part is not None for part in parts):
            arrays[name] = np.stack(parts)
    if clip.seconds is not None:
        arrays["seconds"] = np.array(clip.seconds)
    return arrays
