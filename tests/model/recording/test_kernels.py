"""A net with fused attention alone is recorded without a function mode, and nothing is missed."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from model.errors import NothingRecorded
from model.intervention import intervene
from model.recording import kernels
from model.recording.recorder import AttentionRecorder
from model.recording.structure import structure_of
from model.vit import build


def modes() -> int:
    return torch._C._len_torch_function_stack()


class ManyWays(nn.Module):
    """Two layers of attention, in a way that can be chosen between two calls."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 2
        self.way = self.fused
        self.qkv = nn.ModuleList(nn.Linear(8, 24) for _ in range(2))
        self.modes: list[int] = []
        self.hidden = [nn.MultiheadAttention(8, 2, batch_first=True).eval()]

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        for qkv in self.qkv:
            self.modes.append(modes())
            batch, count, dim = tokens.shape
            split = qkv(tokens).reshape(batch, count, 3, 2, 4).permute(2, 0, 3, 1, 4)
            tokens = tokens + self.way(*split).transpose(1, 2).reshape(batch, count, dim)
        return tokens

    def fused(self, query, key, value):
        return F.scaled_dot_product_attention(query, key, value)

    def by_hand(self, query, key, value):
        return (query @ key.mT / 2).softmax(-1) @ value

    def written_out(self, query, key, value):
        weights = (query @ key.mT / 2).exp()
        return (weights / weights.sum(-1, keepdim=True)) @ value

    def in_place(self, query, key, value):
        return F.scaled_dot_product_attention(query.clone().mul_(1), key, value)

    def one_kernel(self, query, key, value):
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)[0]

    def fast_path(self, query, key, value):
        tokens = query.transpose(1, 2).flatten(2)
        mixed = self.hidden[0](tokens, tokens, tokens, need_weights=False)[0]
        return mixed.unflatten(2, (2, 4)).transpose(1, 2)

    def none(self, query, key, value):
        return value


@pytest.fixture
def net() -> ManyWays:
    return ManyWays().eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randn(2, 5, 8)


def recorded(net: nn.Module, tokens: torch.Tensor) -> AttentionRecorder:
    with AttentionRecorder(net) as recorder:
        net(tokens)
    return recorder


def test_a_second_recording_has_no_mode_and_the_same_records(net, tokens):
    first, second = recorded(net, tokens), recorded(net, tokens)
    assert net.modes == [1, 1, 0, 0]
    for one, other in zip(first.records, second.records, strict=True):
        assert one.origin == other.origin
        assert (one.name, one.kind, one.shape) == (other.name, other.kind, other.shape)
        assert torch.equal(one.weights(), other.weights())
        assert one.anchor.grad_fn is not None and other.anchor.grad_fn is not None
    assert torch._C._dispatch_tls_is_dispatch_key_included(kernels._KEY) is False


@pytest.mark.parametrize("way", ["by_hand", "written_out", "in_place"])
@pytest.mark.parametrize("gradients", [True, False])
def test_a_net_that_attends_in_another_way_than_before_is_recorded_whole(
    net, tokens, way, gradients
):
    with torch.set_grad_enabled(gradients):
        recorded(net, tokens)
        net.way = getattr(net, way)
        output = net(tokens)
        with AttentionRecorder(net) as recorder:
            assert torch.equal(net(tokens), output)
        anew = recorded(net, tokens)  # under the mode from the start
    assert len(recorder.records) == 2 and recorder.not_recorded is None
    for one, other in zip(recorder.records, anew.records, strict=True):
        assert torch.equal(one.weights(), other.weights())
    assert modes() == 0


@pytest.mark.parametrize("way", ["one_kernel", "fast_path"])
def test_attention_inside_one_kernel_is_named(net, tokens, way):
    with torch.inference_mode():
        recorded(net, tokens)
        net.way = getattr(net, way)
        try:
            named = recorded(net, tokens).not_recorded
        except NothingRecorded as error:
            named = str(error)
    assert "computes it inside one kernel" in named


def test_a_net_that_no_longer_attends_is_told_in_true_words(net, tokens):
    recorded(net, tokens)
    net.way = net.none
    with pytest.raises(NothingRecorded, match="attended when it was recorded before"):
        recorded(net, tokens)
    with pytest.raises(NothingRecorded, match="nothing in it called"):
        recorded(net, tokens)


def test_fast_paths_of_torch_are_not_taken():
    net = nn.TransformerEncoderLayer(8, 2, batch_first=True).eval()
    with torch.inference_mode():
        for _ in range(2):
            assert len(recorded(net, torch.randn(1, 3, 8)).records) == 1


def test_an_intervention_inside_the_recording_is_recorded_as_before():
    net = build("vit", img_size=32, dim=48, depth=2, heads=3).eval()
    images = torch.randn(1, 3, 32, 32)
    maps = []
    for _ in range(2):
        with AttentionRecorder(net) as recorder, intervene(net, heads_off={0: [1]}):
            net(images)
        maps.append(recorder.records[1].weights())
    assert torch.equal(*maps)


def test_other_threads_and_errors_leave_nothing_behind(net, tokens):
    recorded(net, tokens)
    counts = []

    def run_beside() -> None:
        net(tokens)
        counts.append(torch._C._dispatch_tls_is_dispatch_key_included(kernels._KEY))

    with AttentionRecorder(net, layers=[]) as recorder:
        net(tokens)
        thread = threading.Thread(target=run_beside)
        thread.start()
        thread.join()
    assert counts == [False] and len(recorder.records) == 0
    with pytest.raises(RuntimeError), AttentionRecorder(net):
        net(tokens[..., :3])
    assert not kernels.watchers()
    assert not torch._C._dispatch_tls_is_dispatch_key_included(kernels._KEY)


def test_two_recorders_of_one_thread_see_the_same(net, tokens):
    recorded(net, tokens)
    with AttentionRecorder(net) as outer, AttentionRecorder(net) as inner:
        net(tokens)
    assert len(outer.records) == len(inner.records) == 2


def test_names_follow_a_net_that_is_rebuilt():
    net = nn.ModuleDict({"left": nn.Linear(2, 2), "right": nn.Sequential(nn.ReLU())})
    known = structure_of(net)
    assert structure_of(net) is known
    net["left"].more = nn.Linear(2, 2)
    added = structure_of(net)
    assert added.names[id(net["left"].more)] == "left.more"
    net["right"][0] = nn.GELU()
    assert structure_of(net).names[id(net["right"][0])] == "right.0"
    net["top"] = net.pop("left")
    renamed = structure_of(net)
    assert renamed.names[id(net["top"].more)] == "top.more"
    assert structure_of(net) is renamed and not renamed.is_compiled
    net["top"]._compiled_call_impl = object()  # as `compile` sets it
    assert structure_of(net).is_compiled
