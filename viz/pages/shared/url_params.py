"""A page's own words in the address, beside those that every page shares.

`url_param` gives a widget's key its first value, from the link if it says something sensible;
`set_url_params`, called after `write_address`, lets the address say what is chosen now.
"""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

LONGEST = 200  # characters of a word in a link; names of models on a hub are long


def url_param(key: str, usual: Any, valid: Sequence[Any] | Callable[[Any], bool]) -> Any:
    """The value under ``key`` in the session, begun from the address or else ``usual``.

    Args:
        valid: the values there are, or what tells a good one; others become ``usual``, as
            does a value of the session that has become invalid, say with another model.
    """
    good = valid if callable(valid) else lambda value: value in valid
    if key not in st.session_state:
        st.session_state[key] = _read(st.query_params.get(key), usual)
    if not good(st.session_state[key]):
        st.session_state[key] = usual
    return st.session_state[key]


def url_place(key: str, usual: int, count: int) -> int:
    """``url_param`` for a slider from 0 to below ``count``, just before it is drawn.

    With another count Streamlit takes it for another slider and would begin at 0, unless its value
    is set anew.
    """
    st.session_state[key] = url_param(key, usual, range(count))
    return st.session_state[key]


def set_url_params(**words: tuple[Any, Any]) -> None:
    """Add words to the address: each is (value, usual one); what is usual is left out."""
    for name, (value, usual) in words.items():
        if value != usual and value is not None:
            st.query_params[name] = str(value)


def _read(word: str | None, usual: Any) -> Any:
    """The word as the type of the usual value, which stands for what cannot be read."""
    if word is None or len(word) > LONGEST:
        return usual
    if isinstance(usual, bool):
        return {"True": True, "yes": True, "False": False, "no": False}.get(word, usual)
    try:
        return type(usual)(word)
    except ValueError:
        return usual
