"""The recorder against attention written out, torch's own kernels, and autograd."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import model.recording.record
from model.errors import NothingRecorded
from model.nets.attention import MultiHeadAttention
from model.nets.vit import PRESETS, VisionTransformer
from model.recording.recorder import AttentionRecord, AttentionRecorder
from model.recording.rollout import explain_no_rollout
from model.recording.structure import named_modules


class Attend(nn.Module):
    """Passes its arguments on, as any layer does in the end."""

    def __init__(self, function: Callable = F.scaled_dot_product_attention) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Tensor, **kwargs: object) -> Tensor:
        return self.function(*args, **kwargs)


class HandWritten(nn.Module):
    """Attention spelled out, with its map kept in the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 2

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = query @ key.mT / query.shape[-1] ** 0.5
        self.map = scores.softmax(dim=-1)
        return self.map @ value


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(MultiHeadAttention(32, 4) for _ in range(4))).eval()


@pytest.fixture
def tokens() -> Tensor:
    return random(2, 7, 32)


def random(*shape: int, seed: int = 1, **options: object) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **options)


def record_of(module: nn.Module, *args: object, **kwargs: object) -> AttentionRecord:
    with AttentionRecorder(module) as recorder:
        module(*args, **kwargs)
    (record,) = recorder.records
    return record


# What is recorded.


def test_output_is_unchanged_to_the_bit(net, tokens):
    with AttentionRecorder(net):
        recorded = net(tokens)
    assert torch.equal(net(tokens), recorded)


def test_weights_and_values_make_the_output(net, tokens):
    record = record_of(net[0], tokens)
    assert (record.name, record.kind, record.shape) == ("", "self", (2, 4, 7, 7))
    value = net[0].value(tokens).unflatten(-1, (4, -1)).transpose(1, 2)
    mixed = (record.weights() @ value).transpose(1, 2).flatten(2)
    assert torch.allclose(net[0].proj(mixed), net[0](tokens), atol=1e-6)


def test_records_come_in_running_order_with_the_modules_names(net, tokens):
    with AttentionRecorder(net) as recorder:
        net(tokens)
        net(tokens)
    assert [record.name for record in recorder.records] == ["0", "1", "2", "3"] * 2
    with recorder:
        net[2](tokens)
    assert [record.name for record in recorder.records] == ["2"]


MASKS = {
    "none": None,
    "booleans": random(5, 6, seed=2) > -0.5,
    "booleans of each image": random(2, 1, 5, 6, seed=2) > -0.5,
    "padding": torch.tensor([True, True, True, True, False, False])[None, None, None],
    "numbers": random(5, 6, seed=3),
    "numbers of each head": random(1, 4, 5, 6, seed=3),
    "numbers of all heads, three-dimensional": random(4, 5, 6, seed=3),
    "one query may attend to nothing": torch.tensor([True, False, True, True, True])[
        :, None
    ].expand(5, 6),
    "one query may attend to nothing, in numbers": torch.tensor([0, -torch.inf, 0, 0, 0])[:, None],
}


@pytest.mark.parametrize("scale", [None, 0.7])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_masks_and_scale_give_the_map_that_the_kernel_applies(mask, scale):
    query, key, value = random(2, 4, 5, 8), random(2, 4, 6, 8, seed=2), random(2, 4, 6, 8, seed=3)
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.expand(*mask.shape[:-1], 6).contiguous()
    record = record_of(Attend(), query, key, value, attn_mask=mask, scale=scale)
    expected = map_of(query, key, attn_mask=mask, scale=scale)
    assert torch.allclose(record.weights(), expected, atol=1e-6)
    assert torch.allclose(record.weights([3, 1], [1, 4, 1]), expected[:, [3, 1]][:, :, [1, 4, 1]])
    assert record.kind == "cross"


@pytest.mark.parametrize("keys", [3, 5, 8])
def test_causal_calls(keys):
    query, key = random(2, 4, 5, 8), random(2, 4, keys, 8, seed=2)
    record = record_of(Attend(), query, key, key, is_causal=True)
    expected = map_of(query, key, is_causal=True)
    assert torch.allclose(record.weights(), expected, atol=1e-6)
    assert torch.allclose(record.weights(queries=-1), expected[:, :, -1:], atol=1e-6)


