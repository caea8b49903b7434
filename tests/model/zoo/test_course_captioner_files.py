"""The CS231n captioner computes what the published class computes, written anew here."""

import importlib.util
import io
import json
import math
import pickle
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from model import zoo
from model.captioning import feature_files
from model.errors import ModelRejected

FEATURES, WORDS, LENGTH = 12, 23, 20
PHOTO = Image.new("RGB", (64, 48), "teal")


# The assignment's classes, from its formulas


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.key, self.query, self.value, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, query, key, value, mask=None):
        n, s, e = query.shape
        t = key.shape[1]
        split = (n, -1, self.heads, e // self.heads)
        q = self.query(query).view(split).permute(0, 2, 1, 3)
        k = self.key(key).view(split).permute(0, 2, 3, 1)
        v = self.value(value).view(split).permute(0, 2, 1, 3)
        scores = torch.matmul(q, k) / math.sqrt(e / self.heads)
        assert scores.shape == (n, self.heads, s, t)
        if mask is not None:
            scores = scores.masked_fill(mask == 0, float("-inf"))
        self.map = F.softmax(scores, dim=-1)
        mixed = torch.matmul(self.map, v).permute(0, 2, 1, 3).reshape(n, s, e)
        return self.proj(mixed)


class FeedForward(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Layer(nn.Module):
    def __init__(self, width, heads, hidden=40):
        super().__init__()
        self.self_attn, self.cross_attn = Attention(width, heads), Attention(width, heads)
        self.ffn = FeedForward(width, hidden)
        self.norm_self, self.norm_cross, self.norm_ffn = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, words, memory, mask):
        words = self.norm_self(words + self.self_attn(words, words, words, mask))
        words = self.norm_cross(words + self.cross_attn(words, memory, memory))
        return self.norm_ffn(words + self.ffn(words))


class OlderLayer(nn.Module):
    """As the assignment was in 2021 and 2022."""

    def __init__(self, width, heads, hidden=40):
        super().__init__()
        self.self_attn, self.multihead_attn = Attention(width, heads), Attention(width, heads)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, words, memory, mask):
        words = self.norm1(words + self.self_attn(words, words, words, mask))
        words = self.norm2(words + self.multihead_attn(words, memory, memory))
        return self.norm3(words + self.linear2(F.relu(self.linear1(words))))


class Positions(nn.Module):
    def __init__(self, width, length):
        super().__init__()
        table = torch.zeros(1, length, width)
        for i in range(length):
            for j in range(0, width, 2):
                table[0, i, j] = math.sin(i * 10000 ** (-j / width))
                table[0, i, j + 1] = math.cos(i * 10000 ** (-j / width))
        self.register_buffer("pe", table)

    def forward(self, x):
        return x + self.pe[:, : x.shape[1]]


class Decoder(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)


class CaptioningTransformer(nn.Module):
    def __init__(self, heads=2, width=16, layer=Layer, layers=2):
        super().__init__()
        self.visual_projection = nn.Linear(FEATURES, width)
        self.embedding = nn.Embedding(WORDS, width, padding_idx=0)
        self.positional_encoding = Positions(width, LENGTH)
        self.transformer = Decoder(layer(width, heads) for _ in range(layers))
        self.output = nn.Linear(width, WORDS)

    def forward(self, features, captions):
        words = self.positional_encoding(self.embedding(captions))
        memory = self.visual_projection(features).unsqueeze(1)
        mask = torch.tril(torch.ones(captions.shape[1], captions.shape[1]))
        for layer in self.transformer.layers:
            words = layer(words, memory, mask)
        return self.output(words)

    @torch.no_grad()
    def sample(self, features, max_length=15):
        captions = np.zeros((len(features), max_length), dtype=np.int32)
        partial = torch.ones(len(features), 1, dtype=torch.long)
        for t in range(max_length):
            word = self(features, partial)[:, -1].argmax(1)
            captions[:, t] = word.numpy()
            partial = torch.cat([partial, word[:, None]], 1)
        return captions


def published(seed=0, **changes):
    torch.manual_seed(seed)
    net = CaptioningTransformer(**changes).eval()
    for parameter in net.parameters():  # larger than at the start, so that captions differ
        nn.init.normal_(parameter, std=0.6)
    return net


@pytest.fixture
def file(tmp_path):
    return tmp_path / "captioner.pt"


def saved(net, path, wrap=lambda state: state):
    torch.save(wrap(net.state_dict()), path)
    return path


def vocabulary(path, count=WORDS):
    words = ["<NULL>", "<START>", "<END>", "<UNK>", *(f"word{n}" for n in range(4, count))]
    numbers = {word: number for number, word in enumerate(words)}
    path.write_text(json.dumps({"idx_to_word": words, "word_to_idx": numbers}))
    return path


