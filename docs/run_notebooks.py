"""Run the notebooks of docs/notebooks and keep what they show: `python docs/run_notebooks.py`.

A notebook keeps its printed text and a still picture of each figure, so that a reader who does not
run it sees something too. With names, as `own_vit`, only these are run.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "notebooks"
KEPT = ("image/png", "text/plain")
"""The first of them that an output has."""
SECONDS = 900
"""For one cell, on a machine that does other things too."""


def run(path: Path) -> NotebookNode:
    """Run a notebook in a folder that is thrown away, and return it with its outputs.

    Raises nbclient.exceptions.CellExecutionError where a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, timeout=SECONDS, resources=where, coalesce_streams=True)
        return client.execute(env={**os.environ, "PYTHONPATH": str(ROOT)})


def keep_stills(notebook: NotebookNode) -> None:
    """Leave text and still pictures of the outputs; a widget lives only while its kernel runs."""
    notebook.metadata = {key: notebook.metadata[key] for key in ("kernelspec", "language_info")}
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [kept for output in cell.outputs if (kept := _keep(output))]


def _keep(output: NotebookNode) -> NotebookNode | None:
    """Return an output as it is kept, or None for one that is not."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    kind = next(kind for kind in KEPT if kind in output.data)
    return nbformat.v4.new_output("display_data", {kind: output.data[kind]})


def main(names: list[str]) -> None:
    """Run the notebooks of these names, or all, and write them."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not names or path.stem in names:
            notebook = run(path)
            keep_stills(notebook)
            nbformat.write(notebook, path)
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
