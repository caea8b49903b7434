import re

from hypothesis import given
from hypothesis import strategies as st

from viz.pages.text import plain

MARKUP = st.text(alphabet="ab![](){}<>`*$#~|\\: xy", max_size=40)


@given(MARKUP)
def test_nothing_from_outside_stays_markup(text):
    """CommonMark: a backslash before punctuation makes it a plain character."""
    unescaped = re.sub(r"\\[!-/:-@\[-`{-~]", "", plain(text))
    assert not re.search(r"[\\`*\[\]<>$~#|]", unescaped)


@given(MARKUP)
def test_nothing_is_lost(text):
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", plain(text)) == text
