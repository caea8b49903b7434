"""What all tests share: one thread for each process, and figures printed at the end."""

import os
import sys
from functools import cache

import pytest
from streamlit.components.v2 import manifest_scanner

# Read when torch is imported, here and in every process that a test starts. The nets are small,
# and several workers run side by side: with more threads than cores, each waits for the others'.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

# Streamlit's test runner reads what every installed package says of itself, each time that a page
# runs: half of what a test of a page takes.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)


@pytest.fixture(autouse=True)
def _main_module_comes_back():
    """Streamlit's test runner leaves its page as `__main__`, which new processes would import."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


def pytest_terminal_summary(terminalreporter):
    """Print what tests have counted with `record_property`, before the closing line."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties if report.when == "call" else ():
            terminalreporter.write_line(f"{name}: {value}")
