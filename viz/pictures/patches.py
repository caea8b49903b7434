"""Pictures of patches, cut apart and joined again, and of filters."""

import numpy as np
import plotly.graph_objects as go
from PIL import Image, ImageDraw

GAP = 3
MARK = (240, 110, 20, 255)


def mosaic(
    tiles: np.ndarray,
    columns: int,
    scale: int = 1,
    gap: int = GAP,
    marked: int | None = None,
) -> Image.Image:
    """Lay tiles (N, height, width, 3) uint8 in rows of ``columns``, with transparent gaps.

    Args:
        scale: how many pixels of the picture show one pixel of a tile.
        marked: a tile to outline.
    """
    count, height, width, _ = tiles.shape
    rows = -(-count // columns)
    big = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    step_y, step_x = height * scale + gap, width * scale + gap
    canvas = np.zeros((rows * step_y + gap, columns * step_x + gap, 4), dtype=np.uint8)
    for index in range(count):
        top, left = index // columns * step_y + gap, index % columns * step_x + gap
        canvas[top : top + height * scale, left : left + width * scale, :3] = big[index]
        canvas[top : top + height * scale, left : left + width * scale, 3] = 255
    picture = Image.fromarray(canvas)
    if marked is not None:
        top, left = marked // columns * step_y, marked % columns * step_x
        draw = ImageDraw.Draw(picture)
        right, bottom = left + step_x + gap - 1, top + step_y + gap - 1
        draw.rectangle((left, top, right, bottom), outline=MARK, width=max(gap + 1, step_x // 12))
    return picture


def clickable(picture: Image.Image, grid: tuple[int, int], width: int, gap: int = GAP) -> go.Figure:
    """Make a `mosaic` of a grid into a chart, ``width`` pixels wide, that knows the clicked tile.

    The tiles are the points of its one trace, row by row.
    """
    rows, columns = grid
    across, down = (picture.width - gap) / columns, (picture.height - gap) / rows
    row, column = (each.ravel() for each in np.indices(grid))
    unseen = {"marker": {"opacity": 0}}  # the picture shows the tiles, chosen or not
    points = go.Scatter(
        x=gap / 2 + (column + 0.5) * across,
        y=gap / 2 + (row + 0.5) * down,
        customdata=np.stack([row + 1, column + 1], axis=1),
        mode="markers",
        selected=unseen,
        unselected=unseen,
        hovertemplate="Row %{customdata[0]}, column %{customdata[1]}<extra></extra>",
        **unseen,
    )
    figure = go.Figure(points)
    place = {"x": 0, "y": 0, "sizex": picture.width, "sizey": picture.height}
    figure.add_layout_image(source=picture, xref="x", yref="y", sizing="stretch", **place)
    figure.update_xaxes(range=(0, picture.width), visible=False, fixedrange=True)
    figure.update_yaxes(range=(picture.height, 0), visible=False, fixedrange=True)
    figure.update_layout(
        width=width,
        height=round(width * picture.height / picture.width),
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        hovermode="closest",
        hoverdistance=-1,  # wherever the mouse is, it is in some tile
    )
    return figure


def join(tiles: np.ndarray, grid: tuple[int, int]) -> Image.Image:
    """Join tiles (N, height, width, 3) uint8 into the picture that they make on a grid."""
    rows, columns = grid
    _, height, width, _ = tiles.shape
    cells = tiles.reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(np.ascontiguousarray(cells.reshape(rows * height, columns * width, 3)))


def enlarge(picture: Image.Image, side: int) -> Image.Image:
    """Enlarge the longer side to at least ``side`` pixels, by a whole factor, without blending."""
    factor = max(1, -(-side // max(picture.size)))
    return picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
    )


def as_colors(filters: np.ndarray) -> np.ndarray:
    """Draw filters (N, C, height, width) as tiles (N, height, width, 3) uint8; zero is mid-grey.

    Each is scaled to its own largest weight. One channel is drawn grey; of more than three the
    first three are drawn.
    """
    channels = filters.shape[1]
    shown = filters[:, :3] if channels >= 3 else filters[:, :1].repeat(3, axis=1)
    top = np.abs(shown).max(axis=(1, 2, 3), keepdims=True)
    scaled = shown / np.where(top > 0, top, 1)
    return np.rint(127.5 + 127.5 * scaled).astype(np.uint8).transpose(0, 2, 3, 1)


def component_colors(coordinates: np.ndarray, grid: tuple[int, int]) -> Image.Image:
    """Draw the three leading coordinates (N, 3) as red, green and blue, one pixel a patch."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    scaled = (coordinates - low) / np.where(high > low, high - low, 1)
    if scaled.shape[1] < 3:
        scaled = np.pad(scaled, ((0, 0), (0, 3 - scaled.shape[1])))
    return Image.fromarray(np.rint(255 * scaled[:, :3]).astype(np.uint8).reshape(*grid, 3))
