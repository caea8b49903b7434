"""A captioner without weights: it says what it is told, and looks where a formula says."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from torch import nn

from model.card import Card
from model.tokens import TokenLayout

SAYS = ["a", "small", "red", "circle", "above", "a", "large", "blue", "square"]
VOCABULARY = list(dict.fromkeys([*SAYS, "green", "below", "left", "of", "the", "and"]))
MOST = 24


@dataclass
class FakeCaption:
    words: list[str]
    text: str
    logprobs: np.ndarray
    alternatives: list[list[tuple[str, float]]]
    cross: list[np.ndarray]
    self_: list[np.ndarray]
    beams: list[tuple[str, float]] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    note: str = ""
    frame: None = None  # no picture: nothing is offered as a file
    layout: None = None

    def attention(self, layer=-1, head=None):
        weights = self.cross[layer]
        return weights.mean(0) if head is None else weights[head]


@dataclass
class FakeCaptioner:
    """Two layers of three heads over 5 x 4 patches; word i looks mostly at patch 2 i + head."""

    name: str = "scenes-captioner"
    memory_of_one: bool = False
    recurrent: bool = False
    net: nn.Module = field(default_factory=nn.Identity)
    asked: list = field(default_factory=list)
    told: dict = field(default_factory=dict)  # more of its card

    @property
    def sees_the_photo(self) -> bool:
        return True

    @property
    def knows_only_scenes(self) -> bool:
        return self.name.startswith("scenes")

    @property
    def tokens(self) -> TokenLayout:
        return TokenLayout((1, 1) if self.memory_of_one else (5, 4))

    @property
    def card(self) -> Card:
        title = self.name.replace("-", " ").capitalize()
        return Card(**{"title": title, "task": "caption"} | self.told)

    def frame(self, image: Image.Image) -> Image.Image:
        return image

    def caption(self, image, beams=1, temperature=0.0, max_words=24, start=(), seed=None):
        by_chance = (temperature, seed) if temperature else ()
        self.asked.append(("caption", beams, tuple(start), *by_chance))
        words = [*start, *SAYS[len(start) :]]
        best = [(" ".join(words[: len(words) - k]), -1.0 - k) for k in range(beams)]
        return self._about(words, best if beams > 1 else [])

    def score(self, image, text):
        self.asked.append(("score", text))
        words = text.lower().split()
        caption = self._about(words[:MOST], [])
        caption.unknown = [i for i, w in enumerate(caption.words) if w not in VOCABULARY]
        if len(words) > MOST or len(text) > 2000:
            caption.note = f"The caption was cut: this captioner reads {MOST} words."
        return caption

    def _about(self, words, beams):
        n, tokens = len(words), self.tokens.tokens
        heads = 1 if self.recurrent else 3
        cross = np.full((2, heads, n, tokens), 0.4 / tokens, np.float32)
        own = np.zeros((2, heads, n, n + 1), np.float32)
        for i in range(n):
            own[:, :, i, : i + 1] = 1 / (i + 1)
            for head in range(heads):
                cross[0, head, i, (2 * i + head) % tokens] += 0.6
                cross[1, head, i, (3 * i + head) % tokens] += 0.6
        probabilities = np.array([0.9 if w in VOCABULARY else 0.01 for w in words])
        others = [[(w, 0.02) for w in VOCABULARY if w != word][:4] for word in words]
        return FakeCaption(
            words=list(words),
            text=" ".join(words),
            logprobs=np.log(probabilities),
            alternatives=[
                [(w, p), *more] for w, p, more in zip(words, probabilities, others, strict=True)
            ],
            cross=[cross[0]] if self.recurrent else list(cross),
            self_=[] if self.recurrent else list(own),
            beams=beams,
        )
