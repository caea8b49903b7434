"""The benchmark's figure of memory is of the process that it measures."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
READ = "from benchmarks.survey import peak_of_this_process as peak; print(peak())"
BIG = "large = bytearray(1200 << 20); large[::4096] = b'1' * len(large[::4096])"
START = f"import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', {READ!r}]))"


def run(program):
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it reads Linux's /proc")
@pytest.mark.slow
def test_the_peak_of_whoever_started_a_process_is_not_its_own():
    alone, started = float(run(READ)), float(run(f"{BIG}; {START}").strip().strip("b'n\\"))
    assert started == pytest.approx(alone, rel=0.1)
    assert float(run(f"{BIG}; {READ}")) > alone + 900
