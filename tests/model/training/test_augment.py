import torch
from hypothesis import given
from hypothesis import strategies as st

from model.training import augment

IMAGES = torch.arange(2 * 3 * 5 * 7, dtype=torch.uint8).reshape(2, 3, 5, 7)


@given(seed=st.integers(0, 2**32 - 1), padding=st.integers(1, 4))
def test_a_crop_is_one_of_the_windows(seed, padding):
    torch.manual_seed(seed)
    cropped = augment.crop(IMAGES, padding)
    padded = torch.nn.functional.pad(IMAGES.float(), [padding] * 4, mode="reflect").byte()
    for picture, whole in zip(cropped, padded, strict=True):
        windows = whole.unfold(1, 5, 1).unfold(2, 7, 1)  # (C, rows, columns, 5, 7)
        windows = windows.permute(1, 2, 0, 3, 4).flatten(0, 1)
        assert any(torch.equal(picture, window) for window in windows)


def test_every_shift_happens():
    torch.manual_seed(0)
    many = IMAGES[:1].expand(500, -1, -1, -1)
    assert len({bytes(p.numpy()) for p in augment.crop(many, 1)}) == 9


def test_flip_mirrors_about_half():
    torch.manual_seed(0)
    many = IMAGES[:1].expand(400, -1, -1, -1)
    flipped = augment.flip(many)
    mirrored = (flipped == many.flip(-1)).all((1, 2, 3))
    assert ((flipped == many).all((1, 2, 3)) ^ mirrored).all()
    assert 150 < mirrored.sum() < 250


def test_colour_stays_in_range_and_grey_stays_grey():
    torch.manual_seed(0)
    images = torch.rand(50, 3, 4, 4)
    varied = augment.colour(images, 0.5)
    assert varied.min() >= 0
    assert varied.max() <= 1
    assert torch.equal(augment.colour(images, 0.0), images)
    grey = augment.colour(images.mean(1, keepdim=True).expand(-1, 3, -1, -1), 0.5)
    torch.testing.assert_close(grey[:, 0], grey[:, 2])


def test_erasing_takes_one_box_of_the_area_asked_for():
    torch.manual_seed(0)
    images = torch.full((300, 1, 32, 32), 9.0)  # noise is never 9
    changed = (augment.erase(images, 0.5) != images)[:, 0]
    chosen = changed.flatten(1).any(1)
    assert 100 < chosen.sum() < 200
    for mask in changed[chosen]:
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns)
        assert mask.float().mean() < 0.45
    assert torch.equal(augment.erase(images, 0.0), images)


def test_mixing_makes_soft_labels():
    torch.manual_seed(0)
    mix = augment.make_mixer(0.8, 1.0, classes=4)
    images, labels = mix(torch.rand(8, 3, 4, 4), torch.arange(8) % 4)
    assert images.shape == (8, 3, 4, 4)
    torch.testing.assert_close(labels.sum(1), torch.ones(8))
    assert augment.make_mixer(0.0, 0.0, 4) is None


def test_zoom_shows_a_window_of_the_picture():
    rows = torch.linspace(0, 1, 64)[:, None].expand(64, 64)
    images = torch.stack((rows, rows.T, rows))[None].repeat(40, 1, 1, 1)
    torch.manual_seed(0)
    zoomed = augment.zoom(images, 0.25)
    assert zoomed.shape == images.shape
    # The share of the side that is seen, from the slopes down and across.
    down = (zoomed[:, 0, 48, 32] - zoomed[:, 0, 16, 32]) / (rows[48, 0] - rows[16, 0])
    across = (zoomed[:, 1, 32, 48] - zoomed[:, 1, 32, 16]) / (rows[48, 0] - rows[16, 0])
    assert torch.allclose(down, across, atol=1e-3)
    assert 0.5 <= down.min() < 0.6 and 0.9 < down.max() <= 1.001
    assert zoomed.min() >= 0 and zoomed.max() <= 1
    assert torch.allclose(augment.zoom(images, 1.0), images, atol=1e-5)


def test_half_of_the_pictures_are_turned_about_their_middle():
    torch.manual_seed(0)
    ramp = torch.linspace(-1, 1, 33).expand(400, 1, 33, 33)
    turned = augment.turn(ramp, 20)
    same = (turned == ramp).flatten(1).all(1)
    assert 150 < same.sum() < 250
    assert turned[:, 0, 16, 16].abs().max() < 1e-5
    slope = turned[~same, 0, 20, 16] - turned[~same, 0, 12, 16]
    slope /= turned[~same, 0, 16, 20] - turned[~same, 0, 16, 12]
    angles = slope.atan().rad2deg()
    assert angles.min() < -15 and angles.max() > 15
    assert angles.abs().max() < 2 * 20 + 1


def test_a_turn_without_leaning_keeps_lengths(monkeypatch):
    """A quarter turn, to the pixel: what torch.rot90 gives."""
    picture = torch.rand(1, 3, 8, 8)
    draws = iter([torch.tensor([[1.0], [0.5]]), torch.zeros(1, 1, 1, 1)])  # angle, no lean; chosen
    monkeypatch.setattr(torch, "rand", lambda *shape, device: next(draws))
    turned = augment.turn(picture, 90)
    torch.testing.assert_close(turned, picture.rot90(1, (2, 3)), atol=1e-5, rtol=0)
