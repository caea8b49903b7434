"""One HTML file: its policy, its size, its text, and that it is written whole or not at all."""

import base64
import re
from hashlib import sha256
from html.parser import HTMLParser

import numpy as np
import pytest

from model import zoo
from model.datasets import samples
from viz.components.payload import pack, photo_bytes
from viz.notebook import show
from viz.standalone import Figure, FigurePart, FigureTooLarge, export_html, file_size
from viz.standalone.figure import LARGEST
from viz.standalone.views import Recorded, Start, explore_figure

MARKUP = "</title></script><script>alert(1)</script><img src=x onerror=alert(2)>"


class Elements(HTMLParser):
    """The elements of a file, each with its attributes, and the text of those asked for."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.found:
            tag, attributes = self.found[-1]
            key = tag if "data-name" not in attributes else "packed"
            self.text[key] = self.text.get(key, "") + data


def random_recorded(layers: int, heads: int, side: int, width: int) -> Recorded:
    """Queries and keys that no method of compression shrinks, and the cat."""
    draw = np.random.default_rng(0)
    tokens = side * side + 1
    packed = [
        pack(
            {"kind": "qk", "dim": width, "scale": 0.1, "heads": heads, "tokens": tokens},
            query=draw.normal(size=(heads, tokens, width)).astype(np.float16),
            key=draw.normal(size=(heads, tokens, width)).astype(np.float16),
        )
        for _ in range(layers)
    ]
    return Recorded(
        photo=photo_bytes(samples.load("chelsea")),
        layers=packed,
        shapes=[(heads, side, side)] * layers,
        numbers=list(range(1, layers + 1)),
        prefix=["cls"],
        guesses=[(MARKUP, 1.0)],
        model=MARKUP,
    )


@pytest.fixture(scope="module")
def small() -> Figure:
    return explore_figure(random_recorded(2, 2, 4, 8), Start(), MARKUP, [MARKUP])


def test_the_policy_allows_the_files_own_script_and_style_alone(small, tmp_path):
    page = export_html(small, tmp_path / "small.html").read_text()
    elements = Elements(page)
    policies = [a["content"] for tag, a in elements.found if a.get("http-equiv")]
    assert len(policies) == 1
    rules = dict(rule.split(" ", 1) for rule in policies[0].split("; "))
    assert rules["default-src"] == "'none'"
    for name in ("script", "style"):
        text = re.search(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)[1]
        digest = base64.b64encode(sha256(text.encode()).digest()).decode()
        assert rules[f"{name}-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in policies[0]


def test_text_from_outside_is_text(small, tmp_path):
    elements = Elements(export_html(small, tmp_path / "small.html").read_text())
    assert elements.text["title"].strip() == MARKUP
    assert elements.text["h1"] == MARKUP
    assert not [tag for tag, _ in elements.found if tag in ("img", "link", "iframe", "object")]
    scripts = [attributes for tag, attributes in elements.found if tag == "script"]
    running = [attributes for attributes in scripts if "type" not in attributes]
    assert running == [{}], "one script runs, and it has no address"


def test_the_size_told_before_is_never_less(small, tmp_path):
    path = export_html(small, tmp_path / "small.html")
    assert path.stat().st_size <= file_size(small) < 2 * path.stat().st_size


def test_vit_b16_with_all_layers_takes_eleven_megabytes(tmp_path):
    figure = explore_figure(random_recorded(12, 12, 14, 64), Start(), "ViT-B/16")
    size = export_html(figure, tmp_path / "b16.html").stat().st_size
    print(f"ViT-B/16: {size / 1e6:.1f} MB")
    assert size <= 11e6


def test_the_apps_first_model_takes_three_megabytes(tmp_path):
    shown = show(zoo.load(zoo.names()[0]), samples.load("coffee"))
    size = export_html(shown, tmp_path / "first.html").stat().st_size
    print(f"{zoo.names()[0]}: {size / 1e6:.1f} MB")
    assert size <= 3e6


def test_a_caption_of_twelve_words_takes_two_megabytes(tmp_path):
    bundle = zoo.load("flickr8k-captioner")
    text = "a brown dog runs through the green grass with a red ball"
    caption = bundle.score(samples.load("chelsea"), text)
    assert len(caption.words) == 12
    size = export_html(show(caption), tmp_path / "caption.html").stat().st_size
    print(f"12 words: {size / 1e6:.2f} MB")
    assert size <= 2e6


def test_what_fails_leaves_the_file_that_was_there(small, tmp_path):
    path = tmp_path / "there.html"
    path.write_text("before")
    large = Figure("large", [FigurePart("overlay", bytes(LARGEST + 1))])
    with pytest.raises(FigureTooLarge, match=r"67 MB.*layers=\[0, 5, 11\]"):
        export_html(large, path)
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - each system has its own words
        export_html(small, tmp_path / "folder.html")
    with pytest.raises(FileNotFoundError):
        export_html(small, tmp_path / "missing" / "small.html")
    assert path.read_text() == "before"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder.html", "there.html"]


def test_only_a_figure_is_written(tmp_path):
    with pytest.raises(TypeError, match=r"viz\.notebook\.show"):
        export_html("a figure", tmp_path / "small.html")
