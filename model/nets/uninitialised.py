"""Build a net whose weights come from a file: no weights are drawn for it first."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_given = ContextVar("weights are given", default=False)


@contextmanager
def weights_given() -> Iterator[None]:
    """Leave out the costly initialisation of every net that is built inside the block.

    What its weights hold then is of no use, so all of them must be loaded afterwards.

    >>> from model.nets.vit import build
    >>> with weights_given():
    ...     net = build("cs231n")
    >>> net.load_state_dict(build("cs231n").state_dict())
    <All keys matched successfully>
    """
    token = _given.set(True)
    try:
        yield
    finally:
        _given.reset(token)


def are_weights_given() -> bool:
    """Say whether the net that is being built gets its weights from a file."""
    return _given.get()
