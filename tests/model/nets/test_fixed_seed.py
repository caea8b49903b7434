"""A fixed seed gives the same weights, and touches no other random number."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from model.nets.fixed_seed import with_fixed_seed
from model.nets.vit import VisionTransformer, ViTConfig

TINY = ViTConfig(img_size=16, patch_size=8, num_classes=3, dim=16, depth=2, heads=2, mlp_dim=24)


def test_random_weights_leave_the_stream_of_random_numbers_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with_fixed_seed(lambda: VisionTransformer(TINY))
    assert torch.equal(torch.rand(3), expected)


def draws() -> list[torch.Tensor]:
    numbers = [torch.rand(2), torch.randn(3, dtype=torch.float64), torch.randn_like(torch.ones(2))]
    return [*numbers, torch.randint(9, (4,)), torch.randint(3, 9, (4,)), torch.randperm(5)]


def test_random_weights_are_those_of_seed_0():
    torch.manual_seed(0)
    expected = VisionTransformer(TINY)
    found = with_fixed_seed(lambda: VisionTransformer(TINY))
    assert same(expected, found)
    drawn = with_fixed_seed(draws)
    torch.manual_seed(0)
    assert all(torch.equal(a, b) for a, b in zip(drawn, draws(), strict=True))
    with torch.device("meta"):
        assert with_fixed_seed(lambda: VisionTransformer(TINY)).head.weight.is_meta


def test_random_weights_are_the_same_whatever_other_threads_draw():
    alone = with_fixed_seed(lambda: VisionTransformer(TINY))
    together = threading.Barrier(4)

    def build(fixed: bool) -> VisionTransformer:
        together.wait()
        for _ in range(20):
            net = with_fixed_seed(lambda: VisionTransformer(TINY)) if fixed else None
            VisionTransformer(TINY)
            assert not fixed or same(alone, net)
        return net

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(build, [True, True, False, False]))


def same(a: VisionTransformer, b: VisionTransformer) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