def test_bias_is_what_the_scores_lack():
    query, mask = random(2, 4, 5, 8), MASKS["booleans"][:5, :5]
    for options in ({"is_causal": True}, {"attn_mask": mask}, {"attn_mask": random(1, 4, 5, 5)}):
        record = record_of(Attend(), query, query, query, **options)
        scores = record.query @ record.key.mT * record.scale
        assert record.bias.ndim == 4
        weights = torch.softmax(scores + record.bias, -1).nan_to_num()
        assert torch.allclose(weights, record.weights(), atol=1e-6)
    assert record_of(Attend(), query, query, query).bias is None


def test_grouped_queries_share_keys():
    query, key = random(2, 6, 5, 8), random(2, 2, 5, 8, seed=2)
    record = record_of(Attend(), query, key, key, enable_gqa=True)
    repeated = key.repeat_interleave(3, dim=1)
    assert record.shape == (2, 6, 5, 5)
    assert torch.equal(record.key, repeated)
    expected = map_of(query, repeated)
    assert torch.allclose(record.weights(heads=[5, 0]), expected[:, [5, 0]], atol=1e-6)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3, 4)])
def test_calls_without_or_with_more_batch_dimensions(leading):
    query = random(*leading, 5, 8)
    mask = random(*leading, 5, 5, seed=2)
    record = record_of(Attend(), query, query, query, attn_mask=mask)
    expected = torch.softmax(query @ query.mT / 8**0.5 + mask, -1)
    assert torch.allclose(record.weights().flatten(), expected.flatten(), atol=1e-6)


def test_handwritten_maps_of_stacked_heads_are_told_apart():
    query = random(6, 5, 8)  # three images, two heads
    record = record_of(module := HandWritten(), query, query, query)
    assert record.shape == (3, 2, 5, 5)
    assert torch.equal(record.weights(1, 2)[:, 0, 0], module.map[1::2, 2])
    assert record.query is None
    assert record.key is None


class Elsewhere(nn.Module):
    """Self-attention whose heads stand at `place` of a map (B, H, Q, K) without them."""

    def __init__(self, place: int, fused: bool) -> None:
        super().__init__()
        self.heads, self.place, self.fused = 3, place, fused

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if self.fused:
            query, key, value = (t.movedim(1, self.place) for t in (query, key, value))
            return F.scaled_dot_product_attention(query, key, value).movedim(self.place, 1)
        scores = (query @ key.mT / query.shape[-1] ** 0.5).movedim(1, self.place)
        return scores.softmax(-1).movedim(self.place, 1) @ value


@pytest.mark.parametrize(("place", "fused"), [(0, False), (0, True), (2, False)])
def test_heads_are_found_where_the_module_puts_them(place, fused):
    """(H, B, Q, K), as einops' "h b n d" makes it, and (B, Q, H, K)."""
    query, key, value = (random(2, 3, 5, 8, seed=s).requires_grad_() for s in range(3))
    with AttentionRecorder(module := Elsewhere(place, fused)) as recorder:
        logit = module(query, key, value).square().sum()
    (record,) = recorder.records
    weights = torch.softmax(query.double() @ key.double().mT / 8**0.5, -1)
    assert (record.weights() - weights).abs().max() < 1e-6
    assert (record.weights(1, [3, 0]) - weights[:, 1:2, [3, 0]]).abs().max() < 1e-6

    weights = weights.detach().requires_grad_()
    (expected,) = torch.autograd.grad((weights @ value.double()).square().sum(), [weights])
    (gradient,) = torch.autograd.grad(logit, [record.anchor])
    assert (record.map_gradient(gradient) - expected).abs().max() < 1e-5


