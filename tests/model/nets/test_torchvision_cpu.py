"""torchvision must import after `ensure_operators()`, whatever build of torch it meets."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from model.nets import torchvision_cpu

ROOT = Path(__file__).parents[3]


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_torchvision_and_a_transform_import_in_a_fresh_process():
    out = run(
        "from model.nets.torchvision_cpu import ensure_operators\n"
        "ensure_operators(); ensure_operators()\n"
        "import torchvision\n"
        "from PIL import Image\n"
        "from torchvision.transforms import ToTensor\n"
        "print(tuple(ToTensor()(Image.new('RGB', (5, 4))).shape))\n"
    )
    assert out.strip() == "(3, 4, 5)"


def test_the_module_itself_does_not_import_torchvision():
    out = run(
        "import sys, model.nets.torchvision_cpu as t; t.ensure_operators(); "
        "print('torchvision' in sys.modules)"
    )
    assert out.strip() == "False"


def test_many_threads_may_call_it_at_once():
    errors = []

    def call():
        try:
            torchvision_cpu.ensure_operators()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert hasattr(torch.ops.torchvision, "nms")


@pytest.mark.parametrize("loads", [True, False])
def test_schemas_are_declared_only_when_the_extension_fails(monkeypatch, loads):
    """With an extension that loads, nothing of ours may be declared over it."""
    declared = []

    class Library:
        def __init__(self, *args):
            pass

        def define(self, schema):
            declared.append(schema)

    monkeypatch.setattr(torchvision_cpu, "_declared", lambda: False)
    monkeypatch.setattr(torchvision_cpu, "_load_extension", lambda: loads)
    monkeypatch.setattr(torchvision_cpu.torch.library, "Library", Library)
    monkeypatch.setattr(torchvision_cpu, "_library", None)
    torchvision_cpu.ensure_operators()
    assert bool(declared) is not loads
