"""A term: one sentence, where it can be seen, and the lesson that teaches it."""

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LANGUAGE = "en"
Short = Annotated[str, Field(min_length=1, max_length=60)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Term(_Part):
    """A term of the field.

    Attributes:
        also: other forms that a page may write, such as the plural.
        sentence: what it means, in one sentence.
        where: the page on which it can be seen, in words.
        open: that page and the view of it, ``"patches?from=r1c6"``, as in a lesson.
        lesson: the lesson that teaches it; empty: none.
    """

    name: Short
    also: tuple[Short, ...] = ()
    sentence: Annotated[str, Field(min_length=20, max_length=280, pattern=r"^[A-Z].*[.]$")]
    where: Annotated[str, Field(min_length=1, max_length=80)]
    open: str = Field(pattern=r"^[a-z_]+([?]\S+)?$")
    lesson: str = ""

    @property
    def forms(self) -> tuple[str, ...]:
        """The term as a page may write it."""
        return (self.name, *self.also)


class Chapter(_Part):
    """Terms that belong together, in the order in which one meets them."""

    title: Short
    term: tuple[Term, ...] = Field(min_length=1)


def read_glossary(folder: Path) -> Sequence[Chapter]:
    """Read the chapters of a folder in the order of their files' names.

    Raises:
        pydantic.ValidationError: a chapter is not as `Chapter` says.
        tomllib.TOMLDecodeError: a file is no TOML.
    """
    files = sorted(folder.glob("*.toml"))
    return tuple(Chapter(**tomllib.loads(file.read_text(encoding="utf-8"))) for file in files)


@cache
def glossary() -> Sequence[Chapter]:
    """Read the glossary that is shipped, once."""
    return read_glossary(Path(__file__).parent / LANGUAGE)