class Head(nn.Module):
    """One head, as in Karpathy's "Let's build GPT"."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(32, 8) for _ in range(3))
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.query(x), self.key(x), self.value(x)
        if self.fused:
            return F.scaled_dot_product_attention(query, key, value)
        return (query @ key.mT * 8**-0.5).softmax(-1) @ value


class Heads(nn.Module):
    """Single heads side by side."""

    def __init__(self, fused: bool = False, **declared: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(Head(fused) for _ in range(4))
        vars(self).update(declared)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.parts], -1)


@pytest.mark.parametrize("declared", [{}, {"num_heads": 4}], ids=str)
@pytest.mark.parametrize("fused", [False, True])
def test_a_module_that_is_one_head_has_a_map_of_one_head(fused, declared):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(2), Heads(fused, **declared))
    images = random(8, 7, 4, 8)  # as many images as two times the heads
    with AttentionRecorder(net) as recorder:
        net(images)
    assert [record.shape for record in recorder.records] == [(8, 1, 7, 7)] * 4
    for head, record in zip(net[1].parts, recorder.records, strict=True):
        x = images.flatten(2)
        scores = head.query(x).double() @ head.key(x).double().mT * 8**-0.5
        assert (record.weights()[:, 0] - scores.softmax(-1)).abs().max() < 1e-6


def test_queries_that_all_images_share():
    """Perceiver's latents (1, H, 5, d) ask about each of three images."""
    query, key, value = random(1, 4, 5, 8), random(3, 4, 6, 8, seed=2), random(3, 4, 6, 8, seed=3)
    query.requires_grad_()
    with AttentionRecorder(net := Attend()) as recorder:
        logit = net(query, key, value).square().sum()
    record = recorder.records[0]
    weights = torch.softmax(query.double() @ key.double().mT / 8**0.5, -1)
    assert record.shape == record.weights().shape == (3, 4, 5, 6)
    assert (record.weights() - weights).abs().max() < 1e-6
    assert record.query.untyped_storage().nbytes() == query.untyped_storage().nbytes()

    weights = weights.detach().requires_grad_()
    (expected,) = torch.autograd.grad((weights @ value.double()).square().sum(), [weights])
    (gradient,) = torch.autograd.grad(logit, [record.anchor])
    assert (record.map_gradient(gradient) - expected).abs().max() < 1e-5


class QueryKeyValue(nn.Module):
    """Attends from the first sequence to the second."""

    num_heads = 4

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        heads = (t.unflatten(-1, (4, -1)).transpose(1, 2) for t in (query, key, value))
        return F.scaled_dot_product_attention(*heads)


KINDS = {
    "other keys, by keyword": ("cross", lambda attn, x, m: attn(x, key=m, value=m)),
    "other keys": ("cross", lambda attn, x, m: attn(x, m, m)),
    "everything by keyword": ("self", lambda attn, x, m: attn(query=x, key=x, value=x)),
    "a sequence made twice": ("self", lambda attn, x, m: attn(x.relu(), x.relu(), x.relu())),
    "positions, as DETR adds them": ("self", lambda attn, x, m: attn(x + m, x + m, x)),
}


@pytest.mark.parametrize(("kind", "call"), KINDS.values(), ids=KINDS.keys())
def test_self_and_cross_are_told_by_what_is_given(tokens, kind, call):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = QueryKeyValue()

        def forward(self, x: Tensor) -> Tensor:
            return call(self.a, x, random(2, 7, 32, seed=9))

    assert record_of(Net(), tokens).kind == kind
    assert AttentionRecorder.estimate(Net(), tokens) > 0


SOFTMAXES = {
    "F.softmax": lambda x: F.softmax(x, dim=-1),
    "F.softmax with a dtype": lambda x: F.softmax(x, -1, dtype=torch.float64),
    "torch.softmax": lambda x: torch.softmax(x, 3),
    "torch.softmax by name": lambda x: torch.softmax(input=x, dim=-1),
    "torch.special.softmax": lambda x: torch.special.softmax(x, -1),
    "Tensor.softmax": lambda x: x.softmax(-1),
    "nn.Softmax": nn.Softmax(dim=-1),
}


@pytest.mark.parametrize("softmax", SOFTMAXES.values(), ids=SOFTMAXES.keys())
def test_every_way_to_write_a_softmax_is_seen(softmax):
    scores = random(2, 3, 5, 4)
    record = record_of(Attend(softmax), scores)
    assert torch.allclose(record.weights(), scores.softmax(-1))


def test_softmax_over_another_dimension_is_not_attention(net, tokens):
    gate = nn.Sequential(net[0], nn.Unflatten(-1, (4, 8)), nn.Softmax(dim=1))
    assert record_of(gate, tokens).name == "0"


def test_probabilities_are_not_attention(net, tokens):
    head = nn.Sequential(net[0], nn.Linear(32, 5), nn.Softmax(dim=-1))
    assert record_of(head, tokens).name == "0"


