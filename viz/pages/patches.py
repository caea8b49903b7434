"""Patches: what does a patch become before attention sees it?"""

from functools import partial
from typing import Literal

import streamlit as st
from torch import Tensor

from model.bundle import Bundle
from model.recorded_image import find_centre, find_same_place
from viz.charts.heatmap import BARE
from viz.pages.patches_cut import (
    PATCH,
    CutPhoto,
    PatchPictures,
    cut_photo,
    cut_pictures,
    filter_picture,
    filters_of,
    patch_pictures,
    reads_whole_patches,
    receptive_field,
)
from viz.pages.patches_export import describe_patches
from viz.pages.shared import address
from viz.pages.shared.browser import change_view, shown_view, write_address
from viz.pages.shared.explained import show_note
from viz.pages.shared.figures import show_chart
from viz.pages.shared.picture import Picture
from viz.pages.shared.saving import show_save
from viz.pages.shared.session import Session, begin_page, session_url_params
from viz.pages.shared.state import Patches, Shared, read_link
from viz.pictures.lettering import percent

WIDTH = 340  # of one of the first pictures on the page
VALUES = 6
COMPONENTS_KIND, RAW_KIND = "Principal components", "Raw filters"
RIGHT = 'rearrange(x, "b c (h p) (w q) -> b (h w) (c p q)", p=p, q=p)'
WRONG = "x.reshape(b, h * w, c * p * p)"
MISTAKE = (
    "Both lines give a tensor of the same shape, so nothing complains. But `reshape` takes the "
    "numbers in the order in which they lie in memory: one colour after another, line by line. "
    "What it calls a patch is a strip of a few lines in one colour. `rearrange` first brings the "
    "pixels of a patch together.\n\nThe model trains with either, and is worse with the wrong one."
)
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
    _show_steps(session, patch)
    _show_mistake(bundle, session.picture)
    kind = _show_filters(bundle)
    show_save(lambda: describe_patches(session, patch))
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


def _show_steps(session: Session, patch: int) -> None:
    bundle = session.bundle
    columns = bundle.tokens.grid[1]
    cut = cut_photo(bundle, session.picture)
    pictures = patch_pictures(bundle, session.picture, patch, WIDTH)
    with st.container(horizontal=True, horizontal_alignment="distribute", gap="medium"):
        with st.container(width=WIDTH):
            st.subheader("1. Image")
            height, width = bundle.image_size
            photo = cut_pictures(bundle, session.picture).photo
            _show_picture(photo, "The photo as the model takes it")
            st.caption(f"Resized to {width} × {height} pixels, each colour normalised.")
        with st.container(width=WIDTH):
            st.subheader("2. Grid")
            _show_grid(session, pictures)
        with st.container(width=WIDTH):
            row, column = divmod(patch, columns)
            st.subheader("A patch")
            _show_picture(pictures.patch, "The patch", PATCH)
            _show_numbers(bundle, cut, patch)
            place = f"Row {row + 1}, column {column + 1} of the grid"
            more = _describe_inputs(bundle, cut)
            st.caption(f"{place}, number {patch + 1} of the sequence.{more}")
    st.subheader(
        "3. Sequence",
        help="A photo of twice the side would give four times as many patches, "
        f"{4 * len(cut.tiles):,}.",
    )
    _show_picture(pictures.line, "The patches one by one")
    show_note(
        f"The rows of the grid one after another: {len(cut.tiles):,} patches. From here on only "
        "the position code tells which lay above which.",
        Shared.note("sequence").name,
    )
    _show_vectors(bundle, cut, pictures)


def _show_grid(session: Session, pictures: PatchPictures) -> None:
    about = _about_grid(session.bundle)
    if pictures.clickable is None:
        _show_picture(pictures.grid, "The photo cut into patches")
        st.caption(about)
        return
    st.plotly_chart(
        pictures.clickable,
        width="content",
        key=Patches.clicked.name,
        config=BARE,
        on_select=partial(_take_click, session),
        selection_mode="points",
        alt="The photo cut into patches; a click chooses one",
    )
    st.caption(f"{about} Click or tap a patch to choose it.")


def _about_grid(bundle: Bundle) -> str:
    (rows, columns), (down, across) = bundle.tokens.grid, bundle.tokens.patch
    height, width = bundle.image_size
    side = f"{width} / {across} = {columns}"
    side += "" if (height, down) == (width, across) else f" by {height} / {down} = {rows}"
    counted = f"{side} patches along each side: {rows} × {columns} in all"
    if reads_whole_patches(bundle):
        return f"{counted}."
    return (
        f"{counted}. This model does not cut the photo there: it reads it with convolutions that "
        "overlap."
    )


def _describe_inputs(bundle: Bundle, cut: CutPhoto) -> str:
    """Say what a token is made of, where that is more than its patch."""
    if reads_whole_patches(bundle):
        return ""
    window = receptive_field(bundle, cut.prepared)
    size = f", up to {window[1]} × {window[0]} pixels" if window else ""
    return f" Its token is made of the patch and its surroundings{size}."


