"""Say what a picture shows: as lines below it, in Markdown, in LaTeX, and in a file's name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

CAVEAT = (
    "Attention says where information was taken from. It does not say whether that mattered for "
    "the answer."
)
LONGEST = 40  # characters of one part of a file's name

_LATEX = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}
_MARKDOWN = re.compile(r"[\\`*_\[\]<>&#|$~!]")


@dataclass(frozen=True)
class Account:
    """What is shown, in words.

        >>> shown = Account("Attention of one head", {"Model": "vit_tiny", "Layer": "7"})
        >>> shown.as_markdown("cat.svg").splitlines()[2]
        '**Attention of one head.** Model: vit\\\\_tiny. Layer: 7.'
        >>> r"Model: vit\\_tiny" in shown.as_latex("cat.png")
        True

    Attributes:
        title: what the picture is.
        facts: model, photo, layer, head, query, method, settings, by name.
        notes: sentences that the facts do not say.
    """

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def lines(self) -> list[str]:
        """The title, the facts, and each note, for below a picture."""
        facts = " · ".join(f"{name}: {fact}" for name, fact in self.facts.items() if fact)
        return [self.title, *filter(None, [facts]), *self.notes]

    def as_markdown(self, picture: str) -> str:
        """Write the picture with its caption in Markdown."""
        facts = [f"{_markdown(name)}: {_markdown(fact)}." for name, fact in self._known()]
        notes = [_markdown(note) for note in self.notes]
        caption = " ".join([f"**{_markdown(self.title)}.**", *facts, *notes])
        return f"![{_markdown(self.title)}]({picture})\n\n{caption}\n"

    def as_latex(self, picture: str) -> str:
        """Write the picture with its caption in LaTeX."""
        facts = [f"{_latex(name)}: {_latex(fact)}." for name, fact in self._known()]
        notes = [_latex(note) for note in self.notes]
        caption = " ".join([rf"\textbf{{{_latex(self.title)}.}}", *facts, *notes])
        return (
            "\\begin{figure}\n  \\centering\n"
            f"  \\includegraphics[width=\\linewidth]{{{picture}}}\n"
            f"  \\caption{{{caption}}}\n\\end{{figure}}\n"
        )

    def _known(self) -> list[tuple[str, str]]:
        return [(name, fact) for name, fact in self.facts.items() if fact]


def name_file(*parts: str) -> str:
    """Name a file by its content, without the ending.

    >>> name_file("Cat", "hf/Some_Model:main", "", "layer 7")
    'saccade-cat-hf-some-model-main-layer-7'
    """
    return "-".join(filter(None, map(_safe, ["saccade", *parts])))


def _safe(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.lower())[:LONGEST].strip("-")


def _markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))
