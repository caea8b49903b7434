"""What the README says is run, and what it points at exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readmes_example_runs():
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    namespace = {}
    exec(compile(example, "README.md", "exec"), namespace)
    weights = namespace["record"].weights(heads=[0], queries=[5])
    assert weights.sum().item() == pytest.approx(1, abs=1e-5)
    assert not namespace["logits"].equal(namespace["changed"])


def test_the_readmes_pictures_exist():
    pictures = re.findall(r'(?:src|srcset)="(docs/[^"]+)"', README)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_importing_the_model_package_loads_nothing_heavy():
    code = "import sys, model; print(sorted({'torch', 'torchvision', 'timm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
