"""A projector's colours, read from the style sheet of pages, components and files alike."""

import re

import pytest

from viz.components.bundle import FOLDER

COLOR = re.compile(r"--st-([a-z-]+): (#[0-9a-f]{3,6});")
TEXTS = [
    ("text-color", "background-color"),
    ("text-color", "secondary-background-color"),
    ("primary-color", "background-color"),
    ("primary-color", "secondary-background-color"),
    ("link-color", "background-color"),
    ("link-color", "secondary-background-color"),
]
"""What is written on what; what is chosen has the first two exchanged, which changes nothing."""


def colors(scheme: str) -> dict[str, str]:
    sheet = (FOLDER / "shared" / "projector.css").read_text(encoding="utf-8")
    block = re.search(rf'\[data-projector="{scheme}"\] \{{(.*?)\}}', sheet, re.DOTALL)
    assert block
    return dict(COLOR.findall(block[1]))


def luminance(color: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    shares = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return sum(w * s for w, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first: str, second: str) -> float:
    dark, light = sorted(map(luminance, (first, second)))
    return (light + 0.05) / (dark + 0.05)


def test_black_on_white_is_21_to_1():
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777", "#fff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_a_contrast_of_seven_and_every_border_of_three(scheme):
    found = colors(scheme)
    for ink, paper in TEXTS:
        assert contrast(found[ink], found[paper]) >= 7, (ink, paper)
    for paper in ("background-color", "secondary-background-color"):
        assert contrast(found["border-color"], found[paper]) >= 3
