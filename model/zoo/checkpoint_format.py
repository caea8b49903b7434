"""A checkpoint format: how somebody names the weights of a vision transformer.

A format is a table from somebody's names to ours, in which "*" is a number, such as a block's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from model.nets.vit import ViTConfig
from model.zoo.class_names import imagenet

Tensors = dict[str, Tensor]
Names = Iterable[str]
Shape = tuple[int, ...]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and std


@dataclass(frozen=True)
class CheckpointFormat:
    """How somebody names the weights of a vision transformer, and what no file says."""

    title: str
    names: dict[str, str]  # theirs -> ours
    config: ViTConfig | None  # order of norms, activation, epsilon, ...; None: the likeliest preset
    heads: int | None = None  # None: 64 dimensions each
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    classes: Callable[[], list[str]] = imagenet  # names, if the model has as many classes
    only: str = ""  # names without this prefix belong to another model in the same file
    prefix: str = ""  # taken off where it is there
    ignored: str = r"$^"
    interleaved: bool = False  # rows of qkv: q0 k0 v0 q1 k1 v1 ... instead of all q, all k, all v
    channel_last: bool = False  # flattened patches: the channels of one pixel side by side
    # Positions that are computed and not stored: rows, columns and width -> a table
    computed: Callable[[int, int, int], Tensor] | None = None

    def rename(self, tensors: Tensors) -> tuple[Tensors, list[str]]:
        """Return the tensors under our names, and the names that this format does not have."""
        patterns = _by_digits(tuple(self.names.items()))
        renamed: Tensors = {}
        unknown: list[str] = []
        for name, tensor in tensors.items():
            if not name.startswith(self.only):
                continue
            bare = name.removeprefix(self.only).removeprefix(self.prefix)
            ours = _translate(bare, patterns)
            if ours:
                renamed[ours] = tensor
            elif not re.match(self.ignored, bare):
                unknown.append(name)
        return renamed, unknown

    def their_name(self, ours: str, names: Names) -> str:
        """Return the name that a tensor of ours has, or would have, in a file with these names."""
        bare = {name.removeprefix(self.only).removeprefix(self.prefix) for name in names}
        stems = bare | {name.rpartition(".")[0] for name in bare}

        def uses(pair: tuple[str, str]) -> int:  # of several names for one thing, the file's
            return sum(map(bool, map(_pattern(pair[0]).fullmatch, stems)))

        pairs = sorted(self.names.items(), key=uses, reverse=True)
        fused = re.sub("query|key|value", "qkv", ours)
        patterns = _by_digits(tuple((here, theirs) for theirs, here in pairs))
        theirs = _translate(ours, patterns) or _translate(fused, patterns)
        return self.only + theirs if theirs else ours


@dataclass(frozen=True)
class Mismatch:
    """The first tensor in which a file and a model differ; None for a tensor that is not there."""

    name: str
    held: Shape | None
    expected: Shape | None

    def __str__(self) -> str:
        held = "missing" if self.held is None else self.held
        return f"{held} where {'nothing' if self.expected is None else self.expected} is expected"


def find_mismatch(expected: Tensors, held: Tensors) -> Mismatch | None:
    """Find the first name, in order of the alphabet, whose tensors differ in shape or are missing.

    Args:
        expected: The state dict of a model, which may be on the meta device.
        held: A file's tensors under the model's names.

    Returns:
        The difference, or None where the file fits.

    Example:
        >>> import torch
        >>> find_mismatch({"a": torch.ones(2, 3)}, {"a": torch.ones(3)})
        Mismatch(name='a', held=(3,), expected=(2, 3))
        >>> print(find_mismatch({"a": torch.ones(2)}, {}))
        missing where (2,) is expected
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    found = {name: tuple(tensor.shape) for name, tensor in held.items()}
    differing = [n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n)]
    if not differing:
        return None
    name = min(differing)
    return Mismatch(name, found.get(name), wanted.get(name))


Patterns = dict[str, list[tuple[re.Pattern[str], str]]]


@lru_cache(maxsize=256)
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\*", r"([0-9]+)"))


@lru_cache(maxsize=64)
def _by_digits(pairs: tuple[tuple[str, str], ...]) -> Patterns:
    """Order the patterns of a table by their text with every number left out.

    So a name is compared with the few patterns that it may fit, and not with all.
    """
    patterns: Patterns = {}
    for theirs, ours in pairs:
        patterns.setdefault(_without_numbers(theirs), []).append((_pattern(theirs), ours))
    return patterns


def _without_numbers(name: str) -> str:
    return re.sub(r"\*|[0-9]+", "", name)


def _translate(name: str, patterns: Patterns) -> str | None:
    """Translate a name, or the name without its last part, such as "weight"; None for unknown."""
    stem, _, last = name.rpartition(".")
    for candidate, suffix in ((name, ""), (stem, f".{last}")):
        for pattern, other in patterns.get(_without_numbers(candidate), ()):
            if found := pattern.fullmatch(candidate):
                for number in found.groups():
                    other = other.replace("*", number, 1)
                return other + suffix
    return None
