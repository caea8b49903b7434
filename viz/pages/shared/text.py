"""Text from outside, shown letter by letter."""

import re

_MARKUP = re.compile(r"[\\`*_\[\]<>&$~#|]")
# Where addresses and the names of emoji are broken, unseen: no backslash keeps Streamlit's
# Markdown from making links and pictures of them.
_NAMES = re.compile(r"(?<=:)(?=//|\w)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE)
_WORD_JOINER = "\u2060"


def plain(text: str) -> str:
    """Escape a text, so that Streamlit's Markdown shows it letter by letter, on one line.

    File names, a file's keys and what somebody typed turn up in sentences; none of it may
    become a picture, a link or a formula.
    """
    whole = text.encode("utf-8", "replace").decode()  # JSON may hold half a character
    text = _NAMES.sub(_WORD_JOINER, " ".join(whole.split()))
    return _MARKUP.sub(r"\\\g<0>", text)
