"""What all tests share: one thread for each process, and figures printed at the end."""

import os

# Read when torch is imported, here and in every process that a test starts. The nets are small,
# and several workers run side by side: with more threads than cores, each waits for the others'.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")


def pytest_terminal_summary(terminalreporter):
    """Print what tests have counted with `record_property`, before the closing line."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties if report.when == "call" else ():
            terminalreporter.write_line(f"{name}: {value}")