# What it computes


@pytest.mark.parametrize("layer", [Layer, OlderLayer])
@pytest.mark.parametrize("heads", [1, 2, 4])
@torch.no_grad()
def test_scores_are_those_of_the_published_class(file, layer, heads):
    net = published(layer=layer, heads=heads, layers=3)
    bundle = zoo.load(saved(net, file), heads=heads)
    features, words = torch.randn(5, FEATURES), torch.randint(0, WORDS, (5, 11))
    expected = net(features, words)
    assert (bundle.net(features, words) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("layer", [Layer, OlderLayer])
@pytest.mark.parametrize("seed", range(8))
def test_the_same_words_are_sampled(file, layer, seed):
    net = published(seed, layer=layer)
    bundle = zoo.load(saved(net, file), heads=2, features=torch.randn(FEATURES))
    expected = net.sample(bundle.features)[0].tolist()
    expected = expected[: expected.index(2)] if 2 in expected else expected  # up to <END>
    caption = bundle.caption(PHOTO, max_words=15)
    names = ["<pad>", "<start>", "<end>", "<unknown>", *map(str, range(4, WORDS))]
    assert caption.words == [names[word] for word in expected]
    assert "does not know" not in caption.note


@torch.no_grad()
def test_maps_are_the_causal_triangle_and_exactly_one(file):
    net = published()
    bundle = zoo.load(saved(net, file), heads=2, features=torch.randn(FEATURES))
    caption = bundle.caption(PHOTO, max_words=9)
    assert len(caption.words) > 1
    numbers = [1, *(bundle._encode(caption.words)[1])]
    expected = net(bundle.features, torch.tensor([numbers[:-1]])).log_softmax(-1)
    chosen = expected[0, range(len(numbers) - 1), numbers[1:]]
    np.testing.assert_allclose(caption.logprobs, chosen, atol=1e-5)
    for layer, cross, own in zip(net.transformer.layers, caption.cross, caption.self_, strict=True):
        assert (cross == 1).all() and (layer.cross_attn.map == 1).all()
        expected = layer.self_attn.map[0].numpy()
        np.testing.assert_allclose(own[:, :, : expected.shape[-1]], expected, atol=1e-5)
        assert (np.triu(own[0], 1) == 0).all()
    assert bundle.memory_of_one


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"model": s, "epoch": 3},
        lambda s: {f"module.{name}": tensor for name, tensor in s.items()},
        lambda s: {name: tensor.half() for name, tensor in s.items()},
    ],
)
def test_wrapped_as_others_are(file, wrap):
    assert zoo.load(saved(published(), file, wrap), heads=2).net.config.layers == 2


# What it says


def test_what_the_file_does_not_hold_is_said(file):
    bundle = zoo.load(saved(published(), file))
    assert bundle.card.assumed == ["heads", "vocabulary", "features"]
    assert bundle.net.config.heads == 4
    caption = bundle.caption(PHOTO)
    assert "drawn at random (seed 0)" in caption.note and "photo is not looked at" in caption.note
    assert "drawn at random" in bundle.score(PHOTO, "5 6").note
    other = Image.new("RGB", (300, 100), "red")
    assert bundle.caption(other).words == caption.words


def test_features_and_words_come_from_files(file, tmp_path):
    net = published()
    rows = np.random.default_rng(0).normal(size=(4, FEATURES)).astype(np.float32)
    np.save(tmp_path / "features.npy", rows)
    words = vocabulary(tmp_path / "coco2014_vocab.json")
    given = {"heads": 2, "features": tmp_path / "features.npy", "vocabulary": words}
    bundle = zoo.load(saved(net, file), row=2, **given)
    assert torch.equal(bundle.features, torch.from_numpy(rows[2:3]))
    assert bundle.card.assumed == []
    assert "row 2 of features.npy" in bundle.caption(PHOTO).note
    assert all(word.startswith(("word", "<")) for word in bundle.caption(PHOTO).words)
    assert np.isfinite(bundle.score(PHOTO, "word5 word7").logprobs).all()


