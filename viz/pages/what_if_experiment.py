"""What is switched off and hidden on the page What if, with its way back, and in an address."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

HIDES = {
    "mean": "its mean colour",
    "blur": "a blurred photo",
    "remove": "taking tokens out",
    "photo": "the second photo",
}
"""How patches are hidden, as the page names it; besides, "after3": by the second photo's tokens, as
they leave layer 3."""

HEADS_BY = {
    "zero": "zero",
    "mean": "its mean over the samples",
    "photo": "its output for the second photo",
}
"""What the output of a head that is off becomes, as the page names it."""

LONGEST = 8000  # characters of one parameter of the address
MOST_STEPS = 100  # that can be undone

Place = tuple[int, int]
"""A layer among the recorded ones and a head of it, from zero."""


@dataclass(frozen=True)
class Experiment:
    """Heads that are off, and patches that are hidden, row by row from zero; and how.

    >>> Experiment(off=((4, 2),), hidden=(17, 18)).is_empty
    False
    >>> Experiment(hidden=(3,), hide="after2").after
    2
    """

    off: tuple[Place, ...] = ()
    hidden: tuple[int, ...] = ()
    hide: str = "mean"
    by: str = "zero"

    @property
    def after(self) -> int | None:
        """The layer, from one, after which patches become the second photo's; None for pixels."""
        return int(self.hide[5:]) if self.hide.startswith("after") else None

    @property
    def needs_second(self) -> bool:
        """Whether something is taken from a second photo."""
        return self.hide == "photo" or self.after is not None or self.by == "photo"

    def by_ways(self, hide: str, by: str) -> "Experiment":
        """Change the ways, where there are such ways."""
        is_hide = hide in HIDES or re.fullmatch(r"after\d{1,3}", hide)
        return replace(
            self, hide=hide if is_hide else self.hide, by=by if by in HEADS_BY else self.by
        )

    def done_by(self, hides: Collection[str], heads_by: Collection[str]) -> "Experiment":
        """Go over to the defaults where one of the ways is not offered."""
        hide = self.hide if self.hide in hides else "mean"
        return replace(self, hide=hide, by=self.by if self.by in heads_by else "zero")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is changed."""
        return not (self.off or self.hidden)

    def with_off(self, places: Iterable[Sequence[int]], heads: Sequence[int]) -> "Experiment":
        """Switch off these heads alone, of so many in each layer; others are left out."""
        found = {(int(layer), int(head)) for layer, head in places}
        there = (p for p in found if _exists(p, heads))
        return replace(self, off=tuple(sorted(there)))

    def with_hidden(self, patches: Iterable[int], count: int) -> "Experiment":
        """Hide these patches alone, of `count`; patches that do not exist are left out."""
        found = {int(patch) for patch in patches}
        return replace(self, hidden=tuple(sorted(p for p in found if 0 <= p < count)))


def _exists(place: Place, heads: Sequence[int]) -> bool:
    layer, head = place
    return 0 <= layer < len(heads) and 0 <= head < heads[layer]


@dataclass(frozen=True)
class History:
    """The experiments that somebody made one after another, and which of them is shown."""

    steps: tuple[Experiment, ...] = (Experiment(),)
    at: int = 0

    @property
    def now(self) -> Experiment:
        """The experiment that is shown."""
        return self.steps[self.at]

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier step."""
        return self.at > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a later step."""
        return self.at + 1 < len(self.steps)

    def add(self, experiment: Experiment) -> "History":
        """Make a step; what was undone before is forgotten."""
        if experiment == self.now:
            return self
        steps = (*self.steps[: self.at + 1], experiment)[-MOST_STEPS:]
        return History(steps, len(steps) - 1)

    def move(self, steps: int) -> "History":
        """Go back or forth, as far as there are steps."""
        return replace(self, at=min(max(self.at + steps, 0), len(self.steps) - 1))


# -- in an address ------------------------------------------------------------------------------


def experiment_url_params(experiment: Experiment, numbers: Sequence[int]) -> dict[str, str]:
    """Write an experiment into the parameters of an address; defaults are left out."""
    url_params = {}
    if experiment.off:
        url_params["off"] = write_places(experiment.off, numbers)
    if experiment.by != "zero":
        url_params["heads_by"] = experiment.by
    if experiment.hidden:
        url_params["hidden"] = write_patches(experiment.hidden)
    if experiment.hide != "mean":
        url_params["hide"] = experiment.hide
    return url_params


def read_experiment(
    url_params: Mapping[str, str], numbers: Sequence[int], heads: Sequence[int], patches: int
) -> Experiment:
    """Read what `experiment_url_params` wrote. Raises ValueError for unknown heads and patches."""
    ways = url_params.get("hide", "mean"), url_params.get("heads_by", "zero")
    experiment = Experiment().by_ways(*ways)
    if text := url_params.get("off"):
        experiment = experiment.with_off(read_places(text, numbers, heads), heads)
    if text := url_params.get("hidden"):
        experiment = experiment.with_hidden(read_patches(text, patches), patches)
    return experiment


def write_places(places: Sequence[Place], numbers: Sequence[int]) -> str:
    """Write heads as layer.head, counted from one.

    >>> write_places([(0, 1), (2, 0)], numbers=[0, 1, 2])
    '1.2,3.1'
    """
    return ",".join(f"{numbers[layer] + 1}.{head + 1}" for layer, head in places)


def read_places(text: str, numbers: Sequence[int], heads: Sequence[int]) -> list[Place]:
    """Read what `write_places` wrote. Raises ValueError for other text and for unknown heads."""
    if len(text) > LONGEST or not re.fullmatch(r"\d{1,4}\.\d{1,4}(,\d{1,4}\.\d{1,4})*", text):
        raise ValueError(text)
    places = []
    for part in text.split(","):
        number, head = (int(each) - 1 for each in part.split("."))
        layer = list(numbers).index(number)  # ValueError where it is not recorded
        if not 0 <= head < heads[layer]:
            raise ValueError(part)
        places.append((layer, head))
    return places


def write_patches(patches: Sequence[int]) -> str:
    """Write patches, counted from zero, neighbours as ranges.

    >>> write_patches([3, 4, 5, 9])
    '3-5,9'
    """
    runs: list[list[int]] = []
    for patch in patches:
        if runs and runs[-1][1] == patch - 1:
            runs[-1][1] = patch
        else:
            runs.append([patch, patch])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def read_patches(text: str, count: int) -> list[int]:
    """Read what `write_patches` wrote. Raises ValueError for other text and unknown patches.

    >>> read_patches("3-5,9", count=16)
    [3, 4, 5, 9]
    """
    if len(text) > LONGEST or not re.fullmatch(r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*", text):
        raise ValueError(text)
    patches: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if int(last or first) >= count:
            raise ValueError(part)
        patches.update(range(int(first), int(last or first) + 1))
    return sorted(patches)
