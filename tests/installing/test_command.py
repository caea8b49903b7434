"""The command `saccade`, and a file of one's own that bears a package's name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.web import cli

from model import zoo
from model.datasets import samples
from model.home import find_home
from saccade.__main__ import main

ROOT = Path(__file__).parents[2]
NAME = zoo.names()[-1]


@pytest.fixture
def picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    samples.load("coffee").save("cup.png")
    return "cup.png"


def test_show_writes_a_file_beside_and_export_a_folder(picture, capsys):
    assert main(["show", picture, "--model", NAME]) == 0
    assert Path("cup.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "cup.html" in capsys.readouterr().out
    assert main(["export", picture, "--model", NAME, "--out", "drawn"]) == 0
    assert Path("drawn", "attention.npz").exists()


def test_show_opens_the_file_where_somebody_sits_at_a_terminal(picture, monkeypatch):
    opened = []
    monkeypatch.setattr("saccade.__main__.webbrowser.open", opened.append)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["show", picture, "--model", NAME, "--html", "other.html"]) == 0
    assert opened == [Path("other.html").resolve().as_uri()]
    assert main(["show", "missing.png", "--model", NAME]) == 1
    assert len(opened) == 1


def test_app_runs_the_repositorys_app_with_the_options_that_follow(monkeypatch):
    ran = []
    monkeypatch.setattr(cli, "main_run", lambda *given: ran.append(given))
    assert main(["app", "--server.port", "8600"]) == 0
    assert ran == [([str(ROOT / "app.py"), "--server.port", "8600"], "saccade app")]


def test_other_commands_are_answered_with_those_that_there_are(capsys):
    assert main(["shwo"]) == 2
    assert "app, show, export" in capsys.readouterr().err
    assert main([]) == 0
    assert "saccade show" in capsys.readouterr().out


def test_installed_the_home_is_in_the_package(tmp_path):
    assert find_home(tmp_path) == tmp_path
    (tmp_path / "saccade" / "home").mkdir(parents=True)
    assert find_home(tmp_path) == tmp_path / "saccade" / "home"


def test_importing_says_which_file_shadows_the_package(tmp_path):
    own = tmp_path / "model.py"
    own.write_text("answer = 42\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*arguments):
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    importing = run("-c", "import viz.notebook")
    assert importing.returncode
    assert f"ImportError: {own} is imported in place of Saccade's package" in importing.stderr
    command = run(
        "-c", "import saccade.__main__ as s; s.import_own(); import viz.charts, model.errors"
    )
    assert not command.returncode, command.stderr
