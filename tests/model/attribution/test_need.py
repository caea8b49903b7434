"""What attribution needs: chunks that give the whole, and estimates that follow the sizes."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from model.attribution import trace as trace_module
from model.attribution.need import forward_need, method_need, trace_need
from model.attribution.registry import METHODS, explain
from model.attribution.trace import trace_class
from model.recording.rollout import fuse
from model.vit import build


class LargestTensor(TorchDispatchMode):
    """Notes the largest number of values that one operation returned."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.untyped_storage().nbytes() // 4)
        return result


def net_of(pool, side=64):
    torch.manual_seed(0)
    return build(
        "vit", img_size=side, patch_size=4, dim=32, depth=2, heads=8, num_classes=5, pool=pool
    ).eval()


@pytest.fixture(params=["cls", "mean"])
def trace(request):
    net = net_of(request.param)
    return trace_class(net, torch.rand(2, 3, 64, 64), net.tokens, target=4)


@pytest.mark.parametrize("method", ["attention", "attention_gradcam", "chefer", "legrad"])
def test_maps_in_chunks_never_hold_the_maps_of_all_heads(trace, method, monkeypatch):
    whole = explain(trace, method)
    batch, heads, tokens, keys = trace.records[0].shape
    monkeypatch.setattr(trace_module, "CHUNK", batch * heads * keys * 7)
    with LargestTensor() as seen:
        in_chunks = explain(trace, method)
    assert seen.largest < batch * heads * tokens * keys / 2
    torch.testing.assert_close(in_chunks, whole, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("fusion", ["mean", "max", "min", 3])
def test_attention_of_the_readout_equals_whole_maps_in_double_precision(trace, fusion):
    weights = trace.weights(-1)[:, :, trace.readout_tokens].double()
    fused = weights[:, fusion] if isinstance(fusion, int) else fuse(weights, fusion)
    shares = trace.readout_weights[:, trace.readout_tokens].double()
    expected = trace.patch_map(torch.einsum("bq,bqn->bn", shares, fused))
    found = explain(trace, "attention", head=fusion)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_an_estimate_that_grows_with_the_tokens(method):
    needs = []
    for side in (32, 128):
        net = net_of("cls", side)
        trace = trace_class(net, torch.rand(1, 3, side, side), net.tokens, target=0)
        needs.append(method_need(trace, method))
    small, large = needs
    assert small.bytes <= large.bytes and small.seconds <= large.seconds


def test_the_faults_of_the_tool_need_all_maps_at_once(trace):
    values = sum(record.shape[1] * record.shape[2] * record.shape[3] for record in trace.records)
    for method, copies in (("rollout", 1), ("gradient_rollout", 2)):
        assert method_need(trace, method, compat="vit-explain").bytes >= 4 * copies * values


def test_a_pass_back_needs_more_than_a_pass_forward():
    net = net_of("cls")
    forward, back = forward_need(net, 257), trace_need(net, 257)
    assert back.bytes > forward.bytes and back.seconds > forward.seconds
    assert (forward * 3).seconds == pytest.approx(3 * forward.seconds)
