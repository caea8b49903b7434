"""What axe-core finds on every page at the width of a phone.

    python -m tests.browser.accessibility

writes the findings in Streamlit's own markup into docs/accessibility.md. What axe-core finds in
ours fails a test (`tests/browser/test_screens.py`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit

ROOT = Path(__file__).parents[2]
AXE = ROOT / "viz" / "components" / "node_modules" / "axe-core" / "axe.min.js"
DOCS = ROOT / "docs" / "accessibility.md"
PAGES = (
    *("", "features", "captions", "compare", "what_if", "inside_head", "attribution", "heads"),
    *("positions", "patches", "cost", "lessons", "models", "glossary", "video"),
)
"""The addresses of all pages; Explore has the empty one."""
_HEARD = ("serious", "critical")
_MARK = "<!-- written by python -m tests.browser.accessibility -->"


@dataclass(frozen=True)
class Finding:
    """A rule of axe-core that a page breaks."""

    page: str
    rule: str
    impact: str
    help: str
    count: int
    ours: bool
    example: str


def findings(page: Any, address: str) -> Iterator[Finding]:
    """Run axe-core on an open page; yield what is serious or critical."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    report = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    for found in report["violations"]:
        if found["impact"] not in _HEARD:
            continue
        for ours in (True, False):
            nodes = [node for node in found["nodes"] if _is_ours(node) == ours]
            if nodes:
                yield Finding(
                    address or "explore",
                    found["id"],
                    found["impact"],
                    found["help"],
                    len(nodes),
                    ours,
                    str(nodes[0]["target"]),
                )


def _is_ours(node: dict[str, Any]) -> bool:
    """Say whether a node lies in one of our components: each has a shadow root, Streamlit none."""
    return isinstance(node["target"][0], list)


def write_docs(found: list[Finding]) -> None:
    """Write the findings in Streamlit's markup as a table, a row a rule."""
    version = re.search(r"axe v([\d.]+)", AXE.read_text(encoding="utf-8")[:200])
    rows = []
    for rule in sorted({each.rule for each in found if not each.ours}):
        those = [each for each in found if each.rule == rule and not each.ours]
        pages = sorted({each.page for each in those})
        where = "every page" if len(pages) == len(PAGES) else ", ".join(pages)
        rows.append(f"| {rule} | {those[0].impact} | {those[0].help} | {where} |")
    table = "\n".join(["| rule | impact | what it asks | pages |", "|---|---|---|---|", *rows])
    before = DOCS.read_text(encoding="utf-8").partition(_MARK)[0]
    axe = version[1] if version else "of unknown version"
    said = f"Streamlit {streamlit.__version__}, axe-core {axe}, 390 pixels wide:"
    DOCS.write_text(f"{before}{_MARK}\n{said}\n\n{table}\n", encoding="utf-8")


def main() -> None:
    """Open every page of a server on this machine, and write what was found."""
    import argparse

    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import FLAGS, find_browser
    from tests.browser.test_screens import PHONE, arrive

    options = argparse.ArgumentParser(description="Write docs/accessibility.md.")
    options.add_argument(
        "server", help="the address of a running app, such as http://localhost:8501"
    )
    server = options.parse_args().server
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_browser(), args=FLAGS)
        context = browser.new_context(**PHONE)
        found = []
        for address in PAGES:
            page = arrive(context, f"{server}/{address}")
            found += findings(page, address)
            page.close()
        browser.close()
    write_docs(found)


if __name__ == "__main__":
    main()