def test_bfloat16_maps_are_computed_in_float32():
    query, key = (random(2, 4, 5, 8, seed=s).bfloat16() for s in (1, 2))
    record = record_of(Attend(), query, key, key)
    expected = torch.softmax(query.double() @ key.double().mT / 8**0.5, -1)
    assert record.weights().dtype == torch.float32
    with torch.autocast("cpu"):
        weights = record.weights()
    assert (weights - expected).abs().max() < 1e-6


def test_a_map_of_channels_is_not_one_of_tokens(net, tokens):
    """XCiT: keysᵀ queries of a head, (B, H, d, d)."""

    class Channels(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            heads = x.unflatten(-1, (4, -1)).permute(0, 2, 3, 1)
            return ((heads @ heads.mT).softmax(-1) @ heads).permute(0, 3, 1, 2).flatten(2)

    assert record_of(nn.Sequential(net[0], Channels()), tokens).name == "0"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
def test_cuda(net, tokens):
    record = record_of(net[0].cuda(), tokens.cuda())
    assert record.weights([0, 1], [2]).is_cuda
    assert torch.allclose(
        record.weights().cpu(), record_of(net[0].cpu(), tokens).weights(), atol=1e-5
    )


def map_of(query: Tensor, key: Tensor, **options: object) -> Tensor:
    """The map as the fused kernel applies it: with the identity as values, the output is it."""
    identity = torch.eye(key.shape[-2]).expand(*key.shape[:-1], -1)
    return F.scaled_dot_product_attention(query, key, identity, **options)


# What the model writes into later.


class WritesLater(nn.Module):
    """Attends, and then uses one of its tensors for something else."""

    def __init__(self, change: Callable[[Tensor, Tensor], object], fused: bool = False) -> None:
        super().__init__()
        self.change, self.fused = change, fused

    def forward(self, query: Tensor) -> Tensor:
        query = query * 1
        if self.fused:
            output = F.scaled_dot_product_attention(query, query, query)
            self.change(query, output)
            return output
        weights = torch.softmax(query @ query.mT, -1)
        output = weights @ query
        self.change(weights, output)
        return output


@pytest.mark.parametrize(
    ("module", "what"),
    [
        (WritesLater(lambda map, output: F.dropout(map, 0.5, inplace=True)), "map"),
        (WritesLater(lambda map, output: map.zero_()), "map"),
        (WritesLater(lambda query, output: query.copy_(output), fused=True), "query"),
    ],
    ids=["dropout in place", "a map that is cleared", "a query that is used again"],
)
def test_what_was_written_into_later_is_a_sentence(module, what):
    with torch.no_grad():
        record = record_of(module, random(2, 3, 5, 8))
    with pytest.raises(RuntimeError, match=f"written into the {what} of "):
        record.weights()


def test_a_map_that_was_written_into_in_inference_mode_is_a_sentence():
    with torch.inference_mode():
        record = record_of(WritesLater(lambda map, output: map.zero_()), random(2, 3, 5, 8))
    with pytest.raises(RuntimeError, match="written into the map"):
        record.weights()


def test_a_cache_that_is_filled_later_keeps_its_records():
    """As static caches of keys are: what is written later lay masked before."""

    class Cached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cache = torch.zeros(1, 2, 6, 8)

        def forward(self, step: int) -> Tensor:
            self.cache[:, :, step] = random(1, 2, 8, seed=step)
            seen = torch.arange(6)[None] <= step
            query = random(1, 2, 1, 8, seed=9 + step)
            return F.scaled_dot_product_attention(query, self.cache, self.cache, seen)

    net = Cached()
    with torch.no_grad(), AttentionRecorder(net) as recorder:
        for step in range(4):
            net(step)
    for step, record in enumerate(recorder.records):
        keys = torch.stack([random(1, 2, 8, seed=i) for i in range(step + 1)], 2)
        expected = map_of(random(1, 2, 1, 8, seed=9 + step), keys)
        assert (record.weights()[..., : step + 1] - expected).abs().max() < 1e-6


def test_many_tensors_may_be_written_into_at_once():
    module = Attend()
    one, other = random(2, 3, 5, 8), random(2, 3, 5, 8, seed=1)
    with torch.no_grad(), AttentionRecorder(module) as recorder:
        torch._foreach_add_([one], [other])  # as optimisers do
        module(one, one, one)
    assert len(recorder.records) == 1


def test_an_output_that_was_written_into_has_no_gradient():
    query = random(2, 3, 5, 8).requires_grad_()
    module = WritesLater(lambda query, output: output.mul_(2), fused=True)
    with AttentionRecorder(module) as recorder:
        gradient = torch.ones_like(module(query))
    (record,) = recorder.records
    assert (record.weights() - map_of(query, query)).abs().max() < 1e-6
    with pytest.raises(RuntimeError, match="written into the anchor"):
        record.map_gradient(gradient)


def test_a_copy_of_a_record_is_as_good(tokens):
    tokens.mul_(1)  # so that its version is not zero
    with torch.no_grad():
        record = record_of(Attend(), *[tokens[:, None]] * 3)
    for other in (copy.deepcopy(record), pickle.loads(pickle.dumps(record))):
        assert torch.equal(other.weights(), record.weights())


# Rows.


@settings(deadline=None, max_examples=50)
@given(data=st.data(), causal=st.booleans())
def test_any_part_of_the_map_is_that_part(data, causal):
    query = random(2, 3, 6, 4)
    record = AttentionRecord(
        "layer", "self", (2, 3, 6, 6), query, random(2, 3, 6, 4, seed=2), 0.5, None, causal
    )
    heads = data.draw(st.lists(st.integers(-3, 2), min_size=1) | st.integers(-3, 2))
    queries = data.draw(st.lists(st.integers(-6, 5), min_size=1) | st.slices(6).filter(slice_only))
    part = record.weights(heads, queries)
    expected = record.weights()[:, heads if isinstance(heads, list) else [heads]]
    queries = range(6)[queries] if isinstance(queries, slice) else queries
    assert torch.allclose(part, expected[:, :, list(queries)], atol=1e-6)


def slice_only(chosen: object) -> bool:
    return isinstance(chosen, slice)


def test_large_maps_are_computed_in_chunks(net, tokens, monkeypatch):
    for mask, causal in ((None, False), (None, True), (random(2, 1, 7, 7) > 0, False)):
        record = record_of(net[0], tokens, mask=mask, causal=causal)
        whole = record.weights()
        with monkeypatch.context() as patch:
            patch.setattr(model.recording.record, "CHUNK", 2 * 4 * 7 * 3)
            assert torch.allclose(record.weights(), whole, atol=1e-7)


def test_rows_outside_the_map_are_a_sentence(net, tokens):
    record = record_of(net[0], tokens)
    with pytest.raises(IndexError, match="no query 7: the map has 7"):
        record.weights(queries=[0, 7])
    with pytest.raises(IndexError, match="no head -5: the map has 4"):
        record.weights(heads=-5)


# Gradients.


def test_maps_are_differentiable_with_respect_to_the_models_own_parameters(net, tokens):
    record = record_of(net[0], tokens)
    record.weights(1, 2)[..., 3].sum().backward()
    found = net[0].query.weight.grad
    net.zero_grad()
    query, key = (
        layer(tokens).unflatten(-1, (4, -1)).transpose(1, 2) for layer in (net[0].query, net[0].key)
    )
    torch.softmax(query @ key.mT * net[0].scale, -1)[:, 1, 2, 3].sum().backward()
    assert torch.allclose(found, net[0].query.weight.grad, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 4), (6,)], ids=["four dimensions", "three"])
