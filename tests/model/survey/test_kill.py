"""kill -9 in the middle changes nothing: of the survey, of a worker process, of a Ray worker."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from model.survey import run
from model.survey.state import SurveyState
from tests.model.survey.conftest import MODEL, crops

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
SETTINGS = {"workers": 2, "block": 4, "batch": 4, "sample": 3}
PICTURES = 600


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for number, crop in enumerate(crops(PICTURES)):
        crop.save(folder / f"{number:04}.png")
    return folder


@pytest.fixture(scope="module")
def whole(many, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    threads = torch.get_num_threads()
    run.survey_data(MODEL, many, out, **(SETTINGS | {"workers": 0}))
    torch.set_num_threads(threads)
    return (out / run.STATE).read_bytes()


def children(process, name=""):
    """List the processes below one, whose command line holds `name`."""
    parents = {}
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)] = int(fields[1]), (entry / "cmdline").read_text()
        except (OSError, ValueError):
            continue
    found, below = [], {process}
    while more := {child for child, (parent, _) in parents.items() if parent in below} - below:
        below |= more
        found += [child for child in more if name in parents[child][1]]
    return found


def start(many, out, *more):
    command = [sys.executable, "-c", SAVE_OFTEN, MODEL, "--data", str(many), "--out", str(out)]
    settings = ["--workers", "2", "--block", "4", "--batch", "4", "--effects", "3"]
    return subprocess.Popen([*command, *settings, *more], cwd=ROOT)


SAVE_OFTEN = (
    "import sys; from model.survey import gathering, __main__; gathering.SAVED_EVERY = 0.05; "
    "sys.exit(__main__.main(sys.argv[1:]))"
)


def wait_for_blocks(out, process, least):
    end = time.monotonic() + 300
    while time.monotonic() < end:
        assert process.poll() is None, "the survey ended before it could be killed"
        if (out / run.STATE).is_file() and len(SurveyState.load(out / run.STATE).blocks) >= least:
            return
        time.sleep(0.02)
    raise AssertionError("the survey saved nothing")


def gone(pids):
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_of_the_survey_itself(many, whole, tmp_path):
    process = start(many, tmp_path)
    wait_for_blocks(tmp_path, process, 3)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 3 <= len(SurveyState.load(tmp_path / run.STATE).blocks) < PICTURES // 4
    assert gone(workers), "no worker outlives it"
    assert start(many, tmp_path).wait(120) == 0
    assert (tmp_path / run.STATE).read_bytes() == whole


def test_of_a_worker_process(many, whole, tmp_path):
    process = start(many, tmp_path)
    wait_for_blocks(tmp_path, process, 3)
    workers = children(process.pid, "spawn_main")
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    assert process.wait(120) == 0
    assert (tmp_path / run.STATE).read_bytes() == whole


def test_of_a_ray_worker(many, whole, tmp_path):
    pytest.importorskip("ray")
    process = start(many, tmp_path, "--ray")
    wait_for_blocks(tmp_path, process, 3)
    actors = children(process.pid, "ray::MapWorker")
    assert len(actors) == 2
    os.kill(actors[0], signal.SIGKILL)
    assert process.wait(240) == 0
    assert (tmp_path / run.STATE).read_bytes() == whole
