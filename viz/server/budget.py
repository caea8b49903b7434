"""One number of bytes for everything that the server keeps or is working on.

Caches, models, uploads and running work share it. A cache is a mapping of its own name, but the
least recently used entry of *all* caches makes room first, so nobody has to divide the memory
beforehand.

    photos = BUDGET.cache("photos", size=lambda image: 3 * image.width * image.height)
    photos[key] = image                     # may push out what nobody used for long
    photos.get(key)                         # None once it had to go
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from viz.server.class_mode import MODE

V = TypeVar("V")


@dataclass
class Entry:
    """What a cache keeps: a value, its bytes, and when somebody last used it."""

    value: object
    size: int
    used: float


class MemoryBudget:
    """A limit in bytes, and what counts towards it.

    Args:
        limit: bytes for caches, reserved work and what others hold, together.

    >>> budget = MemoryBudget(100)
    >>> texts = budget.cache("texts", size=len)
    >>> texts["a"], texts["b"] = "x" * 60, "y" * 60
    >>> list(texts), budget.used
    (['b'], 60)
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lock = threading.RLock()
        self._entries: OrderedDict[tuple[str, Hashable], Entry] = OrderedDict()
        self._kept = 0
        self._reserved = 0
        self._others: dict[str, Callable[[], int]] = {}
        self.caches: dict[str, Cache[Any]] = {}

    def cache(self, name: str, size: Callable[[V], int], lasts: bool = False) -> "Cache[V]":
        """Return the cache of this name, made at first.

        Args:
            size: tells the bytes of a value.
            lasts: whether entries stay while nobody uses them, until others need the room.
        """
        with self.lock:
            return self.caches.setdefault(name, Cache(self, name, size, lasts))

    def count_also(self, name: str, held: Callable[[], int]) -> None:
        """Count what somebody else holds, such as the uploads; ``held`` tells its bytes."""
        self._others[name] = held

    @property
    def used(self) -> int:
        """Bytes in use: kept, reserved and held by others."""
        return self._kept + self._reserved + self._held_by_others()

    @property
    def free(self) -> int:
        """Bytes that work could have if every cache made room."""
        return self.limit - self._reserved - self._held_by_others()

    def reserve(self, count: int) -> bool:
        """Set bytes aside for work that begins now; False where even empty caches do not suffice.

        Whoever reserved gives the same number back with `release`.
        """
        with self.lock:
            if count > self.free:
                return False
            self._reserved += count
            self.make_room()
            return True

    def release(self, count: int) -> None:
        """Give back what `reserve` set aside."""
        with self.lock:
            self._reserved -= count

    def make_room(self) -> None:
        """Let go the entries that nobody used for longest, until everything fits."""
        with self.lock:
            while self._entries and self.used > self.limit:
                _, entry = self._entries.popitem(last=False)
                self._kept -= entry.size

    def let_go_unused(self, seconds: float) -> int:
        """Let go what nobody has used for so long, apart from what lasts; return its bytes."""
        with self.lock:
            before, kept = time.monotonic() - seconds, self._kept
            for place, entry in list(self._entries.items()):
                if entry.used <= before and not self.caches[place[0]].lasts:
                    self._drop(place)
            return kept - self._kept

    def bytes_by_name(self) -> dict[str, int]:
        """Return the bytes of each cache, of reserved work and of what others hold."""
        with self.lock:
            found: dict[str, int] = {}
            for (name, _), entry in self._entries.items():
                found[name] = found.get(name, 0) + entry.size
            others = {name: held() for name, held in self._others.items()}
            return found | {"reserved": self._reserved} | others

    def _held_by_others(self) -> int:
        return sum(held() for held in self._others.values())

    def _put(self, key: tuple[str, Hashable], value: object, size: int) -> None:
        with self.lock:
            self._drop(key)
            if size > self.limit:
                return
            self._entries[key] = Entry(value, size, time.monotonic())
            self._kept += size
            self.make_room()

    def _drop(self, key: tuple[str, Hashable]) -> None:
        entry = self._entries.pop(key, None)
        self._kept -= entry.size if entry else 0


class Cache(MutableMapping[Hashable, V], Generic[V]):
    """The entries of one name in a `MemoryBudget`; made by `MemoryBudget.cache`."""

    def __init__(
        self, budget: MemoryBudget, name: str, size: Callable[[V], int], lasts: bool = False
    ) -> None:
        self.budget, self.name, self.size, self.lasts = budget, name, size, lasts
        self.hits = self.misses = 0

    def __getitem__(self, key: Hashable) -> V:
        place = self.name, key
        with self.budget.lock:
            entries = self.budget._entries
            if place not in entries:
                self.misses += 1
                raise KeyError(key)
            self.hits += 1
            entries.move_to_end(place)
            entries[place].used = time.monotonic()
            return entries[place].value  # type: ignore[return-value]  # __setitem__ took only V

    def __setitem__(self, key: Hashable, value: V) -> None:
        self.budget._put((self.name, key), value, self.size(value))

    def __delitem__(self, key: Hashable) -> None:
        with self.budget.lock:
            if (self.name, key) not in self.budget._entries:
                raise KeyError(key)
            self.budget._drop((self.name, key))

    def __contains__(self, key: object) -> bool:
        return (self.name, key) in self.budget._entries

    def __iter__(self) -> Iterator[Hashable]:
        with self.budget.lock:
            return iter([key for name, key in self.budget._entries if name == self.name])

    def __len__(self) -> int:
        return len(list(iter(self)))

    @property
    def nbytes(self) -> int:
        """Bytes of all entries of this name."""
        return self.budget.bytes_by_name().get(self.name, 0)


BUDGET = MemoryBudget(MODE.budget_bytes)
"""The budget of this server."""
