"""Measure what interventions cost, against plain forward passes in the same process.

    python -m benchmarks.intervention                 # the app's default model
    python -m benchmarks.intervention --browser http://localhost:8501   # click to painted bars
    python -m benchmarks.intervention --sessions 30   # a class that tries things on one sample

Ways are interleaved, each round runs every way once, and ratios are medians over rounds. The scan
of heads is compared with as many plain passes at the same batch size, and the scan of patches
likewise; all run on the same threads. `--browser` takes the address of a running app; it needs
playwright and a Chromium. So does `--sessions`, which serves the app itself: that many websocket
sessions replay what a browser sent, each trying something every five seconds.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median

import torch

from model import zoo
from model.bundle import Bundle
from model.datasets import samples
from model.intervention import intervene, scan_heads, scan_patches

Step = Callable[[], object]


def timed(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def ratio(changed: Step, plain: Step, rounds: int, inner: int = 1) -> tuple[float, float, float]:
    """Median seconds of both, and the median of their ratio, round by round."""
    changed(), plain()  # warm
    pairs = [
        (min(timed(changed) for _ in range(inner)), min(timed(plain) for _ in range(inner)))
        for _ in range(rounds)
    ]
    return (
        median(a for a, _ in pairs),
        median(b for _, b in pairs),
        median(a / b for a, b in pairs),
    )


def repeat(step: Step, times: int) -> Step:
    return lambda: [step() for _ in range(times)]


def ways(bundle: Bundle, batch: int) -> dict[str, tuple[Step, Step]]:
    """Each thing to measure, beside as many plain passes."""
    net, images = bundle.net, bundle.prepare(samples.load("coffee"))
    heads = scan_heads(net, images, batch_size=batch).heads
    patches = bundle.tokens.patches

    def plain(count: int = 1) -> Step:
        given = images.expand(count, -1, -1, -1).contiguous()
        return lambda: net(given)

    def changed(**changes: object) -> Step:
        def step() -> None:
            with intervene(net, tokens=bundle.tokens, **changes):
                net(images)

        return step

    whole, rest = divmod(patches, batch)
    by_patches = [repeat(plain(batch), whole), *([plain(rest)] if rest else [])]
    return {
        "a head off": (changed(heads_off={0: [0]}), plain()),
        "three heads off, four patches hidden": (
            changed(heads_off={0: [0, 1], 1: [0]}, hide_patches=range(4)),
            plain(),
        ),
        "a patch taken out": (changed(hide_patches=[0], hide="remove"), plain()),
        "a uniform map": (changed(maps={0: "uniform"}), plain()),
        f"scan of {sum(heads)} heads": (
            lambda: scan_heads(net, images, batch_size=batch),
            lambda: [step() for step in [plain(count) for count in heads]],
        ),
        f"scan of {patches} patches": (
            lambda: scan_patches(net, images, tokens=bundle.tokens, batch_size=batch),
            lambda: [step() for step in by_patches],
        ),
    }


# -- in a browser -------------------------------------------------------------------------------


def click_to_bars(address: str, clicks: int) -> list[float]:
    """Milliseconds from a click on a head to the frame after the bars have changed."""
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import FLAGS, find_browser

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_browser(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(60_000)
        page.goto(f"{address}/what_if?photo=coffee")
        page.locator(".switches > canvas").wait_for()
        page.wait_for_timeout(3000)
        places = [[0.1 + 0.14 * (i % 6), 0.1 + 0.02 * i] for i in range(clicks)]
        taken = [page.evaluate(_CLICK, place) for place in places]
        browser.close()
    return taken


_CLICK = """async ([x, y]) => {
  const roots = [...document.querySelectorAll("*")].map((n) => n.shadowRoot).filter(Boolean);
  const find = (s) => roots.map((r) => r.querySelector(s)).find(Boolean);
  const [canvas, words] = [find(".switches > canvas"), find(".what_if .words")];
  const box = canvas.getBoundingClientRect();
  const [clientX, clientY] = [box.left + x * box.width, box.top + y * box.height];
  const start = performance.now();
  const changed = new Promise((done) => {
    const seen = new MutationObserver(() => { seen.disconnect(); requestAnimationFrame(done); });
    seen.observe(words, { childList: true, characterData: true, subtree: true });
  });
  canvas.dispatchEvent(new MouseEvent("click", { clientX, clientY, bubbles: true }));
  await changed;
  const took = performance.now() - start;
  await new Promise((done) => setTimeout(done, 1500));
  return took;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=zoo.names()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--sessions", type=int, help="how many try something on one sample")
    parser.add_argument("--browser", metavar="ADDRESS", help="of a running app, to click in")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores")
    if options.sessions:
        from benchmarks.intervention_class import try_together

        try_together(options.sessions)
        return
    if options.browser:
        taken = click_to_bars(options.browser, 12)
        print(f"click to painted bars: median {median(taken):.0f} ms, of {len(taken)}")
        return
    print("\n| what | ms | plain, ms | ratio |\n|---|---:|---:|---:|")
    with torch.inference_mode():
        for name, (changed, plain) in ways(zoo.load(options.model), options.batch).items():
            inner = 1 if "scan" in name else 5
            one, other, times = ratio(changed, plain, options.rounds, inner)
            print(f"| {name} | {1000 * one:.1f} | {1000 * other:.1f} | {times:.2f} |", flush=True)


if __name__ == "__main__":
    main()
