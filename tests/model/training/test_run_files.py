"""Two runs do not write the same files, and what cannot be written is a sentence."""

import os
import subprocess
import sys

import pytest

from model.errors import TrainingError
from model.training.run_files import RunFiles


@pytest.fixture
def files(tmp_path):
    return RunFiles(tmp_path / "out" / "mine.safetensors")


def test_a_second_run_waits_for_the_first(files):
    with files.held(resume=False):
        for resume in (False, True):
            again = files.held(resume)
            with pytest.raises(TrainingError, match="Another run is writing"), again:
                pass
    with files.held(resume=False):
        assert files.lock.exists()
    assert not files.lock.exists()


def test_a_run_in_another_process_holds_them_and_lets_go_when_it_is_killed(files):
    program = (
        "import sys, time; from pathlib import Path\n"
        "from model.training.run_files import RunFiles\n"
        "with RunFiles(Path(sys.argv[1])).held(False): print('held', flush=True); time.sleep(60)"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program, str(files.out)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert run.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match="Another run is writing"), files.held(False):
            pass
    finally:
        run.kill()
        run.wait()
        run.stdout.close()
    with files.held(resume=False):
        pass


def test_the_files_are_free_after_an_error(files):
    with pytest.raises(KeyError), files.held(resume=False):
        raise KeyError
    with files.held(resume=False):
        pass
    assert os.listdir(files.out.parent) == []


def test_an_unfinished_run_is_kept(files, capsys):
    files.out.parent.mkdir()
    files.state.write_bytes(b"")
    with pytest.raises(TrainingError, match="unfinished run"), files.held(resume=False):
        pass
    files.out.write_bytes(b"")
    with files.held(resume=True):
        pass
    assert "replaces it" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    out = tmp_path / "file" / "inside" / "mine.safetensors"
    held = RunFiles(out).held(resume=False)
    with pytest.raises(TrainingError, match=r"Nothing can be written to .*\. Give --out"), held:
        pass
