"""ViT-GPT2 and BLIP, opened from disk with random weights, against transformers' own passes."""

import importlib.util

import numpy as np
import pytest
import torch

from model import AttentionRecorder, zoo
from model.captioning.caption import CaptionBundle
from model.captioning.decoding import beam_search, greedy
from model.datasets import samples
from model.datasets.vocabulary import END, SPECIAL, START, UNKNOWN
from tests.model.hub_cache import cache, use_cache
from tests.model.hub_captioners import VISION, publish

pytestmark = [
    pytest.mark.hubs,
    pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="no transformers"),
    pytest.mark.filterwarnings("ignore"),
]
KINDS = ("vit-gpt2", "blip")
PHOTOS = ("coffee", "chelsea", "rocket")
BOTH = pytest.mark.parametrize("kind", KINDS)
WIDTHS = pytest.mark.parametrize("beams", [1, pytest.param(3, marks=pytest.mark.slow)])


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Names of the hub are looked up here first."""
    use_cache(monkeypatch, tmp_path)
    return tmp_path


def opened(shelf, kind, seed=0):
    """The model as transformers has it, and our bundle of the same files."""
    return publish(kind, shelf, seed), zoo.load(f"hf/org/{kind}")


def memory_of(bundle, photo="coffee"):
    with torch.inference_mode():
        return bundle.net.encode_image(bundle.prepare(samples.load(photo)))


def theirs(model, bundle, photo, words):
    """What transformers says of a caption: one full pass with eager attention and no cache."""
    ids = bundle.net.theirs[torch.tensor([[START, *words]])]
    pixels = bundle.prepare(samples.load(photo))
    wanted = {"output_attentions": True, "use_cache": False}
    with torch.inference_mode():
        if hasattr(model, "text_decoder"):
            seen = model.vision_model(pixel_values=pixels).last_hidden_state
            model.text_decoder.set_attn_implementation("eager")
            return model.text_decoder(input_ids=ids, encoder_hidden_states=seen, **wanted)
        model.set_attn_implementation("eager")
        out = model(pixel_values=pixels, decoder_input_ids=ids, **wanted)
        out.attentions = out.decoder_attentions
        return out


class Spy:
    """Decodes like the net that it holds, and keeps the maps of each step, each beam's apart."""

    def __init__(self, net):
        self.net = net
        self.maps = {}  # words so far -> layers of cross rows, layers of self rows

    never_written = (0, 1, 3)

    def begin(self, memory, record=False):
        return self.net.begin(memory), [()] * len(memory)

    def advance(self, words, state):
        cache, histories = state.state if isinstance(state, Selected) else state
        with AttentionRecorder(self.net) as recorder:
            logits, cache = self.net.advance(words, cache)
        histories = [(*before, *row) for before, row in zip(histories, words.tolist(), strict=True)]
        for row, written in enumerate(histories):
            for place in range(words.shape[1]):
                prefix = written[: len(written) - words.shape[1] + place + 1]
                self.maps[prefix] = {
                    kind: [r.weights()[row, :, place] for r in recorder.records if r.kind == kind]
                    for kind in ("cross", "self")
                }
        return logits, Selected((cache, histories))


class Selected:
    """A state whose rows can be selected, with the words of each row."""

    def __init__(self, state):
        self.state = state

    def select(self, rows):
        cache, histories = self.state
        return Selected((cache.select(rows), [histories[row] for row in rows.tolist()]))


@BOTH
@WIDTHS
def test_maps_recorded_while_decoding_are_those_of_a_full_pass(shelf, kind, beams):
    """The rows of the winning beam, gathered step by step from the cache."""
    seen = 0
    for seed in range(3):
        model, bundle = opened(shelf, kind, seed)
        for photo in PHOTOS:
            spy = Spy(bundle.net)
            best = beam_search(spy, memory_of(bundle, photo), beams, 9)[0]
            full = theirs(model, bundle, photo, best.words)
            assert len(full.cross_attentions) == len(full.attentions) == 2
            words = (START, *best.words)
            for i in range(len(best.words)):
                step = spy.maps[words[: i + 1]]
                for layer in range(2):
                    cross, own = full.cross_attentions[layer][0], full.attentions[layer][0]
                    assert cross.shape[-1] == bundle.tokens.tokens == 17
                    assert (step["cross"][layer] - cross[:, i]).abs().max() < 1e-5
                    assert (step["self"][layer] - own[:, i, : i + 1]).abs().max() < 1e-5
                seen += 1
            caption = bundle.caption(samples.load(photo), beams=beams, max_words=9)
            count = len(best.words)
            assert len(caption.words) == count
            for layer in range(2):
                cross, own = full.cross_attentions[layer][0], full.attentions[layer][0]
                assert np.abs(caption.cross[layer] - cross[:, :count].numpy()).max(initial=0) < 1e-5
                assert np.abs(caption.self_[layer] - own[:, :count].numpy()).max(initial=0) < 1e-5
    assert seen > 20


