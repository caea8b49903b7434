"""The sample photos: there without a network, credited, and named as each model names them."""

from importlib.resources import files

import numpy as np
import pytest
import torch

from model import zoo
from model.datasets import samples, scenes


@pytest.mark.parametrize("name", ["chelsea", "coffee", "officer", "astronaut", "rocket"])
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


def test_each_is_credited_with_a_licence_that_allows_to_hand_it_on():
    for name in samples.all_names():
        assert samples.title(name)
        licence = samples.credit(name).rpartition("(")[2].rstrip(")")
        assert licence in {"CC0", "public domain", "MIT", "CC BY-SA 4.0", "CC BY-SA 3.0"}


def test_the_pictures_of_the_package_are_small_and_each_is_a_sample():
    folder = files("model.datasets").joinpath("sample_pictures")
    pictures = [each for each in folder.iterdir() if not each.name.endswith(".md")]
    assert sum(len(each.read_bytes()) for each in pictures) <= 10**6
    assert {each.name.partition(".")[0] for each in pictures} <= set(samples.all_names())


def test_no_network_is_asked(monkeypatch):
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in samples.all_names():
        samples.load(name)


@pytest.mark.parametrize("ask", [samples.load, samples.title, samples.credit])
def test_an_unknown_name_is_answered_with_the_known_ones(ask):
    with pytest.raises(ValueError, match=r"no sample photo “unicorn”.*chelsea, coffee"):
        ask("unicorn")


# -- what suits a model ---------------------------------------------------------------------------


def test_a_model_is_offered_photos_of_its_own_classes():
    garments = samples.names(zoo.load("d2l-fashion-mnist").classes)
    assert len(garments) >= 5
    assert "chelsea" not in garments
    things = samples.names(zoo.load("cifar10").classes)
    assert {"chelsea", "dog", "horses", "moose", "duck"} == set(things)


def test_a_model_of_other_classes_is_offered_photos_of_anything():
    assert samples.names(["forest", "river"]) == samples.names()
    assert samples.names(["koala", "river"]) == samples.names()  # one photo is no choice


def test_names_of_several_words_are_found_as_imagenet_writes_them():
    assert "chelsea" in samples.names(["tabby, tabby cat", "Espresso"])


@pytest.mark.parametrize("model", zoo.names())
def test_a_model_names_each_of_its_photos_rightly_or_the_photo_is_marked(model):
    bundle = zoo.load(model)
    offered = samples.names(bundle.classes, model)
    right = []
    for name in offered:
        with torch.inference_mode():
            named = bundle.classes[int(bundle.net(bundle.prepare(samples.load(name))).argmax())]
        right.append(named in samples.right_classes(name))
        assert right[-1] != samples.is_mistaken(name, model), (name, named)
    assert right[0], "the first photo that a visitor sees is named rightly"
    assert right == sorted(right, reverse=True)


def test_the_captioner_of_photos_names_what_is_there_or_the_photo_is_marked():
    captioner = zoo.load("flickr8k-captioner")
    words = {"dog": "dog", "cow": "cow", "chelsea": "cat"}
    offered = samples.names_to_describe(captioner.name)
    assert set(offered) == set(words)
    for name in offered:
        caption = captioner.caption(samples.load(name)).words
        assert (words[name] in caption) != samples.is_mistaken(name, captioner.name), caption
    assert not samples.is_mistaken(offered[0], captioner.name)


def test_the_first_scenes_are_described_rightly_and_each_word_points_at_its_shape():
    captioner = zoo.load("scenes-captioner")
    side = scenes.SIDE / captioner.tokens.grid[0]  # pixels of a patch
    for number in range(1, 9):
        scene = scenes.draw_scene(number)
        caption = captioner.caption(scene.image)
        assert " ".join(caption.words) == scene.caption
        for word, thing, _ in scenes.find_named_objects(caption.words, scene):
            most = int(np.asarray(caption.cross[-1])[:, word].mean(0).argmax())
            row, column = divmod(most, captioner.tokens.grid[1])
            left, top, right, bottom = scene.objects[thing].box
            assert left - side <= side * column <= right, (number, word)
            assert top - side <= side * row <= bottom, (number, word)
