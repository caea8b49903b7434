"""Words from outside, shown as they are."""

import re


def plain(text: str) -> str:
    """The text such that Streamlit's Markdown shows it letter by letter.

    File names, a file's keys and what somebody typed turn up in sentences; none of it may
    become a picture, a link or a formula.
    """
    return re.sub(r"([\\`*\[\]<>$~#|])", r"\\\1", text)