@pytest.mark.skipif(not importlib.util.find_spec("h5py"), reason="h5py is not installed")
class TestHDF5:
    def test_a_row_is_read(self, tmp_path):
        import h5py

        rows = np.random.default_rng(0).normal(size=(4, FEATURES)).astype(np.float32)
        with h5py.File(tmp_path / "f.h5", "w") as store:
            store.create_dataset("features", data=rows, chunks=(2, FEATURES), compression="gzip")
            store.create_dataset("urls", data=[1, 2])
        found = feature_files.read_features(tmp_path / "f.h5", 3, FEATURES)
        assert torch.equal(found, torch.from_numpy(rows[3:]))

    @pytest.mark.parametrize("kind", ["external", "link", "virtual", "chunk", "kind", "empty"])
    def test_no_other_file_is_read(self, tmp_path, kind):
        import h5py

        (tmp_path / "secret").write_bytes(bytes(4 * FEATURES))
        with h5py.File(tmp_path / "other.h5", "w") as store:
            store["features"] = np.ones((2, FEATURES), np.float32)
        with h5py.File(tmp_path / "f.h5", "w") as store:
            if kind == "external":
                outside = [(str(tmp_path / "secret"), 0, 4 * FEATURES)]
                store.create_dataset("features", (1, FEATURES), "f4", external=outside)
            elif kind == "link":
                store["features"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "features")
            elif kind == "virtual":
                layout = h5py.VirtualLayout((2, FEATURES), "f4")
                layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "features", (2, FEATURES))
                store.create_virtual_dataset("features", layout)
            elif kind == "chunk":
                shape = (3_000_000, FEATURES)
                store.create_dataset("features", shape, "f4", chunks=shape, compression="gzip")
            elif kind == "kind":
                store["features"] = [b"text"] * 3
        with pytest.raises(ModelRejected):
            feature_files.read_features(tmp_path / "f.h5", 0, FEATURES)


def test_without_h5py_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "f.h5").write_bytes(b"\x89HDF")
    with pytest.raises(ModelRejected, match="pip install h5py"):
        feature_files.read_features(tmp_path / "f.h5", 0, FEATURES)


class Trap:
    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    ("array", "row", "word"),
    [
        (np.ones((3, FEATURES + 1)), 0, "takes 12"),
        (np.ones((3, FEATURES)), 3, "no row 3"),
        (np.ones((3, FEATURES)), -1, "no row -1"),
        (np.ones((3, 4, FEATURES)), 0, "3 dimensions"),
        (np.full((3, FEATURES), np.nan), 0, "not finite"),
        (np.array([["a"] * FEATURES]), 0, "not <U1"),
        (np.ones((1, 200_000), np.int8), 0, "too many"),
    ],
)
def test_features_that_do_not_fit(tmp_path, array, row, word):
    np.save(tmp_path / "f.npy", array)
    with pytest.raises(ModelRejected, match=word):
        feature_files.read_features(tmp_path / "f.npy", row, FEATURES)


def test_a_pickle_among_features_never_runs(tmp_path, capsys):
    np.save(tmp_path / "f.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    (tmp_path / "g.npy").write_bytes(pickle.dumps(Trap()))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 10**6)}
    )
    (tmp_path / "h.npy").write_bytes(header.getvalue())
    (tmp_path / "i.npy").write_bytes(b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535)
    for name in "fghi":
        with pytest.raises(ModelRejected, match="cannot be read as an array"):
            feature_files.read_features(tmp_path / f"{name}.npy", 0, FEATURES)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[1]", "no vocabulary"),
        ("{", "no vocabulary"),
        ("[" * 100_000, "no vocabulary"),
        ('{"idx_to_word": ["<NULL>"]}', "has 1 words"),
        (json.dumps({"idx_to_word": [str(n) for n in range(WORDS)]}), "does not begin with"),
        (json.dumps({"word_to_idx": {"a": 0, "b": 5}}), "no vocabulary"),
        (json.dumps({"word_to_idx": {"a": 0, "b": "c"}}), "no vocabulary"),
    ],
)
def test_vocabularies_that_do_not_fit(file, tmp_path, text, word):
    path = tmp_path / "vocab.json"
    path.write_text(text)
    with pytest.raises(ModelRejected, match=word):
        zoo.load(saved(published(), file), vocabulary=path)


def without(name):
    return lambda state: {n: t for n, t in state.items() if n != name}


@pytest.mark.parametrize(
    ("wrap", "given", "word"),
    [
        (without("output.bias"), {}, "head.bias is missing"),
        (without("transformer.layers.0.ffn.fc1.weight"), {}, "makes none"),
        (without("transformer.layers.1.norm_ffn.bias"), {}, "layers.1.norm_mlp.bias is missing"),
        (lambda s: s | {"more": torch.ones(2)}, {}, "nothing is expected"),
        (lambda s: s | {"positional_encoding.pe": torch.ones(3, 4)}, {}, "other widths"),
        (lambda s: s, {"heads": 3}, "3"),
        (lambda s: s, {"img_size": 32}, "no setting img_size"),
        (lambda s: s, {"features": [1.0]}, "takes 12"),
        (lambda s: s, {"features": "nowhere.npy"}, "no file nowhere.npy"),
    ],
)
def test_what_makes_no_captioner_is_a_sentence(file, wrap, given, word):
    with pytest.raises(ModelRejected, match=word):
        zoo.load(saved(published(), file, wrap), **given)