@pytest.mark.parametrize("module", [Attend(), HandWritten()], ids=["fused", "handwritten"])
def test_gradient_of_a_logit_with_respect_to_the_map(module, shape):
    query, key, value = (random(*shape, 5, 8, seed=s).requires_grad_() for s in range(3))
    with AttentionRecorder(module) as recorder:
        logit = module(query, key, value).square().sum()
    (record,) = recorder.records
    (gradient,) = torch.autograd.grad(logit, [record.anchor])

    weights = torch.softmax(query @ key.mT / 8**0.5, -1).detach().requires_grad_()
    (expected,) = torch.autograd.grad((weights @ value).square().sum(), [weights])
    expected = expected.reshape(record.shape)
    assert torch.allclose(record.map_gradient(gradient), expected, atol=1e-5)
    part = record.map_gradient(gradient, heads=0, queries=[4, 1])
    assert torch.allclose(part, expected[:, :1, [4, 1]], atol=1e-5)


def test_gradient_with_shared_keys():
    query, key = random(2, 6, 5, 8).requires_grad_(), random(2, 2, 5, 8, seed=2)
    with AttentionRecorder(net := Attend()) as recorder:
        logit = net(query, key, key, enable_gqa=True).square().sum()
    record = recorder.records[0]
    weights = record.weights().detach().requires_grad_()
    (expected,) = torch.autograd.grad(
        (weights @ key.repeat_interleave(3, dim=1)).square().sum(), [weights]
    )
    (gradient,) = torch.autograd.grad(logit, [record.anchor])
    assert torch.allclose(record.map_gradient(gradient), expected, atol=1e-5)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(net, tokens, mode):
    with mode():
        record = record_of(net[0], tokens)
    assert torch.equal(record.weights(), record_of(net[0], tokens).weights())
    assert (record.value, record.anchor) == (None, None)
    with pytest.raises(ValueError, match="ran without gradients"):
        record.map_gradient(torch.zeros(()))


