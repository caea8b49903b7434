"""Take the README's pictures of the app: `python docs/screenshots.py`, or some of them by name."""

import argparse
import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.explore import served, wait_for  # noqa: E402
from tests.browser.conftest import FLAGS, find_browser  # noqa: E402

VIEW = "photo=chelsea&layer=3&head=mean&from=r6c6&held=yes"
PAGES = {  # name of the picture -> address, what is there once the page is, height in pixels
    "explore": (f"?{VIEW}", ".explorer", 900),
    "attribution": ("attribution?photo=chelsea", ".row", 900),
    "positions": ("positions?tab=This+model%27s+code", ".tiles", 900),
    "captions": ("captions?captioner=scenes-captioner&scene=4&word=9", ".captions", 900),
    "heads": ("heads?over=The+samples", ".js-plotly-plot", 900),
    "features": ("features?photo=chelsea&beside=coffee&from=r6c6", ".features .readout b", 1060),
    "compare": ("compare?photo=chelsea&from=r5c5&held=yes", ".compare .distance", 900),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*PAGES, []], default=[])
    names = parser.parse_args().names or list(PAGES)
    with sync_playwright() as driver, served("app.py") as address:
        browser = driver.chromium.launch(executable_path=find_browser(), args=FLAGS)
        wait_for(address)
        for scheme in ("light", "dark"):
            for name in names:
                path, there, height = PAGES[name]
                page = browser.new_page(
                    viewport={"width": 1440, "height": height}, color_scheme=scheme
                )
                page.goto(f"{address}/{path}")
                page.locator(there).first.wait_for(timeout=60_000)
                page.wait_for_timeout(4000)
                picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
                picture.save(ROOT / "docs" / f"{name}-{scheme}.webp", quality=88)
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
