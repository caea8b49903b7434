"""What only a browser shows of the Compare page."""

import re

import pytest
import torch

from model import zoo
from model.datasets import samples
from model.features import compare_maps
from model.recorded_image import layer_maps, record_image
from tests.browser.conftest import count_messages, wait_until_idle

pytestmark = pytest.mark.browser

COMPARED = "photo=coffee&model=cifar10-plain&b_model=photos&b_method=attention&b_layer=2"


@pytest.fixture
def open_compare(visit):
    """Call it with an address's query to get the page, once both maps are drawn."""

    def open_(query: str, **look):
        page = visit(f"compare?{query}", **look)
        page.locator(".compare .distance").filter(has_text="Divergence").wait_for()
        wait_until_idle(page)
        page.wait_for_timeout(300)
        return page

    return open_


def point_at(page, x: float, y: float, which: int, tap: bool = False) -> None:
    canvas = page.locator(".compare canvas.photo").nth(which)
    box = canvas.bounding_box()
    place = {"x": x * box["width"], "y": y * box["height"]}
    if tap:
        canvas.tap(position=place)
    else:
        canvas.hover(position=place)
    page.wait_for_timeout(250)


def drawn(page) -> list[str]:
    canvases = page.locator(".compare canvas.photo").all()
    return [canvas.evaluate("(c) => c.toDataURL()") for canvas in canvases]


def numbers(page) -> list[float]:
    text = page.locator(".compare .distance").inner_text().replace("−", "-")
    return [float(found) for found in re.findall(r"-?\d+\.\d+", text)]


def test_one_cursor_moves_all_three_over_grids_of_different_size_without_a_round_trip(open_compare):
    page = open_compare(COMPARED + "&layer=3")
    count_messages(page)
    point_at(page, 0.9, 0.1, which=0)
    before = drawn(page)
    readout = page.locator(".compare .readout")
    assert readout.locator("b").inner_text() == "Row 1, column 8"
    point_at(page, 0.3, 0.6, which=1)
    assert readout.locator("b").inner_text() == "Row 5, column 3"  # as A counts
    assert all(old != new for old, new in zip(before, drawn(page), strict=True))
    maps = []
    for name, layer, row, column in (("cifar10-plain", 2, 4, 2), ("photos", 1, 9, 4)):
        bundle = zoo.load(name)
        shown = record_image(bundle, samples.load("coffee"), [layer])
        query = bundle.tokens.index_of(row, column)
        found = layer_maps(shown.records[0], bundle.tokens, query).mean(0)
        maps.append(torch.from_numpy(found)[None])
    apart = compare_maps(*maps)
    wanted = [float(apart.divergence), float(apart.correlation)]
    assert numbers(page) == pytest.approx(wanted, abs=0.011)
    point_at(page, 0.52, 0.53, which=2)
    assert readout.locator("b").inner_text() == "Row 5, column 5"
    assert page.evaluate("sentToServer") == 0


def test_a_photo_beside_itself_differs_by_zero_everywhere(open_compare):
    page = open_compare("photo=coffee&b_method=attention&from=r4c4&held=yes")
    assert numbers(page) == [0, 1]
    assert "The same everywhere" in page.locator(".compare .apart").inner_text()
    a, b, _ = drawn(page)
    assert a == b


def test_a_held_patch_goes_into_the_link_which_opens_the_same_view(open_compare):
    page = open_compare(COMPARED)
    page.locator(".compare canvas.photo").nth(1).click(position={"x": 20, "y": 20})
    page.wait_for_url(re.compile(r"from=r1c1"))
    page.keyboard.press("ArrowRight")
    page.wait_for_url(re.compile(r"from=r1c2"))
    wait_until_idle(page)
    page.wait_for_timeout(300)
    again = open_compare(page.url.partition("?")[2])
    assert again.locator(".compare .readout b").inner_text() == "Row 1, column 2"
    assert numbers(again) == numbers(page)


def test_a_view_of_explore_becomes_b_and_a_pair_is_one_click(visit):
    page = visit("?photo=coffee&layer=3&head=2&model=cifar10-plain")
    page.get_by_role("button", name="Use this as B").click()
    page.locator(".compare .distance").filter(has_text="Divergence 0.00").wait_for()
    assert "Layer 3, head 2" in page.locator(".compare figure").nth(1).inner_text()
    page.get_by_role("button", name="Trained and untrained").click()
    page.locator(".compare figure").nth(1).filter(has_text="Untrained").wait_for()
    page.wait_for_url(re.compile("random"))


def test_a_finger_chooses_the_patch_on_a_phone(browser, server):
    window = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, bypass_csp=True
    )
    page = window.new_page()
    page.goto(f"{server}/compare?{COMPARED}")
    page.locator(".compare .distance").filter(has_text="Divergence").wait_for(timeout=60_000)
    wait_until_idle(page)
    point_at(page, 0.9, 0.1, which=2, tap=True)
    assert page.locator(".compare .readout b").inner_text() == "Row 1, column 8"
    for canvas in page.locator(".compare canvas.photo").all():
        box = canvas.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    window.close()
