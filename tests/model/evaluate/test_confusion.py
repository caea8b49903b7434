import json

import numpy as np
import pytest

from model.evaluate.confusion import (
    DENSE_CLASSES,
    Mixup,
    find_mixups,
    pack_confusion,
    unpack_confusion,
)


def counts_of(classes, pictures=2000, seed=0):
    pairs = np.random.default_rng(seed).integers(0, classes, (pictures, 2))
    counts = np.zeros((classes, classes), int)
    for true, taken in pairs:
        counts[true, taken] += 1
    return counts


@pytest.mark.parametrize("classes", [2, DENSE_CLASSES, DENSE_CLASSES + 1, 200])
def test_a_card_gives_back_what_was_packed(classes):
    counts = counts_of(classes)
    counts[1] = 0  # a class that was not tested
    through_json = json.loads(json.dumps(pack_confusion(counts)))
    assert np.array_equal(unpack_confusion(through_json, classes), counts)


def test_a_few_classes_stay_rows_of_numbers():
    assert pack_confusion(np.array([[3, 1], [0, 4]])) == [[3, 1], [0, 4]]


def test_many_classes_name_only_what_happened():
    counts = np.zeros((200, 200), int)
    counts[0, [0, 17]] = 24, 1
    assert pack_confusion(counts)[:2] == ["0:24 17:1", ""]
    assert len(json.dumps(pack_confusion(counts_of(200, 5000)), indent=2)) < 40_000


@pytest.mark.parametrize(
    "kept",
    [
        None,
        7,
        [],
        [[1, 2]],
        [[1, 2], [3]],
        [[1, 2], [3, -4]],
        [[1, 2], [3, None]],
        ["0:1 1:2", "2:1"],
        ["0:1", "-1:1"],
        ["0:1", "0:-1"],
        ["0:1", "nonsense"],
        ["0:1", "0:1", "0:1"],
        ["0:1", "0:99999999999999999999999"],
    ],
)
def test_anything_else_is_a_sentence(kept):
    with pytest.raises(ValueError, match=r"does not fit 2 classes. Write it again with"):
        unpack_confusion(kept, 2)


def test_mixups_by_their_part_of_the_class():
    counts = np.array([[5, 5, 0], [30, 60, 10], [0, 1, 0]])
    assert find_mixups(counts, 2) == [Mixup(2, 1, 1, 1), Mixup(0, 1, 5, 10)]
    assert find_mixups(counts, 9)[2:] == [Mixup(1, 0, 30, 100), Mixup(1, 2, 10, 100)]
    assert find_mixups(np.diag([3, 4]), 5) == []
