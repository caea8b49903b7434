"""Name the four special words with which every vocabulary begins."""

from __future__ import annotations

PAD, START, END, UNKNOWN = range(4)
SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>")
