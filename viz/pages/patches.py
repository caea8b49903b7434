"""Patches: what does a patch become before attention sees it?"""

import numpy as np
import streamlit as st
import torch
from torch import Tensor, nn

from model.bundle import Bundle
from model.components import principal_components
from model.embedding import patch_filters
from model.patches import patchify
from model.vit import VisionTransformer
from viz.heatmap import heatmap
from viz.pages.link import note_down, recall, recall_place
from viz.pages.session import begin, write_address
from viz.patch_pictures import as_colors, enlarge, join, mosaic

BARE = {"displayModeBar": False}
SIDE = 400  # pixels of a picture, at least
STRIP = 1280
NAMES_OF_STEP = ("patch_embed", "conv_proj")  # timm's and torchvision's, on the top module
COMPONENTS, RAW = 28, 96
IN_A_LINE = 64
VALUES = 6
COMPONENTS_KIND, RAW_KIND = "Principal components", "Raw filters"
RIGHT = 'rearrange(x, "b c (h p) (w q) -> b (h w) (c p q)", p=p, q=p)'
WRONG = "x.reshape(b, h * w, c * p * p)"


def page() -> None:
    """The whole page, top to bottom."""
    session = begin(
        "What does a patch become before attention sees it?",
        "A vision transformer cuts the photo into squares, reads each as one long list of "
        "numbers, and turns that list into a *token*. Choose a patch and follow it.",
    )
    bundle = session.bundle
    rows, columns = bundle.tokens.grid
    patch = _choose(rows, columns)
    prepared = bundle.prepare(session.picture.image)
    pixels = patchify(bundle.tokens.covered(prepared), bundle.tokens.patch)[0]
    _show_steps(bundle, prepared, pixels, patch)
    _show_mistake(bundle, prepared)
    kind = _show_filters(bundle)
    write_address(session)
    centre = rows // 2 * columns + columns // 2
    note_down(patch=(patch, centre), filters=(kind, COMPONENTS_KIND))


