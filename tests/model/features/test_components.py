"""Principal components against numpy's SVD."""

import numpy as np
import pytest
import torch

from model.features import principal_components
from model.features.components import find_components


@pytest.mark.parametrize(("n", "d"), [(50, 12), (12, 50), (3, 3)])
def test_they_are_those_of_numpy(n, d):
    vectors = torch.randn(n, d, generator=torch.Generator().manual_seed(1))
    found = find_components(vectors, 5)
    centred = vectors.double().numpy() - vectors.double().numpy().mean(0)
    _, sizes, right = np.linalg.svd(centred, full_matrices=False)
    count = min(5, n, d)
    assert found.directions.shape == (count, d)
    np.testing.assert_allclose(found.shares, (sizes**2 / (sizes**2).sum())[:count], atol=1e-12)
    solid = count - (n <= 5)  # the last direction of as many centred vectors is of no size
    agreement = np.abs((found.directions.numpy() * right[:count]).sum(1))
    np.testing.assert_allclose(agreement[:solid], 1, atol=1e-9)
    np.testing.assert_allclose(
        found.coordinates(vectors), centred @ found.directions.numpy().T, atol=1e-5
    )


def test_signs_do_not_flip_from_run_to_run():
    vectors = torch.randn(20, 6, generator=torch.Generator().manual_seed(2))
    directions = find_components(vectors, 6).directions
    torch.testing.assert_close(directions, find_components(-vectors, 6).directions)
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()


def test_equal_vectors_have_no_direction_of_any_share():
    found = find_components(torch.ones(4, 3), 2)
    assert found.coordinates(torch.ones(4, 3)).abs().max() == 0 and found.shares.isfinite().all()


def test_other_shapes_are_sentences():
    with pytest.raises(ValueError, match="n vectors of d numbers"):
        find_components(torch.ones(4), 2)
    with pytest.raises(ValueError, match=r"\(B, N, D\)"):
        principal_components(torch.ones(4, 2))


def test_images_of_a_batch_share_one_fit():
    tokens = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(3))
    vectors = tokens.reshape(18, 5).double().numpy()
    centred = vectors - vectors.mean(0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    sign = np.sign(right[np.arange(3), np.abs(right[:3]).argmax(1)])
    wanted = (left * sizes)[:, :3] * sign
    np.testing.assert_allclose(
        principal_components(tokens).reshape(18, 3).numpy(), wanted, atol=1e-5
    )


def test_components_that_there_are_not_are_zero():
    found = principal_components(torch.rand(1, 6, 2), count=4)
    assert found.shape == (1, 6, 4) and not found[..., 2:].any() and found[..., :2].any()
