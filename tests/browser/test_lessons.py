"""What only a browser shows of lessons: done by keyboard, noticed, kept, and the tour's offer."""

import re

import pytest

from tests.browser.conftest import serve, settle, wait_until_idle

pytestmark = pytest.mark.browser


def step(page, title: str) -> None:
    page.locator(".lesson .title", has_text=re.compile(f"^{re.escape(title)}$")).wait_for()
    page.wait_for_function("location.search.includes('lesson=')")
    wait_until_idle(page)
    page.wait_for_timeout(300)


def test_a_lesson_by_keyboard_from_start_to_end(visit):
    page = visit("?lesson=several-heads")
    step(page, "One layer, several heads")
    assert "head=1" in page.url and "lesson=several-heads.1" in page.url
    assert page.locator(".lesson .then").is_hidden()
    page.locator(".explorer canvas.photo").first.focus()
    page.keyboard.press(".")
    page.locator(".lesson .task.done").wait_for()
    assert "another question" in page.locator(".lesson .then").inner_text()
    page.locator(".lesson .next").press("Enter")
    step(page, "All heads merged")
    assert "head=mean" in page.url
    page.reload()
    step(page, "All heads merged")
    page.locator(".lesson .guess input").nth(1).press(" ")
    assert "no longer says which head" in page.locator(".lesson .then").inner_text()
    assert page.locator(".lesson .choice.right").inner_text() == "Which head looked where"
    for title in ("They share the width", "Does the model need them all?"):
        page.locator(".lesson .next").press("Enter")
        step(page, title)
    assert page.url.split("?")[0].endswith("/what_if")
    page.locator(".lesson .next").press("Enter")
    page.locator(".lesson .quiz").wait_for()
    page.locator(".lesson .quiz li").first.locator("input").nth(1).press(" ")
    assert page.locator(".lesson .reason").first.inner_text().startswith("Not quite.")
    page.locator(".lesson .next").press("Enter")
    page.locator(".lesson").wait_for(state="detached")
    page.goto(page.url.split("/what_if")[0] + "/lessons")
    card = page.locator(".lesson_list li", has_text="Why several heads")
    card.locator(".state", has_text="read, 3 of 7 answered").wait_for()
    page.locator(".lesson_list .reset").click()
    card.locator(".state", has_text=re.compile("^$")).wait_for(state="attached")


@pytest.mark.slow
def test_the_step_before_comes_back_and_another_page_is_told(visit):
    page = visit("?lesson=queries-keys-values.2")
    step(page, "Three vectors from one token")
    assert "/inside_head?" in page.url
    page.locator(".lesson .next").click()
    page.locator(".inside .count", has_text="Step 4 of").wait_for()  # on the page it stayed on
    page.locator(".lesson .back").click()
    step(page, "Three vectors from one token")
    page.locator(".inside .count", has_text="Step 3 of").wait_for()
    page.locator(".lesson .back").click()
    step(page, "One patch asks")
    assert "/inside_head" not in page.url
    page.go_back()
    step(page, "Three vectors from one token")
    page.get_by_test_id("stTopNavSection").filter(has_text="Learn").click()
    page.get_by_role("menuitem", name="Models").click()
    page.locator(".lesson .away").wait_for()
    page.locator(".lesson .again").click()
    page.locator(".inside .count", has_text="Step").wait_for()
    page.keyboard.press("Escape")
    page.goto(page.url.split("/inside_head")[0] + "/lessons")
    card = page.locator(".lesson_list li", has_text="Queries, keys, values")
    card.locator(".state", has_text="at 3 of").wait_for()


def test_a_first_visit_is_offered_the_tour_and_a_finger_takes_it(browser, server):
    phone = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, bypass_csp=True
    )
    page = phone.new_page()
    page.set_default_timeout(60_000)
    page.goto(server)
    page.locator(".welcome .start").tap()
    step(page, "Where does a patch look?")
    for button in page.locator(".lesson .moves button").all():
        assert button.bounding_box()["height"] >= 43
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".lesson .do").inner_text().startswith("Tap a patch")
    page.wait_for_timeout(900)
    picture = page.locator(".explorer canvas.photo").bounding_box()
    foot = picture["y"] + picture["height"]
    assert picture["y"] > 40 and foot < page.locator(".lesson").bounding_box()["y"]
    page.locator(".explorer canvas.photo").tap(position={"x": 100, "y": 60})
    page.locator(".lesson .task.done").wait_for()
    page.locator(".lesson .next").tap()
    page.locator(".lesson .count", has_text="2 of").wait_for()
    page.locator(".lesson .leave").tap()
    page.locator(".lesson").wait_for(state="detached")
    page.reload()
    settle(page)
    assert page.locator(".welcome").is_hidden()
    phone.close()


@pytest.mark.slow
def test_a_broken_lesson_folder_is_told_with_file_and_line_and_the_rest_works(browser, tmp_path):
    (tmp_path / "mine.toml").write_text('title = "Mine"\nminutes = "six"\n')
    with serve(SACCADE_LESSONS=str(tmp_path)) as address:
        page = browser.new_page(bypass_csp=True)
        page.set_default_timeout(60_000)
        page.goto(f"{address}/lessons")
        page.locator(".lesson_list li").nth(13).wait_for()
        said = page.locator("[data-testid=stMain]").inner_text()
        assert re.search(r"mine\.toml, line \d", said)
        assert "Traceback" not in said
        page.goto(f"{address}/?lesson=mine.1")
        page.get_by_text("There is no lesson “mine” here").wait_for()
        page.close()


def test_a_term_is_explained_on_hover_focus_and_tap(visit, browser, server):
    page = visit("glossary")
    term = page.locator(".explained .term", has_text="patch")
    meaning = page.locator(".explained .meaning").first
    term.wait_for()
    assert meaning.is_hidden()
    term.hover()
    assert meaning.is_visible() and "A small square of the photo" in meaning.inner_text()
    page.mouse.move(5, 5)
    assert meaning.is_hidden()
    term.focus()
    assert meaning.is_visible()
    page.keyboard.press("Escape")
    assert meaning.is_hidden()
    phone = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = phone.new_page()
    page.goto(f"{server}/?lesson=patches")
    term = page.locator(".lesson .text .term", has_text="sequence")
    term.tap()
    box = page.locator(".lesson .meaning:popover-open").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["y"] >= 0
    phone.close()