# Choice of layers, and memory.


@pytest.mark.parametrize(
    ("layers", "kept"),
    [
        ([0, 2], ["0", "2"]),
        ([-1], ["3"]),
        ([-3, 0], ["0", "1"]),
        (["1", 3], ["1", "3"]),
        ([-4], ["0"]),
    ],
)
def test_layers_are_chosen_by_number_or_name(net, tokens, layers, kept):
    with AttentionRecorder(net, layers=layers) as recorder:
        net(tokens)
        net(tokens)
    assert [record.name for record in recorder.records] == kept * 2
    assert AttentionRecorder.estimate(net, tokens, layers=layers) * 2 == recorder.nbytes


def test_a_name_stands_for_everything_inside_it(net, tokens):
    nested = nn.ModuleDict({"left": net[:2], "left_over": net[2:]})
    nested.forward = lambda x: nested["left_over"](nested["left"](x))
    with AttentionRecorder(nested, layers=["left"]) as recorder:
        nested(tokens)
    assert [record.name for record in recorder.records] == ["left.0", "left.1"]


def test_a_chosen_layer_that_never_ran_is_an_error(net, tokens):
    error = pytest.raises(NothingRecorded, match=r"layer 99, head\. .* 0, 1, 2, 3")
    with error, AttentionRecorder(net, layers=[0, 99, "head"]):
        net(tokens)


def test_memory_is_known_before_and_reported_after(net, tokens):
    with torch.no_grad():
        estimate = AttentionRecorder.estimate(net, tokens)
        with AttentionRecorder(net) as recorder:
            net(tokens)
    queries_and_keys = 2 * tokens.numel() * tokens.element_size()
    assert recorder.records[0].nbytes == queries_and_keys
    assert estimate == recorder.nbytes == 4 * queries_and_keys


def test_shared_memory_counts_once(tokens):
    fused = torch.stack([tokens] * 3).unsqueeze(2)  # query, key and value in one block
    record = record_of(Attend(), *fused.unbind())
    assert record.nbytes == fused.numel() * fused.element_size()


def test_records_are_freed_with_the_recorder(net, tokens):
    gc.disable()
    try:
        with AttentionRecorder(net) as recorder:
            net(tokens)
        record = weakref.ref(recorder.records[0])
        del recorder
        assert record() is None
    finally:
        gc.enable()


# nn.MultiheadAttention and its fast paths.


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": True},
        {"add_bias_kv": True},
        {"add_zero_attn": True},
        {"kdim": 12, "vdim": 20},
        {"bias": False},
    ],
    ids=str,
)
def test_multihead_attention(options, need_weights):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(16, 4, **options).eval()
    query = random(5, 3, 16)
    key, value = (random(6, 3, options.get(dim, 16), seed=2) for dim in ("kdim", "vdim"))
    padding = random(3, 6, seed=4) > 0.5
    mask = random(5, 6, seed=5)
    if module.batch_first:
        query, key, value = (tensor.transpose(0, 1) for tensor in (query, key, value))
    call = (query, key, value, padding.float() * -5, need_weights, mask, False)
    expected_output, expected = module(*call[:4], True, mask, False)
    with AttentionRecorder(module) as recorder:
        output, _ = module(*call)
    (record,) = recorder.records
    assert record.kind == "cross"
    assert torch.allclose(record.weights(), expected, atol=1e-6)
    assert torch.allclose(output, expected_output, atol=1e-6)
    assert (record.map is not None) == need_weights


