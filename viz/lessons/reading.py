"""Read lessons from files, and say in which line a mistake stands."""

import re
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from viz.lessons.lesson import Lesson

LARGEST = 200_000  # bytes
_NUMBERED = re.compile(r"^\d+[-_]")


@dataclass(frozen=True)
class Mistake:
    """What is wrong with a lesson, and where."""

    file: str
    line: int | None
    sentence: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{where}: {self.sentence}"


class LessonRefused(ValueError):
    """A file is no lesson; ``mistakes`` says why."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__(" ".join(map(str, mistakes)))
        self.mistakes = mistakes


def read_lesson(path: Path, pages: Collection[str]) -> Lesson:
    """Read one lesson.

    Args:
        path: a TOML file; its name, without a number before it, becomes the lesson's.
        pages: the pages that a step may open, as addresses name them.

    Raises:
        LessonRefused: with the mistakes of the file, each with its line.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise LessonRefused([Mistake(path.name, None, "It is too large for a lesson.")])
        text = path.read_text(encoding="utf-8")
        entries = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        sentence = f"It cannot be read ({type(error).__name__})."
        raise LessonRefused([Mistake(path.name, None, sentence)]) from error
    except tomllib.TOMLDecodeError as error:
        raise LessonRefused([_syntax_mistake(path.name, str(error))]) from error
    try:
        lesson = Lesson(name=lesson_name(path), **entries)
    except ValidationError as error:
        mistakes = [
            Mistake(path.name, find_line(text, each["loc"]), _sentence(each["loc"], each["msg"]))
            for each in error.errors()
        ]
        raise LessonRefused(mistakes) from error
    except TypeError as error:  # an entry "name", which the file's own name gives
        mistake = Mistake(path.name, find_line(text, ("name",)), "name comes from the file's name.")
        raise LessonRefused([mistake]) from error
    unknown = [
        Mistake(
            path.name,
            find_line(text, ("step", number, "open")),
            f"There is no page {step.page!r}; there are {', '.join(sorted(pages))}.",
        )
        for number, step in enumerate(lesson.step)
        if step.open and step.page not in pages
    ]
    if unknown:
        raise LessonRefused(unknown)
    return lesson


def read_folder(
    folder: Path, pages: Collection[str]
) -> tuple[dict[str, Lesson], Sequence[Mistake]]:
    """Read the lessons of a folder in the order of their files' names.

    Returns:
        The lessons by name, and the mistakes of the files that are none.
    """
    if not folder.is_dir():
        return {}, [Mistake(str(folder), None, "There is no such folder of lessons.")]
    lessons: dict[str, Lesson] = {}
    mistakes: list[Mistake] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            lesson = read_lesson(path, pages)
        except LessonRefused as error:
            mistakes.extend(error.mistakes)
            continue
        if lesson.name in lessons:
            mistakes.append(Mistake(path.name, None, "Another file has a lesson of this name."))
        else:
            lessons[lesson.name] = lesson
    if not lessons and not mistakes:
        mistakes.append(Mistake(str(folder), None, "No file in this folder ends in .toml."))
    return lessons, mistakes


def lesson_name(path: Path) -> str:
    """Name a lesson after its file.

    >>> lesson_name(Path("03-several-heads.toml"))
    'several-heads'
    """
    return _NUMBERED.sub("", path.stem)


def find_line(text: str, place: Sequence[str | int]) -> int | None:
    """Find the line, from one, of an entry of a TOML text; None where it cannot be told.

    Args:
        place: keys and places in lists, as in ``("step", 2, "guess", "right")``.

    >>> find_line('title = "A"\\n[[step]]\\ntext = 1', ("step", 0, "text"))
    3
    """
    lines = text.splitlines()
    found, start, end = None, 0, len(lines)
    table: list[str] = []
    for index, part in enumerate(place):
        if isinstance(part, int):
            continue
        table.append(part)
        count = place[index + 1] if index + 1 < len(place) else 0
        header = re.compile(rf"^\s*\[+\s*{re.escape('.'.join(table))}\s*\]+")
        heads = [number for number in range(start, end) if header.match(lines[number])]
        if heads and isinstance(count, int) and count < len(heads):
            found = start = heads[count]
            end = heads[count + 1] if count + 1 < len(heads) else end
            continue
        entry = re.compile(rf"^\s*{re.escape(part)}\s*=")
        entries = (number for number in range(start, end) if entry.match(lines[number]))
        found = next(entries, found)
        break
    return None if found is None else found + 1


def _syntax_mistake(file: str, message: str) -> Mistake:
    line = re.search(r"line (\d+)", message)
    sentence = f"This is no TOML: {re.sub(r' *[(]at .*[)]', '', message)}."
    return Mistake(file, int(line[1]) if line else None, sentence)


def _sentence(place: Sequence[str | int], message: str) -> str:
    name = ".".join(str(part + 1) if isinstance(part, int) else part for part in place)
    message = message.removeprefix("Value error, ")
    return f"{name}: {message}." if name else f"{message}."
