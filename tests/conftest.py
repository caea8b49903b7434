"""What all tests share: one thread for each of several workers, and figures told at the end."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # As many workers as cores: with threads of their own, they would wait for each other's.
    # Read when torch is imported, here and in every process that a test starts.
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["MKL_NUM_THREADS"] = "1"


def pytest_terminal_summary(terminalreporter):
    """Print what tests have counted with `record_property`, before the closing line."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties if report.when == "call" else ():
            terminalreporter.write_line(f"{name}: {value}")
