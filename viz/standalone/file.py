"""Write a figure as an HTML file: whole or not at all, with a policy that allows no connection."""

from __future__ import annotations

import os
import zlib
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from viz.components.bundle import color_tables, join_kinds, join_script, join_style
from viz.standalone.figure import Figure

NOTE = (
    "Attention says where information was taken from. It does not say whether that mattered for "
    "the answer."
)


def export_html(figure: Figure | Any, path: str | os.PathLike[str]) -> Path:
    """Write a figure as one HTML file, and return its path.

    The file is written beside the path and renamed, so nobody finds half a file there.

    Args:
        figure: what `viz.notebook.show` and `viz.notebook.compare` return, or a `Figure`.
        path: where to write; a file that is there is replaced.

    Raises:
        FigureTooLarge: where the figure has more bytes than a file should have.
        OSError: where the folder is missing or cannot be written to.
        TypeError: for anything else than a figure.
    """
    page, target = write_page(as_figure(figure)), Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent}, so no file was written.")
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder. Name a file in it, as figure.html.")
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        unfinished.write_bytes(page)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def file_size(figure: Figure | Any) -> int:
    """Estimate the bytes of the HTML file from above, before anything is compressed."""
    found = as_figure(figure)
    return round(found.nbytes * 4 / 3) + len(_script(found)) + len(_style()) + 4096


def as_figure(figure: Any) -> Figure:
    """Return the figure that a widget shows, or the figure itself."""
    found = getattr(figure, "figure", figure)
    if not isinstance(found, Figure):
        raise TypeError(
            f"A {type(figure).__name__} is no figure: give what viz.notebook.show or "
            "viz.notebook.compare returns."
        )
    return found


def write_page(figure: Figure) -> bytes:
    """Write the HTML of a figure. Raises FigureTooLarge as `export_html`."""
    figure.check_size()
    return "".join(_pieces(figure)).encode()


def _pieces(figure: Figure) -> Iterator[str]:
    style, script = _style(), _script(figure)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash_of(script)}",
            f"style-src {_hash_of(style)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    about = "<br>".join(map(escape, figure.about))
    yield (
        '<!doctype html>\n<html lang="en" class="saccade">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(figure.title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(figure.title)}</h1>"
        '<button type="button" class="projector" aria-pressed="false" hidden>Projector</button>'
        '<button type="button" class="theme" hidden>Dark</button></header>\n'
        f'<p class="about">{about}</p>\n'
        '<p class="notice" role="alert" hidden></p>\n'
        '<noscript><p class="notice">The figure is drawn by a script in this file. Allow scripts '
        "to see it; it fetches nothing.</p></noscript>\n<main>\n"
    )
    for number, part in enumerate(figure.parts):
        heading = f"<h2>{escape(part.heading)}</h2>" if part.heading else ""
        note = f'<p class="about">{escape(part.note)}</p>' if part.note else ""
        place = f'<div data-kind="{escape(part.kind)}" data-payload="part{number}"></div>'
        yield f'<section class="{escape(part.side)}">{heading}{note}{place}</section>\n'
    yield f"</main>\n<footer><p>{escape(NOTE)}</p><p>Made with Saccade.</p></footer>\n"
    for number, part in enumerate(figure.parts):
        yield _block(f"part{number}", part.payload)
    for name, answer in figure.answers.items():
        yield _block(name, answer)
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _block(name: str, data: bytes) -> str:
    """Pack bytes as text that a browser neither shows nor runs."""
    packed = b64encode(zlib.compress(data, 6)).decode()
    return f'<script type="application/zlib" data-name="{escape(name)}">{packed}</script>\n'


def _script(figure: Figure) -> str:
    kinds = dict.fromkeys(part.kind for part in figure.parts)
    parts = (color_tables(), join_kinds(kinds), join_script("file"))
    return f'"use strict";\n{"".join(parts)}'


def _style() -> str:
    return join_style("file")


def _hash_of(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