def _choose(rows: int, columns: int) -> int:
    recall_place("patch", rows // 2 * columns + columns // 2, rows * columns)
    if rows * columns == 1:
        return 0
    return st.slider(
        "Patch, counted along the sequence from 0",
        0,
        rows * columns - 1,
        key="patch",
        width=420,
    )


# -- image, grid, sequence, vectors -------------------------------------------------------------


def _show_steps(bundle: Bundle, prepared: Tensor, pixels: Tensor, patch: int) -> None:
    rows, columns = bundle.tokens.grid
    tiles = _tiles(bundle, pixels)
    first, second, third = st.columns(3, gap="large")
    with first:
        st.subheader("1. Image")
        height, width = bundle.image_size
        _picture(join(tiles, (rows, columns)), "The photo as the model takes it")
        st.caption(f"Cut and resized to {width} × {height} pixels, each channel normalised.")
    with second:
        st.subheader("2. Grid")
        scale = max(1, round(SIDE / (columns * tiles.shape[2])))
        _picture(mosaic(tiles, columns, scale, marked=patch), "The photo cut into patches")
        down, across = bundle.tokens.patch
        st.caption(f"{rows} × {columns} patches of {across} × {down} pixels.")
    with third:
        st.subheader(f"Patch {patch}")
        row, column = divmod(patch, columns)
        _picture(enlarge(join(tiles[patch : patch + 1], (1, 1)), 160), f"Patch {patch}", 160)
        _show_numbers(bundle, prepared, pixels, patch)
        st.caption(f"Row {row + 1}, column {column + 1} of the grid.")
    st.subheader("3. Sequence")
    in_a_line = min(len(tiles), IN_A_LINE)
    scale = max(1, round(STRIP / (in_a_line * tiles.shape[2])))
    _picture(mosaic(tiles, in_a_line, scale, marked=patch), "The patches one by one")
    st.caption(
        f"The rows of the grid one after another: {len(tiles)} patches, numbered from 0. From "
        "here on nothing but the position code tells what was above what."
    )
    _show_vectors(bundle, prepared, patch)


def _tiles(bundle: Bundle, pixels: Tensor) -> np.ndarray:
    """Normalised patches (N, C·p·q) as colours (N, p, q, 3) uint8."""
    channels = len(bundle.mean)
    cells = pixels.unflatten(1, (channels, *bundle.tokens.patch))
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (bundle.mean, bundle.std))
    colors = ((cells * std + mean).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return colors[..., :3] if channels >= 3 else colors[..., :1].repeat(3, axis=-1)


def _picture(picture, alt: str, width: int | str = "stretch") -> None:
    st.image(enlarge(picture, SIDE), output_format="PNG", width=width, alt=alt)


def _show_numbers(bundle: Bundle, prepared: Tensor, pixels: Tensor, patch: int) -> None:
    """The chosen patch as the list of numbers that goes in, and the vector that comes out."""
    values = pixels[patch]
    text = f"in, {len(values)} numbers\n{_some(values)}"
    vectors = _embedded(bundle, prepared)
    if vectors is not None:
        text += f"\n\nout, {vectors.shape[1]} numbers\n{_some(vectors[patch])}"
    st.code(text, language=None)


def _some(values: Tensor) -> str:
    numbers = [f"{value:6.2f}" for value in values[:VALUES].tolist()]
    lines = [" ".join(numbers[start : start + 3]) for start in range(0, len(numbers), 3)]
    return "\n".join(lines) + (" ..." if len(values) > VALUES else "")


def _embedded(bundle: Bundle, prepared: Tensor) -> Tensor | None:
    """The patch tokens before positions are added, (N, D); None where that step is not known."""
    step = _patch_step(bundle)
    if step is None:
        return None
    with torch.no_grad():
        out = step(prepared)[0].float()
    if out.ndim == 3:  # (D, rows, columns), or (rows, columns, D)
        out = out.flatten(1).T if out.shape[1:] == bundle.tokens.grid else out.flatten(0, 1)
    return out if len(out) == bundle.tokens.patches else None


def _patch_step(bundle: Bundle) -> nn.Module | None:
    """What makes tokens of pixels; None where it is not known."""
    for name in ("embed",) if isinstance(bundle.net, VisionTransformer) else NAMES_OF_STEP:
        if (step := getattr(bundle.net, name, None)) is not None:
            return step
    # Others keep it deeper, but where one convolution spans a patch, that is the whole step.
    filters = patch_filters(bundle.net, bundle.tokens)
    if filters is None or not filters.whole:
        return None
    step = bundle.net.get_submodule(filters.name)
    return step if isinstance(step, nn.Conv2d) else None


def _show_vectors(bundle: Bundle, prepared: Tensor, patch: int) -> None:
    vectors = _embedded(bundle, prepared)
    st.subheader("4. Vectors")
    if vectors is None:
        st.caption("Where this model makes its tokens is not known to this page.")
        return
    reach = float(vectors.abs().quantile(0.99)) or 1.0
    figure = heatmap(
        vectors.T.numpy(),
        "Patch along the sequence",
        "Dimension",
        "Patch %{x}, dimension %{y}<br>value %{z:.3f}",
        span=(-reach, reach),
        height=320,
    )
    figure.add_vline(x=patch, line={"width": 2, "color": "#e97b2b"})
    st.plotly_chart(figure, key="vectors", config=BARE, alt="Each patch's vector, as a column")
    filters = patch_filters(bundle.net, bundle.tokens)
    how = (
        "Every number is a weighted sum of the patch's pixels, with the same weights for every "
        "patch."
        if filters is not None and filters.whole
        else "In this model small convolutions make it, step by step, so neighbouring tokens "
        "share some pixels."
    )
    st.caption(f"Each patch is now a column of {vectors.shape[1]} numbers: a token. {how}")


# -- the mistake --------------------------------------------------------------------------------


def _show_mistake(bundle: Bundle, prepared: Tensor) -> None:
    st.subheader("The well-known mistake: reshape where rearrange was meant")
    st.caption(
        "Both lines give a tensor of the same shape, so nothing complains. But *reshape* cuts "
        "memory as it lies, one channel after another and line by line: what it calls a patch is "
        "scraps of a few lines in one colour. The model still trains, only worse."
    )
    layout = bundle.tokens
    covered = layout.covered(prepared)
    right = patchify(covered, layout.patch)[0]
    wrong = covered.reshape(right.shape)
    columns = st.columns(2, gap="large")
    for column, code, patches, alt in (
        (columns[0], RIGHT, right, "Patches cut rightly, put back on the grid"),
        (columns[1], WRONG, wrong, "Patches from reshape, put back on the grid"),
    ):
        with column:
            st.code(code, language="python", wrap_lines=True)
            cells = _tiles(bundle, patches)
            scale = max(1, round(SIDE / (layout.grid[1] * cells.shape[2])))
            _picture(mosaic(cells, layout.grid[1], scale), alt, SIDE)


# -- filters ------------------------------------------------------------------------------------


def _show_filters(bundle: Bundle) -> str:
    """The filters, and in which form they are shown."""
    st.subheader("What the patch step looks for")
    filters = patch_filters(bundle.net, bundle.tokens)
    if filters is None:
        st.caption("No layer that reads pixels was recognised in this model.")
        return COMPONENTS_KIND
    weight = filters.weight
    count, channels, height, width = weight.shape
    kinds = [COMPONENTS_KIND, RAW_KIND]
    recall("filters", COMPONENTS_KIND, kinds)
    kind = st.segmented_control("Filters", kinds, key="filters", required=True)
    if kind == RAW_KIND:
        shown = weight[:RAW]
        sentence = f"The first {len(shown)} of {count} filters, each scaled to its own largest."
    else:
        directions, _, shares = principal_components(weight.flatten(1), COMPONENTS)
        shown = directions.unflatten(1, (channels, height, width))
        sentence = (
            f"The {len(shown)} directions in which the {count} filters differ most, largest "
            f"first; they hold {shares.sum():.0%} of the variance (Dosovitskiy et al., 2021, "
            "fig. 7, left)."
        )
    in_a_row = 16 if kind == RAW_KIND else 14
    scale = max(1, round(64 / width))
    picture = mosaic(as_colors(shown.numpy()), in_a_row, scale, gap=6)
    st.image(picture, output_format="PNG", width="content", alt=f"{kind} of {filters.name}")
    whole = (
        "A *filter* is the weights of one dimension of the token, drawn as the patch that it "
        "answers to most; grey is zero. "
        if filters.whole
        else "This model reads pixels with a stack of small convolutions, so no filter spans a "
        f"patch: these are the {height} × {width} filters of the first one, `{filters.name}`. "
        "Grey is zero. "
    )
    st.caption(whole + sentence)
    return kind


page()
