"""Rollout against the matrix product written out in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import model.recording.record
from model.nets.attention import MultiHeadAttention
from model.recording.recorder import AttentionRecord, AttentionRecorder
from model.recording.rollout import FUSIONS, explain_no_rollout, fuse, rollout
from model.recording.windows import Windows


def record(weights: Tensor, kind: str = "self") -> AttentionRecord:
    return AttentionRecord("layer", kind, tuple(weights.shape), map=weights)


def random_maps(
    layers: int, batch: int, heads: int, tokens: int, seed: int = 0
) -> list[AttentionRecord]:
    scores = torch.randn(
        layers, batch, heads, tokens, tokens, generator=torch.Generator().manual_seed(seed)
    )
    return [record(layer) for layer in (2 * scores).softmax(-1)]


def naive(
    records: Sequence[AttentionRecord],
    fusion: str = "mean",
    residual: float = 0.5,
    discard: float = 0.0,
    start: int = 0,
) -> Tensor:
    """Dense matrices, (B, N, N) in float64."""
    tokens = records[0].shape[2]
    product = torch.eye(tokens, dtype=torch.float64)
    for layer in records[start:]:
        weights = layer.map.double()
        fused = {
            "mean": weights.mean(1), "max": weights.max(1).values, "min": weights.min(1).values
        }[fusion].clone()  # fmt: skip
        smallest = fused.argsort(-1)[..., : int(tokens * discard)]
        fused.scatter_(-1, smallest, 0.0)
        mixed = residual * torch.eye(tokens, dtype=torch.float64) + (1 - residual) * fused
        product = (mixed / mixed.sum(-1, keepdim=True)) @ product
    return product


@settings(deadline=None, max_examples=60)
@given(
    layers=st.integers(1, 4),
    batch=st.integers(1, 2),
    heads=st.integers(1, 3),
    tokens=st.integers(2, 9),
    fusion=st.sampled_from(FUSIONS),
    residual=st.floats(0, 1),
    discard=st.floats(0, 0.95),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_rows_are_those_of_the_matrix_product(
    layers, batch, heads, tokens, fusion, residual, discard, seed, data
):
    records = random_maps(layers, batch, heads, tokens, seed)
    start = data.draw(st.integers(0, layers - 1))
    queries = data.draw(st.lists(st.integers(-tokens, tokens - 1), min_size=1, max_size=4))
    rows = rollout(records, queries, fusion, residual, discard, start)
    expected = naive(records, fusion, residual, discard, start)[:, queries]
    assert rows.dtype == torch.float32
    assert (rows - expected).abs().max() < 1e-5
    assert (rows.sum(-1) - 1).abs().max() < 1e-5
    assert (rows >= 0).all()


def test_one_query_is_a_row_without_its_dimension():
    records = random_maps(3, 2, 2, 5)
    assert torch.equal(rollout(records, 3), rollout(records, [3])[:, 0])
    assert rollout(records, range(5)).shape == (2, 5, 5)


@pytest.mark.parametrize("layers", [1, 2, 12])
def test_uniform_attention_has_a_closed_form(layers):
    tokens = 11
    uniform = torch.full((1, 2, tokens, tokens), 1 / tokens)
    row = rollout([record(uniform)] * layers)
    assert torch.allclose(row[0, 1:], torch.tensor((1 - 2.0**-layers) / tokens), atol=1e-7)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("discard", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("residual", [0.0, 0.5, 1.0])
def test_tokens_that_look_at_themselves_stay(fusion, discard, residual):
    identity = torch.eye(6).repeat(1, 3, 1, 1)
    rows = rollout([record(identity)] * 4, range(6), fusion, residual, discard)
    assert torch.equal(rows[0], torch.eye(6))


def test_a_token_that_looks_nowhere_keeps_itself():
    weights = torch.full((1, 1, 3, 3), 1 / 3)
    weights[0, 0, 1] = 0.0
    rows = rollout([record(weights)] * 2, range(3), residual=0.0)
    assert torch.allclose(rows[0, 1], torch.tensor([0.0, 1.0, 0.0]))
    assert torch.allclose(rows.sum(-1), torch.ones(1, 3))


def test_values_that_tie_are_discarded_together_or_not_at_all():
    weights = torch.tensor([[0.4, 0.2, 0.2, 0.2]]).expand(1, 1, 4, 4)
    kept = rollout([record(weights)], 0, residual=0.0, discard=0.5)
    assert torch.allclose(kept, torch.tensor([[0.4, 0.2, 0.2, 0.2]]))
    kept = rollout([record(weights)], 0, residual=0.0, discard=0.75)
    assert torch.allclose(kept, torch.tensor([[1.0, 0.0, 0.0, 0.0]]))


def test_queries_and_keys_in_chunks_give_what_whole_maps_give(monkeypatch):
    torch.manual_seed(0)
    net = nn.Sequential(*(MultiHeadAttention(16, 4) for _ in range(3))).eval()
    with torch.no_grad(), AttentionRecorder(net) as recorder:
        for layer in net:
            layer(4 * torch.randn(2, 13, 16))
    whole = [record(layer.weights()) for layer in recorder.records]
    monkeypatch.setattr(model.recording.record, "CHUNK", 2 * 4 * 13 * 5)
    for fusion in FUSIONS:
        rows = rollout(recorder.records, [0, 7], fusion, discard=0.4)
        assert (rows - naive(whole, fusion, discard=0.4)[:, [0, 7]]).abs().max() < 1e-6


def test_fuse_joins_the_heads():
    weights = torch.tensor([[[[0.2, 0.8]], [[0.6, 0.4]]]])
    assert torch.allclose(fuse(weights, "mean"), torch.tensor([[[0.4, 0.6]]]))
    assert torch.allclose(fuse(weights, "max"), torch.tensor([[[0.6, 0.8]]]))
    assert torch.allclose(fuse(weights, "min"), torch.tensor([[[0.2, 0.4]]]))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fusion": "loudest"}, "loudest.*mean, max, min"),
        ({"residual": 1.5}, "residual=1.5"),
        ({"discard": -0.1}, "discard=-0.1"),
        ({"start": 3}, "start=3.*3 recorded layers"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_a_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        rollout(random_maps(3, 1, 2, 4), **options)


def test_a_query_that_is_not_there_is_a_sentence():
    with pytest.raises(IndexError, match="4 tokens"):
        rollout(random_maps(2, 1, 2, 4), query=4)


@pytest.mark.parametrize(
    "records",
    [
        random_maps(1, 1, 2, 4) + random_maps(1, 1, 2, 5),
        [record(torch.full((1, 2, 4, 4), 0.25), kind="cross")],
        [record(torch.full((1, 2, 4, 3), 1 / 3))],
    ],
    ids=["sizes differ", "cross", "not square"],
)
def test_maps_that_cannot_be_multiplied_are_a_sentence(records):
    with pytest.raises(ValueError, match="one sequence of tokens"):
        rollout(records)


def test_maps_of_windows_are_a_sentence():
    weights = random_maps(1, 4, 2, 4)[0]
    weights.windows = Windows((4, 4), (2, 2))
    with pytest.raises(ValueError, match="inside windows"):
        rollout([weights])


def test_no_records_are_a_sentence():
    with pytest.raises(ValueError, match="0 recorded layers"):
        rollout([])


# Records that do not belong together.


class Encoder(nn.Module):
    """Layers one after the other, as often as asked; `fold` makes what they attend among."""

    def __init__(self, times: int = 1, fold: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MultiHeadAttention(16, 4) for _ in range(3))
        self.times, self.fold = times, fold

    def forward(self, x: Tensor) -> Tensor:
        x = self.fold(x)
        for _ in range(self.times):
            for layer in self.layers:
                x = x + layer(x)
        return x


def recorded(net: nn.Module, *given: Tensor, mode: Callable = torch.no_grad) -> list:
    torch.manual_seed(0)
    with mode(), AttentionRecorder(net.eval()) as recorder:
        net(*given)
    return recorder.records


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def test_layers_that_run_again_in_one_pass_are_layers():
    records = recorded(Encoder(times=3), images(2, 7, 16))
    whole = [record(layer.weights()) for layer in records]
    assert len(records) == 9
    assert (rollout(records, [0, 3]) - naive(whole)[:, [0, 3]]).abs().max() < 1e-6


@pytest.mark.parametrize("call", [lambda net, x: net(x), lambda net, x: net.forward(x)])
def test_two_passes_are_a_sentence(call):
    net, one = Encoder().eval(), images(1, 7, 16)
    with AttentionRecorder(net) as recorder:
        call(net, one)
        call(net, one)
    with pytest.raises(ValueError, match="saw 2 passes: record one picture or batch"):
        rollout(recorder.records)
    first, second = recorder.records[:3], recorder.records[3:]
    assert torch.equal(rollout(first), rollout(second))


def test_layers_that_are_called_one_by_one_are_one_pass():
    net, x = Encoder().eval(), images(2, 7, 16)
    with torch.no_grad(), AttentionRecorder(net) as recorder:
        for layer in net.layers:
            x = x + layer(x)
    whole = recorded(net, images(2, 7, 16))
    assert torch.equal(rollout(recorder.records), rollout(whole))


FOLDED = {
    "frames": (lambda x: x.flatten(0, 1), (2, 5, 7, 16)),
    "windows": (lambda x: x.unflatten(1, (2, -1)).flatten(0, 1).flatten(1, 2), (2, 6, 4, 16)),
    "heads": (lambda x: x.flatten(1, 2).repeat(4, 1, 1), (2, 3, 4, 16)),
}


@pytest.mark.parametrize(("fold", "shape"), FOLDED.values(), ids=FOLDED.keys())
def test_maps_that_are_not_one_an_image_are_a_sentence(fold, shape):
    records = recorded(Encoder(fold=fold), images(*shape))
    with pytest.raises(ValueError, match="where the model was given a batch of 2"):
        rollout(records)


ONE_AN_IMAGE = {
    "a batch": (lambda x: x.flatten(1, 2), (2, 3, 4, 16)),
    "a picture without a batch": (lambda x: x.flatten(0, 1)[None], (3, 4, 16)),
    "tokens first": (lambda x: x.transpose(0, 1), (7, 3, 16)),
}


@pytest.mark.parametrize(("fold", "shape"), ONE_AN_IMAGE.values(), ids=ONE_AN_IMAGE.keys())
def test_maps_that_are_one_an_image_are_multiplied(fold, shape):
    records = recorded(Encoder(fold=fold), images(*shape))
    whole = [record(layer.weights()) for layer in records]
    assert (rollout(records) - naive(whole)[:, 0]).abs().max() < 1e-6


class Branches(nn.Module):
    """Two attentions that are given the same tokens, as in timm's ParallelThingsBlock."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(16), MultiHeadAttention(16, 4)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + sum(part(x) for part in self.parts)


