"""One pass forward and back: ∂y/∂A against explicit maps in the graph, and finite differences."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import nn

from model.attribution.trace import anchors_of, class_score, trace_class
from model.nets.shared_weights import copy_sharing_weights
from model.nets.vit import VisionTransformer, build
from model.recording.recorder import AttentionRecorder
from model.tokens import TokenLayout
from tests.model import eager

VARIANTS = {
    "cls": {},
    "registers": {"registers": 2},
    "mean": {"pool": "mean"},
    "mean of all": {"pool": "mean_all"},
    "post-norm": {"pool": "mean", "cls_token": False, "norm": "post", "final_norm": False},
}


def tiny(**overrides):
    """A small net on 16 x 24 pixels whose attention is far from even."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings = {"img_size": (16, 24), "patch_size": 8, "dim": 12, "depth": 3, "heads": 3}
        net = build("vit", **(settings | {"num_classes": 5} | overrides)).eval()
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return net


def photos(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 16, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=[name for name in VARIANTS if name != "registers"])
def net(request):
    return tiny(**VARIANTS[request.param])


def test_the_gradient_of_a_map_is_that_through_an_explicit_one(net):
    net.double()
    trace = trace_class(net, photos().double(), net.tokens, [3, 1])
    maps, gradients = eager.gradients(net, photos().double(), [3, 1])
    for layer in range(trace.depth):
        torch.testing.assert_close(trace.weights(layer).double(), maps[layer], atol=1e-6, rtol=0)
        torch.testing.assert_close(
            trace.gradient(layer).double(), gradients[layer], atol=1e-6, rtol=1e-5
        )


