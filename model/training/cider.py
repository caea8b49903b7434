"""Score how close a caption comes to the captions that people wrote, as a reward for training.

CIDEr-D: Vedantam et al. 2015, "CIDEr: Consensus-based Image Description Evaluation", as the COCO
caption evaluation counts it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

LONGEST = 4  # words of an n-gram
WIDTH = 6.0  # the difference in length, in words, beyond which the score drops quickly

Caption = Sequence[Hashable]


@dataclass(frozen=True)
class _Weighted:
    """A caption's n-grams, each weighted by its count and its rarity, for n = 1 to LONGEST."""

    grams: tuple[dict[tuple, float], ...]
    norms: tuple[float, ...]
    pairs: int  # words that have a next one: the length as COCO counts it


class Cider:
    """Score captions against the captions of many photos, as sequences of words or numbers.

    Vedantam et al. 2015, "CIDEr: Consensus-based Image Description Evaluation".
    """

    def __init__(self, references: Sequence[Sequence[Caption]]) -> None:
        counted = [[_grams(caption) for caption in captions] for captions in references]
        self._photos = Counter(
            gram for captions in counted for gram in {g for grams in captions for g in grams}
        )
        self._all = math.log(len(references))
        self._references = [[self._weigh(grams) for grams in captions] for captions in counted]

    def score(self, photo: int, caption: Caption) -> float:
        """Score a caption of a photo: 0 without a common word, 10 if it equals all references."""
        own = self._weigh(_grams(caption))
        found = [_similarity(own, reference) for reference in self._references[photo]]
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


def _similarity(own: _Weighted, reference: _Weighted) -> float:
    """Average the cosine over n; a repeated n-gram counts as often as in the reference."""
    total = 0.0
    for ours, theirs, our_norm, their_norm in zip(
        own.grams, reference.grams, own.norms, reference.norms, strict=True
    ):
        if our_norm and their_norm:
            both = sum(min(w, theirs[g]) * theirs[g] for g, w in ours.items() if g in theirs)
            total += both / (our_norm * their_norm)
    return total / LONGEST * math.exp(-((own.pairs - reference.pairs) ** 2) / (2 * WIDTH**2))
