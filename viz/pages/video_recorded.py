"""The Video page's recording: each frame once for everybody, and what a browser may ask of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import takewhile

import numpy as np

from model.bundle import Bundle
from model.errors import CheckpointError, NothingRecorded, NothingToShow
from model.video.recording import FrameAttention, likeliest_classes, record_frame
from viz.components.payload import photo_bytes
from viz.pages.shared.scene import enlarged
from viz.pages.video_clip import ShownClip
from viz.server import queue
from viz.server.costs import forward_cost
from viz.server.passes import NoSuchQuestion, Reply, SourceGone
from viz.server.results import computed_once
from viz.standalone.clips import pack_maps, pack_photos

SENT_SIDE = 480
"""Longer side of a frame as the browser gets it, in pixels."""


@dataclass(frozen=True)
class ClipQuestion:
    """What is recorded of a clip: from which token of the first layer, in which model."""

    bundle: Bundle
    clip: str
    query: int
    layers: tuple[int, ...] | None

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal questions."""
        return self.bundle.name, self.clip, self.query, self.layers


@computed_once(
    "frame",
    key=lambda question, clip, number: (*question.key, number),
    size=lambda frame: frame.nbytes + 500,
    cost=lambda question, clip, number: forward_cost(question.bundle),
)
def frame_attention(question: ClipQuestion, clip: ShownClip, number: int) -> FrameAttention:
    """Record one frame, once for everybody; its maps are kept in float16."""
    image = clip.clip.frames[number]
    frame = record_frame(question.bundle, image, question.query, layers=question.layers)
    return frame.halved()


def frames_done(question: ClipQuestion, clip: ShownClip) -> int:
    """Count the frames that are recorded, from the first one without a gap."""
    numbers = range(len(clip.clip.frames))
    kept = (frame_attention.kept(question, clip, number) for number in numbers)
    return sum(1 for _ in takewhile(lambda frame: frame is not None, kept))


def record_frames(question: ClipQuestion, clip: ShownClip) -> None:
    """Record every frame that is missing; the page shows how far that is.

    Raises:
        WorkRefused: the clip would take longer than the server gives one question.
    """
    total = len(clip.clip.frames)

    def record() -> None:
        for number in range(total):
            queue.report(number, total)
            frame_attention(question, clip, number)

    missing = total - frames_done(question, clip)
    queue.run(("clip", *question.key), record, cost=forward_cost(question.bundle, missing))


@dataclass(frozen=True)
class ClipSource:
    """A recorded clip as a source of answers.

    It answers ``photos``, ``layer/LAYER`` and ``rollout``; a layer counts from zero.
    """

    question: ClipQuestion
    clip: ShownClip
    count: int
    """How many frames are recorded."""
    recording: str
    """The key of the first frame's recording, which depends on the model's weights."""

    @property
    def id(self) -> str:
        """Name the source by its content."""
        text = f"{self.recording} {self.question.key} {self.count}"
        return sha256(text.encode()).hexdigest()[:20]

    def frames(self) -> Iterator[FrameAttention]:
        """Iterate over what was recorded; a frame that had to make room is recorded anew."""
        for number in range(self.count):
            yield frame_attention(self.question, self.clip, number)

    def answer(self, question: str) -> Reply:
        """Reply a question, as `viz.server.passes.Source`."""
        kind, _, layer = question.partition("/")
        try:
            if question == "photos":
                return Reply(pack_photos(self.photos()))
            if question == "rollout":
                maps = [frame.rollout for frame in self.frames()]
                if any(each is None for each in maps):
                    raise NoSuchQuestion(question)
                return Reply(pack_maps(np.stack(maps)[:, None]))  # type: ignore[arg-type]  # none is None
            if kind == "layer" and layer.isascii() and layer.isdigit() and len(layer) < 4:
                return Reply(pack_maps(np.stack([f.maps[int(layer)] for f in self.frames()])))
        except IndexError:
            pass
        except (CheckpointError, NothingRecorded, NothingToShow) as problem:
            raise SourceGone(self.id) from problem
        raise NoSuchQuestion(question)

    def photos(self) -> list[bytes]:
        """Encode what the model sees of each frame, as JPEG."""
        frame = self.question.bundle.frame
        images = self.clip.clip.frames[: self.count]
        return [photo_bytes(enlarged(frame(image)), SENT_SIDE) for image in images]

    @property
    def is_whole(self) -> bool:
        """Whether every frame is recorded."""
        return self.count == len(self.clip.clip.frames)

    @property
    def seconds(self) -> tuple[float, ...] | None:
        """When each frame is shown; None where nothing says so."""
        times = self.clip.clip.seconds
        return None if times is None else times[: self.count]

    def likeliest(self, classes: Sequence[str] | None) -> tuple[list[str], np.ndarray]:
        """Find the classes that come to the largest probability: names, and (classes, frames)."""
        answers = [frame.answer for frame in self.frames() if frame.answer is not None]
        return likeliest_classes(classes, answers, self.count)
