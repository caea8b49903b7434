import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.nets.vit import build
from model.training import optimisers
from model.training.muon import Muon, orthogonalise
from model.training.recipe import Optimiser

SMALL = dict(img_size=16, patch_size=4, num_classes=3, dim=16, depth=2, heads=2)


def weights(*shape, seed=0):
    torch.manual_seed(seed)
    return [torch.nn.Parameter(0.1 * torch.randn(shape)) for _ in range(2)]


def steps(optimiser, parameters, count=5):
    for step in range(count):
        torch.manual_seed(100 + step)
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimiser.step()


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(4, 60), columns=st.integers(4, 60), scale=st.sampled_from([1e-4, 1, 1e4]))
def test_every_direction_gets_a_step_of_nearly_the_same_size(rows, columns, scale):
    random = torch.Generator().manual_seed(64 * rows + columns)
    u, _, v = torch.linalg.svd(torch.randn(rows, columns, generator=random), full_matrices=False)
    stretched = scale * u @ torch.diag(torch.linspace(0.2, 1, u.shape[1])) @ v
    sizes = torch.linalg.svdvals(orthogonalise(stretched[None]))
    assert sizes.min() > 0.6 and sizes.max() < 1.3


@pytest.mark.parametrize("shape", [(24, 24), (48, 24), (24, 48)])
def test_a_matrix_moves_as_with_torchs_own_muon(shape):
    ours, theirs = weights(*shape), weights(*shape)
    group = {"params": ours, "orthogonal": True}
    steps(Muon([group], lr=0.02, weight_decay=0.1), ours)
    reference = torch.optim.Muon(
        theirs, lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    steps(reference, theirs)
    for start, a, b in zip(weights(*shape), ours, theirs, strict=True):
        assert (a - b).norm() < 0.02 * (a - start).norm()  # theirs works in bfloat16


def test_filters_are_rows_of_a_matrix():
    filters, rows = weights(8, 3, 2, 2), weights(8, 12)
    for parameter in (filters, rows):
        steps(Muon([{"params": parameter, "orthogonal": True}], lr=0.02), parameter, count=1)
    torch.manual_seed(0)
    starts = [0.1 * torch.randn(8, 12) for _ in range(2)]
    moves = [w.detach().flatten(1) - s for w, s in zip(filters, starts, strict=True)]
    expected = [w.detach() - s for w, s in zip(rows, starts, strict=True)]
    for move, wanted in zip(moves, expected, strict=True):
        torch.testing.assert_close(move, wanted)


def test_what_is_no_matrix_moves_as_with_adamw():
    ours, theirs = weights(7), weights(7)
    steps(Muon(ours, lr=0.02, weight_decay=0.1, betas=(0.9, 0.98)), ours)
    steps(torch.optim.AdamW(theirs, lr=0.02, weight_decay=0.1, betas=(0.9, 0.98)), theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_recipe_turns_the_weights_between_hidden_features_only():
    net = build("vit", **SMALL, embed="stem", stem=[8, 16])
    groups = optimisers.make_optimiser(net, Optimiser("muon", weight_decay=0.1)).param_groups
    inside = {id(p) for g in groups if g.get("orthogonal") for p in g["params"]}
    found = {name for name, p in net.named_parameters() if id(p) in inside}
    parts = ("attention.query", "attention.key", "attention.value", "attention.proj")
    parts += ("mlp.fc1", "mlp.fc2")
    blocks = {f"blocks.{i}.{part}.weight" for i in range(2) for part in parts}
    assert found == blocks | {"embed.stages.1.0.weight", "embed.proj.weight"}
    assert sum(len(g["params"]) for g in groups) == len(list(net.parameters()))


def test_a_step_taken_up_again_is_the_same_to_the_bit():
    parameters = weights(12, 8)
    optimiser = Muon([{"params": parameters, "orthogonal": True}], lr=0.02)
    steps(optimiser, parameters, count=2)
    kept = copy.deepcopy(optimiser.state_dict())
    copies = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
    resumed = Muon([{"params": copies, "orthogonal": True}], lr=0.02)
    resumed.load_state_dict(kept)
    for each, own in ((optimiser, parameters), (resumed, copies)):
        steps(each, own, count=1)
    assert all(torch.equal(a, b) for a, b in zip(parameters, copies, strict=True))
