"""Interventions on every family of models that the recorder is tested on."""

from __future__ import annotations

import copy

import pytest
import torch

from model import AttentionRecorder
from model.errors import InterventionRefused
from model.intervention import intervene
from model.intervention.structure import attention_names, attention_projection, mlp_projection
from model.nets.torchvision_cpu import ensure_operators
from tests.model.recording.test_families import CASES, largest, tensors, with_sharp_attention

families = pytest.mark.parametrize(
    "case", [pytest.param(c, id=c.family.replace(" ", "-")) for c in CASES]
)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def opened(case):
    ensure_operators()
    pytest.importorskip(case.package)
    torch.manual_seed(0)
    net = with_sharp_attention(case.build().eval())
    with AttentionRecorder(net) as recorder:
        plain = case.run(net)
    return net, plain, recorder.records


def difference(case, net, plain, **changes):
    """The largest difference of the output, relative to its largest value."""
    with intervene(net, **changes):
        changed = case.run(net)
    pairs = list(zip(tensors(changed), tensors(plain), strict=True))
    return max(largest(a - b) / max(1.0, largest(b)) for a, b in pairs)


@pytest.mark.hubs
@families
def test_a_head_off_subtracts_its_term(case):
    net, plain, records = opened(case)
    assert [*dict.fromkeys(r.name for r in records)] == attention_names(net)
    for layer, record in enumerate(records):
        if record.origin.stacked:
            with pytest.raises(InterventionRefused, match="one image at a time"):
                difference(case, net, plain, heads_off={layer: [0]})
            continue
        heads, head = record.shape[1], 1
        changed = copy.deepcopy(net)
        weight = attention_projection(changed, record.name)
        weight.unflatten(1, (heads, -1))[:, head] = 0
        wanted = case.run(changed)
        assert difference(case, net, wanted, heads_off={layer: [head]}) < 1e-5
        assert difference(case, net, plain, heads_off={layer: [head]}) > 1e-7


@pytest.mark.hubs
@families
def test_an_even_map_is_recorded_as_even(case):
    net, _, _ = opened(case)
    with intervene(net, maps={0: "uniform"}), AttentionRecorder(net) as recorder:
        case.run(net)
    weights = recorder.records[0].weights()
    allowed = weights > 1e-20
    even = allowed / allowed.sum(-1, keepdim=True)
    torch.testing.assert_close(weights, even.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.hubs
@families
@pytest.mark.parametrize("sublayer", ["attention", "mlp"])
def test_a_skipped_sublayer_adds_nothing(case, sublayer):
    net, _, records = opened(case)
    find = attention_projection if sublayer == "attention" else mlp_projection
    if case.package == "vit_pytorch" and sublayer == "mlp":
        with pytest.raises(InterventionRefused, match="no module of its own"):
            intervene(net, skip={0: sublayer})
        return
    silent = copy.deepcopy(net)
    weight = find(silent, records[0].name)
    module = next(m for m in silent.modules() if getattr(m, "weight", None) is weight)
    for parameter in module.parameters():
        parameter.zero_()
    assert difference(case, net, case.run(silent), skip={0: sublayer}) < 1e-6
