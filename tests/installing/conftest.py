"""An environment into which the wheel was installed, built from the source distribution."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_SOURCE = shutil.ignore_patterns(
    *(".git", ".venv", ".*_cache", "node_modules", "__pycache__", "build", "dist", "*.egg-info"),
    "runs",
)
SDIST = "from setuptools import build_meta; build_meta.build_sdist('dist')"


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it."""

    bin: Path
    wheel: Path
    sdist: Path

    def run(self, name, *arguments, folder, **variables):
        """Run a program of the environment in a folder; return what it printed, or fail."""
        done = subprocess.run(
            [self.bin / name, *arguments],
            cwd=folder,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
        )
        return done

    def environment(self, **variables):
        return {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **variables}


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """The environment; other libraries are those of the tests' own environment."""
    folder = tmp_path_factory.mktemp("installed")
    source, unpacked, wheels = folder / "source", folder / "unpacked", folder / "wheels"
    shutil.copytree(ROOT, source, ignore=NOT_SOURCE)
    check([sys.executable, "-c", SDIST], source)
    [sdist] = (source / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    [tree] = unpacked.iterdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    alone = ["--no-deps", "--no-index"]
    check([*pip, "wheel", *alone, "--no-build-isolation", "-w", str(wheels), "."], tree)
    [wheel] = wheels.iterdir()
    venv.create(folder / "venv", with_pip=False)
    scripts = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    check([*pip, "--python", str(scripts / "python"), "install", *alone, str(wheel)], folder)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder / "venv")})
    others = sysconfig.get_path("purelib")
    Path(packages, "others.pth").write_text(others + "\n", encoding="utf-8")
    return Installed(scripts, wheel, sdist)


def check(command, folder):
    """Run a command, which must succeed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert not done.returncode, done.stdout[-2000:] + done.stderr[-4000:]
