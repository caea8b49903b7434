"""What Video saves: the chosen map of the frames, its numbers, the animation, and all in one."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from model.recorded_image import find_same_place
from model.video.recording import Head
from viz.export.attention import patch_box
from viz.export.clip import ClipMap, clip_export, recording_code
from viz.export.export import Export
from viz.export.names import token_name
from viz.pages.shared import open_models
from viz.pages.shared.browser import shown_view
from viz.pages.shared.html_file import HtmlFile
from viz.pages.shared.opening import model_code
from viz.pages.shared.saving import Saved
from viz.pages.shared.session import Session
from viz.pages.video_recorded import ClipSource
from viz.standalone import Figure
from viz.standalone.clips import RecordedClip, clip_figure
from viz.standalone.views import Start


def saved_clip(session: Session, source: ClipSource) -> Saved:
    """Describe what can be saved of the clip: the map of the view, rollout, and one file of all."""
    view = shown_view()
    exports = [_export(session, source, view.layer, view.head)]
    if not session.recorded.no_rollout:
        exports.append(_export(session, source, 0, "rollout"))
    return Saved(exports, _file(session, source))


def _export(session: Session, source: ClipSource, layer: int, head: Head) -> Export:
    layers, clip, question = session.recorded.layers, source.clip.clip, source.question
    tokens, first = layers[layer].tokens, layers[0].tokens

    def maps(frames: Sequence[int]) -> np.ndarray:
        recorded = list(source.frames())
        return np.stack([recorded[at].map_of(layer, head) for at in frames])

    def photos(frames: Sequence[int]) -> list[Image.Image]:
        return [session.bundle.frame(clip.frames[at]) for at in frames]

    opening = [model_code(session.bundle.name), source.clip.code]
    shown = ClipMap(
        open_models.model_title(session.bundle.name),
        session.bundle.name,
        session.recorded.numbers[layer] + 1,
        head,
        token_name(question.query, first),
        patch_box(find_same_place(question.query, first, tokens), tokens),
        clip.numbers[: source.count],
        None if clip.seconds is None else clip.seconds[: source.count],
        clip.milliseconds,
        photos,
        maps,
        [*opening, recording_code(question.query, question.layers)] if source.is_whole else [],
        shown_view().style,
        layer,
    )
    return clip_export(shown)


def _file(session: Session, source: ClipSource) -> HtmlFile:
    """Describe the clip as one HTML file: all layers and heads of every frame, from this token."""
    view, recorded = shown_view(), session.recorded
    title = open_models.model_title(session.bundle.name)
    start = Start(view.layer, view.head, view.query, True, view.style)

    def make() -> Figure:
        frames = list(source.frames())
        followed = [frame.rollout for frame in frames if frame.rollout is not None]
        names, shares = source.likeliest(session.bundle.classes)
        clip = RecordedClip(
            source.photos(),
            [np.stack([frame.maps[at] for frame in frames]) for at in range(len(recorded.layers))],
            np.stack(followed) if len(followed) == len(frames) else None,
            [number + 1 for number in recorded.numbers],
            recorded.layers[view.layer].tokens.prefix,
            source.question.query,
            source.clip.clip.milliseconds,
            source.seconds,
            names,
            shares,
        )
        return clip_figure(clip, start, f"{title}, frame by frame", [source.clip.about])

    maps = sum(each.nbytes for frame in source.frames() for each in frame.maps)
    return HtmlFile(make, maps + 30_000 * source.count, "saccade-clip")
