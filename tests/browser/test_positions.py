"""What only a browser shows of the pages on positions, heads, patches and cost."""

import re

import pytest

from tests.browser.conftest import go_to, wait_until_idle

pytestmark = pytest.mark.browser

TABS = {
    "Does order matter?": "How much the order changes the answer",
    "This model's code": "Principal components",
    "Waves": "The same code on a grid of patches",
    "Rotation": "How a score falls with distance",
}
PAGES = {
    "positions": "How much the order changes the answer",
    "heads": "Find heads by what they do",
    "patches": "What the patch step looks for",
    "cost": "Numbers and bytes",
}


@pytest.fixture
def open_at(visit):
    """Call it with a page's path to get that page, once it has run and shows a heading."""

    def open_(path: str, heading: str, **look):
        page = visit(path, **look)
        wait_for(page, heading)
        return page

    return open_


def wait_for(page, heading: str) -> None:
    page.get_by_role("heading", name=heading).wait_for()
    wait_until_idle(page)
    page.wait_for_timeout(400)


@pytest.mark.slow
def test_each_tab_opens_and_says_so_in_the_address(open_at):
    page = open_at("positions", TABS["Does order matter?"])
    for tab, heading in list(TABS.items())[1:]:
        page.get_by_role("tab", name=tab).click()
        wait_for(page, heading)
        assert page.locator('[data-testid="stException"]').count() == 0
        assert "tab=" in page.url
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    wait_for(page, TABS["Rotation"])


@pytest.mark.slow
def test_hover_tells_value_frequency_and_wavelength(open_at):
    page = open_at("positions?tab=Waves", TABS["Waves"])
    label = page.locator(".js-plotly-plot .hoverlayer").first
    area = page.locator(".js-plotly-plot .nsewdrag").first
    for x in range(200, 240):  # a chart that is still being drawn does not see the mouse come
        area.hover(position={"x": x, "y": 100})
        if label.get_by_text("wavelength").count():
            break
        page.wait_for_timeout(250)
    assert "frequency" in label.text_content() and "value" in label.text_content()


def test_the_mouse_over_a_tile_enlarges_it_in_every_code(open_at):
    page = open_at("positions?tab=This+model%27s+code", TABS["This model's code"])
    page.locator("canvas.mosaic").nth(2).wait_for()
    large = page.locator("canvas.large")
    before = [large.nth(i).evaluate("canvas => canvas.toDataURL()") for i in range(3)]
    box = page.locator("canvas.mosaic").first.bounding_box()
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    page.get_by_text("Patch at row 1, column 1.").first.wait_for()
    assert page.get_by_text("Patch at row 1, column 1.").count() == 3
    after = [large.nth(i).evaluate("canvas => canvas.toDataURL()") for i in range(3)]
    assert all(new != old for new, old in zip(after, before, strict=True))
    page.locator("canvas.mosaic").first.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("Patch at row 1, column 2.").first.wait_for()
    large.first.hover(position={"x": 3, "y": 3})
    page.get_by_text(re.compile(r"Cosine with row 1, column 1: -?\d\.\d\d")).wait_for()


def test_a_click_on_a_dot_opens_explore_on_that_head(open_at):
    page = open_at("heads", PAGES["heads"])
    dot = page.locator(".scatterlayer .point").first
    box = dot.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = page.locator(".hoverlayer").get_by_text("Layer")
    label.wait_for()
    layer, head = re.search(r"Layer (\d+), head (\d+)", label.text_content()).groups()
    page.mouse.down()
    page.mouse.up()
    page.get_by_role("heading", name="Where does this patch look?").wait_for()
    page.wait_for_function(f"location.search.includes('layer={layer}&head={head}')")
    go_to(page, "Measure", "Heads")
    wait_for(page, PAGES["heads"])
    page.wait_for_timeout(1000)
    assert "/heads" in page.url, "an old click does not open Explore again"


@pytest.mark.slow
def test_cost_is_measured_when_asked(open_at):
    page = open_at("cost?base=CS231n", PAGES["cost"])
    page.get_by_test_id("stMain").get_by_role("button", name="Measure").click()
    page.get_by_text("Milliseconds").wait_for()


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (800, "dark")])
def test_nothing_is_cut_off(open_at, name, width, scheme):
    page = open_at(name, PAGES[name], width=width, scheme=scheme)
    overflow = page.evaluate(
        "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0
    assert page.locator('[data-testid="stException"]').count() == 0
    for chart in page.locator(".js-plotly-plot").all():
        box = chart.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width + 1


def pictures(page, count: int) -> list[str]:
    """The addresses of the pictures of a page, once there are so many."""
    shown = page.locator('[data-testid="stImage"] img')
    shown.nth(count - 1).wait_for()
    return [picture.get_attribute("src") for picture in shown.all()]


def to_the_right(page, slider: str) -> None:
    page.locator(f'input[type="range"][aria-label^="{slider}"]').press("ArrowRight")


@pytest.mark.slow
def test_another_width_of_a_head_turns_it_otherwise(open_at):
    page = open_at("positions?tab=Rotation", TABS["Rotation"])
    chart = page.locator(".js-plotly-plot").first
    before = chart.screenshot()
    to_the_right(page, "Width of a head")
    page.wait_for_function("location.search.includes('turned=64')")
    wait_for(page, TABS["Rotation"])
    assert chart.screenshot() != before


def test_another_shuffle_shows_another_order_of_the_patches(open_at):
    page = open_at("positions?tab=Does+order+matter%3F", TABS["Does order matter?"])
    before = pictures(page, 4)
    page.get_by_role("button", name="Shuffle again").click()
    page.wait_for_function("location.search.includes('seed=2')")
    wait_for(page, TABS["Does order matter?"])
    same = [one == other for one, other in zip(before, pictures(page, 4), strict=True)]
    assert same == [True, True, False, False]


def test_the_next_patch_is_taken_apart(open_at):
    page = open_at("patches?from=r1c6", PAGES["patches"])
    before = pictures(page, 2)
    page.get_by_label("Column", exact=True).press("ArrowUp")
    page.wait_for_function("location.search.includes('from=r1c7')")
    wait_for(page, PAGES["patches"])
    assert pictures(page, 2) != before
