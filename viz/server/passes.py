"""Passes: what the browser of a session may ask for without a rerun, and what it reports.

A page grants its session's pass the sources of what it shows. The browser sends the pass's key with
each question, so nobody can ask about a picture that was never shown to them.
"""

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakValueDictionary

from cachetools import LRUCache

MOST_SOURCES = 64
"""Of one pass; the one that was granted or asked longest ago has to go first."""


class NoSuchQuestion(LookupError):
    """A source has no answer to this question, whoever asks."""


class SourceGone(LookupError):
    """What a question is about had to make room in the meantime."""


@dataclass(frozen=True)
class Reply:
    """The answer to a question: bytes, and what kind of bytes they are."""

    body: bytes
    media_type: str = "application/octet-stream"


class Source(Protocol):
    """Something that questions can be asked about, such as a recorded image.

    ``id`` names it by its content: the same id always has the same answers.
    """

    @property
    def id(self) -> str:
        """The name, without a slash."""
        ...

    def answer(self, question: str) -> Reply:
        """Reply a question such as ``layer/3``.

        Raises:
            NoSuchQuestion: if there is no such question.
            SourceGone: if what is asked about had to make room in the meantime.
        """
        ...


class Pass:
    """The pass of one session, which lives as long as the session keeps it.

    >>> a_pass = Pass()
    >>> find_pass(a_pass.key) is a_pass
    True
    """

    def __init__(self) -> None:
        self.key = secrets.token_urlsafe(24)
        self._sources: LRUCache[str, Source] = LRUCache(MOST_SOURCES)
        self._reports: dict[str, Mapping[str, Any]] = {}
        self._lock = threading.Lock()
        _passes[self.key] = self

    def grant(self, source: Source) -> str:
        """Let the browser ask about a source; return the key with which it does so."""
        with self._lock:
            self._sources[source.id] = source
        return self.key

    def source(self, source_id: str) -> Source | None:
        """Return a source that was granted; None for any other."""
        with self._lock:
            return self._sources.get(source_id)

    def report(self, scope: str, view: Mapping[str, Any]) -> None:
        """Keep the view that the browser now shows; ``scope`` names the page's component."""
        with self._lock:
            self._reports[scope] = view

    def take_report(self, scope: str) -> Mapping[str, Any] | None:
        """Return the view that was reported since the last call, if any."""
        with self._lock:
            return self._reports.pop(scope, None)


_passes: WeakValueDictionary[str, Pass] = WeakValueDictionary()


def find_pass(key: str) -> Pass | None:
    """Find the pass with this key; None for a key that nobody has, or no longer."""
    return _passes.get(key)
