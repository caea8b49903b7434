"""The Attribution page in a browser: a class changes its maps, the mouse marks one point in all."""

import re

import pytest

from tests.browser.conftest import count_messages, wait_until_idle

pytestmark = pytest.mark.browser

SAME_FOR_ALL_CLASSES = {"attention", "rollout", "random_map"}
PICTURES = """
cells => Object.fromEntries(cells.map(cell =>
    [cell.dataset.method, [...cell.querySelectorAll("canvas")].map(c => c.toDataURL())]))
"""


@pytest.fixture
def open_attribution(visit):
    def open_(query: str = "?photo=coffee", **look):
        page = visit(f"attribution{query}", **look)
        settle(page)
        return page

    return open_


def settle(page) -> None:
    """Wait until the row of maps is drawn and the script has ended."""
    page.locator(".row .cell").nth(9).wait_for()
    wait_until_idle(page)
    page.wait_for_timeout(300)


def pictures(page) -> dict[str, list[str]]:
    return page.locator(".row .cell").evaluate_all(PICTURES)


def nothing_shown(page) -> set[str]:
    """Methods whose map is zero everywhere."""
    cells = page.locator(".row .cell").filter(has_text="nothing speaks for it")
    return set(cells.evaluate_all("cells => cells.map(cell => cell.dataset.method)"))


def middle(page, method: str, x: float = 0.4, y: float = 0.6) -> tuple[float, float]:
    box = page.locator(f".cell[data-method={method}] canvas").first.bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


@pytest.mark.slow
def test_another_class_changes_every_map_that_depends_on_the_class(open_attribution):
    page = open_attribution()
    before, silent = pictures(page), nothing_shown(page)
    assert len(before) == 10 and all(len(drawn) == 1 for drawn in before.values())
    page.get_by_test_id("stButtonGroup").get_by_role("radio").filter(has_text="%").nth(1).click()
    page.wait_for_function("location.search.includes('class=')")
    settle(page)
    page.mouse.move(5, 5)
    page.wait_for_timeout(200)
    after = pictures(page)
    changed = {method for method in before if before[method] != after[method]}
    silent &= nothing_shown(page)
    assert changed == set(before) - SAME_FOR_ALL_CLASSES - silent and len(changed) >= 5
    again = open_attribution("?" + page.url.split("?", 1)[1])
    assert pictures(again) == after, "the link opens the same maps"


def test_the_mouse_marks_one_patch_in_every_map(open_attribution):
    page = open_attribution()
    before = pictures(page)
    count_messages(page)
    page.mouse.move(*middle(page, "chefer"))
    page.wait_for_timeout(200)
    during = pictures(page)
    assert all(before[method] != during[method] for method in before)
    assert "Row" in page.locator(".row .readout").inner_text()
    assert re.search(r"rank \d|zero here", page.locator(".cell .value").first.inner_text())
    page.mouse.move(5, 5)
    page.wait_for_timeout(200)
    assert pictures(page) == before
    assert page.evaluate("window.sentToServer") == 0
    page.locator(".row").focus()
    page.keyboard.press("ArrowRight")
    assert "Row" in page.locator(".row .readout").inner_text()


def test_a_click_opens_the_formula_and_a_setting_acts(open_attribution):
    page = open_attribution()
    page.locator(".cell[data-method=integrated_gradients] .name").click()
    page.get_by_text("Empty picture", exact=True).wait_for()
    page.wait_for_function("location.search.includes('method=integrated_gradients')")
    settle(page)
    before = pictures(page)
    page.get_by_text("blurred", exact=True).click()
    page.wait_for_function("location.search.includes('integrated_gradients_baseline=blurred')")
    settle(page)
    page.mouse.move(5, 5)
    page.wait_for_timeout(200)
    after = pictures(page)
    assert {m for m in before if before[m] != after[m]} == {"integrated_gradients"}


@pytest.mark.slow
def test_curves_and_random_weights(open_attribution):
    page = open_attribution("?photo=coffee&model=cs231n-cifar10")  # few patches, few passes
    page.get_by_text("Beside the same model with random weights").click()
    page.wait_for_function("location.search.includes('compare=True')")
    settle(page)
    assert all(len(drawn) == 2 for drawn in pictures(page).values())
    page.get_by_role("button", name="Measure all methods").click()
    page.get_by_text("Insertion, best method first").wait_for(timeout=180_000)
    legend = page.locator(".legendtext").all_text_contents()
    assert any(re.fullmatch(r"Rollout\s+0\.\d{3}", text) for text in legend)


@pytest.mark.slow
def test_another_word_of_a_caption_changes_its_maps_and_its_box(open_attribution):
    page = open_attribution("?model=scenes-captioner&scene=3&word=3")
    before, silent = pictures(page), nothing_shown(page)
    assert len(before) == 10
    words = page.get_by_test_id("stButtonGroup").get_by_role("radio").filter(has_text="%")
    words.last.click()
    page.wait_for_function("!location.search.includes('word=3')")
    settle(page)
    page.mouse.move(5, 5)
    page.wait_for_timeout(200)
    after = pictures(page)
    silent &= nothing_shown(page)
    unchanged = {method for method in before if before[method] == after[method]}
    assert unchanged <= silent
    notes = page.locator(".cell .value").all_text_contents()
    assert all(re.fullmatch(r"(hit|miss), IoU \d\.\d\d|zero.*", note) for note in notes)
    again = open_attribution("?" + page.url.split("?", 1)[1])
    assert pictures(again) == after, "the link opens the same maps"


def test_a_box_is_drawn_into_every_map(open_attribution):
    page = open_attribution()
    before = pictures(page)
    page.get_by_text("Where is the object?").click()
    page.get_by_text("Mark it, and score every map by it").click()
    page.wait_for_function("location.search.includes('box=')")
    settle(page)
    page.mouse.move(5, 5)
    page.wait_for_timeout(200)
    after = pictures(page)
    assert all(before[method] != after[method] for method in before)
    assert re.match(r"(hit|miss), IoU|zero", page.locator(".cell .value").first.inner_text())


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 800])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_in_any_light(open_attribution, width, scheme):
    page = open_attribution(width=width, scheme=scheme)
    overflow = page.evaluate(
        "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0
    for cell in page.locator(".row .cell").all():
        box = cell.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
