"""Files of figures, opened from disk with the network off, and what lives in them."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from model import zoo
from model.datasets import samples
from model.intervention import intervene
from model.recorded_image import record_image
from model.recording.recorder import AttentionRecorder
from model.video.recording import record_frame
from tests.viz.pages.test_export import session_of
from viz.components.draw_style import DrawStyle
from viz.components.payload import photo_bytes
from viz.components.row_payload import Cell
from viz.export.account import Account
from viz.export.readable import find_spots, pack_picture
from viz.export.tables import bars_export, lines_export, table_export
from viz.notebook import compare, show
from viz.notebook.layers import pack_recorded
from viz.pages.inside_head_file import inside_file
from viz.pages.inside_head_numbers import layer_of_photo
from viz.pages.inside_head_payload import Looked
from viz.pictures.lettering import percent
from viz.standalone import Figure, FigurePart, export_html
from viz.standalone.clips import RecordedClip, clip_figure
from viz.standalone.views import (
    AnswerChange,
    Start,
    attribution_figure,
    features_figure,
    what_if_figure,
)

pytestmark = pytest.mark.browser

NAME = "cs231n-cifar10"
MARKUP = "<img src=x onerror=document.body.replaceChildren()>"
PIXELS = "canvas => canvas.toDataURL()"
VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
"""


@pytest.fixture
def open_file(browser, tmp_path):
    """Call it with a figure to get its page, from disk and offline, once it is drawn."""
    pages = []

    def open_(figure, setup: str = "", canvas: str = "canvas.photo", **screen):
        path = export_html(figure, tmp_path / f"figure{len(pages)}.html")
        context = browser.new_context(offline=True, **screen)
        context.add_init_script(VIOLATIONS + setup)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.errors, page.asked = [], []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda message: page.errors.append(message.text))
        page.on("request", lambda request: page.asked.append(request.url))
        pages.append(page)
        page.goto(path.as_uri())
        if canvas:
            page.locator(canvas).first.wait_for()
            page.wait_for_timeout(300)
        return page

    yield open_
    for page in pages:
        assert page.errors == []
        assert page.evaluate("window.violations") == []
        fetched = [url for url in page.asked if not url.startswith(("blob:", "data:"))]
        assert len(fetched) == 1, "the file itself, and nothing besides"
        page.context.close()


@pytest.fixture(scope="module")
def bundle():
    return zoo.load(NAME)


@pytest.fixture(scope="module")
def explored(bundle):
    return show(bundle, samples.load("chelsea"), layer=2, head=1, title=MARKUP)


def photo(page):
    return page.locator("canvas.photo").first


def pixels(page) -> str:
    page.wait_for_timeout(120)
    return photo(page).evaluate(PIXELS)


def point(page, x: float, y: float) -> tuple[float, float]:
    box = photo(page).bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def readout(page) -> str:
    return page.locator(".readout").first.inner_text().replace("\n", " ")


def test_each_patch_under_the_mouse_draws_its_own_map(open_file, explored):
    page = open_file(explored)
    seen = {pixels(page)}
    for x in (0.1, 0.9):
        page.mouse.move(*point(page, x, 0.9))
        seen.add(pixels(page))
    assert len(seen) == 3


def test_the_numbers_are_the_models(open_file, bundle):
    cat = samples.load("chelsea")
    with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:
        bundle.net(bundle.prepare(cat))
    query = bundle.tokens.index_of(1, 2)
    row = recorder.records[3].weights(queries=[query])[0, 1, 0][bundle.tokens.patch_slice]
    page = open_file(show(bundle, cat, layer=3, head=1, query=query))
    best = int(row.argmax())
    columns = bundle.tokens.grid[1]
    assert f"row {best // columns + 1}, column {best % columns + 1}" in readout(page)
    shown = re.search(r"column \d+: ([\d.]+) %", readout(page))
    assert float(shown[1]) == pytest.approx(100 * float(row.max()), rel=0.01, abs=0.06)