@BOTH
def test_maps_differ_between_words_heads_and_photos(shelf, kind):
    """Otherwise the test above could not fail."""
    _, bundle = opened(shelf, kind)
    coffee, rocket = (bundle.score(samples.load(p), "a dog on a ball") for p in PHOTOS[::2])
    rows = coffee.cross[-1]
    assert np.abs(np.diff(rows, axis=1)).max() > 1e-3
    assert np.abs(np.diff(rows, axis=0)).max() > 1e-3
    assert np.abs(rows - rocket.cross[-1]).max() > 1e-3


@BOTH
def test_one_beam_is_greedy_and_transformers_own_greedy(shelf, kind):
    ends, words_seen = 0, 0
    for seed in range(3):
        model, bundle = opened(shelf, kind, seed)
        for photo in PHOTOS:
            memory, pixels = memory_of(bundle, photo), bundle.prepare(samples.load(photo))
            ours = beam_search(bundle.net, memory, 1, 9)[0]
            assert ours.words == greedy(bundle.net, memory, 9)[0]
            silent = [int(bundle.net.theirs[n]) for n in range(4) if n != END]
            silent = [n for n in silent if n != int(bundle.net.theirs[END])]
            generated = model.generate(
                pixel_values=pixels,
                max_new_tokens=9,
                do_sample=False,
                **({"suppress_tokens": silent} if silent else {}),
            )[0].tolist()
            words = bundle.net.theirs[torch.tensor([START, *ours.words])].tolist()
            assert generated[: len(words)] == words
            if ours.finished:
                assert generated[len(words)] == int(bundle.net.theirs[END])
                ends += 1
            words_seen += len(ours.words)
    assert ends and words_seen > 20


@BOTH
def test_beam_scores_and_teacher_forcing_are_their_log_softmax(shelf, kind):
    model, bundle = opened(shelf, kind)
    for photo in PHOTOS:
        for beam in beam_search(bundle.net, memory_of(bundle, photo), 3, 7):
            logprobs = theirs(model, bundle, photo, beam.words).logits[0].log_softmax(-1)
            ids = bundle.net.theirs[torch.tensor([*beam.words, *[END] * beam.finished])]
            steps = logprobs[range(len(ids)), ids]
            assert abs(beam.logprob - float(steps.sum())) < 1e-4
    caption = bundle.score(samples.load("coffee"), "a dog on a skateboard")
    words, numbers = bundle.tokenizer.encode(["a", "dog", "on", "a", "skateboard"])
    assert caption.words == words
    logprobs = theirs(model, bundle, "coffee", numbers).logits[0].log_softmax(-1)
    ids = bundle.net.theirs[torch.tensor(numbers)]
    assert np.allclose(caption.logprobs, logprobs[range(len(ids)), ids].numpy(), atol=1e-5)
    best = logprobs[: len(ids)].max(-1).values.exp().numpy()
    assert np.allclose([words[0][1] for words in caption.alternatives], best, atol=1e-5)


@BOTH
def test_a_cache_can_be_gone_on_from_twice(shelf, kind):
    _, bundle = opened(shelf, kind)
    net, memory = bundle.net, memory_of(bundle)
    with torch.inference_mode():
        _, state = net.advance(torch.tensor([[START, 9]]), net.begin(memory))
        first, _ = net.advance(torch.tensor([[12]]), state)
        again, _ = net.advance(torch.tensor([[12]]), state.select(torch.tensor([0])))
        whole = net.teacher_force(memory, torch.tensor([[START, 9, 12]]))[:, -1:]
        assert torch.equal(first, again)
        assert torch.allclose(first.softmax(-1), whole.softmax(-1), atol=1e-5)
        with pytest.raises(ValueError, match="takes"):
            net.teacher_force(memory, torch.tensor([[START] + [9] * 60]))


@BOTH
@WIDTHS
def test_a_caption_read_back_is_the_one_that_was_written(shelf, kind, beams):
    for seed in range(3):
        _, bundle = opened(shelf, kind, seed)
        photo = samples.load("coffee")
        caption = bundle.caption(photo, beams=beams, max_words=12)
        again = bundle.score(photo, caption.text)
        assert again.words == caption.words and not again.unknown
        assert np.allclose(again.logprobs, caption.logprobs, atol=1e-5)
        for text, logprob in caption.beams:
            scored = bundle.score(photo, text)
            assert scored.text == text
            assert scored.logprobs.sum() >= logprob - 1e-4
        on = bundle.caption(photo, start=caption.words[:3], max_words=12)
        if beams == 1:
            assert on.words == caption.words


@BOTH
def test_every_token_has_a_word_of_its_own(shelf, kind):
    _, bundle = opened(shelf, kind)
    tokenizer, size = bundle.tokenizer, len(bundle.net.theirs)
    for position in (0, 1):
        words = [tokenizer.decode(number, position) for number in range(size)]
        assert len(set(words)) == size
        assert all(word and not any(c.isspace() for c in word) for word in words)
    for number in range(len(SPECIAL), size):
        word = tokenizer.decode(number, 0)
        assert tokenizer.encode([word]) == ([word], [number])
        word = tokenizer.decode(number, 1)
        assert tokenizer.encode(["a", word])[1][1:] == [number]
    vocabulary = bundle.net.config.vocabulary
    assert vocabulary[:4] == SPECIAL and bundle.vocabulary == vocabulary[4:]
    answers = {t for t, a in zip(bundle.net.theirs.tolist(), ~bundle.net.silent, strict=True) if a}
    assert sorted(answers) == list(range(bundle.net.decoder.config.vocab_size))


