"""Take the README's pictures of the app: `python docs/screenshots.py`."""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.explore import first_picture, served, wait_for  # noqa: E402
from tests.browser.conftest import FLAGS, find_browser  # noqa: E402

VIEW = "?photo=chelsea&layer=3&head=mean&from=r3c3&held=yes"


def main() -> None:
    with sync_playwright() as driver, served("app.py") as address:
        browser = driver.chromium.launch(executable_path=find_browser(), args=FLAGS)
        wait_for(address)
        for scheme in ("light", "dark"):
            page = browser.new_page(
                viewport={"width": 1440, "height": 900}, color_scheme=scheme, device_scale_factor=1
            )
            first_picture(page, f"{address}/{VIEW}")
            page.wait_for_timeout(1500)
            picture = Image.open(io.BytesIO(page.screenshot()))
            picture.convert("RGB").save(ROOT / "docs" / f"explore-{scheme}.webp", quality=88)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