def test_layer_head_and_patch_are_chosen_by_the_keyboard(open_file, explored):
    page = open_file(explored)
    photo(page).focus()
    seen = {pixels(page)}
    for key in ("ArrowRight", "[", "."):
        page.keyboard.press(key)
        seen.add(pixels(page))
    assert len(seen) == 4
    assert page.get_by_text("Heads of layer 2", exact=True).count() == 1


def test_a_head_of_the_sheet_opens_above(open_file, explored):
    page = open_file(explored)
    page.locator(".sheet canvas").click(position={"x": 40, "y": 40})
    page.get_by_text("Heads of layer 1", exact=True).wait_for()


def test_colours_and_opacity_change_the_map(open_file, explored):
    page = open_file(explored)
    seen = {pixels(page)}
    page.locator(".explorer summary").click()
    page.locator(".explorer .colors").select_option("magma")
    seen.add(pixels(page))
    page.locator(".explorer .opacity").fill("0.2")
    seen.add(pixels(page))
    assert len(seen) == 3


def background(page) -> list[int]:
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return [int(part) for part in re.findall(r"\d+", color)[:3]]


def test_it_is_dark_where_the_system_is_and_where_one_says_so(open_file, explored):
    page = open_file(explored, color_scheme="dark")
    assert max(background(page)) < 60
    page.get_by_role("button", name="Light").click()
    assert min(background(page)) > 200
    page = open_file(explored, color_scheme="light")
    page.get_by_role("button", name="Dark").click()
    assert max(background(page)) < 60
    text = page.locator(".explorer").evaluate("node => getComputedStyle(node).color")
    assert min(int(part) for part in re.findall(r"\d+", text)[:3]) > 180


def test_a_finger_chooses_the_patch_and_nothing_is_wider_than_a_phone(open_file, explored):
    page = open_file(explored, has_touch=True, viewport={"width": 390, "height": 844})
    seen = {pixels(page)}
    for x in (0.1, 0.9):
        page.touchscreen.tap(*point(page, x, 0.6))
        seen.add(pixels(page))
    assert len(seen) == 3
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_text_with_markup_is_shown_as_text(open_file, explored):
    page = open_file(explored)
    assert page.locator("h1").inner_text() == MARKUP


def test_a_browser_that_cannot_unpack_says_which_ones_can(open_file, explored):
    page = open_file(explored, setup="delete globalThis.DecompressionStream;", canvas="")
    assert "Firefox from 113" in page.get_by_role("alert").inner_text()


def test_a_captions_words_are_chosen(open_file):
    bundle = zoo.load("scenes-captioner")
    page = open_file(show(bundle, samples.load("chelsea")))
    first = pixels(page)
    page.get_by_role("button", name="Next word").click()
    assert pixels(page) != first
    assert "word 2 of" in page.locator(".chosen").inner_text()


def test_one_cursor_and_one_choice_move_both_sides(open_file, bundle):
    cats = [(bundle, samples.load(name)) for name in ("chelsea", "coffee")]
    page = open_file(compare(*cats))

    def drawn():
        page.wait_for_timeout(150)
        return [canvas.evaluate(PIXELS) for canvas in page.locator("canvas.photo").all()]

    before = drawn()
    page.locator(".compare select.layer").select_option("0")
    layer = drawn()
    page.mouse.move(*point(page, 0.9, 0.9))
    moved = drawn()
    for sides in zip(before, layer, moved, strict=True):
        assert len(set(sides)) == 3


def attribution_of_two(bundle):
    maps = np.random.default_rng(0).random((2, 4, 4)).astype(np.float32)
    cells = [Cell(f"m{at}", MARKUP, f"M{at}", "g", [map_]) for at, map_ in enumerate(maps)]
    return attribution_figure(cells, photo_bytes(samples.load("coffee")), (4, 4), "Two methods")


def features_of_two(bundle):
    vectors = np.random.default_rng(0).normal(size=(2, 16, 8)).astype(np.float32)
    photos = [photo_bytes(samples.load(name)) for name in ("chelsea", "coffee")]
    return features_figure(list(vectors), photos, ["cat", MARKUP], (4, 4), "Alike")


