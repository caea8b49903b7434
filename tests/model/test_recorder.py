"""The recorder against attention written out, torch's own kernels, and autograd."""

from __future__ import annotations

import gc
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

import model.recording_maps
from model.attention import MultiHeadAttention
from model.recorder import AttentionRecord, AttentionRecorder, NothingRecorded
from model.recording_tap import named_modules
from model.vit import PRESETS, VisionTransformer


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
    "one query may look nowhere": torch.tensor([True, False, True, True, True])[:, None].expand(
        5, 6
    ),
    "one query may look nowhere, in numbers": torch.tensor([0, -torch.inf, 0, 0, 0])[:, None],
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
            patch.setattr(model.recording_maps, "CHUNK", 2 * 4 * 7 * 3)
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


def test_modules_are_named_as_torch_names_them():
    shared = nn.Linear(2, 2)
    inner = nn.ModuleDict({"b": nn.Sequential(shared, nn.GELU()), "a": shared})
    net = nn.Sequential(inner, shared, nn.ModuleList([nn.Sequential(nn.Linear(2, 2)), inner]))
    net.nothing = None
    assert list(named_modules(net)) == list(net.named_modules())
    for kind in (VisionTransformer(PRESETS["cs231n"]), nn.TransformerDecoderLayer(8, 2)):
        assert list(named_modules(kind)) == list(kind.named_modules())
