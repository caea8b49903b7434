"""Types of command-line values, for argparse: `type=arguments.count`."""

from __future__ import annotations

from argparse import ArgumentTypeError


def count(text: str) -> int:
    """Read a whole number from 1 on."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1 on.")
    return int(text)


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ArgumentTypeError(f"{text!r} is not a number from 0 to 1.")
    return number


def device(text: str) -> str:
    """Read a device: "cpu", or "cuda" where torch finds one."""
    if text not in ("cpu", "cuda"):
        raise ArgumentTypeError(f"{text!r} is neither cpu nor cuda.")
    if text == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ArgumentTypeError("torch finds no CUDA device here; leave --device out.")
    return text