def test_the_gradient_of_a_map_is_that_of_finite_differences():
    net = tiny()
    trace = trace_class(net, photos(1), net.tokens, 2)
    double, step = copy.deepcopy(net).double(), 1e-6
    for layer, head, query, key in ((0, 1, 3, 5), (1, 0, 0, 2), (2, 2, 0, 6)):
        nudge = torch.zeros(1, 3, 7, 7, dtype=torch.float64)
        nudge[0, head, query, key] = step
        up, down = (
            eager.forward(double, photos(1).double(), {layer: sign * nudge})[0][0, 2]
            for sign in (1, -1)
        )
        slope = float((up - down).detach() / (2 * step))
        assert float(trace.gradient(layer)[0, head, query, key]) == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize(
    ("variant", "readers"),
    [
        ("cls", [0]),
        ("registers", [0]),
        ("mean", [1, 2, 3, 4, 5, 6]),
        ("mean of all", [0, 1, 2, 3, 4, 5, 6]),
        ("post-norm", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_the_tokens_that_the_score_is_read_from(variant, readers):
    net = tiny(**VARIANTS[variant])
    trace = trace_class(net, photos(), net.tokens, 0)
    assert trace.readout_tokens == readers
    shares = torch.zeros(2, trace.layout.tokens)
    shares[:, readers] = 1 / len(readers)
    torch.testing.assert_close(trace.readout_weights, shares)


class TwoKinds(VisionTransformer):
    """As DINOv2 classifies: by the class token beside the mean of the patches."""

    def __init__(self, config, both: torch.Tensor) -> None:
        super().__init__(config)
        self.both = torch.nn.Parameter(both)  # (2, classes, dim)

    def forward(self, images):
        tokens = self.norm(self.encode(images))
        of_class, of_patches = self.both
        return tokens[:, 0] @ of_class.T + tokens[:, 1:].mean(1) @ of_patches.T


def test_a_head_that_reads_two_kinds_weighs_each_as_it_does():
    """∂y/∂t is a class's row of the head: that of the class token, or a patch's share of its."""
    both = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(2))
    net = TwoKinds(tiny().config, both).eval()
    net.load_state_dict(tiny().state_dict(), strict=False)
    trace = trace_class(net, photos(), net.tokens, [3, 1])
    lengths = both.double().norm(dim=2)[:, [3, 1]]
    of_class = lengths[0] / lengths.sum(0)
    torch.testing.assert_close(trace.readout_weights[:, 0].double(), of_class, atol=1e-6, rtol=0)
    patches = ((1 - of_class) / 6)[:, None].expand(-1, 6)
    torch.testing.assert_close(trace.readout_weights[:, 1:].double(), patches, atol=1e-6, rtol=0)


def test_a_score_that_depends_on_nothing_has_zero_gradients():
    net = tiny()
    trace = trace_class(net, photos(), net.tokens, lambda logits: torch.zeros(len(logits)))
    assert all(not gradient.any() for gradient in trace.gradients)
    assert trace.readout_tokens == [0]


def test_any_function_of_the_output_is_a_score():
    net = tiny()
    difference = trace_class(net, photos(), net.tokens, lambda logits: logits[:, 1] - logits[:, 2])
    one, other = (trace_class(net, photos(), net.tokens, c) for c in (1, 2))
    torch.testing.assert_close(
        difference.gradient(1), one.gradient(1) - other.gradient(1), atol=1e-6, rtol=1e-4
    )


def test_images_do_not_mix():
    net = tiny()
    batch = trace_class(net, photos(3), net.tokens, [0, 1, 2])
    for i in range(3):
        alone = trace_class(net, photos(3)[i : i + 1], net.tokens, i)
        torch.testing.assert_close(alone.gradient(0)[0], batch.gradient(0)[i])
        torch.testing.assert_close(alone.token_gradient[0], batch.token_gradient[i])


def test_the_net_stays_as_it_is_and_no_graph_is_kept():
    net = tiny()
    net.requires_grad_(False)
    with torch.inference_mode():
        images = photos()
    trace = trace_class(net, images.clone(), net.tokens, 1)
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in net.modules())
    held = [trace.tokens, trace.output, *trace.gradients]
    held += [tensor for record in trace.records for tensor in record.tensors()]
    assert not any(tensor.requires_grad for tensor in held)
    assert trace.nbytes > 0


def test_a_twin_shares_the_parameters_and_not_the_hooks():
    net = tiny()
    double = copy_sharing_weights(net)
    double.blocks[0].register_forward_hook(lambda *_: pytest.fail("the net's own pass was seen"))
    net(photos())
    pairs = zip(net.parameters(), double.parameters(), strict=True)
    assert all(own is shared for own, shared in pairs)


def test_two_threads_trace_one_net():
    net = tiny()
    expected = [trace_class(net, photos(), net.tokens, c).gradient(0) for c in range(4)]
    found = {}

    def work(target: int) -> None:
        found[target] = trace_class(net, photos(), net.tokens, target).gradient(0)

    threads = [threading.Thread(target=work, args=(c,)) for c in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for target, gradient in enumerate(expected):
        torch.testing.assert_close(found[target], gradient)


def test_class_scores():
    logits = torch.arange(6.0).reshape(2, 3)
    assert class_score(1)(logits).tolist() == [1.0, 4.0]
    assert class_score([2, 0])(logits).tolist() == [2.0, 3.0]


class HeadsFirst(nn.Module):
    """Reads image i from its token i, through maps (H, B, N, N)."""

    num_heads = 3

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.head = nn.Linear(12, 36), nn.Linear(12, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = images.flatten(2).mT.repeat(1, 1, 4)
        query, key, value = (
            part.unflatten(-1, (3, 4)).permute(2, 0, 1, 3)
            for part in self.qkv(tokens).chunk(3, dim=-1)
        )
        mixed = (query @ key.mT / 2).softmax(-1) @ value
        return self.head(mixed.permute(1, 2, 0, 3).flatten(2).diagonal().mT)


def test_the_token_that_is_read_is_found_where_heads_come_first():
    torch.manual_seed(0)
    trace = trace_class(HeadsFirst(), torch.randn(2, 3, 2, 3), TokenLayout((2, 3)), 0)
    assert trace.records[0].arrangement is not None and trace.records[0].shape == (2, 3, 6, 6)
    assert torch.equal(trace.readout_weights, torch.eye(2, 6))


def test_a_layer_without_gradients_is_a_sentence():
    net = tiny()
    with torch.no_grad(), AttentionRecorder(net) as recorder:
        net(photos())
    with pytest.raises(ValueError, match="No gradient flows through the attention of"):
        anchors_of(recorder.records)


def test_maps_leave_out_the_tokens_before_the_patches():
    net = tiny(registers=2)
    trace = trace_class(net, photos(), net.tokens, 1)
    tokens = torch.arange(9.0).expand(2, -1)
    assert trace.patch_map(tokens)[0].tolist() == [[3, 4, 5], [6, 7, 8]]
    rows = torch.stack((tokens, tokens + 1), 1)[:, : len(trace.readout_tokens)]
    torch.testing.assert_close(trace.mean_over_readout(rows), tokens)
