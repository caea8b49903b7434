"""Principal components against numpy's SVD."""

import numpy as np
import pytest
import torch

from model.features.principal_components import principal_components


@pytest.mark.parametrize(("n", "d"), [(50, 12), (12, 50), (3, 3)])
def test_they_are_those_of_numpy(n, d):
    vectors = torch.randn(n, d, generator=torch.Generator().manual_seed(1))
    directions, coordinates, shares = principal_components(vectors, 5)
    centred = vectors.double().numpy() - vectors.double().numpy().mean(0)
    _, sizes, right = np.linalg.svd(centred, full_matrices=False)
    count = min(5, n, d)
    assert directions.shape == (count, d) and coordinates.shape == (n, count)
    np.testing.assert_allclose(shares, (sizes**2 / (sizes**2).sum())[:count], atol=1e-6)
    solid = count - (n <= 5)  # the last direction of as many centred vectors is of no size
    agreement = np.abs((directions.numpy() * right[:count]).sum(1))
    np.testing.assert_allclose(agreement[:solid], 1, atol=1e-5)
    np.testing.assert_allclose(coordinates, centred @ directions.numpy().T, atol=1e-4)


def test_signs_do_not_flip_from_run_to_run():
    vectors = torch.randn(20, 6, generator=torch.Generator().manual_seed(2))
    directions, _, _ = principal_components(vectors, 6)
    mirrored, _, _ = principal_components(-vectors, 6)
    torch.testing.assert_close(directions, mirrored)
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()


def test_equal_vectors_have_no_direction_of_any_share():
    _, coordinates, shares = principal_components(torch.ones(4, 3), 2)
    assert coordinates.abs().max() == 0 and shares.isfinite().all()


def test_other_shapes_are_sentences():
    with pytest.raises(ValueError, match="n vectors of d numbers"):
        principal_components(torch.ones(4), 2)
