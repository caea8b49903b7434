"""Patches: what does a patch become before attention sees it?"""

from functools import partial
from typing import Literal

import numpy as np
import streamlit as st
import torch
from PIL import Image
from torch import Tensor, nn

from model.analysis.patch_filters import find_patch_filters
from model.bundle import Bundle
from model.features.components import find_components
from model.nets.vit import VisionTransformer
from model.recorded_image import find_centre, find_same_place
from model.tokens import patchify
from viz.charts.heatmap import heatmap
from viz.pages.shared import address
from viz.pages.shared.browser import change_view, shown_view, write_address
from viz.pages.shared.figures import draw_once
from viz.pages.shared.session import Session, begin_page, session_url_params
from viz.pages.shared.state import Patches, read_link
from viz.pictures.patches import as_colors, clickable, enlarge, join, mosaic
from viz.server.results import computed_once

BARE = {"displayModeBar": False}
SIDE = 400  # pixels of a picture, at least
WIDTH = 340  # of one of the first pictures on the page
MOST_CLICKABLE = 1024  # patches; a chart of more points is slow
STRIP = 1280
NAMES_OF_STEP = ("patch_embed", "conv_proj")  # timm's and torchvision's, on the top module
COMPONENTS, RAW = 28, 96
IN_A_LINE = 64
VALUES = 6
COMPONENTS_KIND, RAW_KIND = "Principal components", "Raw filters"
RIGHT = 'rearrange(x, "b c (h p) (w q) -> b (h w) (c p q)", p=p, q=p)'
WRONG = "x.reshape(b, h * w, c * p * p)"
NO_MISTAKE = " This model cannot make it: it does not cut the photo, so it rearranges nothing."


def page() -> None:
    """Show the whole page, top to bottom."""
    session = begin_page(
        "What does a patch become before attention sees it?",
        "A vision transformer lays a grid over the photo and turns each square of it, a *patch*, "
        "into a list of numbers, its *token*. Choose a patch and follow it.",
        plain_net=True,
    )
    bundle = session.bundle
    patch = _choose_patch(session)
    prepared = bundle.prepare(session.picture.image)
    pixels = patchify(bundle.tokens.covered(prepared), bundle.tokens.patch)[0]
    _show_steps(session, prepared, pixels, patch)
    _show_mistake(bundle, prepared)
    kind = _show_filters(bundle)
    write_address(
        session_url_params(session)
        | address.PATCH.write_changed(patch, default=_asking_patch(session))
        | Patches.filters.param.write_changed(kind)
    )


# -- the patch, which is also the one that asks on the other pages --------------------------------


def _choose_patch(session: Session) -> int:
    """Show the fields in which a patch is chosen; return its place in the sequence, from zero."""
    tokens = session.bundle.tokens
    linked = address.PATCH.read(read_link())
    if not Patches.chosen.is_set and linked is not None and linked < tokens.patches:
        _hold(session, linked)
    chosen, chosen_for = Patches.chosen.get() or (0, None)
    patch = chosen if chosen_for == _asking_token(session) else _asking_patch(session)
    row, column = divmod(patch, tokens.grid[1])
    fields = (("Row", row, Patches.row), ("Column", column, Patches.column))
    with st.container(horizontal=True):
        for (label, place, key), count in zip(fields, tokens.grid, strict=True):
            key.set(place + 1)
            st.number_input(
                label, 1, count, key=key.name, width=140, on_change=_take_place, args=(session,)
            )
    return patch


def _asking_token(session: Session) -> tuple[str, int]:
    """Return the model and its token that asks on the other pages."""
    return session.bundle.name, shown_view().query


def _asking_patch(session: Session) -> int:
    """Return the patch that asks on the other pages, or the one in the middle where CLS asks."""
    view, tokens = shown_view(), session.bundle.tokens
    layer = session.recorded.layers[view.layer].tokens
    on_photo = layer.position_of(view.query) is not None
    token = find_same_place(view.query, layer, tokens) if on_photo else find_centre(tokens)
    return token - len(tokens.prefix)


def _hold(session: Session, patch: int) -> None:
    """Choose a patch for all pages.

    The session keeps it besides, because a layer may have a coarser grid than the patches have.
    """
    tokens = session.bundle.tokens
    layer = session.recorded.layers[shown_view().layer].tokens
    change_view(query=find_same_place(len(tokens.prefix) + patch, tokens, layer), held=True)
    Patches.chosen.set((patch, _asking_token(session)))


def _take_place(session: Session) -> None:
    columns = session.bundle.tokens.grid[1]
    _hold(session, (Patches.row.get() - 1) * columns + Patches.column.get() - 1)


def _take_click(session: Session) -> None:
    points = Patches.clicked.get().selection.points
    if points:  # none after a second click on the same one
        _hold(session, points[0]["point_index"])


# -- image, grid, sequence, vectors -------------------------------------------------------------


