"""Results that the whole server shares: computed once in the queue, kept within the budget."""

import functools
from collections.abc import Callable, Hashable
from typing import Any, Generic, ParamSpec, TypeVar

from viz.server.budget import BUDGET, Cache
from viz.server.queue import QUEUE, Cost

P = ParamSpec("P")
R = TypeVar("R")


class ComputedOnce(Generic[P, R]):
    """A function whose results everybody shares; ``cache`` holds them."""

    def __init__(
        self,
        compute: Callable[P, R],
        name: str,
        key: Callable[..., Hashable],
        size: Callable[[Any], int],
        cost: Callable[..., Cost],
        lasts: bool = False,
    ) -> None:
        self.compute, self.name, self.key, self.cost = compute, name, key, cost
        self.cache: Cache[R] = BUDGET.cache(name, size, lasts)
        functools.update_wrapper(self, compute)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the result that is kept, or compute it when its turn in the queue comes."""
        key = self.key(*args, **kwargs)
        try:
            return self.cache[key]
        except KeyError:
            pass

        def compute_and_keep() -> R:
            if key in self.cache:  # between the look above and this turn
                return self.cache[key]
            result = self.compute(*args, **kwargs)
            self.cache[key] = result
            return result

        return QUEUE.run((self.name, key), compute_and_keep, cost=self.cost(*args, **kwargs))

    def kept(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Return the result if it is kept; None where it would have to be computed."""
        return self.cache.get(self.key(*args, **kwargs))


def computed_once(
    name: str,
    key: Callable[..., Hashable],
    size: Callable[[Any], int],
    cost: Callable[..., Cost] = lambda *args, **kwargs: Cost(),
    lasts: bool = False,
) -> Callable[[Callable[P, R]], ComputedOnce[P, R]]:
    """Let a function compute each result once for everybody, in the queue, and keep it.

    Args:
        name: of its cache, and of its kind of work.
        key: takes the function's arguments; equal for equal questions.
        size: the bytes of a result, for the budget.
        cost: takes the function's arguments; what computing needs.
        lasts: whether results stay while nobody uses them, until others need the room.

    >>> @computed_once("squares", key=lambda number: number, size=lambda square: 8)
    ... def square(number: int) -> int:
    ...     return number * number
    >>> square(7), 7 in square.cache
    (49, True)
    """

    def decorate(compute: Callable[P, R]) -> ComputedOnce[P, R]:
        return ComputedOnce(compute, name, key, size, cost, lasts)

    return decorate
