"""The sample photos are scikit-image's own, and are there without a network."""

import numpy as np
import pytest

from model import samples


@pytest.mark.parametrize("name", samples.names())
def test_each_is_the_photo_that_scikit_image_shows(name):
    from skimage import data

    image = samples.load(name)
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), getattr(data, name)())


def test_names_titles_and_credits():
    assert samples.names()[0] == "chelsea"
    assert [samples.title(name) for name in samples.names()] == [
        "Cat",
        "Coffee",
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
