"""Find the terms of the glossary in a text, each where it is said first."""

import re
from collections.abc import Iterator, Sequence

from viz.glossary.term import Chapter, Term

Marked = str | tuple[str, Term]
"""A piece of a text, or the words of it that are a term."""


def mark_terms(text: str, chapters: Sequence[Chapter]) -> list[Marked]:
    """Split a text at the first mention of each term.

    A term within ``*longer emphasis*`` or ``code`` is left alone; where the emphasis holds
    nothing but the term, the mark takes its place.

    Args:
        text: with ``**bold**``, ``*italic*`` and ``code``, as in lessons.

    >>> from viz.glossary.term import glossary
    >>> [part if isinstance(part, str) else part[0]
    ...  for part in mark_terms("Each *patch* becomes a token, a patch by itself.", glossary())]
    ['Each ', 'patch', ' becomes a ', 'token', ', a patch by itself.']
    """
    parts: list[Marked] = []
    end = 0
    for start, stop, words, term in _first_mentions(text, chapters):
        parts += [text[end:start], (words, term)]
        end = stop
    return [part for part in (*parts, text[end:]) if part]


def _first_mentions(text: str, chapters: Sequence[Chapter]) -> Iterator[tuple[int, int, str, Term]]:
    """Iterate over first mentions in their order: where each begins and ends, words, term."""
    by_form = {form.lower(): term for part in chapters for term in part.term for form in term.forms}
    forms = "|".join(re.escape(form) for form in sorted(by_form, key=len, reverse=True))
    mention = re.compile(rf"(\*\*|\*|)\b({forms})\b(\*\*|\*|)", re.IGNORECASE)
    named: set[str] = set()
    for found in mention.finditer(text):
        before, words, after = found.groups()
        term = by_form[words.lower()]
        within = _is_within(text[: found.start()])
        if before != after or within or term.name in named:
            continue
        named.add(term.name)
        yield found.start(), found.end(), words, term


def _is_within(before: str) -> bool:
    """Say whether emphasis or code has begun and not ended."""
    code, stars = before.count("`"), before.replace("**", "")
    return code % 2 == 1 or stars.count("*") % 2 == 1 or before.count("**") % 2 == 1
