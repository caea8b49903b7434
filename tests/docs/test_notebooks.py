"""The notebooks of docs/notebooks: well formed, with small pictures, and they run."""

import ast
import json
from base64 import b64decode
from importlib import import_module
from pathlib import Path

import pytest

from viz.notebook.shown import STILL_BYTES

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"
QUICK = "own_vit"
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def imported(path):
    """The names that a notebook imports from the project, in full."""
    code = "\n".join("".join(cell["source"]) for cell in code_cells(path))
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith(("model", "viz")):
            yield from ((node.module, alias.name) for alias in node.names)


def test_the_readme_links_every_notebook():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) == 3
    assert all(f"(docs/notebooks/{path.name})" in readme for path in NOTEBOOKS)


@by_name
def test_what_a_notebook_imports_exists(path):
    names = list(imported(path))
    assert names
    for module, name in names:
        assert hasattr(import_module(module), name), f"{module} has no {name}"


@by_name
def test_a_notebook_keeps_text_and_small_pictures(path):
    outputs = [output for cell in code_cells(path) for output in cell["outputs"]]
    kinds = {output["output_type"] for output in outputs}
    assert kinds == {"stream", "display_data"}, "what was run, without an error"
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in str(output)]
    assert pictures
    for picture in pictures:
        data = b64decode("".join(picture))
        assert data.startswith(b"\x89PNG") and len(data) <= STILL_BYTES


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[] if path.stem == QUICK else pytest.mark.slow)
        for path in NOTEBOOKS
    ],
)
def test_a_notebook_runs_and_shows_what_it_did(path):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    from docs.run_notebooks import run

    cells = [cell for cell in run(path).cells if cell.cell_type == "code"]
    kept = code_cells(path)
    for cell, before in zip(cells, kept, strict=True):
        shown = [output.data for output in cell.outputs if "data" in output]
        pictures = sum("image/png" in data for data in shown)
        assert pictures == sum("image/png" in str(output) for output in before["outputs"])
        if pictures and calls(cell.source) & {"show", "compare"}:
            assert any(WIDGET in data for data in shown), "with anywidget the figure is alive"


def calls(code):
    """The names of the functions that a cell calls."""
    nodes = (node.func for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call))
    return {node.id for node in nodes if isinstance(node, ast.Name)}
