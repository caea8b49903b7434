"""What all tests share: one thread for each worker that runs beside others."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # As many workers as cores: with threads of their own, they would wait for each other's.
    # Read when torch is imported, here and in every process that a test starts.
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["MKL_NUM_THREADS"] = "1"
