import re

from hypothesis import given
from hypothesis import strategies as st

from viz.pages.shared.text import plain

MARKUP = st.text(alphabet="ab![](){}<>&`*_$~#|\\:/-.@ xyw\n", max_size=40)
ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
"""CommonMark: a backslash before punctuation makes it a plain character."""


@given(MARKUP)
def test_nothing_from_outside_stays_markup(text):
    left = ESCAPE.sub("·", plain(text))
    assert not re.search(r"[\\`*_\[\]<>&$~#|\n]|:\w", left)


@given(MARKUP)
def test_nothing_is_lost(text):
    shown = ESCAPE.sub(r"\1", plain(text)).replace("\u2060", "")
    assert shown == " ".join(text.split())
