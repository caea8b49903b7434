"""Work on one thread of torch, where more would only wait for memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch's operations of this thread run on one core, and afterwards on as many as before.

    Reading and converting weights waits for memory. Further threads would spin meanwhile, which
    costs twice the processor time and hardly saves any.

        >>> with one_thread():
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