def _show_picture(png: bytes, alt: str, width: int | Literal["stretch"] = "stretch") -> None:
    st.image(png, output_format="PNG", width=width, alt=alt)


def _show_numbers(bundle: Bundle, cut: CutPhoto, patch: int) -> None:
    """Show the numbers of the chosen patch, and of the vector that it becomes."""
    alone = reads_whole_patches(bundle)
    values, vectors = cut.pixels[patch], cut.vectors
    text = f"{'in' if alone else 'the patch'}, {len(values)} numbers\n{_format_values(values)}"
    if vectors is not None:
        name = "out" if alone else "its token"
        text += f"\n\n{name}, {vectors.shape[1]} numbers\n{_format_values(vectors[patch])}"
    st.code(text, language=None)


def _format_values(values: Tensor) -> str:
    numbers = [f"{value:6.2f}" for value in values[:VALUES].tolist()]
    lines = [" ".join(numbers[start : start + 3]) for start in range(0, len(numbers), 3)]
    return "\n".join(lines) + (" ..." if len(values) > VALUES else "")


def _show_vectors(bundle: Bundle, cut: CutPhoto, pictures: PatchPictures) -> None:
    st.subheader("4. Vectors")
    if cut.vectors is None or pictures.vectors is None:
        st.caption("This page could not find where the model makes its tokens.")
        return
    alt = "Each patch's vector, as a column"
    show_chart(pictures.vectors, key="vectors", config=BARE, alt=alt)
    st.markdown(_explain_step(bundle, cut.vectors.shape[1]))


def _explain_step(bundle: Bundle, width: int) -> str:
    """Say how a patch becomes a token, and what else computes the same."""
    if not reads_whole_patches(bundle):
        return (
            f"Each patch is now a token, a column of {width} numbers. In this model overlapping "
            "convolutions make it, with the same weights everywhere, so neighbouring tokens share "
            "pixels."
        )
    (down, across), channels = bundle.tokens.patch, len(bundle.mean)
    return (
        f"Each patch is now a token, a column of {width} numbers. One linear layer makes it: "
        f"{across} · {down} · {channels} = {across * down * channels:,} numbers in, {width} out. "
        "Every number is a weighted sum of the patch's pixels, with the same weights for every "
        f"patch. A convolution with a kernel of {across} × {down} pixels and a stride as long as "
        "its kernel computes exactly this: it meets each patch once, without overlap."
    )


# -- the mistake --------------------------------------------------------------------------------


def _show_mistake(bundle: Bundle, shown: Picture) -> None:
    st.subheader("A common mistake: reshape where rearrange was meant")
    pictures = cut_pictures(bundle, shown)
    with st.container(horizontal=True, horizontal_alignment="distribute", gap="medium"):
        for code, png, alt in (
            (RIGHT, pictures.right, "Patches cut rightly, put back on the grid"),
            (WRONG, pictures.wrong, "Patches from reshape, put back on the grid"),
        ):
            with st.container(width=WIDTH):
                _show_picture(png, alt)
                st.code(code, language="python", wrap_lines=True)
        with st.container(width=WIDTH):
            st.markdown(MISTAKE + ("" if reads_whole_patches(bundle) else NO_MISTAKE))


# -- filters ------------------------------------------------------------------------------------


FILTERS = (
    "A *filter* holds the weights of one number of the token, drawn as a patch (Dosovitskiy et "
    "al., 2021, fig. 7)."
)


def _show_filters(bundle: Bundle) -> str:
    """Show the filters; return the form in which they are shown."""
    st.subheader("What the patch step looks for")
    filters = filters_of(bundle)
    if filters is None:
        st.caption("No layer that reads pixels was recognised in this model.")
        return COMPONENTS_KIND
    count, _, height, width = filters.weight.shape
    kinds = [COMPONENTS_KIND, RAW_KIND]
    Patches.filters.begin(kinds)
    st.segmented_control(
        "Filters",
        kinds,
        key=Patches.filters.name,
        required=True,
        help=FILTERS if filters.whole else None,
    )
    kind = Patches.filters.get()
    picture, drawn, share = filter_picture(bundle, filters, kind == RAW_KIND)
    if share is None:
        sentence = f"The first {drawn} of {count} filters, each scaled to its largest weight."
    else:
        sentence = (
            f"The {drawn} directions in which the {count} filters differ most, with "
            f"{percent(share, 0)} of the variance."
        )
    st.image(picture, output_format="PNG", width="content", alt=f"{kind} of {filters.name}")
    if not filters.whole:
        st.markdown(
            f"No filter of this model spans a patch: these are the {height} × {width} filters of "
            f"its first convolution, `{filters.name}`."
        )
    st.caption(f"{sentence} Grey is zero.")
    return kind


page()
