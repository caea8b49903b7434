"""How large a figure's HTML file is, and how fast: `python -m benchmarks.export` prints a table.

- Size, and the time to write it: ViT-B/16 with all layers (random queries and keys, which no
  compression shrinks), the app's first model, a caption of 12 words.
- In a real browser, from disk and offline: from opening the file to the first map, and from a mouse
  move to the frame that shows the new maps; medians, the files taken in turn.
- Beside them bertviz's file for a text model of as many tokens, layers and heads, where bertviz is
  installed; its file is not opened.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.explore import HOVER
from model import zoo
from model.datasets import samples
from model.recording.rollout import FUSIONS
from tests.browser.conftest import FLAGS, find_browser
from viz.components.payload import pack, photo_bytes
from viz.notebook import show
from viz.standalone import Figure, export_html
from viz.standalone.views import Recorded, Start, explore_figure

LAYERS, HEADS, SIDE, DIM = 12, 12, 14, 64
WORDS = "a brown dog runs through the green grass with a red ball"

DRAWN = """() => {
    const canvas = document.querySelector("[data-kind]")?.shadowRoot?.querySelector("canvas.photo");
    return canvas && canvas.getContext("2d").getImageData(9, 9, 1, 1).data[3] > 0
        && performance.now();
}"""


def vit_b16() -> Figure:
    """Make the figure of a model of this size, with random queries and keys."""
    draw = np.random.default_rng(0)
    tokens = SIDE * SIDE + 1
    about = {"kind": "qk", "dim": DIM, "scale": DIM**-0.5, "heads": HEADS, "tokens": tokens}
    layers = []
    for _ in range(LAYERS):
        query, key = draw.normal(size=(2, HEADS, tokens, DIM)).astype(np.float16)
        layers.append(pack(about | {"sinks": []}, query=query, key=key))
    recorded = Recorded(
        photo=photo_bytes(samples.load("chelsea")),
        layers=layers,
        shapes=[(HEADS, SIDE, SIDE)] * LAYERS,
        numbers=list(range(1, LAYERS + 1)),
        prefix=["cls"],
        model="ViT-B/16",
        rollouts={
            f"rollouts/{fusion}/0.00": pack(
                {"tokens": tokens}, rows=draw.dirichlet(np.ones(tokens), tokens).astype(np.float16)
            )
            for fusion in FUSIONS
        },
    )
    return explore_figure(recorded, Start(), "ViT-B/16")


def figures() -> dict[str, Figure]:
    """Make the figures that are measured, by name."""
    first, cat = zoo.names()[0], samples.load("chelsea")
    caption = zoo.load("flickr8k-captioner").score(cat, WORDS)
    return {
        f"ViT-B/16, {LAYERS} layers": vit_b16(),
        f"{first}, all layers": show(zoo.load(first), cat).figure,
        f"a caption of {len(caption.words)} words": show(caption).figure,
    }


def bertviz_page() -> str | None:
    """Let bertviz write the head view of random maps; None where it is not installed."""
    try:
        from bertviz import head_view
    except ImportError:
        return None
    tokens = SIDE * SIDE + 1
    maps = [torch.rand(1, HEADS, tokens, tokens).softmax(-1) for _ in range(LAYERS)]
    words = [f"w{number}" for number in range(tokens)]
    return head_view(maps, words, html_action="return").data


def median_of(measure: Callable[[], float], repeats: int) -> float:
    """Measure several times, and return the median."""
    return statistics.median(measure() for _ in range(repeats))


def time_to_write(figure: Figure, path: Path) -> float:
    """Return the milliseconds that writing a file takes."""
    start = time.perf_counter()
    export_html(figure, path)
    return 1000 * (time.perf_counter() - start)


def time_first_map(browser, path: Path) -> float:
    """Return the milliseconds from opening a file to its first map."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(path.as_uri(), wait_until="commit")
    milliseconds = page.wait_for_function(DRAWN, polling="raf").json_value()
    context.close()
    return milliseconds


def time_hover(browser, path: Path, moves: int) -> float:
    """Return the median milliseconds from a mouse move to the painted frame."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_function(DRAWN)
    page.wait_for_timeout(500)
    canvas = page.locator("canvas.photo").first
    canvas.evaluate(HOVER)
    box = canvas.bounding_box()
    for number in range(moves):
        x, y = ((number * step % SIDE + 0.5) / SIDE for step in (7, 3))
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.wait_for_timeout(40)
    times = page.evaluate("hovers")
    context.close()
    return statistics.median(times[5:])


def in_turn(measure: Callable[[Path], float], paths: list[Path], repeats: int) -> Iterator[float]:
    """Measure the files in turn, so that a busy moment hits each; give each its median."""
    rounds = [[measure(path) for path in paths] for _ in range(repeats)]
    return map(statistics.median, zip(*rounds, strict=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    made = figures()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.html" for number in range(len(made))]
        written = [
            median_of(lambda figure=figure, path=path: time_to_write(figure, path), repeats)
            for figure, path in zip(made.values(), paths, strict=True)
        ]
        first, hover = time_in_browser(paths, repeats)
        print(f"{'':28}{'size':>9}{'written':>11}{'first map':>12}{'hover':>11}")
        for name, path, *times in zip(made, paths, written, first, hover, strict=True):
            write, begin, move = (f"{ms:8.1f} ms" if ms is not None else "" for ms in times)
            print(f"{name:28}{path.stat().st_size / 1e6:6.2f} MB{write:>11}{begin:>12}{move:>11}")
    page = bertviz_page()
    if page is None:
        print("bertviz is not installed: its file was left out.")
    else:
        fetched = "names other sites in its page; not opened" if "https://" in page else ""
        print(f"{'bertviz, as many maps':28}{len(page.encode()) / 1e6:6.2f} MB  {fetched}")


def time_in_browser(paths: list[Path], repeats: int) -> tuple[list, list]:
    """Time first maps and hovers of files; None for each where there is no browser."""
    executable = find_browser()
    if executable is None:
        print("No chromium on this machine: the browser's times were left out.")
        return [None] * len(paths), [None] * len(paths)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=FLAGS)
        first = list(in_turn(lambda path: time_first_map(browser, path), paths, repeats))
        hover = list(in_turn(lambda path: time_hover(browser, path, 30), paths, min(repeats, 3)))
        browser.close()
    return first, hover


if __name__ == "__main__":
    main()
