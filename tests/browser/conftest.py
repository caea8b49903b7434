"""A real server and a real browser; skipped, saying so, where there is no browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

SEEN_BEFORE = """try { localStorage["saccade.lessons"] ??= '{"tour": {"place": 1}}' } catch {}"""
"""A browser that was offered the tour before."""


def find_browser() -> str | None:
    """The path of a chromium on this machine, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The app, served as ``streamlit run app.py`` serves it; its address."""
    with serve() as address:
        yield address


@contextmanager
def serve(**environment: str) -> Iterator[str]:
    """Serve the app, with more in its environment; gives its address."""
    port = _free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    process = subprocess.Popen(
        [*command, "--server.port", str(port), "--server.address", "127.0.0.1"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address + "/_stcore/health", process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_for(url: str, process: subprocess.Popen, seconds: int = 60) -> None:
    for _ in range(seconds * 5):
        assert process.poll() is None, "the server ended while starting"
        try:
            urllib.request.urlopen(url, timeout=1)
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer within {seconds} seconds")


@pytest.fixture(scope="session")
def browser():
    """Chromium, driven by playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = find_browser()
    if executable is None:
        pytest.skip("no chromium on this machine: the browser tests need one")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def window(browser):
    """One window for all pages, which keeps what the app's pages load each time.

    It lets playwright evaluate text, which the app's policy forbids; `test_policy` keeps it.
    """
    context = browser.new_context(bypass_csp=True)
    context.add_init_script(SEEN_BEFORE)
    return context


@pytest.fixture
def visit(window, server):
    """Call it with an address to get its page, which may still be loading."""
    pages = []

    def visit_(address: str = "", width: int = 1440, height: int = 1000, scheme: str = "light"):
        page = window.new_page()
        pages.append(page)
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.set_default_timeout(60_000)
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{server}/{address}")
        return page

    yield visit_
    for page in pages:
        page.close()
    assert [error for page in pages for error in page.errors] == []


@pytest.fixture
def open_page(visit):
    """Call it with an address's query to get Explore, settled."""

    def open_(query: str = "", **look):
        page = visit(query, **look)
        settle(page)
        return page

    return open_


def pages_of(page) -> dict[str, list[str]]:
    """The navigation's groups, each with the titles of its pages."""
    groups = {}
    for button in page.get_by_test_id("stTopNavSection").all():
        button.click()
        links = page.get_by_role("menuitem").all()
        groups[button.inner_text().split("\n")[0]] = [
            link.inner_text().split("\n")[-1]
            for link in links  # after the icon's name
        ]
        page.keyboard.press("Escape")
    return groups


def go_to(page, group: str, title: str) -> None:
    """Choose a page in the navigation."""
    page.get_by_test_id("stTopNavSection").filter(has_text=group).click()
    page.get_by_role("menuitem", name=title).click()


def settle(page) -> None:
    """Wait until the script has run and the explorer has drawn."""
    page.locator(".explorer .readout .from").filter(has_text="From").wait_for()
    wait_until_idle(page)
    page.wait_for_timeout(150)


def wait_until_idle(page) -> None:
    """Wait until no script of the page runs."""
    page.wait_for_selector(
        '[data-testid="stApp"][data-test-script-state="notRunning"]', state="attached"
    )


def count_messages(page) -> None:
    """Count from now on what the page sends to the server, in `window.sentToServer`."""
    page.evaluate(
        """() => {
            window.sentToServer = 0;
            const send = WebSocket.prototype.send;
            WebSocket.prototype.send = function (data) {
                window.sentToServer += 1;
                return send.call(this, data);
            };
        }"""
    )
