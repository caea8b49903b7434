"""The lessons that this server has: the shipped ones, and a teacher's own."""

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from viz.lessons.lesson import Lesson
from viz.lessons.reading import Mistake, read_folder

LANGUAGE = "en"
OPTION, VARIABLE = "--lessons", "SACCADE_LESSONS"


@dataclass(frozen=True)
class Library:
    """Lessons by name, in their order, and what is wrong with files that should be some."""

    lessons: Mapping[str, Lesson]
    mistakes: Sequence[Mistake] = ()

    @property
    def tour(self) -> Lesson | None:
        """The way through the app that a first visit is offered."""
        return next((each for each in self.lessons.values() if each.kind == "tour"), None)


def open_library(folder: Path | None, pages: Collection[str]) -> Library:
    """Read the shipped lessons, and those of a teacher's folder after them.

    A teacher's lesson takes the place of a shipped one of the same name.
    """
    shipped, mistakes = read_folder(Path(__file__).parent / LANGUAGE, pages)
    if folder is None:
        return Library(shipped, mistakes)
    own, more = read_folder(folder, pages)
    return Library(shipped | own, [*mistakes, *more])


@cache
def library(pages: frozenset[str]) -> Library:
    """Read this server's lessons once; a teacher's folder is read when the server starts."""
    return open_library(teacher_folder(sys.argv, os.environ), pages)


def teacher_folder(arguments: Sequence[str], environment: Mapping[str, str]) -> Path | None:
    """Find the folder that the command line or else the environment names.

    >>> teacher_folder(["app.py", "--lessons", "mine"], {})
    PosixPath('mine')
    """
    for option, value in pairwise(arguments):
        if option == OPTION:
            return Path(value)
    named = environment.get(VARIABLE)
    return Path(named) if named else None
