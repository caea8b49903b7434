"""What a wheel would carry: every file of the packages, the app, its settings, the checkpoints."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = """
import json, sys
from distutils.core import run_setup
built = run_setup("setup.py").get_command_obj("build_py")
built.ensure_finalized()
files = [file for _, _, file in built.find_all_modules()]
files += [f"{folder}/{name}" for _, folder, _, names in built.data_files for name in names]
json.dump(files, sys.stdout)
"""
TOOLS = {"package.json", "package-lock.json", "biome.json", ".npmrc"}
"""Files of those who change the browser's code."""


def source_files():
    """The files of the source tree that the installed library needs."""
    for name in ("model", "saccade", "viz", "checkpoints", ".streamlit"):
        for path in (ROOT / name).rglob("*"):
            made = {"__pycache__", "node_modules"} & set(path.parts)
            if path.is_file() and not made and path.name not in TOOLS | {".DS_Store"}:
                yield path.relative_to(ROOT).as_posix()
    yield "app.py"


def test_the_wheel_has_every_file_and_nothing_else():
    listed = subprocess.run(
        [sys.executable, "-c", "import setuptools\n" + LIST], cwd=ROOT, capture_output=True
    )
    assert not listed.returncode, listed.stderr.decode()
    carried = [Path(file).as_posix() for file in json.loads(listed.stdout)]
    assert sorted(carried) == sorted(source_files())
