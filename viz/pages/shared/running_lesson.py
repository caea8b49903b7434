"""The one runner of lessons: it opens each step's view on the real pages, and stands below them."""

from collections.abc import Mapping
from functools import lru_cache

import streamlit as st

from viz.components import mounts
from viz.components.payload import pack
from viz.lessons.lesson import Lesson
from viz.lessons.library import Library, library
from viz.pages.shared.address import PROJECTOR
from viz.pages.shared.browser import open_address
from viz.pages.shared.explained import split_at_terms
from viz.pages.shared.state import Lessons, Shared, read_link
from viz.pages.shared.text import plain

EXPLORE = "explore"
"""How a lesson names the page whose own address is empty."""

NUMBERS = {4: "Four", 5: "Five", 6: "Six", 7: "Seven", 8: "Eight"}

Pages = Mapping[str, st.Page]
"""Every page by its address."""


def follow(pages: Pages, page: st.Page) -> None:
    """Show the step of the lesson that runs, and open its view where somebody went to it."""
    shelf = library(_names(pages))
    lessons = shelf.lessons
    asked = _asked()
    if asked is not None:
        _go(asked, lessons, pages, page)
    elif _is_new_link() and find_place(Lessons.running.begin(), lessons):
        _go(Lessons.running.get(), lessons, pages, page, is_link=True)
    running = Lessons.running.begin()
    found = find_place(running, lessons)
    if found is None:
        if running:
            Lessons.unknown.set((running.partition(".")[0], page.url_path))
            Lessons.running.set("")
        unknown, where = Lessons.unknown.get() or ("", "")
        if unknown and where == page.url_path:
            st.info(_name_lessons(unknown, lessons), icon=":material/school:")
        elif shelf.tour and page.url_path == "":
            _offer(shelf.tour)
        return
    Lessons.unknown.set(None)
    lesson, place = found
    with st.bottom:
        mounts.lesson(payload_of(lesson, place, page.url_path), key=Lessons.component.name)


def shipped_and_own() -> Library:
    """Return the lessons of this server, as read when it started."""
    return library(frozenset(Shared.page_names.get()))


def find_place(running: str, lessons: Mapping[str, Lesson]) -> tuple[Lesson, int] | None:
    """Find the lesson and the place, from one, that an address names.

    A place that the lesson does not have becomes its nearest; an unknown lesson is None.
    """
    name, _, place = running.partition(".")
    lesson = lessons.get(name)
    if lesson is None:
        return None
    number = int(place) if place.isascii() and place.isdigit() and len(place) < 4 else 1
    return lesson, min(max(number, 1), lesson.places)


@lru_cache(maxsize=512)
def payload_of(lesson: Lesson, place: int, page: str) -> bytes:
    """Pack what the browser shows of a place of a lesson.

    Args:
        place: a step from one, or the quiz after the last of them.
        page: the page that is shown, as addresses name it.
    """
    ways = [[_path_of(step.page), step.query] if step.open else None for step in lesson.step]
    is_step = place <= len(lesson.step)
    step = lesson.step[place - 1] if is_step else None
    return pack(
        {
            "lesson": lesson.name,
            "title": lesson.title,
            "place": place,
            "places": lesson.places,
            "page": page,
            "ways": ways,
            "step": step
            and {**step.model_dump(), "query": step.query, "text": split_at_terms(step.text)},
            "quiz": None if is_step else [question.model_dump() for question in lesson.quiz],
        }
    )


def _name_lessons(unknown: str, lessons: Mapping[str, Lesson]) -> str:
    """Say that there is no such lesson, and which there are, each as a link."""
    ways = [f"[{plain(each.title)}](.?lesson={each.name})" for each in lessons.values()]
    return f"There is no lesson “{plain(unknown[:40])}” here. There are: {', '.join(ways)}."


def _offer(tour: Lesson) -> None:
    """Offer the tour; a browser that has seen the offer hides it."""
    steps = pack({"tour": tour.name, "steps": NUMBERS.get(tour.places, tour.places)})
    mounts.welcome(steps, key=Lessons.welcome.name)


def _asked() -> str | None:
    """Return where somebody went with a button of this run; None where nobody did."""
    for component in (Lessons.component, Lessons.list, Lessons.welcome):
        asked = component.get().get("go")
        if isinstance(asked, str):
            return asked
    return None


def _is_new_link() -> bool:
    """Say whether the session begins with a link to a lesson and to nothing else."""
    named = set(read_link()) - {PROJECTOR.name}
    return not Lessons.running.is_set and named == {Lessons.running.name}


def _go(
    running: str,
    lessons: Mapping[str, Lesson],
    pages: Pages,
    page: st.Page,
    is_link: bool = False,
) -> None:
    """Go to a place of a lesson: open the view of its step, on another page where it needs one.

    A step without a view shows what stood there before it; for a link that is the last view that an
    earlier step opens.
    """
    found = find_place(running, lessons)
    if found is None:
        Lessons.running.set("")
        return
    lesson, place = found
    steps = lesson.step[:place] if is_link else lesson.step[place - 1 : place]
    step = next((each for each in reversed(steps) if each.open), None)
    if step is None:
        Lessons.running.set(f"{lesson.name}.{place}")
        return
    target = pages[_path_of(step.page)]
    Shared.page.set(_file_of(step.page))
    open_address(step.query)
    Lessons.running.set(f"{lesson.name}.{place}")
    if target is not pages[page.url_path]:
        st.switch_page(target)


def _path_of(name: str) -> str:
    return "" if name == EXPLORE else name


def _file_of(name: str) -> str:
    return f"{name}.py"


def _names(pages: Pages) -> frozenset[str]:
    names = frozenset(name or EXPLORE for name in pages)
    Shared.page_names.set(tuple(sorted(names)))
    return names