def experiment(bundle):
    cat = samples.load("chelsea")
    before = record_image(bundle, cat)
    with intervene(bundle.net, heads_off={0: [1]}):
        after = record_image(bundle, cat)
    answer = AnswerChange("cat 40 %, after 20 %", [("cat", 0.4, 0.2)])
    packed = (pack_recorded(each, bundle.name) for each in (before, after))
    return what_if_figure(*packed, answer, [3], Start(), "Without a head")


def clip_of_three(bundle):
    frames = [record_frame(bundle, samples.load("chelsea").rotate(at), 5) for at in (0, 90, 180)]
    photos = [photo_bytes(samples.load("chelsea").rotate(at)) for at in (0, 90, 180)]
    layers = [np.stack([frame.maps[at] for frame in frames]) for at in range(6)]
    rollout = np.stack([frame.rollout for frame in frames])
    clip = RecordedClip(photos, layers, rollout, range(1, 7), (), 5, 100, None, [MARKUP])
    clip = replace(clip, shares=np.array([[0.2, 0.5, 0.3]], np.float32))
    return clip_figure(clip, Start(2, 1, 5), "A clip")


def inside_a_head(bundle):
    session = session_of(NAME, "chelsea", layer=2, head=1, query=5)
    sent = layer_of_photo(bundle, session.picture, session.recorded, 2)
    photo, tokens = session.recorded.photo, bundle.tokens
    looked = Looked(NAME, "cat", sent, photo, DrawStyle(), 0, ["Layer 3"], ["3"], tokens)
    return inside_file(looked, 1, 5).make()


@pytest.mark.parametrize(
    "make", [attribution_of_two, features_of_two, experiment, clip_of_three, inside_a_head]
)
def test_the_other_views_draw_and_follow_the_mouse(open_file, bundle, make):
    page = open_file(make(bundle))
    canvas = page.locator("canvas.photo").last
    canvas.hover(position={"x": 12, "y": 12})
    page.wait_for_timeout(150)
    first = canvas.evaluate(PIXELS)
    box = canvas.bounding_box()
    canvas.hover(position={"x": box["width"] - 12, "y": box["height"] - 12})
    page.wait_for_timeout(150)
    assert canvas.evaluate(PIXELS) != first


def test_the_numbers_of_a_picture_are_read_where_one_points(open_file):
    values, account = np.array([[1.5, -2.0, 3.0], [4.0, 5.0, 6.25]]), Account(MARKUP)
    axes = {"layer": [1, 2], "head": [1, 2, 3]}
    table = table_export("Heads", account, values, axes)
    series = {"Before": [0.5, 0.25], "After": [0.75, 1.0]}
    bars = bars_export("Bars", account, ["cat", MARKUP], series, [], percent)
    lines = {"one": np.arange(4.0), "two": np.array([0.0, 2.0, 4.0, 9.0])}
    curve = lines_export("Lines", account, lines, "Layer", "bits", [], first=1)
    parts = [FigurePart("picture", pack_picture(each)) for each in (table, bars, curve)]
    page = open_file(Figure("Pictures", parts), canvas=".picture canvas", color_scheme="dark")
    boxes = [find_spots(each.draw(), each.numbers()) for each in (table, bars, curve)]
    heights = [each.draw().height for each in (table, bars, curve)]
    expected = (
        (1, "Layer 1, head 2: −2.00"),
        (3, f"After, {MARKUP}: 1.00"),
        (7, "Two, layer 4: 9.00"),
    )
    for at, (spot, words) in enumerate(expected):
        canvas = page.locator(".picture canvas").nth(at)
        canvas.scroll_into_view_if_needed()
        box, (left, top, right, bottom) = canvas.bounding_box(), boxes[at][spot]
        across, down = box["width"] / 1000, box["height"] / heights[at]
        place = {"x": (left + right) / 2 * across, "y": (top + bottom) / 2 * down}
        before = canvas.evaluate(PIXELS)
        canvas.hover(position=place)
        page.get_by_text(words, exact=True).wait_for()
        assert canvas.evaluate(PIXELS) != before
    page.locator(".picture canvas").first.focus()
    page.keyboard.press("ArrowDown")
    page.get_by_text("Layer 2, head 2: 5.00", exact=True).wait_for()
