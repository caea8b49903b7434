"""Pictures to survey: crops of the sample photos, all different."""

import random

import pytest

from model.datasets import samples

MODEL = "cifar10-plain"


def crops(count):
    """Draw random parts of the sample photos."""
    chance, whole = random.Random(0), [samples.load(name) for name in samples.names()]
    for number in range(count):
        photo = whole[number % len(whole)]
        side = chance.randint(40, 120)
        left, top = (chance.randint(0, length - side) for length in photo.size)
        yield photo.crop((left, top, left + side, top + side))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Two classes with 20 pictures each, as PNG."""
    root = tmp_path_factory.mktemp("pictures")
    for number, crop in enumerate(crops(40)):
        place = root / ("cats", "dogs")[number % 2]
        place.mkdir(exist_ok=True)
        crop.save(place / f"{number:03}.png")
    return root
