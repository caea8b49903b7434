"""The numbers behind a picture: every array as NPZ, and the main one as a table in CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that spreadsheets would compute."""


@dataclass(frozen=True)
class Numbers:
    """Arrays by name, and what the places of the main one are called.

        >>> counted = Numbers({"maps": np.eye(2)}, "maps", {"layer": [1, 2], "head": [1, 2]})
        >>> counted.as_csv().decode().splitlines()
        ['layer,head,maps', '1,1,1.0', '1,2,0.0', '2,1,0.0', '2,2,1.0']

    Attributes:
        arrays: what is saved.
        main: the name of the array that the table has.
        axes: for each of its dimensions a name, and what its places are called.
    """

    arrays: Mapping[str, np.ndarray]
    main: str
    axes: Mapping[str, Sequence[object]]

    def as_npz(self) -> bytes:
        """Save all arrays, compressed."""
        buffer = io.BytesIO()
        # A mapping goes through `**`, which numpy's types do not know beside its own arguments.
        np.savez_compressed(buffer, **dict(self.arrays))  # type: ignore[arg-type]
        return buffer.getvalue()

    def as_csv(self) -> bytes:
        """Write the main array as a table: a line a value, its places before it."""
        values, names = np.asarray(self.arrays[self.main]), [*map(list, self.axes.values())]
        shape = tuple(map(len, names))
        if values.shape != shape:
            raise ValueError(f"{self.main} is {values.shape}, and its axes are {shape}.")
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([*self.axes, self.main])
        for place in np.ndindex(values.shape):
            named = [_harmless(name[at]) for name, at in zip(names, place, strict=True)]
            writer.writerow([*named, _harmless(values[place].item())])
        return buffer.getvalue().encode()


def count_from_one(count: int) -> list[int]:
    """Number places as the pages do.

    >>> count_from_one(3)
    [1, 2, 3]
    """
    return list(range(1, count + 1))


def _harmless(name: object) -> object:
    """Keep spreadsheets from computing a class's name that is written like a formula."""
    return f"'{name}" if isinstance(name, str) and name.startswith(FORMULA) else name
