import pytest
import torch

from model.analysis.head_measures import measure_layers
from model.nets.vit import build
from model.recording.recorder import AttentionRecorder

SMALL = dict(img_size=32, patch_size=4, num_classes=3, dim=48, depth=3, heads=4)


def mimetic(**overrides):
    torch.manual_seed(0)
    return build("vit", **SMALL, init="mimetic", **overrides).eval()


def share_of_identity(product):
    """Mean of the diagonal, and of all else."""
    off = product - torch.diag(product.diagonal())
    return product.diagonal().mean().item(), off.abs().mean().item()


def test_queries_meet_keys_near_the_identity_and_values_leave_near_its_negative():
    for block in mimetic().blocks:
        at = block.attention
        products = at.query.weight.unflatten(0, (4, 12)).mT @ at.key.weight.unflatten(0, (4, 12))
        diagonal, rest = share_of_identity(products.mean(0))
        assert diagonal > 3 * rest
        diagonal, rest = share_of_identity(at.proj.weight @ at.value.weight)
        assert -0.5 < diagonal < -0.3 and rest < 0.1  # full rank: -0.4 on the diagonal, as asked


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "none"])
def test_a_new_net_looks_near_only_where_it_begins_so(positions):
    images = torch.randn(4, 3, 32, 32)
    nets = mimetic(positions=positions), build("vit", **SMALL, positions=positions).eval()
    near, anywhere = (mean_distance(net, images) for net in nets)
    assert near < 0.85 * anywhere


def mean_distance(net, images):
    with torch.inference_mode(), AttentionRecorder(net) as recorder:
        net(images)
    return measure_layers(recorder.records, net.tokens)["distance"][0].mean().item()


def test_the_class_token_gets_no_wave():
    plain, net = build("vit", **SMALL), mimetic()
    assert net.positions.code.shape == plain.positions.code.shape
    assert net.positions.code[0].abs().max() < 0.05
    waves = net.positions.code[1:].unflatten(0, (8, 8))
    torch.testing.assert_close(waves[:, 0, :24], waves[:, 5, :24])  # one half holds the row,
    torch.testing.assert_close(waves[0, :, 24:], waves[5, :, 24:])  # the other the column
