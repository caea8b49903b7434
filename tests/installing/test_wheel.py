"""The wheel in an environment of its own: the library, the commands and the app, elsewhere."""

import asyncio
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from model.datasets import samples
from tests.browser.conftest import _free_port, _wait_for
from tests.finish import finish

ROOT = Path(__file__).parents[2]
NAME = "cs231n-cifar10"
pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    """A folder with a photo, and a student's own files that bear the names of ours."""
    samples.load("coffee").save(tmp_path / "cup.png")
    for own in ("model.py", "viz.py", "app.py"):
        (tmp_path / own).write_text("raise SystemExit('mine')\n", encoding="utf-8")
    return tmp_path


def test_the_source_distribution_has_the_tests_and_the_pages_too(installed):
    with tarfile.open(installed.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/installing/test_wheel.py", "docs/architecture.md", "Makefile"} <= names
    assert {"requirements.txt", "checkpoints/photos.safetensors", ".streamlit/config.toml"} <= names


def test_nothing_lies_between_other_peoples_packages(installed):
    with zipfile.ZipFile(installed.wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"model", "saccade", "viz"}


def test_the_readmes_example_runs_from_another_folder(installed, tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    where = "import model, viz\nprint(model.__file__, viz.__file__)\n"
    (tmp_path / "example.py").write_text(example + where, encoding="utf-8")
    done = installed.run("python", "example.py", folder=tmp_path)
    assert not done.returncode, done.stderr
    assert done.stdout.count(str(installed.bin.parent)) == 2


COUNTS = """
from model import samples, zoo
from model.training.recipe import recipe_names
from viz.glossary.term import glossary
from viz.lessons.library import open_library
shelf = open_library(None, [])
print(*zoo.names(), *zoo.names("caption"), *recipe_names(), *samples.names())
print(len(shelf.lessons), len(shelf.mistakes), [len(chapter.term) for chapter in glossary()])
"""


def test_checkpoints_recipes_pictures_lessons_and_terms_are_there(installed, tmp_path, capsys):
    done = installed.run("python", "-c", COUNTS, folder=tmp_path)
    exec(COUNTS, {})
    assert done.stdout == capsys.readouterr().out, done.stderr
    assert len(done.stdout) > 300


def test_the_commands_run_beside_files_of_the_same_names(installed, folder):
    shown = installed.run("saccade", "show", "cup.png", "--model", NAME, folder=folder)
    assert not shown.returncode, shown.stderr
    assert (folder / "cup.html").stat().st_size > 100_000
    options = ("cup.png", "--model", NAME, "--out", "drawn")
    exported = installed.run("saccade", "export", *options, folder=folder)
    assert not exported.returncode, exported.stderr
    assert (folder / "drawn" / "attention.npz").exists()


def test_the_module_runs_and_says_what_shadows_it(installed, folder):
    command = ("-m", "viz", "cup.png", "--model", NAME, "--html", "module.html")
    (folder / "viz.py").unlink()
    shadowed = installed.run("python", *command, folder=folder)
    assert shadowed.returncode and not (folder / "module.html").exists()
    assert f"{folder / 'model.py'} is imported in place of" in shadowed.stderr
    (folder / "model.py").rename(folder / "mine.py")
    done = installed.run("python", *command, folder=folder)
    assert not done.returncode, done.stderr
    assert (folder / "module.html").exists()


def test_the_app_is_the_app_of_the_repository(installed, folder):
    port = _free_port()
    command = [installed.bin / "saccade", "app", "--server.headless", "true"]
    process = subprocess.Popen(
        [*command, "--server.port", str(port)],
        cwd=folder,
        env=installed.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/_stcore/health", process)
        messages = finish(first_run(f"ws://127.0.0.1:{port}/_stcore/stream"))
    finally:
        process.terminate()
        process.wait(timeout=20)
    text = str(messages)
    assert "Where does this patch look?" in text and "exception" not in text
    assert "#3b5bbd" in text, "the theme of the repository's settings"


async def first_run(address):
    """Open the app as a browser does, and return what the first run of the page sends."""
    asking = BackMsg()
    asking.rerun_script.query_string = ""
    received = []
    async with websockets.connect(address, subprotocols=["streamlit"], max_size=None) as socket:
        await socket.send(asking.SerializeToString())
        while not received or received[-1].WhichOneof("type") != "script_finished":
            data = await asyncio.wait_for(socket.recv(), 120)
            received.append(ForwardMsg.FromString(data))
    return received
