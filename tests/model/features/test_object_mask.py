"""TokenCut against a dense computation, and on planted objects."""

import numpy as np
import torch
from scipy import linalg

from model.features.object_mask import first_component_mask, second_eigenvector, token_cut_mask


def planted(rows=6, columns=8):
    """Patches of one direction, and a block of another, each with a little noise."""
    inside = torch.zeros(rows, columns, dtype=torch.bool)
    inside[2:4, 3:6] = True
    directions = torch.where(inside.flatten()[:, None], torch.eye(5)[0], torch.eye(5)[1])
    noise = 0.05 * torch.randn(rows * columns, 5, generator=torch.Generator().manual_seed(1))
    return (directions + noise)[None], inside


def test_the_eigenvector_is_that_of_a_dense_computation():
    keys = torch.randn(2, 24, 3, generator=torch.Generator().manual_seed(2))
    for image, found in zip(keys.double().numpy(), second_eigenvector(keys).numpy(), strict=True):
        unit = image / np.linalg.norm(image, axis=1, keepdims=True)
        weights = np.where(unit @ unit.T > 0.2, 1.0, 1e-5)
        degrees = np.diag(weights.sum(1))
        values, vectors = linalg.eig(degrees - weights, degrees)  # general, all of them
        second = np.argsort(values.real)[1]
        wanted = vectors[:, second].real
        wanted /= (wanted @ degrees @ wanted) ** 0.5
        wanted *= np.sign(wanted[np.abs(wanted).argmax()])
        np.testing.assert_allclose(found, wanted, atol=1e-9)
        np.testing.assert_allclose(
            (degrees - weights) @ found, values[second].real * degrees @ found, atol=1e-12
        )


def test_a_planted_object_is_found():
    keys, inside = planted()
    assert torch.equal(token_cut_mask(keys, (6, 8))[0], inside)
    assert torch.equal(first_component_mask(keys, (6, 8))[0], inside)
    assert torch.equal(first_component_mask(-keys, (6, 8))[0], inside)


def test_only_the_part_around_the_peak_is_the_object():
    keys, inside = planted()
    keys[0, 0] = keys[0, inside.flatten()][0]  # alike, but in the corner
    corner = torch.zeros_like(inside)
    corner[0, 0] = True
    found = token_cut_mask(keys, (6, 8))[0]
    assert torch.equal(found, inside) or torch.equal(found, corner)
