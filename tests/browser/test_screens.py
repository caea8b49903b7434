"""Every page at the width of a phone: nothing overflows, the map comes early, axe-core agrees."""

import pytest

from tests.browser.accessibility import AXE, PAGES, findings
from tests.browser.conftest import SEEN_BEFORE, wait_until_idle

pytestmark = pytest.mark.browser
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "bypass_csp": True,
}
MAPS = {
    "": ".explorer canvas",
    "captions": ".captions canvas",
    "what_if": ".what_if canvas",
    "attribution": ".row canvas",
}
"""The first map of a page, by the page's address."""


def arrive(context, url: str):
    """Open a page, and wait until it has settled."""
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(url)
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_timeout(500)
    wait_until_idle(page)
    page.wait_for_timeout(1_000)
    return page


@pytest.fixture(scope="module")
def phone(browser):
    """A phone's window for all pages."""
    context = browser.new_context(**PHONE)
    context.add_init_script(SEEN_BEFORE)
    yield context
    context.close()


@pytest.mark.parametrize("address", PAGES)
def test_a_phone_shows_the_whole_width_and_axe_finds_nothing_serious_in_ours(
    phone, server, address
):
    page = arrive(phone, f"{server}/{address}")
    overflow = page.evaluate(
        """() => [document.documentElement, ...document.querySelectorAll("[data-testid=stMain]")]
            .map((part) => part.scrollWidth - part.clientWidth)"""
    )
    assert max(overflow) <= 0
    if AXE.is_file():
        assert [each for each in findings(page, address) if each.ours] == []
    page.close()


@pytest.mark.parametrize("address", MAPS)
def test_the_map_comes_within_the_first_screen(phone, server, address):
    page = arrive(phone, f"{server}/{address}")
    first = page.locator(MAPS[address]).first.bounding_box()
    assert first["y"] + first["height"] / 2 < PHONE["viewport"]["height"]
    page.close()


@pytest.mark.parametrize("width", [1366, 1440])
def test_photo_model_and_upload_take_one_line(visit, width):
    page = visit("", width=width)
    page.wait_for_function(
        """() => {
            const parts = ["stButtonGroup", "stSelectbox", "stFileUploader"];
            const boxes = parts.map((part) =>
                document.querySelector(`[data-testid=${part}]`)?.getBoundingClientRect());
            if (!boxes.every(Boolean)) return false;
            const middles = boxes.map((box) => (box.top + box.bottom) / 2);
            return Math.max(...middles) - Math.min(...middles) < 8;
        }"""
    )