def _show_steps(session: Session, prepared: Tensor, pixels: Tensor, patch: int) -> None:
    bundle = session.bundle
    rows, columns = bundle.tokens.grid
    tiles = _color_tiles(bundle, pixels)
    with st.container(horizontal=True, gap="large"):
        with st.container(width=WIDTH):
            st.subheader("1. Image")
            height, width = bundle.image_size
            _show_picture(join(tiles, (rows, columns)), "The photo as the model takes it")
            st.caption(f"Cut and resized to {width} × {height} pixels, each channel normalised.")
        with st.container(width=WIDTH):
            st.subheader("2. Grid")
            _show_grid(session, tiles, patch)
        with st.container(width=WIDTH):
            row, column = divmod(patch, columns)
            st.subheader("A patch")
            _show_picture(enlarge(join(tiles[patch : patch + 1], (1, 1)), 160), "The patch", 160)
            _show_numbers(bundle, prepared, pixels, patch)
            place = f"Row {row + 1}, column {column + 1} of the grid"
            more = _describe_inputs(bundle, prepared)
            st.caption(f"{place}, number {patch + 1} of the sequence.{more}")
    st.subheader("3. Sequence")
    in_a_line = min(len(tiles), IN_A_LINE)
    scale = max(1, round(STRIP / (in_a_line * tiles.shape[2])))
    _show_picture(mosaic(tiles, in_a_line, scale, marked=patch), "The patches one by one")
    st.caption(
        f"The rows of the grid one after another: {len(tiles)} patches, numbered from 1. From "
        "here on nothing but the position code tells what was above what."
    )
    _show_vectors(bundle, prepared, patch)


def _show_grid(session: Session, tiles: np.ndarray, patch: int) -> None:
    grid = session.bundle.tokens.grid
    scale = max(1, round(SIDE / (grid[1] * tiles.shape[2])))
    picture = mosaic(tiles, grid[1], scale, marked=patch)
    about = _about_grid(session.bundle)
    if not 1 < len(tiles) <= MOST_CLICKABLE:
        _show_picture(picture, "The photo cut into patches")
        st.caption(about)
        return
    st.plotly_chart(
        draw_once(clickable, picture, grid, WIDTH),
        width="content",
        key=Patches.clicked.name,
        config=BARE,
        on_select=partial(_take_click, session),
        selection_mode="points",
        alt="The photo cut into patches; a click chooses one",
    )
    st.caption(f"{about} Click a patch to choose it.")


def _reads_whole_patches(bundle: Bundle) -> bool:
    """Say whether a token is made of its own patch alone, as far as is known."""
    filters = find_patch_filters(bundle.net, bundle.tokens)
    return filters is None or filters.whole


def _about_grid(bundle: Bundle) -> str:
    (rows, columns), (down, across) = bundle.tokens.grid, bundle.tokens.patch
    counted = f"{rows} × {columns} patches of {across} × {down} pixels"
    if _reads_whole_patches(bundle):
        return f"{counted}."
    return (
        f"{counted}, one for each token. This model does not cut the photo there: it reads it with "
        "convolutions that overlap, and a token also sees what surrounds its patch."
    )


def _describe_inputs(bundle: Bundle, prepared: Tensor) -> str:
    """Say what a token is made of, where that is more than its patch."""
    if _reads_whole_patches(bundle):
        return ""
    window = _receptive_field(bundle, prepared)
    size = f", up to {window[1]} × {window[0]} pixels" if window else ""
    return (
        f" Its token is made of more than these numbers: of the patch and its surroundings{size}."
    )


