"""What Save gives, in a real browser: the files of a page, and that SVG and PNG show the same."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import settle
from tests.viz.export.test_programs import LONG, QUICK, saved_of  # noqa: F401 - a fixture
from tests.viz.pages.test_export import exports_of, session_of
from viz.export.charts import draw_bars, draw_lines, draw_table
from viz.export.pixels import write_png
from viz.export.svg import write_svg

pytestmark = pytest.mark.browser

MARKUP = "<script>document.title = 'run'</script> & \x00"
CHANGED = "([canvas, before]) => canvas.toDataURL() !== before"
NEAR, FAR_OFF = 4.0, 0.01
"""Of blocks of four pixels by four, which even out how edges are drawn: the mean difference, of
255, and the share that may differ by more than 64."""


def drawings():
    """Drawings with every kind of mark."""
    session = session_of("d2l-fashion-mnist", "coffee", layer=1, head=1, query=9)
    yield from (export.draw() for export in exports_of(session)[:2])
    steps = np.arange(6)
    yield draw_lines({"one": (steps, steps**2), MARKUP: (steps, 3 * steps)}, "layer", "bits")
    yield draw_bars(["cat", MARKUP], {"Before": [0.7, 0.1], "After": [0.2, 0.3]}, ["A caption"])
    yield draw_table(steps.reshape(2, 3).astype(float), ["a", "b"], ["x", "y", "z"], unit="bits")


def assert_same(page, drawing, folder, name, width=700):
    """Draw a picture as SVG in a browser, and compare it with its PNG."""
    file = folder / "picture.svg"
    file.write_bytes(write_svg(drawing, width, MARKUP))
    wanted = Image.open(io.BytesIO(write_png(drawing, width)))
    page.set_viewport_size({"width": wanted.width, "height": wanted.height})
    page.goto(file.as_uri())
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    blocks = [np.asarray(each.reduce(4)).astype(int) for each in (shot, wanted)]
    apart = np.abs(blocks[0] - blocks[1])
    assert apart.mean() < NEAR, name
    assert (apart.max(-1) > 64).mean() < FAR_OFF, name
    assert page.title() != "run"
    text = " ".join(page.locator("text").all_text_contents())
    assert re.search(r"[A-Za-z]{3}", text), "text stays text"


def test_svg_and_png_show_the_same(browser, tmp_path):
    page = browser.new_page()
    for number, drawing in enumerate(drawings()):
        assert_same(page, drawing, tmp_path, number)
    page.close()


@pytest.mark.slow
def test_svg_and_png_show_the_same_for_whatever_a_page_saves(browser, tmp_path, saved_of):  # noqa: F811
    page, seen = browser.new_page(), set()
    for name, link, _ in [*QUICK, *LONG]:
        for export in saved_of(name, link).exports:
            if (name, export.title) not in seen:
                seen.add((name, export.title))
                # As wide as a page's picture: there the edges of many small bars weigh little.
                assert_same(page, export.draw(), tmp_path, f"{name}: {export.title}", 1400)
    print(f"{len(seen)} kinds of pictures")
    page.close()


def test_what_is_saved_on_a_page_opens_offline(open_page, browser, tmp_path):
    page = open_page("?model=cifar10-plain&from=r3c4&layer=2")
    page.get_by_role("button", name="Save").click()
    dialog = page.get_by_role("dialog")
    saved = {}
    for name in ("PNG", "NPZ", "Save as one HTML file"):
        button = dialog.get_by_role("button", name=name)
        with page.expect_download() as download:
            button.click()
        saved[name] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[name])
    settle(page)
    assert Image.open(saved["PNG"]).width == 1200
    assert saved["PNG"].name == "saccade-cat-cifar10-plain-layer-2-mean-r3c4.png"
    assert np.load(saved["NPZ"])["patches"].shape == (8, 8)
    context = browser.new_context(offline=True)
    file = context.new_page()
    file.goto(saved["Save as one HTML file"].as_uri())
    pixels = "canvas => canvas.toDataURL()"
    rollout = file.locator(".rollout canvas.photo")
    rollout.scroll_into_view_if_needed()
    file.get_by_text("All patches together").wait_for()
    before = rollout.evaluate(pixels)
    file.locator("canvas.photo").first.click(position={"x": 30, "y": 30})
    file.get_by_text("from row 1, column 1").first.wait_for()
    file.wait_for_function(CHANGED, arg=[rollout.element_handle(), before])
    context.close()