def test_words_of_byte_level_tokens(shelf):
    _, bundle = opened(shelf, "vit-gpt2")
    encode = bundle.tokenizer.encode
    assert encode(["a", "dog", "on", "a", "skateboard."])[0] == [
        "a",
        "dog",
        "on",
        "a",
        "skateboard",
        ".",
    ]
    pieces = encode(["a", "dogboard"])[0]
    assert pieces[1] == "dog" and all(piece.startswith("##") for piece in pieces[2:])
    assert all(n >= len(SPECIAL) for n in encode(["🐕", "<|endoftext|>", "<end>", "שלום"])[1])
    caption = bundle.score(samples.load("coffee"), "a dogboard <pad> 🐕")
    assert not caption.unknown and np.isfinite(caption.logprobs).all()
    assert "##" in caption.note


def test_words_of_word_pieces(shelf):
    _, bundle = opened(shelf, "blip")
    encode = bundle.tokenizer.encode
    assert encode(["A", "Dog,", "surfboards"])[0] == ["a", "dog", ",", "surf", "##board", "##s"]
    caption = bundle.score(samples.load("coffee"), "a 🐕 on [SEP] qqq")
    assert caption.words[:3] == ["a", "🐕", "on"] and caption.unknown[0] == 1
    assert "does not know" in caption.note
    assert encode(["🐕", "[SEP]"]) == (["🐕", "[SEP]"], [UNKNOWN, UNKNOWN])


@BOTH
def test_what_a_page_needs_of_the_bundle(shelf, kind):
    model, bundle = opened(shelf, kind)
    assert isinstance(bundle, CaptionBundle) and not bundle.memory_of_one
    assert bundle.card.task == "caption" and bundle.name == f"hf/org/{kind}"
    assert bundle.card.parameters == model.num_parameters()
    assert bundle.tokens.prefix == ("cls",) and bundle.tokens.grid == (4, 4)
    photo = samples.load("coffee")
    for text in ("", "   ", "x" * 3000, "word " * 500):
        caption = bundle.score(photo, text)
        assert len(caption.words) <= bundle.net.config.max_words and caption.note
    start = bundle.caption(photo, start=["a", "dogboard"], beams=3, max_words=9)
    assert start.words[:2] == ["a", "dog"] and len(start.words) <= 9
    many = bundle.caption(photo, start=["a"] * 80)
    assert "Only the first" in many.note and len(many.words) == bundle.net.config.max_words
    torch.manual_seed(0)
    sampled = {bundle.caption(photo, temperature=5.0, max_words=6).text for _ in range(4)}
    assert len(sampled) > 1


@BOTH
def test_random_weights(shelf, kind):
    _, bundle = opened(shelf, kind)
    first, second = (zoo.load(f"hf/org/{kind}", weights="random") for _ in range(2))
    assert "random" in first.name and first.caption(samples.load("coffee"), max_words=4).cross
    for (name, one), two in zip(
        first.net.state_dict().items(), second.net.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two), name
    own = bundle.net.state_dict()
    assert any(not torch.equal(own[name], t) for name, t in first.net.state_dict().items())


def test_a_swin_encoder_has_the_grid_of_its_last_stage(shelf):
    swin = {"patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2]}
    publish("swin", shelf, **swin)
    bundle = zoo.load("hf/org/swin")
    assert bundle.tokens.grid == (4, 4) and bundle.tokens.prefix == ()
    assert memory_of(bundle).shape[1] == bundle.tokens.tokens
    caption = bundle.caption(samples.load("coffee"), max_words=3)
    assert caption.cross[0].shape[-1] == 16


def test_files_that_are_not_there_or_not_known(shelf, monkeypatch):
    import socket

    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(zoo.ModelNotFound, match=r"config\.json of Salesforce/blip.* Connect"):
        zoo.load("hf/Salesforce/blip-image-captioning-base-not-here")
    publish("vit-gpt2", shelf)
    (shelf / "org/vit-gpt2/model.safetensors").rename(shelf / "away")
    with pytest.raises(zoo.ModelNotFound, match=r"model\.safetensors of org/vit-gpt2"):
        zoo.load("hf/org/vit-gpt2")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (shelf / "org/vit-gpt2" / file).unlink()
    with pytest.raises((zoo.ModelNotFound, zoo.ModelRejected), match=r"tokenizer\.json"):
        zoo.load("hf/org/vit-gpt2")

    from transformers import (
        GPT2Config,
        VisionEncoderDecoderConfig,
        ViTMAEConfig,
    )

    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        ViTMAEConfig(**VISION), GPT2Config(n_embd=24, n_layer=1, n_head=3)
    )
    config.save_pretrained(shelf / "org/mae")
    cache(shelf / "org/mae")
    with pytest.raises(zoo.ModelRejected, match="encoder of kind “vit_mae”"):
        zoo.load("hf/org/mae")
