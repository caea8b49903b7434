"""The few pictures on which a head is most of something, out of any number of pictures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

KEPT = 16
"""Pictures kept in each ranking."""

RANKINGS = {
    "local": ("distance", -1),
    "far": ("distance", 1),
    "peak": ("peak", 1),
    "narrow": ("entropy", -1),
    "wide": ("entropy", 1),
}
"""A ranking, the measure of a row of the map that it goes by, and whether more (1) or less (-1) of
it comes first."""


class RankedPicture(NamedTuple):
    """A picture's place in a ranking. The smaller one comes first, and no two are equal.

    A picture has one place in a ranking, from the query on which the head is most of it.
    """

    cost: float
    """The measure, with its sign turned where more of it comes first."""
    picture: int
    """Its number in the listing: among equal costs the first picture comes first."""
    query: int
    """The token that attends."""


def keep_first(places: Iterable[RankedPicture]) -> list[RankedPicture]:
    """Keep the first places in order.

    The first of a union are the first of the firsts of its parts, so rankings of parts of a data
    set merge into the ranking of the whole, in any order.

    >>> halves = [RankedPicture(0.2, 7, 3), RankedPicture(0.5, 1, 0)], [RankedPicture(0.2, 4, 9)]
    >>> [place.picture for place in keep_first(halves[0] + halves[1])]
    [4, 7, 1]
    """
    return sorted(places)[:KEPT]
