"""What a real browser sends for each thing that somebody in a class does.

Chromium opens the app once, does everything in turn, and what it sent is written down: websocket
messages and requests, in order, with the ends of the script runs between them.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser.conftest import FLAGS, find_browser

KEY_HEADER = "x-saccade-key"
SETTLED = 1500  # milliseconds without anything that follows from an action
OWN_REQUESTS = re.compile(r"/(static|component|media|_stcore/(health|host-config|stream))")
"""What a browser fetches with the page, or keeps, and what the students do by themselves."""


@dataclass
class Event:
    """One thing on the wire: a message sent, a request, or the end of a script run."""

    kind: Literal["message", "request", "finished"]
    message: BackMsg | None = None
    method: str = "GET"
    path: str = ""
    body: bytes = b""


@dataclass
class Recording:
    """What the browser sent, by action; an action has several variants."""

    first: list[Event] = field(default_factory=list)
    actions: dict[str, list[list[Event]]] = field(default_factory=dict)
    key: str = ""
    """The key of the recorded session's pass, in place of which each student puts its own."""


class _Wire:
    """Listens to a page."""

    def __init__(self, page: Page) -> None:
        self.events: list[Event] = []
        self.key = ""
        page.on("websocket", self._listen)
        page.on("request", self._take_request)

    def _listen(self, socket: Any) -> None:
        socket.on("framesent", self._take_sent)
        socket.on("framereceived", self._take_received)

    def _take_sent(self, frame: bytes) -> None:
        message = BackMsg()
        message.ParseFromString(frame)
        if message.WhichOneof("type") != "app_heartbeat":
            self.events.append(Event("message", message))

    def _take_received(self, frame: bytes) -> None:
        message = ForwardMsg()
        message.ParseFromString(frame)
        if message.WhichOneof("type") == "script_finished":
            self.events.append(Event("finished"))

    def _take_request(self, request: Any) -> None:
        path = re.sub(r"^https?://[^/]+", "", request.url)
        if not path.startswith("/") or path == "/" or path.startswith("/?"):
            return
        if OWN_REQUESTS.match(path):
            return
        self.key = request.headers.get(KEY_HEADER, self.key)
        body = b"" if "upload_file" in path else request.post_data_buffer or b""
        self.events.append(Event("request", None, request.method, path, body))


Acts = Iterator[tuple[str, Callable[[], Any]]]
"""Things to do in turn, each with its kind."""


def record(address: str) -> Recording:
    """Let Chromium do everything once at an address."""
    with tempfile.TemporaryDirectory() as folder:
        return record_page(address, ".explorer .heads", lambda page: _acts(page, Path(folder)))


def record_page(address: str, ready: str, acts: Callable[[Page], Acts]) -> Recording:
    """Let Chromium do some things once, on a page that has `ready` (a selector) when it is here."""
    with _page() as page:
        wire, recording = _Wire(page), Recording()
        page.goto(address)
        page.locator(ready).first.wait_for()
        recording.first = _take(page, wire)
        for kind, act in acts(page):
            act()
            recording.actions.setdefault(kind, []).append(_take(page, wire))
        recording.key = wire.key
        return recording


@contextmanager
def _page() -> Iterator[Page]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_browser(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def _take(page: Page, wire: _Wire) -> list[Event]:
    """Wait until nothing more follows, and take what was sent."""
    while True:
        before = len(wire.events)
        page.wait_for_timeout(SETTLED)
        page.wait_for_selector(
            '[data-testid="stApp"][data-test-script-state="notRunning"]', state="attached"
        )
        if len(wire.events) == before:
            events, wire.events = wire.events, []
            return events


def _acts(page: Page, folder: Path) -> Acts:
    """Iterate over everything that is done, in an order in which each changes something."""
    photo = page.locator(".explorer canvas.photo")
    for x, y in ((100, 120), (240, 90), (180, 260), (60, 300), (300, 200), (150, 40)):
        yield "query", lambda x=x, y=y: photo.click(position={"x": x, "y": y})
    layers, heads = page.locator(".explorer .layers label"), page.locator(".explorer .heads label")
    for number in (1, 3, 4, 0):
        yield "layer", lambda n=number: layers.nth(n).click()
    for number in (2, 0, 1, 3):
        yield "head", lambda n=number: heads.nth(n).click()
    for name in ("Coffee", "Koala", "Cat"):
        yield "photo", lambda n=name: page.get_by_text(n, exact=True).first.click()
    for number in (1, 0):
        yield "model", lambda n=number: _choose_model(page, n)
    path = folder / "photo.jpg"
    Image.linear_gradient("L").resize((1600, 1200)).convert("RGB").save(path)
    field_ = page.locator('[data-testid="stFileUploader"] input[type=file]').first
    yield "upload", lambda: field_.set_input_files(path)


def _choose_model(page: Page, number: int) -> None:
    page.locator('[data-testid="stSelectbox"] input').first.click()
    page.get_by_role("option").nth(number).click()
