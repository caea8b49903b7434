"""Words from outside in Streamlit's own Markdown, which only a browser has."""

import pytest

pytestmark = pytest.mark.browser

NAME = (
    "![p](https://x.example/y) [l](z) www.x.example a@x.example https://x.example/y _x_ __init__ "
    "`c` $x$ ~~s~~ :smile: :red[r] &lt; <b>b</b> a--b"
)


def test_what_somebody_typed_is_shown_letter_by_letter(visit):
    page = visit("models")
    page.get_by_text("Open another").click()
    page.get_by_role("tab", name="hub").click()
    page.get_by_label("Name", exact=True).fill(f"hf/a/{NAME}")
    page.get_by_role("tabpanel").get_by_role("button", name="Open", exact=True).click()
    alert = page.locator('[data-testid="stAlert"]', has_text="is no model's name")
    alert.wait_for()
    assert NAME in alert.inner_text().replace("\u2060", "")
    assert alert.locator("a, img, em, del, code, .katex").count() == 0
