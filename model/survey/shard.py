"""Read which part of the pictures a run is for, for argparse: `type=shard`."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError


def shard(text: str) -> tuple[int, int]:
    """Read "i/n", the i-th of n parts.

    >>> shard("2/4")
    (2, 4)
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= part <= parts:
        raise ArgumentTypeError(f"{text!r} is no part such as 1/4, 2/4, 3/4 or 4/4.")
    return part, parts
