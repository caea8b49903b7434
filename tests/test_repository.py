"""What the README says is run; what the rooms may import is kept."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLOTTING = {"streamlit", "matplotlib", "plotly"}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_readmes_example_runs(block):
    namespace = {}
    exec(compile(block, "README.md", "exec"), namespace)
    weights = namespace["record"].weights(heads=[0], queries=[5])
    assert weights.sum().item() == pytest.approx(1, abs=1e-5)


def test_the_readmes_pictures_exist():
    pictures = re.findall(r'(?:src|srcset)="(docs/[^"]+)"', README)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_the_model_knows_nothing_of_the_pages():
    for path in (ROOT / "model").rglob("*.py"):
        assert not imported(path) & (PLOTTING | {"viz"}), path


def test_drawing_knows_neither_torch_nor_streamlit():
    for path in (ROOT / "viz").rglob("*.py"):
        room = path.relative_to(ROOT / "viz").parts[0]
        if room != "pages":
            assert "torch" not in imported(path), path
        if room != "pages" and path.name != "mounts.py":
            assert "streamlit" not in imported(path), path


def test_importing_the_model_package_loads_nothing_heavy():
    code = "import sys, model; print(sorted({'torch', 'torchvision', 'timm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
