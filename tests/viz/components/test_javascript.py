"""The JavaScript's own tests, run by node over payloads that the project's Python writes."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.viz.components.golden import write_golden

TESTS = sorted((Path(__file__).parent / "js").glob("*.test.mjs"))


def test_the_javascript_tests_pass(tmp_path, record_property):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine: the JavaScript tests need one")
    write_golden(tmp_path)
    done = subprocess.run(
        [node, "--test", "--test-reporter=tap", *map(str, TESTS)],
        env={**os.environ, "SACCADE_GOLDEN": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    counts = dict(re.findall(r"^# (tests|pass|fail|skipped) (\d+)$", done.stdout, re.MULTILINE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert counts["fail"] == counts["skipped"] == "0" and int(counts["pass"]) >= 80
    record_property("JavaScript tests passed", counts["pass"])
