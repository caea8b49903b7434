"""The content security policy of the app holds, and no page needs what it forbids."""

import pytest

from tests.browser.conftest import wait_until_idle

pytestmark = pytest.mark.browser

ADDRESSES = [
    "",
    "attribution",
    "captions",
    "cost",
    "features",
    "heads",
    "inside_head",
    "models",
    "patches",
    "positions",
    "what_if",
]


@pytest.fixture(scope="module")
def strict_page(browser):
    page = browser.new_context().new_page()
    page.set_default_timeout(60_000)
    yield page
    page.context.close()


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_keeps_to_the_policy(strict_page, server, address):
    said: list[str] = []
    strict_page.on("console", lambda message: said.append(message.text))
    response = strict_page.goto(f"{server}/{address}")
    wait_until_idle(strict_page)
    assert "script-src" in response.headers["content-security-policy"]
    assert [text for text in said if "Content Security Policy" in text] == []
