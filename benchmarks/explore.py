"""How fast the Explore page is: `python benchmarks/explore.py` prints a table.

- The layers x heads sheet (12 x 12 maps of 14 x 14 patches over a 224 px photo): what the
  server does for one click, and the same sheet as an image file, beside matplotlib
  subplots; interleaved in one process, medians.
- Hover: from the mouse event in the browser to the frame that shows the new maps, at
  14 x 14 patches with 12 heads and at 60 x 60 patches with 6 heads; medians.
- Cold start: from `streamlit run` to the first picture in a browser; median.
"""

import argparse
import io
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from skimage import data

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser.conftest import FLAGS, find_browser  # noqa: E402
from viz.components.payload import pack, photo_bytes  # noqa: E402
from viz.pictures.sheet import quantise, sheet  # noqa: E402

LAYERS, HEADS, GRID, DIM = 12, 12, (14, 14), 64
TOKENS = GRID[0] * GRID[1] + 1


# -- the sheet ----------------------------------------------------------------------------------


def rows_of(queries: torch.Tensor, keys: torch.Tensor) -> np.ndarray:
    """The CLS row of every head of every layer from Q and K: (layers, heads, patches)."""
    scores = torch.einsum("lhd,lhnd->lhn", queries[:, :, 0], keys) * DIM**-0.5
    return scores.softmax(-1)[..., 1:].numpy()


def to_the_browser(queries: torch.Tensor, keys: torch.Tensor, photo: bytes) -> bytes:
    values, maxima = quantise(rows_of(queries, keys))
    return pack({"grid": GRID}, photo=photo, values=values, maxima=maxima)


def as_a_file(queries: torch.Tensor, keys: torch.Tensor, photo: Image.Image) -> bytes:
    buffer = io.BytesIO()
    sheet(photo, rows_of(queries, keys), GRID).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def with_matplotlib(queries: torch.Tensor, keys: torch.Tensor, photo: Image.Image) -> bytes:
    weights = rows_of(queries, keys)
    figure = Figure(figsize=(12, 12))
    FigureCanvasAgg(figure)
    axes = figure.subplots(LAYERS, HEADS)
    for layer in range(LAYERS):
        for head in range(HEADS):
            axis = axes[layer, head]
            axis.imshow(photo)
            map_ = weights[layer, head].reshape(GRID)
            axis.imshow(map_, alpha=0.6, extent=(0, 224, 224, 0), interpolation="nearest")
            axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def time_sheets(repeats: int) -> dict[str, float]:
    """Median milliseconds of each way, interleaved."""
    generator = torch.Generator().manual_seed(0)
    queries, keys = torch.randn(2, LAYERS, HEADS, TOKENS, DIM, generator=generator)
    photo = Image.fromarray(data.astronaut()).resize((224, 224))
    jpeg = photo_bytes(photo)
    ways = {
        "sheet, to the browser": lambda: to_the_browser(queries, keys, jpeg),
        "sheet, as a PNG file": lambda: as_a_file(queries, keys, photo),
        "sheet, matplotlib subplots": lambda: with_matplotlib(queries, keys, photo),
    }
    times = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(series[1:]) for name, series in times.items()}


# -- the browser --------------------------------------------------------------------------------


@contextmanager
def served(script: str):
    """A Streamlit script under `streamlit run`; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.headless", "true"]
    process = subprocess.Popen(
        [*command, "--server.port", str(port), "--server.address", "127.0.0.1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def wait_for(address: str) -> None:
    for _ in range(1200):
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1)
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(address)


def first_picture(page, address: str) -> None:
    page.goto(address)
    page.locator(".explorer .readout .from").filter(has_text="From").wait_for()


# The event's own time stamp is when the browser got the mouse; after the next frame's
# callbacks (one of which draws), a message comes back once the frame is out.
HOVER = """
(canvas) => {
    window.hovers = [];
    canvas.addEventListener("pointermove", (event) => {
        requestAnimationFrame(() => {
            const channel = new MessageChannel();
            channel.port1.onmessage = () => hovers.push(performance.now() - event.timeStamp);
            channel.port2.postMessage(0);
        });
    });
}
"""


def time_hover(browser, address: str, side: int, heads: int, moves: int) -> float:
    """Median milliseconds from a mouse move to the painted frame."""
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    first_picture(page, f"{address}/?side={side}&heads={heads}")
    page.wait_for_timeout(1000)
    canvas = page.locator("canvas.photo")
    canvas.evaluate(HOVER)
    box = canvas.bounding_box()
    for i in range(moves):
        x, y = (i * 7) % side, (i * 3) % side
        page.mouse.move(
            box["x"] + (x + 0.5) * box["width"] / side, box["y"] + (y + 0.5) * box["height"] / side
        )
        page.wait_for_timeout(40)
    times = page.evaluate("hovers")
    page.close()
    return statistics.median(times[5:])


def time_cold_starts(browser, repeats: int) -> float:
    """Median seconds from the command to the first picture."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        with served("app.py") as address:
            wait_for(address)
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            first_picture(page, address)
            times.append(time.perf_counter() - start)
            page.close()
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    sheets = time_sheets(repeats)
    slowest = sheets["sheet, matplotlib subplots"]
    print(f"{'':32}{'median':>12}{'against matplotlib':>22}")
    for name, milliseconds in sheets.items():
        print(f"{name:32}{milliseconds:9.1f} ms{slowest / milliseconds:19.0f} x")
    executable = find_browser()
    if executable is None:
        print("No chromium on this machine: the browser's times were left out.")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=FLAGS)
        with served("benchmarks/hover_app.py") as address:
            wait_for(address)
            for side, heads in ((14, 12), (60, 6)):
                milliseconds = time_hover(browser, address, side, heads, moves=60)
                print(f"{f'hover, {side} x {side}, {heads} heads':32}{milliseconds:9.1f} ms")
        print(f"{'cold start to first picture':32}{time_cold_starts(browser, repeats):9.1f} s")
        browser.close()


if __name__ == "__main__":
    main()
