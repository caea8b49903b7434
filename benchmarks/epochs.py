"""How fast maps follow the slider over training: `python -m benchmarks.epochs` prints a table.

From the key press that moves the slider to the last frame that changed the large map, and what was
sent for it; medians. The first row is the first pass over all moments, in which the model as it was
is opened and run; in the second everything was computed before, for this photo.
"""

from __future__ import annotations

import argparse
import statistics

from playwright.sync_api import Page, sync_playwright

from benchmarks.explore import served, wait_for
from tests.browser.conftest import FLAGS, find_browser, wait_until_idle

MODEL = "cifar10-plain"
PAGES = {  # title -> address, the canvas that is watched
    "Explore": ("?", ".explorer canvas.photo"),
    "Features": ("features?", ".features canvas.photo"),
    "Compare": ("compare?b_method=attention&b_epoch=0&", ".compare canvas.photo"),
}
PATIENCE = 1500  # milliseconds in which the last change is looked for

# Looks at some lines of the canvas in every frame, and notes when they were different.
WATCH = """
(canvas) => {
    const lines = [0.2, 0.4, 0.6, 0.8];
    const look = () => {
        const { width, height } = canvas;
        const context = canvas.getContext("2d");
        const line = (y) => context.getImageData(0, Math.round(y * height), width, 1).data;
        return lines.map((y) => line(y).join());
    };
    let before = String(look());
    window.pressed = null;
    window.changed = null;
    addEventListener("keydown", (event) => { pressed = event.timeStamp; changed = null; }, true);
    const frame = () => {
        const now = String(look());
        if (now !== before) changed = performance.now();
        before = now;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
}
"""


class Sent:
    """Counts the bytes that a page gets."""

    def __init__(self, page: Page) -> None:
        self.bytes = 0
        page.on("websocket", lambda socket: socket.on("framereceived", self.take))
        page.on("requestfinished", self.take_answer)

    def take(self, data: bytes | str) -> None:
        self.bytes += len(data)

    def take_answer(self, request) -> None:
        self.bytes += request.sizes()["responseBodySize"]


def time_moves(page: Page, sent: Sent, keys: list[str]) -> tuple[float, float]:
    """Press keys on the slider; return the median milliseconds and bytes of those that drew."""
    times, sizes = [], []
    for key in keys:
        before = sent.bytes
        page.keyboard.press(key)
        page.wait_for_timeout(PATIENCE)
        taken = page.evaluate("changed === null ? null : changed - pressed")
        if taken is not None:
            times.append(taken)
            sizes.append(sent.bytes - before)
    return statistics.median(times), statistics.median(sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    there, back = ["ArrowLeft"] * 5, ["ArrowRight"] * 5
    with sync_playwright() as driver, served("app.py") as address:
        browser = driver.chromium.launch(executable_path=find_browser(), args=FLAGS)
        wait_for(address)
        print(f"{'':28}{'slider to maps':>16}{'bytes sent':>14}")
        for photo, (title, (path, canvas)) in zip(
            ("chelsea", "coffee", "astronaut"), PAGES.items(), strict=True
        ):
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            sent = Sent(page)
            page.goto(f"{address}/{path}model={MODEL}&photo={photo}&from=r4c4&held=yes")
            page.locator(canvas).first.wait_for()
            wait_until_idle(page)
            page.wait_for_timeout(2500)
            page.locator(canvas).first.evaluate(WATCH)
            page.get_by_role("slider").first.focus()
            for name, keys in (("first pass", there), ("after it", (back + there) * rounds)):
                taken, size = time_moves(page, sent, keys)
                print(f"{title + ', ' + name:28}{taken:13.0f} ms{size:14,.0f}")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
