"""Run one model in a process of its own, with a limit of memory and of time."""

from __future__ import annotations

import hashlib
import importlib
import multiprocessing
import os
import resource
import time
import traceback
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from tests.sweep.judge import CRASH, SKIPPED, Judgement, Outcome, judge
from tests.sweep.subject import NoSubject

GIGABYTES = 9.0  # besides what the process holds before the model
SECONDS = 240  # of processor time


def run_model(library: str, name: str) -> Outcome:
    """Judge a model of a library in a child process; a crash there is an outcome like another.

    The child is a copy of this process, which has imported the library already.
    """
    context = multiprocessing.get_context("fork")
    theirs, ours = context.Pipe()
    started = time.monotonic()
    child = context.Process(target=_judge, args=(library, name, ours))
    child.start()
    ours.close()
    found = _answer(theirs)
    child.join(5)
    if child.is_alive():
        child.kill()
    seconds = round(time.monotonic() - started, 1)
    return Outcome(library, name, *found, seconds=seconds, versions={"recorder": recorder_state()})


@cache
def recorder_state() -> str:
    """Name the recorder's source by its digest, so that a table can say what was judged."""
    files = sorted((Path(__file__).parents[2] / "model" / "recording").glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:10]


def _answer(child: Connection) -> Judgement:
    try:
        if child.poll(4 * SECONDS):
            return child.recv()
    except EOFError:
        return Judgement(CRASH, "the process ended: memory, time, or a fault in a kernel")
    return Judgement(CRASH, f"it took more than {4 * SECONDS} s")


def _judge(library: str, name: str, answer: Connection) -> None:
    _limit()
    torch.set_num_threads(1)
    answer.send(_outcome(library, name))
    os._exit(0)  # the parent's libraries have nothing to tidy up here


def _outcome(library: str, name: str) -> Judgement:
    module = importlib.import_module(f"tests.sweep.{library}_models")
    try:
        subject = module.build(name)
    except NoSubject as error:
        return Judgement(SKIPPED, str(error))
    except Exception as error:
        return Judgement(SKIPPED, f"it could not be built ({_short(error)})")
    try:
        with torch.no_grad():
            subject.run()
    except Exception as error:
        return Judgement(SKIPPED, f"it does not run by itself ({_short(error)})")
    try:
        return judge(subject)
    except Exception as error:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            return Judgement(SKIPPED, f"it takes more than {GIGABYTES:.0f} GB")
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{where.filename.rpartition('/')[2]}:{where.lineno}"
        return Judgement(CRASH, f"{_short(error)} at {place}")


def _limit() -> None:
    status: dict[str, Any] = {}
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
        status.update(line.split(":", 1) for line in lines)
    held = int(status["VmSize"].split()[0]) * 1024
    most = held + int(GIGABYTES * 1024**3)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
