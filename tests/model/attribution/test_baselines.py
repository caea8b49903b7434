"""What stands in for a part of a picture."""

from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter

from model.attribution.baselines import make_baseline
from model.preprocessing import blur
from model.tokens import TokenLayout

LAYOUT = TokenLayout((4, 6), patch=(4, 4))


def test_blur_is_a_gaussian():
    image = torch.rand(
        1, 2, 16, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    found = blur(image, 2.0)
    for channel in range(2):
        expected = gaussian_filter(image[0, channel].numpy(), 2.0, mode="nearest", truncate=3.0)
        torch.testing.assert_close(found[0, channel], torch.from_numpy(expected))


def test_a_blurred_picture_keeps_its_colour():
    image = torch.full((1, 3, 16, 24), 0.7)
    torch.testing.assert_close(make_baseline(image, "blurred", LAYOUT), image)
    assert not make_baseline(image, "zeroed", LAYOUT).any()
    with pytest.raises(ValueError, match="zeroed"):
        make_baseline(image, "black", LAYOUT)
