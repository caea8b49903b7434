"""How fast the Features page follows the mouse: `python -m benchmarks.features` prints a table.

From the mouse event in the browser to the frame that shows the new cosines, medians, with random
vectors; and the bytes that were sent for it, once. The component is mounted in an empty page, and
one more column times a frame in which nothing is drawn, in the same page.
"""

from __future__ import annotations

import argparse
import base64
import statistics

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from skimage import data

from benchmarks.explore import HOVER
from tests.browser.conftest import FLAGS, find_browser
from tests.browser.test_components import MOUNT
from viz.components.bundle import join_script, join_style, read_page
from viz.components.draw_style import DrawStyle
from viz.components.features_payload import FeaturesHeader, features_payload
from viz.components.mounts import color_tables
from viz.components.payload import photo_bytes

CASES = [(side, width, photos) for side, width in ((16, 192), (60, 384)) for photos in (1, 2)]


def random_payload(side: int, width: int, photos: int) -> bytes:
    """Pack random vectors of so many photos."""
    header = FeaturesHeader(
        pictures="random",
        vectors=f"{side} {width} {photos}",
        mode="similarity",
        grid=(side, side),
        prefix=["CLS"],
        titles=[f"Photo {number + 1}" for number in range(photos)],
        query=0,
        style=DrawStyle(),
    )
    random = np.random.default_rng(0)
    vectors = [random.normal(size=(side * side + 1, width)) for _ in range(photos)]
    jpeg = photo_bytes(Image.fromarray(data.astronaut()))
    return features_payload(header, {f"photo{i}": jpeg for i in range(photos)}, vectors)


def time_moves(page: Page, selector: str, side: int, moves: int) -> float:
    """Return the median milliseconds from a mouse move over a node to the painted frame."""
    node = page.locator(selector).first
    node.evaluate(HOVER)
    box = node.bounding_box()
    assert box is not None
    for i in range(moves):
        x, y = (i * 7) % side, (i * 3) % side
        page.mouse.move(
            box["x"] + (x + 0.5) * box["width"] / side, box["y"] + (y + 0.5) * box["height"] / side
        )
        page.wait_for_timeout(40)
    return statistics.median(page.evaluate("hovers")[5:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=60)
    moves = parser.parse_args().moves
    parts = {
        "script": color_tables() + join_script("features"),
        "html": read_page("features"),
        "css": join_style("features"),
    }
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_browser(), args=FLAGS)
        print(f"{'':32}{'hover':>10}{'empty frame':>14}{'bytes sent':>14}")
        for side, width, photos in CASES:
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            page.evaluate(MOUNT, parts)
            page.evaluate("document.body.prepend(document.createElement('hr'))")
            payload = random_payload(side, width, photos)
            page.evaluate("(data) => mount(data)", base64.b64encode(payload).decode())
            page.locator(".features .readout b").wait_for()
            page.wait_for_timeout(500)
            hover = time_moves(page, ".features canvas.photo", side, moves)
            empty = time_moves(page, "hr", side, moves)
            name = f"{side} x {side}, width {width}, {photos} photo{'s' * (photos > 1)}"
            print(f"{name:32}{hover:7.1f} ms{empty:11.1f} ms{len(payload):14,}")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
