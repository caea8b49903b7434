"""The sample photos are those that other packages bring, and are there without a network."""

import numpy as np
import pytest

from model.datasets import samples


@pytest.mark.parametrize("name", samples.names())
def test_each_is_the_photo_that_its_package_shows(name):
    from matplotlib import cbook, image
    from skimage import data

    sample = samples.load(name)
    assert sample.mode == "RGB"
    if name == "officer":
        expected = image.imread(cbook.get_sample_data("grace_hopper.jpg"))
    else:
        expected = getattr(data, name)()
    assert np.array_equal(np.asarray(sample), expected)


def test_names_titles_and_credits():
    assert samples.names()[0] == "chelsea"
    assert [samples.title(name) for name in samples.names()] == [
        "Cat",
        "Coffee",
        "Officer",
        "Astronaut",
        "Rocket",
    ]
    for name in samples.names():
        assert "CC0" in samples.credit(name) or "public domain" in samples.credit(name)


def test_no_network_is_asked(monkeypatch):
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in samples.names():
        samples.load(name)


@pytest.mark.parametrize("ask", [samples.load, samples.title, samples.credit])
def test_an_unknown_name_is_answered_with_the_known_ones(ask):
    with pytest.raises(ValueError, match=r"no sample photo “dog”.*chelsea, coffee"):
        ask("dog")