def test_multihead_attention_without_a_batch():
    module = nn.MultiheadAttention(16, 4).eval()
    sequence = random(5, 16)
    record = record_of(module, sequence, sequence, sequence, need_weights=False)
    expected = module(sequence, sequence, sequence, average_attn_weights=False)[1]
    assert (record.kind, record.shape) == ("self", (1, 4, 5, 5))
    assert torch.allclose(record.weights()[0], expected, atol=1e-6)


class Kernels(TorchDispatchMode):
    """The names of the kernels that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_the_fast_path_of_an_encoder_is_seen_through(padded):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).eval()
    sequence = random(2, 5, 16)
    padding = torch.arange(5) >= torch.tensor([[3], [5]]) if padded else None
    with torch.no_grad(), Kernels() as plain_kernels:
        plain = encoder(sequence, src_key_padding_mask=padding)
    with torch.no_grad(), AttentionRecorder(encoder) as recorder:
        recorded = encoder(sequence, src_key_padding_mask=padding)
    assert "_transformer_encoder_layer_fwd" in plain_kernels.names
    words = slice(None) if padding is None else ~padding
    assert torch.allclose(plain[words], recorded[words], atol=1e-6)
    assert [r.name for r in recorder.records] == ["layers.0.self_attn", "layers.1.self_attn"]
    if padded:
        assert recorder.records[0].weights()[0, ..., 3:].abs().max() == 0
    with torch.no_grad(), Kernels() as kernels_after:
        encoder(sequence)
    assert "_transformer_encoder_layer_fwd" in kernels_after.names


@pytest.mark.parametrize(
    ("dtype", "rounding"), [(torch.float32, 2e-6), (torch.float16, 1e-2), (torch.bfloat16, 5e-2)]
)
def test_without_the_fast_path_an_output_differs_by_rounding(dtype, rounding):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(48, 4, 96, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).eval().to(dtype)
    with torch.no_grad():
        plain = encoder(random(3, 17, 48).to(dtype))
        with AttentionRecorder(encoder):
            recorded = encoder(random(3, 17, 48).to(dtype))
    assert ((plain - recorded).abs() / plain.abs().clamp(min=1)).max() < rounding


def test_a_decoder_attends_to_itself_and_to_its_memory():
    layer = nn.TransformerDecoderLayer(16, 4, 32, batch_first=True)
    decoder = nn.TransformerDecoder(layer, 2).eval()
    with AttentionRecorder(decoder) as recorder:
        decoder(random(2, 5, 16), random(2, 5, 16, seed=2))
    assert [record.kind for record in recorder.records] == ["self", "cross"] * 2


# Company: threads, other recorders, mishaps.


def test_threads_on_one_model_never_see_each_others_records(net):
    inputs = [random(1 + i % 3, 5 + i % 4, 32, seed=i) for i in range(25)]

    def maps(x: Tensor) -> list[Tensor]:
        with AttentionRecorder(net) as recorder:
            net(x)
        assert len(recorder.records) == 4
        return [record.weights() for record in recorder.records]

    expected = [maps(x) for x in inputs]
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        start.wait()
        for i in torch.randperm(25, generator=torch.Generator().manual_seed(seed)).tolist():
            for found, alone in zip(maps(inputs[i]), expected[i], strict=True):
                assert torch.allclose(found, alone, atol=1e-6)

    with ThreadPoolExecutor(8) as pool:  # 8 x 25 = 200 recordings
        list(pool.map(work, range(8)))


def test_a_thread_without_a_recorder_is_not_recorded(net, tokens):
    with AttentionRecorder(net) as recorder, ThreadPoolExecutor(1) as pool:
        net(tokens)
        pool.submit(net, tokens[:1]).result()
    assert {record.shape[0] for record in recorder.records} == {2}


def test_recorders_nest(net, tokens):
    with AttentionRecorder(net) as outer, AttentionRecorder(net[1]) as inner:
        net(tokens)
    assert [record.name for record in inner.records] == [""]
    assert [record.name for record in outer.records] == ["0", "1", "2", "3"]


def test_an_exception_leaves_the_model_as_it_was(net, tokens):
    before = net(tokens)
    error = pytest.raises(RuntimeError, match="shapes")
    with error, AttentionRecorder(net) as recorder:
        net(tokens)
        net(tokens[..., :3])
    assert len(recorder.records) == 4
    assert not torch.overrides._get_current_function_mode_stack()
    for module in net.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert torch.equal(net(tokens), before)


# Nothing recorded.


class Convolutional(nn.Module):
    """Named after attention, and without any."""

    def __init__(self) -> None:
        super().__init__()
        self.channel_attention = nn.Conv2d(1, 1, 1)
        self.gate = type("SqueezeAttention", (nn.Conv2d,), {})(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.channel_attention(x))


def test_nothing_recorded_names_what_was_looked_for_and_what_came_closest():
    error = pytest.raises(NothingRecorded, match=r"scaled_dot_product_attention.*gate")
    with error, AttentionRecorder(net := Convolutional()):
        net(torch.zeros(1, 1, 2, 2))


def test_a_net_that_did_not_run_or_was_another_one(net, tokens):
    with pytest.raises(NothingRecorded, match="did not run"), AttentionRecorder(net):
        pass
    other = nn.Linear(2, 2)
    with pytest.raises(NothingRecorded, match="outside this Linear"), AttentionRecorder(other):
        net(tokens)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_or_scripted_net_is_refused(net, tokens):
    compiled = torch.compile(net, backend="eager")
    for hidden in (compiled, torch.jit.trace(net, tokens)):
        with pytest.raises(NothingRecorded, match="made from"), AttentionRecorder(hidden):
            hidden(tokens)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_net_of_which_a_part_is_scripted_is_refused(net, tokens):
    net[2] = torch.jit.trace(net[2], tokens)
    with pytest.raises(NothingRecorded, match="made from"), AttentionRecorder(net):
        net(tokens)


class MyMSA(nn.Module):
    """Brian Pulfer's: a loop over images and heads, each with a map (N, N)."""

    n_heads = 2

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([torch.cat([attend(h) for h in one.chunk(2, -1)], -1) for one in x])


