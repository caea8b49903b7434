"""Captions, computed once for everybody who asks the same question.

The whole server shares them, within its budget; sessions hold keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from model.captioning.caption import Caption, CaptionBundle
from model.datasets import scenes
from viz.pages.shared.picture import Picture
from viz.server.costs import caption_cost
from viz.server.results import computed_once

WORDS = 24  # of a caption that does not end by itself; the captioner may read fewer
MORE = 12  # at least, after those that were given
DESCRIBING = (
    *("a", "an", "the", "and", "two", "young", "old", "small", "large", "little", "big"),
    *("black", "white", "brown", "red", "blue", "green", "yellow", "orange", "pink", "purple"),
)
"""Words that begin a caption and name nothing yet."""


@dataclass(frozen=True)
class Question:
    """A question to a captioner about a picture: to write, to go on, or to judge a caption."""

    captioner: str
    picture: str  # its key
    beams: int = 1
    given: tuple[str, ...] = ()  # words to begin with
    typed: str | None = None  # a caption to judge, instead
    temperature: float = 0.0  # above 0: words are drawn by chance
    draw: int = 0  # which of the captions by chance

    @property
    def key(self) -> str:
        """A short text that tells this question from others."""
        return sha256(repr(self).encode()).hexdigest()[:16]


def _size(caption: Caption) -> int:
    maps = sum(np.asarray(layer).nbytes for layer in (*caption.cross, *caption.self_))
    return 10_000 + maps + (3 * caption.frame.width * caption.frame.height if caption.frame else 0)


@computed_once(
    "caption",
    key=lambda bundle, picture, question: question,
    size=_size,
    cost=lambda bundle, picture, question: caption_cost(bundle, question.beams, WORDS),
)
def caption_of(bundle: CaptionBundle, picture: Picture, question: Question) -> Caption:
    """Let the captioner write a caption, or judge the typed one."""
    if question.typed is not None:
        return bundle.score(picture.image, question.typed)
    return bundle.caption(
        picture.image,
        beams=question.beams,
        temperature=question.temperature,
        max_words=max(WORDS, len(question.given) + MORE),
        start=question.given,
        seed=question.draw if question.temperature else None,
    )


def write_call(question: Question) -> str:
    """Write the Python that asks a question, of a `bundle` about an `image`.

    >>> write_call(Question("a", "b", typed="a dog"))
    "bundle.score(image, 'a dog')"
    """
    if question.typed is not None:
        return f"bundle.score(image, {question.typed!r})"
    seed = question.draw if question.temperature else None
    given = f"beams={question.beams}, temperature={question.temperature}"
    longest = max(WORDS, len(question.given) + MORE)
    more = f"max_words={longest}, start={list(question.given)!r}, seed={seed}"
    return f"bundle.caption(image, {given}, {more})"


def scene_of(seed: int) -> scenes.Scene:
    """Draw a scene that no captioner was trained on."""
    return scenes.draw_scene(scenes.UNSEEN + seed)


def first_telling(words: Sequence[str]) -> int:
    """Find the place of the first word that may name a thing; 0 if none does."""
    return next((place for place, word in enumerate(words) if word not in DESCRIBING), 0)
