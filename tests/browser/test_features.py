"""What only a browser shows of the Features page."""

import re

import pytest

from tests.browser.conftest import count_messages, wait_until_idle

pytestmark = pytest.mark.browser


@pytest.fixture
def open_features(visit):
    """Call it with an address's query to get the page, once the component has drawn."""

    def open_(query: str, ready: str = ".features .readout b", **look):
        page = visit(f"features?{query}", **look)
        page.locator(ready).first.wait_for()
        wait_until_idle(page)
        page.wait_for_timeout(300)
        return page

    return open_


def move_over(page, selector: str, x: float, y: float, which: int = 0) -> None:
    box = page.locator(selector).nth(which).bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.wait_for_timeout(200)


def pixels(page, which: int) -> str:
    return page.locator(".features canvas.photo").nth(which).evaluate("(c) => c.toDataURL()")


def test_the_mouse_compares_a_patch_with_both_photos_without_a_round_trip(open_features):
    page = open_features("photo=chelsea&beside=coffee")
    count_messages(page)
    move_over(page, ".features canvas.photo", 0.1, 0.1)
    readout = page.locator(".features .readout")
    assert "Row 2, column 2" in readout.inner_text()
    lines = readout.locator("div").all_inner_texts()
    assert re.fullmatch(r"Most like row \d+, column \d+ in Cat: cosine [\d.]+\.", lines[0])
    assert "in Coffee" in lines[1]
    before = pixels(page, 0), pixels(page, 1)
    move_over(page, ".features canvas.photo", 0.5, 0.5, which=1)
    assert "Row 9, column 9" in readout.inner_text()
    assert pixels(page, 0) != before[0] and pixels(page, 1) != before[1]
    assert page.evaluate("sentToServer") == 0


def test_a_held_patch_goes_into_the_link_and_the_arrow_keys_go_on(open_features):
    page = open_features("photo=chelsea")
    page.locator(".features canvas.photo").click(position={"x": 30, "y": 30})
    page.wait_for_url(re.compile(r"from=r\d+c\d+"))
    wait_until_idle(page)
    before = page.locator(".features .readout b").inner_text()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(800)
    assert page.locator(".features .readout b").inner_text() != before
    page.get_by_role("button", name="CLS").click()
    page.wait_for_timeout(200)
    assert page.locator(".features .readout b").inner_text() == "CLS"


def test_a_new_layer_brings_new_vectors_and_the_page_still_draws(open_features):
    page = open_features("photo=chelsea&from=r8c8")
    before = page.locator(".features .readout div").first.inner_text()
    page.locator(".stSelectbox", has_text="Layer").locator("input").click()
    page.get_by_role("option", name="Layer 1", exact=True).click()
    page.wait_for_timeout(1500)
    wait_until_idle(page)
    assert page.locator(".features .readout div").first.inner_text() != before
    assert page.locator(".failure").count() == 0


def test_the_lens_links_the_mouse_with_curves_and_classes(open_features):
    page = open_features("photo=coffee&tab=Lens", ready=".lens .readout b")
    assert page.locator(".lens .layer").count() == 7
    curves = page.locator(".lens canvas.curves")
    before = curves.evaluate("(c) => c.toDataURL()")
    move_over(page, ".lens .layer canvas", 0.9, 0.6, which=3)
    assert page.locator(".lens .readout b").inner_text() == "Layer 4, row 10, column 15"
    assert curves.evaluate("(c) => c.toDataURL()") != before
    page.locator(".lens .class").nth(1).click()
    page.wait_for_timeout(200)
    name = page.locator(".lens .class bdi").nth(1).inner_text()
    assert page.locator(".lens .title").inner_text() == f"Probability of {name}"


@pytest.mark.parametrize("width", [820, 390])
def test_nothing_is_wider_than_the_window(open_features, width):
    page = open_features("photo=chelsea&beside=coffee", width=width)
    for canvas in page.locator(".features canvas.photo").all():
        box = canvas.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