class Siamese(nn.Module):
    """One encoder for two pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return self.encoder(one) - self.encoder(other)


class HeadByHead(nn.Module):
    """A loop over heads within one module."""

    num_heads = 4

    def forward(self, x: Tensor) -> Tensor:
        heads = (x.chunk(4, -1)[head][:, None] for head in range(4))
        return torch.cat([(h @ h.mT).softmax(-1) @ h for h in heads], -1)[:, 0]


BESIDE = {  # a net, and what it is given
    "branches": (lambda: nn.Sequential(Branches(), Branches()), [images(2, 7, 16)]),
    "two pictures": (Siamese, [images(2, 7, 16), images(2, 7, 16) + 1]),
}


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(("build", "given"), BESIDE.values(), ids=BESIDE.keys())
def test_maps_that_ran_side_by_side_are_a_sentence(build, given, mode):
    records = recorded(build(), *given, mode=mode)
    with pytest.raises(ValueError, match="side by side"):
        rollout(records)
    assert explain_no_rollout(records[:1]) is None


@pytest.mark.parametrize("given", [1, 2, 4])
def test_heads_that_a_module_computes_in_a_loop_are_one_map(given):
    net = nn.Sequential(nn.Identity(), HeadByHead())
    x = images(given, 7, 16)
    (found,) = recorded(net, x)
    parts = x.double().unflatten(-1, (4, -1)).transpose(1, 2)
    assert found.shape == (given, 4, 7, 7)
    assert (found.weights() - (parts @ parts.mT).softmax(-1)).abs().max() < 1e-6
    assert explain_no_rollout([found]) is None


def test_heads_in_a_loop_stay_apart_where_each_has_a_gradient():
    net = nn.Sequential(nn.Identity(), HeadByHead())
    records = recorded(net, images(2, 7, 16).requires_grad_(), mode=torch.enable_grad)
    assert [found.shape for found in records] == [(2, 1, 7, 7)] * 4
    with pytest.raises(ValueError, match="side by side"):
        rollout(records)


class InPlace(nn.Module):
    """Its output is its input, written into."""

    def __init__(self, write: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.write = MultiHeadAttention(16, 4), write

    def forward(self, x: Tensor) -> Tensor:
        self.write(x, self.layer(x))
        return x


def write_all(x: Tensor, mixed: Tensor) -> None:
    x[:] = x + mixed


def add_to_view(x: Tensor, mixed: Tensor) -> None:
    x[:, 1:] += mixed[:, 1:]


WRITES = {
    "add_": lambda x, mixed: x.add_(mixed),
    "all": write_all,
    "view": add_to_view,
    "out": lambda x, mixed: torch.add(x, mixed, out=x),
    "data": lambda x, mixed: x.data.add_(mixed),
}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_residual_in_place_is_no_branch(write, mode):
    net = nn.Sequential(nn.Linear(16, 16), *(InPlace(write) for _ in range(3)))
    records = recorded(net, images(2, 7, 16), mode=mode)
    assert len(records) == 3 and explain_no_rollout(records) is None


STATES = {  # how the tokens are given to a block, and how it finds them
    "list": (lambda x: [x], lambda state: state[0]),
    "dict": (lambda x: {"x": x}, lambda state: state["x"]),
    "object": (lambda x: SimpleNamespace(x=x), lambda state: state.x),
}


@pytest.mark.parametrize(("wrap", "unwrap"), STATES.values(), ids=STATES)
def test_a_state_that_is_no_tensor_is_no_branch(wrap, unwrap):
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = MultiHeadAttention(16, 4)

        def forward(self, state: Any, always: Tensor) -> Any:
            x = unwrap(state)
            return wrap(always * x + self.layer(x))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(Block() for _ in range(3))

        def forward(self, x: Tensor) -> Any:
            state, always = wrap(x), torch.ones(1)  # the same for every block
            for block in self.blocks:
                state = block(state, always)
            return state

    records = recorded(Net(), images(2, 7, 16))
    assert len(records) == 3 and explain_no_rollout(records) is None


class Stacked(nn.Module):
    """(H·B, N, N), heads first, which has the shape of (B·H, N, N)."""

    num_heads = 4

    def forward(self, x: Tensor) -> Tensor:
        heads = torch.cat(x.chunk(4, -1))
        return torch.cat(((heads @ heads.mT).softmax(-1) @ heads).chunk(4), -1)


def test_images_and_heads_in_one_dimension_are_a_sentence():
    net = nn.Sequential(nn.Identity(), Stacked(), Stacked())
    with pytest.raises(ValueError, match="which of them come first"):
        rollout(recorded(net, images(2, 7, 16)))
    records = recorded(net, images(1, 7, 16))
    whole = [record(layer.weights()) for layer in records]
    assert (rollout(records) - naive(whole)[:, 0]).abs().max() < 1e-6


def test_torchs_own_stacked_heads_are_known():
    layer = nn.MultiheadAttention(16, 4, batch_first=True)
    net = nn.Sequential(nn.Identity(), layer)
    net.forward = lambda x: layer(x, x, x, need_weights=True)[0]
    (found,) = recorded(net, images(2, 7, 16))
    tokens = images(2, 7, 16)
    expected = layer(tokens, tokens, tokens, average_attn_weights=False)[1]
    assert (rollout([found], 2) - naive([record(expected.detach())])[:, 2]).abs().max() < 1e-6


def test_autocast_takes_no_precision():
    torch.manual_seed(0)
    records = recorded(Encoder(), 3 * images(2, 7, 16))
    whole = [record(layer.weights()) for layer in records]
    with torch.autocast("cpu", torch.bfloat16):
        rows = rollout(records, range(7), discard=0.3)
    assert rows.dtype == torch.float32
    assert (rows - naive(whole, discard=0.3)).abs().max() < 1e-6
