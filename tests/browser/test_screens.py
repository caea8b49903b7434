"""Every page at the width of a phone: nothing overflows, the map comes early, axe-core agrees."""

import pytest

from tests.browser.accessibility import AXE, PAGES, findings
from tests.browser.conftest import SEEN_BEFORE, settle, wait_until_idle

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
    "attribution": ".row canvas.photo",
    "features": ".features canvas",
    "compare": ".compare canvas",
    "positions": "[data-testid=stImage] img",
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
def test_a_phone_shows_the_whole_width_and_the_map_early_and_axe_finds_nothing_serious_in_ours(
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
    if address in MAPS:
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


def test_a_finger_looks_from_a_patch_and_the_map_stays_while_a_head_is_chosen(phone, server):
    page = arrive(phone, f"{server}/?photo=coffee")
    settle(page)
    assert "waiting" not in page.locator(".explorer").get_attribute("class")
    lead = page.locator(".explained").first.inner_text()
    assert lead.startswith("Tap a patch") and "lick" not in lead and "Point" not in lead
    assert page.locator(".st-key-help button").bounding_box()["y"] < 60
    photo = page.locator(".explorer canvas.photo")
    box = photo.bounding_box()
    photo.tap(position={"x": 0.3 * box["width"], "y": 0.6 * box["height"]})
    page.locator(".from", has_text="(held)").wait_for()
    head = page.locator(".explorer .fused label").nth(1)
    head.scroll_into_view_if_needed()
    page.mouse.wheel(0, 150)
    page.wait_for_timeout(300)
    head.tap()
    page.wait_for_function("location.search.includes('head=max')")
    box = photo.bounding_box()
    assert box["y"] > 40 and box["y"] + box["height"] < PHONE["viewport"]["height"]
    page.get_by_role("button", name="Expand sidebar").tap()
    page.get_by_role("link", name="Heads").tap()
    page.get_by_role("heading", name="How far does each head look").wait_for()
    menu = page.locator("[data-testid=stSidebar]").element_handle()
    page.wait_for_function("node => node.getBoundingClientRect().right <= 0", arg=menu)
    page.close()


def test_a_projector_is_a_switch_away_remembered_and_said_by_a_link(browser, server):
    context = browser.new_context(viewport={"width": 1366, "height": 768}, bypass_csp=True)
    context.add_init_script(SEEN_BEFORE)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(server)
    settle(page)
    fonts = """() => [".explorer .readout", "p, .explained"].map((selector) => {
        const find = (root) => root.querySelector(selector) ?? [...root.querySelectorAll("*")]
            .map((node) => node.shadowRoot && find(node.shadowRoot)).find(Boolean);
        return parseFloat(getComputedStyle(find(document)).fontSize);
    })"""
    before = page.evaluate(fonts)
    assert page.locator(".st-key-upload").is_visible()
    steps = page.evaluate("history.length")
    page.get_by_role("button", name="Projector").click()
    page.wait_for_function("location.search.includes('projector=yes')")
    settle(page)
    assert all(now > 1.25 * old for now, old in zip(page.evaluate(fonts), before, strict=True))
    assert page.locator(".st-key-upload").is_hidden()
    assert page.locator(".st-key-video_link").is_hidden()
    assert page.evaluate("history.length") == steps, "how it is shown is no step of the history"
    if AXE.is_file():
        page.evaluate(AXE.read_text(encoding="utf-8"))
        rule = "{runOnly: ['color-contrast-enhanced']}"
        report = page.evaluate(f"axe.run(document, {rule})")
        assert report["violations"] == []
    page.goto(f"{server}/glossary")
    page.wait_for_function("location.search.includes('projector=yes')")
    page.get_by_role("button", name="Projector").click()
    page.wait_for_function("!location.search.includes('projector=yes')")
    page.goto(f"{server}/?projector=yes")
    page.wait_for_function("document.documentElement.dataset.projector === 'light'")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.projector === 'dark'")
    context.close()
