"""What was measured of each photo: one line of a file, so that runs go on and parts merge.

The first line names the model and the measure, and holds the fingerprint (`model.survey`): all that
decides the numbers. The others follow in the order of the photos.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.errors import SurveyError
from model.survey.fingerprint import Fingerprint


@dataclass
class PhotoLines:
    """The lines of some photos; they merge into the lines of all, in any order."""

    head: dict[str, Any]
    """What names the run: model, data and settings."""
    fingerprint: Fingerprint
    lines: dict[int, dict[str, Any]] = field(default_factory=dict)
    """What was measured of a photo, by its number."""
    damaged = 0

    @property
    def blocks(self) -> set[int]:
        """The numbers of the photos: each is a block of its own."""
        return set(self.lines)

    @property
    def pictures(self) -> int:
        """How many photos were measured."""
        return len(self.lines)

    def first(self, count: int) -> list[dict[str, Any]]:
        """List the lines of the first photos of the data, in their order."""
        return [self.lines[number] for number in sorted(self.lines) if number < count]

    def check(self, other: PhotoLines, whose: str) -> None:
        """Raise SurveyError where another one is of another run, or was made otherwise."""
        if other.head != self.head:
            raise SurveyError(
                f"{whose} is of another run: {_differing(self.head, other.head)}. Delete it, or "
                "name another file with --out."
            )
        self.fingerprint.check(other.fingerprint, whose)

    def merge(self, other: PhotoLines, whose: str = "The other part") -> None:
        """Add the lines of other photos.

        Raises:
            SurveyError: they are of another run, were made otherwise, or are here already.
        """
        self.check(other, whose)
        if twice := self.blocks & other.blocks:
            raise SurveyError(
                f"{whose} holds photos that were added already ({len(twice)} of them, the first "
                f"is number {min(twice)}). Give each part once, and each shard another number."
            )
        self.lines |= other.lines

    def save(self, file: Path) -> None:
        """Write the file so that a crash leaves the old one or the new one. Raises OSError."""
        beside = file.with_name(f"{file.name}.part")
        head = self.head | {"fingerprint": self.fingerprint.to_json()}
        with beside.open("w", encoding="utf-8") as out:
            for line in (head, *(self.lines[number] for number in sorted(self.lines))):
                out.write(json.dumps(line) + "\n")
            out.flush()
            os.fsync(out.fileno())
        beside.replace(file)

    @classmethod
    def load(cls, file: Path) -> PhotoLines:
        """Read what `save` wrote; what follows a line that is cut short is left out.

        Raises:
            SurveyError: the first line is missing, or of an earlier version.
        """
        head, *lines = _read_lines(file) or [{}]
        try:
            fingerprint = Fingerprint.from_json(head.pop("fingerprint"))
            return cls(head, fingerprint, {line["photo"]: line for line in lines})
        except (KeyError, TypeError, AttributeError) as error:
            raise SurveyError(
                f"{file} is of another run, or of an earlier version, which did not write down "
                f"what decides the numbers ({error} is missing). Delete it, or name another file "
                "with --out."
            ) from None


def _read_lines(file: Path) -> list[dict[str, Any]]:
    """Read the lines of a file up to the first that is cut short."""
    lines: list[dict[str, Any]] = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def _differing(own: dict[str, Any], other: dict[str, Any]) -> str:
    """Name what differs between two heads."""
    names = [name for name in own | other if own.get(name) != other.get(name)]
    return ", ".join(f"{n} is {other.get(n)} there and {own.get(n)} here" for n in names)
