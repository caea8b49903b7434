import random

import pytest

from model.training.cider import Cider

WORDS = ["a", "man", "a", "dog", "runs", "on", "the", "grass", "with", "red", "ball"]


def captions(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(1, 12))) for _ in range(count)]


def test_it_counts_as_the_coco_evaluation_does():
    scorer = pytest.importorskip("pycocoevalcap.cider.cider")
    references = {photo: captions(5, photo) for photo in range(30)}
    written = {photo: captions(1, 100 + photo) for photo in range(30)}
    theirs = scorer.Cider().compute_score(references, written)[1]
    cider = Cider([[text.split() for text in references[photo]] for photo in range(30)])
    ours = [cider.score(photo, written[photo][0].split()) for photo in range(30)]
    assert ours == pytest.approx(list(theirs), abs=1e-9)
    assert max(ours) > 0.1


def test_the_photos_own_caption_scores_ten_and_strange_words_none():
    cider = Cider([[["a", "b", "c", "d", "e"]], [["f", "g", "h", "i", "j"]]])
    assert cider.score(0, ["a", "b", "c", "d", "e"]) == pytest.approx(10)
    assert cider.score(1, ["a", "b", "c", "d", "e"]) == 0
    assert cider.score(0, []) == 0
