"""Write a drawing as SVG: text stays text, patches are paths, and photos are embedded once."""

from __future__ import annotations

import io
import re
from base64 import b64encode
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from PIL import Image

from viz.export.drawing import Cells, Color, Drawing, Mark, Pixels, Polyline, Rectangle, Text

FONTS = "DejaVu Sans, Verdana, sans-serif"
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_svg(drawing: Drawing, width: int, title: str = "") -> bytes:
    """Write a drawing as an SVG that is so many pixels wide.

    >>> write_svg(Drawing(500, [Text((10, 20), "a < b", 12)]), 800).decode().count("a &lt; b")
    1
    """
    height = round(width * drawing.height / drawing.width)
    photos: dict[int, str] = {}
    marks = "".join(_write(mark, photos) for mark in drawing.marks)
    size = f"{drawing.width:g} {_short(drawing.height)}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}" height="{height}" viewBox="0 0 {size}" font-family={quoteattr(FONTS)}>\n'
        f"<title>{_clean(title)}</title>\n<defs>{''.join(photos.values())}</defs>\n"
        f'<rect width="100%" height="100%" fill="#fff"/>\n{marks}</svg>\n'
    ).encode()


def _write(mark: Mark, photos: dict[int, str]) -> str:
    match mark:
        case Pixels():
            return _use_photo(mark, photos)
        case Cells():
            return _cells(mark)
        case Rectangle():
            return _rectangle(mark)
        case Polyline():
            return _line(mark)
        case Text():
            return _text(mark)


def _use_photo(mark: Pixels, photos: dict[int, str]) -> str:
    """Refer to a photo, which is embedded where it first appears."""
    key, (left, top, right, bottom) = id(mark.image), mark.box
    name = f"photo{list(photos).index(key) if key in photos else len(photos)}"
    if key not in photos:
        photos[key] = (
            f'<image id="{name}" width="1" height="1" preserveAspectRatio="none" '
            f'xlink:href="{_data_of(mark.image)}"/>'
        )
    place = f"translate({_short(left)} {_short(top)})"
    scale = f"scale({_short(right - left)} {_short(bottom - top)})"
    return f'<use xlink:href="#{name}" transform="{place} {scale}"/>\n'


def _data_of(image: Image.Image) -> str:
    """Write a picture as an address that holds it: JPEG, or PNG where it is transparent."""
    buffer = io.BytesIO()
    if image.mode == "RGBA":
        image.save(buffer, "PNG")
    else:
        image.convert("RGB").save(buffer, "JPEG", quality=92, subsampling=0)
    kind = "png" if image.mode == "RGBA" else "jpeg"
    return f"data:image/{kind};base64,{b64encode(buffer.getvalue()).decode()}"


def _cells(mark: Cells) -> str:
    """Write cells as one path for each colour and opacity."""
    left, top, right, bottom = mark.box
    rows, columns = mark.opacities.shape
    paths: dict[tuple[str, str], list[str]] = {}
    for row in range(rows):
        for start, end in _runs(mark.colors[row], mark.opacities[row]):
            opacity = _short(float(mark.opacities[row, start]))
            if opacity != "0":
                color = _hex(mark.colors[row, start])
                path = f"M{start} {row}h{end - start}v1H{start}z"
                paths.setdefault((color, opacity), []).append(path)
    place = f"translate({_short(left)} {_short(top)})"
    scale = f"scale({_short((right - left) / columns)} {_short((bottom - top) / rows)})"
    drawn = "".join(
        f'<path fill="{color}" fill-opacity="{opacity}" d="{"".join(parts)}"/>'
        for (color, opacity), parts in paths.items()
    )
    return f'<g transform="{place} {scale}" shape-rendering="crispEdges">{drawn}</g>\n'


def _runs(colors: np.ndarray, opacities: np.ndarray) -> Iterator[tuple[int, int]]:
    """Iterate over the neighbours in a row that look the same, as (start, end)."""
    same = (colors[1:] == colors[:-1]).all(-1) & (opacities[1:] == opacities[:-1])
    ends = [*(np.flatnonzero(~same) + 1).tolist(), len(opacities)]
    yield from zip([0, *ends[:-1]], ends, strict=True)


def _rectangle(mark: Rectangle) -> str:
    left, top, right, bottom = mark.box
    paint = f'fill="{_hex(mark.color)}"'
    if mark.line:
        paint = f'fill="none" stroke="{_hex(mark.color)}" stroke-width="{_short(mark.line)}"'
    size = f'width="{_short(right - left)}" height="{_short(bottom - top)}"'
    return f'<rect x="{_short(left)}" y="{_short(top)}" {size} {paint}/>\n'


def _line(mark: Polyline) -> str:
    points = " ".join(f"{_short(x)},{_short(y)}" for x, y in mark.points)
    opacity = f' stroke-opacity="{_short(mark.opacity)}"' if mark.opacity < 1 else ""
    return (
        f'<polyline points="{points}" fill="none" stroke="{_hex(mark.color)}" '
        f'stroke-width="{_short(mark.width)}"{opacity}/>\n'
    )


def _text(mark: Text) -> str:
    anchor = "" if mark.anchor == "start" else f' text-anchor="{mark.anchor}"'
    x, y = mark.place
    return (
        f'<text x="{_short(x)}" y="{_short(y)}" font-size="{_short(mark.size)}" '
        f'fill="{_hex(mark.color)}"{anchor}>{_clean(mark.words)}</text>\n'
    )


def _clean(text: str) -> str:
    """Escape a text for XML, which forbids some letters altogether."""
    return escape(_FORBIDDEN.sub("\ufffd", text))


def _hex(color: Color | np.ndarray) -> str:
    return "#{:02x}{:02x}{:02x}".format(*map(int, color))


def _short(number: float) -> str:
    """Write a number with at most three decimals."""
    return f"{round(number, 3) + 0.0:g}" if abs(number) < 1e5 else f"{number:.0f}"
