import json

import numpy as np
import pytest
import torch
from PIL import Image

from model import zoo
from model.captioning import base
from model.captioning.build import config_as_dict
from model.captioning.caption import Caption, CaptionBundle, split_words
from model.datasets import scenes
from model.datasets.vocabulary import SPECIAL, START, UNKNOWN
from model.zoo import checkpoints
from tests.model.captioners import WORDS, captioner


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "DIRECTORY", tmp_path)
    return tmp_path


def shelve(folder, name="mine", **changes) -> CaptionBundle:
    net = captioner(**changes)
    card = {
        "task": "caption",
        "config": config_as_dict(net.config),
        "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
    }
    checkpoints.save_checkpoint(net, folder / f"{name}.safetensors", card)
    return zoo.load(name)


def photo(seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    return Image.fromarray(values)


def check(caption: Caption, bundle: CaptionBundle, layers: int = 2, heads: int = 3) -> None:
    """What holds of every caption."""
    count = len(caption.words)
    assert caption.text == " ".join(caption.words)
    assert caption.logprobs.shape == (count,) and (caption.logprobs <= 0).all()
    assert len(caption.alternatives) == count
    for best in caption.alternatives:
        chances = [chance for _, chance in best]
        assert len(best) == 5 and chances == sorted(chances, reverse=True) and sum(chances) <= 1.001
    assert len(caption.cross) == layers
    for maps in caption.cross:
        assert maps.shape == (heads, count, bundle.tokens.tokens) and maps.dtype == np.float32
        assert np.allclose(maps.sum(-1), 1, atol=1e-5)
    for maps in caption.self_:
        assert maps.shape == (heads, count, count + 1)
        assert np.allclose(maps.sum(-1), 1, atol=1e-5)
        assert not np.triu(maps, 1).any()
    if count:
        assert caption.attention().shape == (count, bundle.tokens.tokens)
        assert np.allclose(caption.attention(0), caption.cross[0].mean(0))
        assert np.array_equal(caption.attention(-1, 0), caption.cross[-1][0])


def test_a_caption_and_what_it_is_made_of(shelf):
    bundle = shelve(shelf)
    assert isinstance(bundle, CaptionBundle) and not bundle.memory_of_one
    assert bundle.vocabulary == WORDS
    assert zoo.names("caption") == ["mine"] and zoo.names() == []
    for seed in range(4):
        caption = bundle.caption(photo(seed), max_words=7)
        check(caption, bundle)
        assert len(caption.words) <= 7 and set(caption.words) <= set(WORDS)
        assert [caption.text] == [text for text, _ in caption.beams]
        for i, word in enumerate(caption.words):
            known = [(w, p) for w, p in caption.alternatives[i] if w not in SPECIAL]
            assert known[0][0] == word
            assert np.isclose(np.exp(caption.logprobs[i]), known[0][1], atol=1e-5)


def test_the_map_kept_is_that_of_the_beam_that_won(shelf):
    bundle = shelve(shelf)
    for seed in range(4):
        caption = bundle.caption(photo(seed), beams=4, max_words=8)
        check(caption, bundle)
        assert caption.beams[0][0] == caption.text
        again = bundle.score(photo(seed), caption.text)
        for kept, recomputed in zip(
            [*caption.cross, *caption.self_], [*again.cross, *again.self_], strict=True
        ):
            assert np.allclose(kept, recomputed, atol=1e-6)
        assert np.allclose(caption.logprobs, again.logprobs, atol=1e-5)
        ended = caption.beams[0][1] - caption.logprobs.sum()
        assert ended <= 1e-4  # the end has its probability too

        # Word by word, with nothing kept, and recorded by the hooks that serve any model.
        net, ids = bundle.net, [bundle.net.config.vocabulary.index(w) for w in caption.words]
        with torch.inference_mode():
            memory = net.encode_image(bundle.prepare(photo(seed)))
            for i in range(len(ids)):
                step = base.record_decoder_output(net, memory, torch.tensor([[START, *ids[:i]]]))
                assert np.allclose(caption.cross[-1][:, i], step.cross[-1][0, :, -1], atol=1e-5)


def test_given_words_are_continued(shelf):
    bundle = shelve(shelf)
    caption = bundle.caption(photo(), start=["a", "Blue", "zebra"], max_words=9)
    assert caption.words[:3] == ["a", "Blue", "zebra"]
    assert caption.unknown == [2] and "“zebra”" in caption.note
    check(caption, bundle)
    free = bundle.caption(photo(), max_words=9)
    same = bundle.caption(photo(), start=free.words[:2], max_words=9)
    assert same.words == free.words


def test_words_by_chance(shelf):
    bundle = shelve(shelf)
    torch.manual_seed(0)
    sampled = {bundle.caption(photo(), temperature=3.0, max_words=6).text for _ in range(6)}
    assert len(sampled) > 1
    caption = bundle.caption(photo(), beams=2, temperature=3.0, max_words=6)
    assert "temperature" in caption.note
    assert caption.text == bundle.caption(photo(), beams=2, max_words=6).text


@pytest.mark.parametrize(
    ("text", "words", "note"),
    [
        ("A red circle.", ["a", "red", "circle"], ""),
        ("", [], "no words"),
        (" … ?!", [], "no words"),
        ("red " * 500, ["red"] * 16, "cut"),
        ("a 🐕 left", ["a", "🐕", "left"], "does not know"),
        ("كلب a", ["كلب", "a"], "does not know"),
        ("<start> a <pad>", ["<start>", "a", "<pad>"], "does not know"),
        ("x" * 100_000, ["x" * 2000], "cut"),
    ],
)
def test_typed_captions(shelf, text, words, note):
    bundle = shelve(shelf)
    caption = bundle.score(photo(), text)
    assert caption.words == words and note in caption.note
    assert bool(caption.note) == bool(note)
    assert caption.unknown == [i for i, word in enumerate(words) if word not in WORDS]
    check(caption, bundle)
    assert all(np.isfinite(caption.logprobs))


def test_a_caption_that_does_not_end_says_so(shelf):
    bundle = shelve(shelf)
    with torch.no_grad():
        bundle.net.head.bias[SPECIAL.index("<end>")] = -100
    caption = bundle.caption(photo(), max_words=5)
    assert len(caption.words) == 5 and "5 words" in caption.note
    assert len(bundle.caption(photo(), max_words=500).words) == 16
    too_many = bundle.caption(photo(), start=["a"] * 30)
    assert len(too_many.words) == 16 and "first 16" in too_many.note


@pytest.mark.parametrize("wrong", [{"beams": 0}, {"max_words": 0}, {"temperature": -1.0}])
def test_senseless_wishes(shelf, wrong):
    with pytest.raises(ValueError, match="1 or more"):
        shelve(shelf).caption(photo(), **wrong)


def test_a_recurrent_captioner(shelf):
    bundle = shelve(shelf, decoder="recurrent")
    caption = bundle.caption(photo(), beams=3, max_words=6)
    check(caption, bundle, layers=1, heads=1)
    assert caption.self_ == []


def test_a_memory_of_one(shelf):
    bundle = shelve(shelf, memory="one")
    assert bundle.memory_of_one and bundle.tokens.grid == (1, 1)
    caption = bundle.caption(photo(), max_words=6)
    check(caption, bundle)
    assert all((maps == 1).all() for maps in caption.cross)


def test_random_weights_on_request(shelf):
    bundle = shelve(shelf)
    other = zoo.load("mine", weights="random")
    assert isinstance(other, CaptionBundle)
    assert not torch.equal(other.net.head.weight, bundle.net.head.weight)


def test_a_card_that_describes_no_captioner(shelf):
    shelve(shelf)
    file = shelf / "mine.json"
    card = json.loads(file.read_text())
    card["config"]["decoder"] = "oracle"
    file.write_text(json.dumps(card))
    with pytest.raises(zoo.ModelRejected, match="oracle"):
        zoo.load("mine")


def test_the_words_of_a_typed_caption():
    assert split_words("  A dog's “ball”, (wet)!  ") == ["a", "dog's", "ball", "wet"]
    assert split_words("a dog - running – there 🐕") == ["a", "dog", "running", "there", "🐕"]
    assert SPECIAL.index("<unknown>") == UNKNOWN


def test_a_word_that_is_not_known_is_taken_apart_where_its_parts_are(shelf):
    bundle = shelve(shelf, vocabulary=(*SPECIAL, "a", "dog", "s", "ball", "on"))
    scored = bundle.score(photo(), "a dog's ball on/a 🐕 dog’s x-y")
    assert scored.words == ["a", "dog", "s", "ball", "on", "a", "🐕", "dog", "s", "x-y"]
    assert scored.unknown == [6, 9]


def test_a_seed_draws_the_same_words_again(shelf):
    bundle = shelve(shelf)
    drawn = [bundle.caption(photo(), temperature=2.0, seed=seed).words for seed in range(6)]
    assert drawn == [bundle.caption(photo(), temperature=2.0, seed=s).words for s in range(6)]
    assert len({tuple(words) for words in drawn}) > 1


def test_a_captioner_of_scenes_is_known_by_its_words_not_its_name(shelf):
    mine = shelve(shelf, "mine", vocabulary=(*SPECIAL, *scenes.vocabulary()))
    assert mine.knows_only_scenes
    assert not shelve(shelf, "scenes-by-name").knows_only_scenes
