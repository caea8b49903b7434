"""Name tokens and heads as the pages do."""

from __future__ import annotations

from model.tokens import TokenLayout


def token_name(token: int, tokens: TokenLayout) -> str:
    """Name a token as the pages do: ``CLS``, or ``row 4, column 6``."""
    place = tokens.position_of(token)
    if place is None:
        return prefix_name(tokens.prefix[token])
    return f"row {place[0] + 1}, column {place[1] + 1}"


def prefix_name(name: str) -> str:
    """Name a token that is no patch as the pages do."""
    return f"register {name[3:]}" if name.startswith("reg") else name.upper()


def name_head(head: int | str) -> str:
    """Name a head counted from zero, or how the heads are fused.

    >>> name_head(2), name_head("mean")
    ('head 3', 'mean of the heads')
    """
    return f"head {head + 1}" if isinstance(head, int) else f"{head} of the heads"
