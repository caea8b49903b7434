"""Words from outside, shown as they are."""

import re

# Where an address that a browser would make a link of is broken, unseen: a backslash does not
# keep Streamlit's Markdown from it.
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE)
_WORD_JOINER = "\u2060"
# What begins or ends markup; a colon before a letter begins an emoji.
_MARKUP = re.compile(r"[\\`*_\[\]<>&$~#|]|:(?=\w)")


def plain(text: str) -> str:
    """The text such that Streamlit's Markdown shows it letter by letter, on one line.

    File names, a file's keys and what somebody typed turn up in sentences; none of it may
    become a picture, a link or a formula.
    """
    text = _ADDRESS.sub(_WORD_JOINER, " ".join(text.split()))
    return _MARKUP.sub(r"\\\g<0>", text)
