"""The widget in the real front ends of JupyterLab and marimo: it draws, and a click is a trait."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from textwrap import indent

import pytest

from tests.browser.conftest import ROOT, _free_port, _wait_for
from viz.notebook.shown import STILL_BYTES

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHOW = """
from pathlib import Path
from model import samples, zoo
from viz.notebook import show
figure = show(zoo.load("cs231n-cifar10"), samples.load("chelsea"), layer=2, head=1, query=5)
def write(change):
    chosen = f"{figure.layer} {figure.head} {figure.query} {figure.row.argmax()}"
    Path("chosen.txt").write_text(chosen)
figure.observe(write, "query")
"""
PATCH = 15  # the last one of 4 x 4


def need(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


@contextmanager
def served(command: list[str], folder: Path, ready: str) -> Iterator[None]:
    """Run a server in a folder, with settings of its own; end it and what it started."""
    own = {
        name: str(folder / "settings")
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env={**os.environ, **own, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait_for(ready, process)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def code_cell(source: str) -> dict:
    return {
        "cell_type": "code",
        "source": source,
        "metadata": {},
        "outputs": [],
        "execution_count": None,
        "id": f"cell{abs(hash(source)) % 10**6}",
    }


@pytest.fixture
def lab(tmp_path) -> Iterator[Callable[[list[str]], str]]:
    """Call it with the sources of cells, none of them run, to get JupyterLab's address."""
    need("jupyterlab")
    need("anywidget")
    with ExitStack() as servers:

        def open_(sources: list[str]) -> str:
            kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
            book = {"metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
            book |= {"cells": [code_cell(source) for source in sources]}
            (tmp_path / "figure.ipynb").write_text(json.dumps(book))
            port = _free_port()
            command = ["jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}"]
            command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path}"]
            address = f"http://127.0.0.1:{port}"
            servers.enter_context(served(command, tmp_path, f"{address}/api"))
            return f"{address}/lab/tree/figure.ipynb"

        yield open_


def open_lab(browser, address: str, timeout: int = 60_000):
    """Open JupyterLab with its first cell ready to be run."""
    page = browser.new_page(viewport={"width": 1440, "height": 1400})
    page.set_default_timeout(timeout)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(address)
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
    return page


def click_patch(page, patch: int, side: int = 4) -> None:
    canvas = page.locator(".saccade canvas.photo").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    row, column = divmod(patch, side)
    place = {"x": (column + 0.5) / side * box["width"], "y": (row + 0.5) / side * box["height"]}
    canvas.click(position=place)


def is_light(page) -> bool:
    theme = page.locator(".saccade").first.get_attribute("data-theme")
    return theme == "light"


def wait_for_file(page, path: Path, text: str) -> str:
    for _ in range(100):
        found = path.read_text() if path.exists() else ""
        if found.startswith(text):
            return found
        page.wait_for_timeout(100)
    raise AssertionError(f"{path.name} has {found!r}, not {text!r}")


def test_in_jupyterlab_it_draws_a_click_is_a_trait_and_a_still_is_saved(browser, lab, tmp_path):
    page = open_lab(browser, lab([SHOW, "figure", "figure.layer = 0"]))
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    page.locator(".saccade canvas.photo").first.wait_for()
    page.get_by_text("Heads of layer 3", exact=True).wait_for()
    click_patch(page, PATCH)
    chosen = wait_for_file(page, tmp_path / "chosen.txt", f"2 1 {PATCH}")
    assert chosen == f"2 1 {PATCH} {row_of(2, 1, PATCH).argmax()}"
    assert is_light(page), "as JupyterLab is"
    page.screenshot(path=tmp_path / "lab.png")
    page.locator(".jp-CodeCell .cm-content").nth(2).click()
    page.keyboard.press("Shift+Enter")
    page.get_by_text("Heads of layer 1", exact=True).wait_for()
    page.keyboard.press("Control+s")
    still = saved_still(page, tmp_path / "figure.ipynb")
    assert still.startswith(b"\x89PNG")
    assert len(still) <= STILL_BYTES
    assert [error for error in page.errors if "saccade" in error.lower()] == []
    page.close()


OBSERVE = """
from pathlib import Path
def write(change):
    Path("chosen.txt").write_text(f"{figure.query} {figure.row.shape}")
figure.observe(write, "query")
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("own_vit", f"{1 + PATCH} (65,)"),
        ("own_captioner", "1 (64,)"),  # the second word
        ("two_training_runs", f"{1 + PATCH} (65,)"),
    ],
)
def test_the_figure_of_an_example_notebook_is_alive(browser, lab, tmp_path, name, expected):
    book = json.loads((ROOT / "docs" / "notebooks" / f"{name}.ipynb").read_text())
    sources = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    last = next(at for at, source in enumerate(sources) if source.endswith("\nfigure"))
    page = open_lab(browser, lab([*sources[: last + 1], OBSERVE]), timeout=900_000)
    for _ in range(last + 2):
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(300)
    page.locator(".saccade canvas.photo").first.wait_for()
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
    if name == "own_captioner":
        page.locator(".saccade").get_by_role("button", name="Next").click()
    else:
        click_patch(page, PATCH, side=8)
    wait_for_file(page, tmp_path / "chosen.txt", expected)
    page.screenshot(path=tmp_path / f"{name}.png")
    assert [error for error in page.errors if "saccade" in error.lower()] == []
    page.close()


def row_of(layer: int, head: int, query: int):
    """The attention that the model computes, without the widget."""
    import torch

    from model import AttentionRecorder, zoo
    from model.datasets import samples

    bundle = zoo.load("cs231n-cifar10")
    with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:
        bundle.net(bundle.prepare(samples.load("chelsea")))
    return recorder.records[layer].weights(queries=[query])[0, head, 0]


def saved_still(page, path: Path) -> bytes:
    for _ in range(100):
        for cell in json.loads(path.read_text())["cells"]:
            for output in cell["outputs"]:
                if "image/png" in output.get("data", {}):
                    return b64decode("".join(output["data"]["image/png"]))
        page.wait_for_timeout(200)
    raise AssertionError("the saved notebook has no picture")


MARIMO = f"""import marimo
app = marimo.App()

@app.cell
def _():
    import marimo
{indent(SHOW.strip(), "    ")}
    widget = marimo.ui.anywidget(figure)
    widget
    return
"""


def test_in_marimo_it_draws_and_a_click_is_a_trait(browser, tmp_path):
    need("marimo")
    need("anywidget")
    (tmp_path / "figure.py").write_text(MARIMO)
    port = _free_port()
    command = ["marimo", "--yes", "run", "figure.py", "--headless", "--no-token"]
    address = f"http://127.0.0.1:{port}"
    with served([*command, f"--port={port}"], tmp_path, f"{address}/health"):
        page = browser.new_page(viewport={"width": 1440, "height": 1400})
        page.set_default_timeout(60_000)
        page.goto(address)
        page.locator(".saccade canvas.photo").first.wait_for()
        page.get_by_text("Heads of layer 3", exact=True).wait_for()
        click_patch(page, PATCH)
        wait_for_file(page, tmp_path / "chosen.txt", f"2 1 {PATCH}")
        assert is_light(page), "as marimo is"
        page.screenshot(path=tmp_path / "marimo.png")
        page.close()
