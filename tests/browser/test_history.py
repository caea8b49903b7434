"""Back and Forward over every kind of choice: each is one step, and each comes back."""

import pytest

from tests.browser.conftest import settle, wait_until_idle

pytestmark = pytest.mark.browser


def shown(page, text: str) -> None:
    """Wait until the address says something, and the page has drawn it."""
    page.wait_for_function(f"location.href.includes('{text}')")
    page.wait_for_timeout(400)
    wait_until_idle(page)


def test_every_kind_of_choice_is_one_step_back_and_one_forward(visit):
    page = visit("?photo=coffee&model=photos&layer=7")
    settle(page)
    begun = page.evaluate("history.length")
    steps = ["layer=7"]

    def choose(choice, text: str) -> None:
        choice.click()
        shown(page, text)
        steps.append(text)

    choose(page.locator(".explorer .layers label").nth(2), "layer=3")
    choose(page.locator(".explorer .heads label").nth(1), "head=2")
    choose(page.locator(".explorer canvas.photo"), "held=yes")
    choose(page.get_by_text("Koala"), "photo=koala")
    page.locator('[data-testid="stSelectbox"] input').click()
    choose(page.get_by_role("option", name="the plain"), "model=photos-plain")
    choose(page.get_by_role("button", name="Use this as B"), "b_model=photos-plain")
    assert page.evaluate("history.length") == begun + 6
    for text in steps[-2::-1]:
        page.go_back()
        shown(page, text)
    page.get_by_text("Heads of layer 7", exact=True).wait_for()
    assert "held" not in page.url and "photo=coffee" in page.url
    for text in steps[1:-1]:
        page.go_forward()
        shown(page, text)
    page.get_by_text("Heads of layer 3", exact=True).wait_for()
    choose(page.locator(".explorer .without .head"), "what_if")
    page.go_back()
    shown(page, "model=photos-plain")
    assert "what_if" not in page.url


@pytest.mark.slow
def test_tabs_are_steps(visit):
    page = visit("positions")
    for tab in ("Waves", "Rotation"):
        page.get_by_role("tab", name=tab).click()
        shown(page, f"tab={tab}")
    page.go_back()
    shown(page, "tab=Waves")
    page.get_by_role("tab", name="Waves", selected=True).wait_for()
    page.go_forward()
    shown(page, "tab=Rotation")
