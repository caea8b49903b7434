"""Run a coroutine from a test."""

import asyncio
from concurrent.futures import ThreadPoolExecutor


def finish(coroutine):
    """Return what a coroutine returns, run in a thread of its own.

    Playwright, where a browser test ran before, keeps the loop of the test's thread running.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
