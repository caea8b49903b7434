"""How near a caption comes to those that people wrote, as one number that words can be drawn for.

CIDEr-D: Vedantam et al. 2015, "CIDEr: Consensus-based Image Description Evaluation", as the COCO
caption evaluation counts it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

LONGEST = 4  # words of an n-gram
WIDTH = 6.0  # words by which a length may differ before it costs much

Caption = Sequence[Hashable]


@dataclass(frozen=True)
class _Weighted:
    """A caption's n-grams: how often each comes, times how rare it is, for n = 1 to LONGEST."""

    grams: tuple[dict[tuple, float], ...]
    norms: tuple[float, ...]
    pairs: int  # words that have a next one: the length as COCO counts it


class Cider:
    """Scores against the captions of many photos, each a sequence of words or their numbers."""

    def __init__(self, references: Sequence[Sequence[Caption]]) -> None:
        counted = [[_grams(caption) for caption in captions] for captions in references]
        self._photos = Counter(
            gram for captions in counted for gram in {g for grams in captions for g in grams}
        )
        self._all = math.log(len(references))
        self._references = [[self._weigh(grams) for grams in captions] for captions in counted]

    def score(self, photo: int, caption: Caption) -> float:
        """0 for a caption that shares no words with those of that photo, 10 for one that is all of
        them."""
        said = self._weigh(_grams(caption))
        found = [_similarity(said, meant) for meant in self._references[photo]]
        return 10 * sum(found) / len(found)

    def _weigh(self, grams: Counter) -> _Weighted:
        weighted: tuple[dict[tuple, float], ...] = tuple({} for _ in range(LONGEST))
        for gram, count in grams.items():
            rarity = self._all - math.log(max(1, self._photos[gram]))
            weighted[len(gram) - 1][gram] = count * rarity
        norms = tuple(math.sqrt(sum(w * w for w in part.values())) for part in weighted)
        return _Weighted(weighted, norms, sum(c for gram, c in grams.items() if len(gram) == 2))


def _grams(caption: Caption) -> Counter:
    words = tuple(caption)
    sizes = range(1, LONGEST + 1)
    return Counter(words[i : i + n] for n in sizes for i in range(len(words) - n + 1))


def _similarity(said: _Weighted, meant: _Weighted) -> float:
    """The mean cosine over n; what is said more often than meant counts as often as meant."""
    total = 0.0
    for ours, theirs, our_norm, their_norm in zip(
        said.grams, meant.grams, said.norms, meant.norms, strict=True
    ):
        if our_norm and their_norm:
            both = sum(min(w, theirs[g]) * theirs[g] for g, w in ours.items() if g in theirs)
            total += both / (our_norm * their_norm)
    return total / LONGEST * math.exp(-((said.pairs - meant.pairs) ** 2) / (2 * WIDTH**2))