def attend(x: Tensor) -> Tensor:
    return torch.softmax(x @ x.mT, -1) @ x


def test_maps_of_one_image_and_one_head_are_joined_where_their_order_is_known():
    net = nn.Sequential(nn.Identity(), MyMSA())
    x = random(1, 5, 8)
    found = record_of(net, x)
    parts = x.double().unflatten(-1, (2, 4)).transpose(1, 2)
    assert found.shape == (1, 2, 5, 5)
    assert (found.weights() - (parts @ parts.mT).softmax(-1)).abs().max() < 1e-6

    with AttentionRecorder(net) as recorder:
        net(random(3, 5, 8))
    assert [record.shape for record in recorder.records] == [(1, 1, 5, 5)] * 6
    assert "side by side" in explain_no_rollout(recorder.records)


def test_a_method_of_the_net_is_inside_the_net(tokens):
    class Flat(nn.Module):
        def forward_features(this, x: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(x, x, x)

    net = Flat()
    with AttentionRecorder(net) as recorder:
        net.forward_features(tokens)
    assert [record.name for record in recorder.records] == [""]

    def run(net: nn.Module) -> None:
        Flat().forward_features(tokens)

    error = pytest.raises(NothingRecorded, match="outside this Flat")
    with error, AttentionRecorder(net):
        run(net)


def test_probabilities_outside_are_no_attention(net, tokens):
    error = pytest.raises(NothingRecorded, match="No attention was seen")
    with error, AttentionRecorder(linear := nn.Linear(32, 5)):
        linear(tokens)[0].softmax(-1)


def test_modules_are_named_as_torch_names_them():
    shared = nn.Linear(2, 2)
    inner = nn.ModuleDict({"b": nn.Sequential(shared, nn.GELU()), "a": shared})
    net = nn.Sequential(inner, shared, nn.ModuleList([nn.Sequential(nn.Linear(2, 2)), inner]))
    net.nothing = None
    assert named_modules(net) == list(net.named_modules())
    for kind in (VisionTransformer(PRESETS["cs231n"]), nn.TransformerDecoderLayer(8, 2)):
        assert named_modules(kind) == list(kind.named_modules())