def _color_tiles(bundle: Bundle, pixels: Tensor) -> np.ndarray:
    """Turn normalised patches (N, C·p·q) into colours (N, p, q, 3) uint8."""
    channels = len(bundle.mean)
    cells = pixels.unflatten(1, (channels, *bundle.tokens.patch))
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (bundle.mean, bundle.std))
    colors = ((cells * std + mean).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return colors[..., :3] if channels >= 3 else colors[..., :1].repeat(3, axis=-1)


def _show_picture(
    picture: Image.Image, alt: str, width: int | Literal["stretch"] = "stretch"
) -> None:
    st.image(enlarge(picture, SIDE), output_format="PNG", width=width, alt=alt)


def _show_numbers(bundle: Bundle, prepared: Tensor, pixels: Tensor, patch: int) -> None:
    """Show the numbers of the chosen patch, and of the vector that it becomes."""
    alone = _reads_whole_patches(bundle)
    values = pixels[patch]
    text = f"{'in' if alone else 'the patch'}, {len(values)} numbers\n{_format_values(values)}"
    with torch.no_grad():
        vectors = _embed_patches(bundle, prepared)
    if vectors is not None:
        name = "out" if alone else "its token"
        text += f"\n\n{name}, {vectors.shape[1]} numbers\n{_format_values(vectors[patch])}"
    st.code(text, language=None)


def _format_values(values: Tensor) -> str:
    numbers = [f"{value:6.2f}" for value in values[:VALUES].tolist()]
    lines = [" ".join(numbers[start : start + 3]) for start in range(0, len(numbers), 3)]
    return "\n".join(lines) + (" ..." if len(values) > VALUES else "")


def _embed_patches(bundle: Bundle, prepared: Tensor) -> Tensor | None:
    """Compute the patch tokens before positions are added, (N, D); None for an unknown step."""
    step = _find_patch_step(bundle)
    if step is None:
        return None
    out = step(prepared)[0].float()
    if out.ndim == 3:  # (D, rows, columns), or (rows, columns, D)
        out = out.flatten(1).T if out.shape[1:] == bundle.tokens.grid else out.flatten(0, 1)
    return out if len(out) == bundle.tokens.patches else None


@computed_once("receptive field", key=lambda bundle, prepared: bundle.name, size=lambda found: 200)
def _receptive_field(bundle: Bundle, prepared: Tensor) -> tuple[int, int] | None:
    """Measure the receptive field of the token in the middle: height and width in pixels.

    It is where the token has a gradient. It is the same in every photo, so it is measured once.
    """
    image, middle = prepared.clone().requires_grad_(), find_centre(bundle.tokens)
    with torch.enable_grad():
        vectors = _embed_patches(bundle, image)
        if vectors is None:
            return None
        token = vectors[middle - len(bundle.tokens.prefix)]
        (slope,) = torch.autograd.grad(token.square().sum(), image)
    touched = (slope[0] != 0).any(0)
    height, width = (int(touched.any(axis).sum()) for axis in (1, 0))
    return height, width


def _find_patch_step(bundle: Bundle) -> nn.Module | None:
    """Find the module that makes tokens of pixels; None where it is not known."""
    for name in ("embed",) if isinstance(bundle.net, VisionTransformer) else NAMES_OF_STEP:
        if (step := getattr(bundle.net, name, None)) is not None:
            return step
    # Others keep it deeper, but where one convolution spans a patch, that is the whole step.
    filters = find_patch_filters(bundle.net, bundle.tokens)
    if filters is None or not filters.whole:
        return None
    step = bundle.net.get_submodule(filters.name)
    return step if isinstance(step, nn.Conv2d) else None


def _show_vectors(bundle: Bundle, prepared: Tensor, patch: int) -> None:
    with torch.no_grad():
        vectors = _embed_patches(bundle, prepared)
    st.subheader("4. Vectors")
    if vectors is None:
        st.caption("Where this model makes its tokens is not known to this page.")
        return
    reach = float(vectors.abs().quantile(0.99)) or 1.0
    figure = draw_once(
        heatmap,
        vectors.T.numpy(),
        "Patch along the sequence",
        "Dimension",
        "Patch %{x}, dimension %{y}<br>value %{z:.3f}",
        span=(-reach, reach),
        first=1,
        height=320,
        line_at=patch + 1,
    )
    st.plotly_chart(figure, key="vectors", config=BARE, alt="Each patch's vector, as a column")
    how = (
        "Every number is a weighted sum of the patch's pixels, with the same weights for every "
        "patch."
        if _reads_whole_patches(bundle)
        else "In this model overlapping convolutions make it, with the same weights everywhere, so "
        "neighbouring tokens share pixels."
    )
    st.caption(f"Each patch is now a column of {vectors.shape[1]} numbers: a token. {how}")


# -- the mistake --------------------------------------------------------------------------------


def _show_mistake(bundle: Bundle, prepared: Tensor) -> None:
    st.subheader("The well-known mistake: reshape where rearrange was meant")
    st.caption(
        "Both lines give a tensor of the same shape, so nothing complains. But *reshape* cuts "
        "memory as it lies, one channel after another and line by line: what it calls a patch is "
        "scraps of a few lines in one colour. The model still trains, only worse."
        + ("" if _reads_whole_patches(bundle) else NO_MISTAKE)
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
            cells = _color_tiles(bundle, patches)
            scale = max(1, round(SIDE / (layout.grid[1] * cells.shape[2])))
            _show_picture(mosaic(cells, layout.grid[1], scale), alt, SIDE)


# -- filters ------------------------------------------------------------------------------------


def _show_filters(bundle: Bundle) -> str:
    """Show the filters; return the form in which they are shown."""
    st.subheader("What the patch step looks for")
    filters = find_patch_filters(bundle.net, bundle.tokens)
    if filters is None:
        st.caption("No layer that reads pixels was recognised in this model.")
        return COMPONENTS_KIND
    weight = filters.weight
    count, channels, height, width = weight.shape
    kinds = [COMPONENTS_KIND, RAW_KIND]
    Patches.filters.begin(kinds)
    st.segmented_control("Filters", kinds, key=Patches.filters.name, required=True)
    kind = Patches.filters.get()
    if kind == RAW_KIND:
        shown = weight[:RAW]
        sentence = f"The first {len(shown)} of {count} filters, each scaled to its own largest."
    else:
        found = find_components(weight.flatten(1), COMPONENTS)
        shown = found.directions.float().unflatten(1, (channels, height, width))
        sentence = (
            f"The {len(shown)} directions in which the {count} filters differ most, largest "
            f"first; they hold {found.shares.sum():.0%} of the variance (Dosovitskiy et al., 2021, "
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
