"""The tab Alike: cosines with one patch, components, lengths, groups, the object."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import numpy as np
import streamlit as st
import torch

from model.attribution.metrics.localisation import box_mask, iou
from model.bundle import Bundle
from model.datasets import samples
from model.errors import NothingRecorded, NothingToShow
from model.features.patch_vectors import PARTS
from viz.components import mounts
from viz.components.draw_style import DrawStyle
from viz.components.features_payload import FeaturesHeader, Painted, features_payload
from viz.export.names import prefix_name
from viz.pages import features_computed as computed
from viz.pages.features_computed import Asked
from viz.pages.features_export import describe_features
from viz.pages.shared.browser import change_view, shown_view
from viz.pages.shared.explained import show_note
from viz.pages.shared.html_file import alike_file
from viz.pages.shared.photos import framed_photo, grant_photo
from viz.pages.shared.picture import OWN, Picture, picture_named, samples_beside
from viz.pages.shared.saving import Saved, show_save
from viz.pages.shared.session import Session
from viz.pages.shared.state import Attribution, Features, Shared
from viz.pages.shared.text import plain
from viz.pictures import feature_paint
from viz.pictures.lettering import percent

MOST_GROUPS = len(feature_paint.GROUP_COLORS)
WIDTH = 165  # of a select box, in pixels: two stand side by side on a phone
PART_HELP = (
    "A layer hands its *tokens* to the next one. Its heads make *queries*, *keys* and *values* of "
    "them: queries and keys decide who looks at whom; values are handed over."
)


def show_alike(session: Session) -> None:
    """Show the tab."""
    try:
        asked = _show_question(session)
        shown = _show_modes(asked)
    except (NothingToShow, NothingRecorded) as problem:
        st.info(plain(str(problem)), icon=":material/info:")
        return
    header, painted = MODES[shown](asked, _header(session, asked))
    _mount(session, asked, header, painted)
    _EXPLAIN[shown](asked, painted)


def alike_url_params() -> dict[str, str]:
    """Write the settings of this tab into the parameters of an address."""
    return (
        Features.part.url_params()
        | Features.layer.url_params()
        | Features.head.url_params()
        | Features.second.url_params()
        | Features.shown.url_params()
        | Features.together.url_params()
        | Features.foreground.url_params()
        | Features.groups.url_params()
        | Features.object_by.url_params()
    )


# -- what is asked ------------------------------------------------------------------------------


def _show_question(session: Session) -> Asked:
    with st.container(horizontal=True, gap="small"):
        part = _show_part()
        vectors = computed.all_vectors(session.bundle, session.picture, part)
        depth = len(vectors) - (part == "tokens")
        layer = _show_layer(part, depth)
        head = _show_head(part, session.recorded.heads)
        second = _show_second(session.bundle)
    pictures = (session.picture,) if second is None else (session.picture, second)
    return Asked(session.bundle, pictures, part, layer - 1, head, session.recorded.heads)


def _show_part() -> str:
    Features.part.begin(PARTS)
    st.pills(
        "Vectors",
        PARTS,
        key=Features.part.name,
        required=True,
        wrap=True,
        format_func=str.capitalize,
        help=PART_HELP,
    )
    return Features.part.get()


def _show_layer(part: str, depth: int) -> int:
    last = "After the last norm" if part == "tokens" else f"Layer {depth}, the last"
    layers = range(depth + (part == "tokens"))
    Features.layer.begin(layers)
    st.selectbox(
        "Layer",
        layers,
        key=Features.layer.name,
        width=WIDTH,
        format_func=lambda layer: f"Layer {layer}" if layer else last,
    )
    return Features.layer.get()


def _show_head(part: str, heads: int) -> int:
    offered = range(heads + 1) if part != "tokens" else range(1)
    Features.head.begin(offered)
    if part != "tokens":
        st.selectbox(
            "Head",
            offered,
            key=Features.head.name,
            width=WIDTH,
            format_func=lambda head: f"Head {head}" if head else "All heads",
        )
    return Features.head.get()


def _show_second(bundle: Bundle) -> Picture | None:
    own = [OWN] if Shared.own.get() else []
    choices = ["", *samples_beside(bundle), *own]
    Features.second.begin(choices)
    st.selectbox(
        "Second photo",
        choices,
        key=Features.second.name,
        width=WIDTH,
        format_func=_second_title,
    )
    return picture_named(Features.second.get())


def _second_title(name: str) -> str:
    titles = {"": "None", OWN: "Your photo"}
    return titles.get(name) or samples.title(name)


def _show_modes(asked: Asked) -> str:
    Features.shown.begin(MODES)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        st.pills("Show", list(MODES), key=Features.shown.name, required=True, wrap=True)
        shown = Features.shown.get()
        if shown == "Components":
            Features.together.begin()
            Features.foreground.begin()
            if len(asked.pictures) > 1:
                st.toggle("Fit both photos together", key=Features.together.name)
            st.toggle("Only the foreground", key=Features.foreground.name)
        if shown == "Groups":
            Features.groups.begin(range(2, MOST_GROUPS + 1))
            st.slider("Groups", 2, MOST_GROUPS, key=Features.groups.name, width=220)
        if shown == "Object":
            Features.object_by.begin(computed.OBJECT)
            st.pills(
                "Found by",
                list(computed.OBJECT),
                key=Features.object_by.name,
                required=True,
                wrap=True,
            )
    return shown


# -- what is sent -------------------------------------------------------------------------------


def _header(session: Session, asked: Asked) -> FeaturesHeader:
    tokens = session.bundle.tokens
    query = session.view.query if session.view.query < tokens.tokens else 0
    return FeaturesHeader(
        pictures=_digest((_frames(asked), _titles(asked))),
        vectors=_digest(asked.key),
        mode="similarity",
        grid=tokens.grid,
        prefix=[prefix_name(name) for name in tokens.prefix],
        titles=_titles(asked),
        query=query,
        style=DrawStyle(colors=session.view.colors, opacity=0.85),
        box=_known_box(session.picture),
    )


def _frames(asked: Asked) -> list[tuple[object, ...]]:
    """Tell what is seen of each photo: the same at all moments of a training."""
    return [(picture.key, asked.bundle.frame_box(picture.image)) for picture in asked.pictures]


def _titles(asked: Asked) -> list[str]:
    titles = [samples.title(p.sample) if p.sample else "Your photo" for p in asked.pictures]
    return titles if len(set(titles)) == len(titles) else [f"{titles[0]} {i}" for i in (1, 2)]


def _digest(key: object) -> str:
    return sha256(repr(key).encode()).hexdigest()[:16]


def _mount(session: Session, asked: Asked, header: FeaturesHeader, painted: list[Painted]) -> None:
    """Mount the component, and send only what the browser lacks."""
    photos: dict[str, str | bytes] = {}
    for number, shown in enumerate(asked.pictures):
        photos |= grant_photo(framed_photo(session.bundle, shown), f"photo{number}")
    sent = Features.sent.get() == header.vectors
    arrays = [] if sent else list(asked.vectors().numpy())
    Features.sent.set(header.vectors)
    mounts.features(
        features_payload(header, photos, arrays, painted),
        on_query=_take_query,
        on_lacking=lambda: Features.sent.set(""),
        key=Features.component.name,
    )
    show_save(lambda: _describe_saved(session, asked, header, painted))


def _describe_saved(
    session: Session, asked: Asked, header: FeaturesHeader, painted: list[Painted]
) -> Saved:
    """Describe what can be saved; the patches that are alike also as one HTML file."""
    view, count = shown_view(), asked.bundle.tokens.tokens
    query = view.query if view.query < count else 0
    export = describe_features(asked, header, painted, Features.shown.get(), query)
    if header.mode != "similarity":
        return Saved([export])
    jpegs = [framed_photo(session.bundle, shown) for shown in asked.pictures]
    return Saved([export], alike_file(asked.vectors().numpy(), jpegs, header))


def _take_query() -> None:
    query = Features.component.get().get("query")
    if query is not None:
        change_view(query=query)


# -- what is shown ------------------------------------------------------------------------------

Shown = tuple[FeaturesHeader, list[Painted]]


def _similarity(asked: Asked, header: FeaturesHeader) -> Shown:
    return header, []


def _components(asked: Asked, header: FeaturesHeader) -> Shown:
    together = Features.together.get() and len(asked.pictures) > 1
    coordinates, shown = computed.components(asked, together, Features.foreground.get())
    if together:
        paint = feature_paint.paint_components(coordinates, shown)
    else:
        each = zip(coordinates, shown, strict=True)
        paint = np.stack([feature_paint.paint_components(own, which) for own, which in each])
    painted = [Painted(p, own[:, 0]) for p, own in zip(paint, coordinates, strict=True)]
    return replace(header, mode="colors", unit="first component"), painted


def _length(asked: Asked, header: FeaturesHeader) -> Shown:
    norms, outliers = computed.lengths(asked)
    patches = norms[:, asked.bundle.tokens.patch_slice]
    low, high = float(patches.min()), float(patches.max())
    painted = [
        Painted(
            feature_paint.paint_values(own, low, high, header.style.colors),
            own,
            computed.as_indices(far),
        )
        for own, far in zip(patches, outliers, strict=True)
    ]
    return replace(header, mode="values", unit="length", span=(low, high), scale=True), painted


def _groups(asked: Asked, header: FeaturesHeader) -> Shown:
    found = computed.groups(asked, Features.groups.get())
    painted = [Painted(feature_paint.paint_groups(own), own) for own in found]
    return replace(header, mode="groups", unit="group"), painted


def _object(asked: Asked, header: FeaturesHeader) -> Shown:
    masks = computed.object_masks(asked, Features.object_by.get())
    painted = [Painted(feature_paint.paint_mask(own), own) for own in masks]
    return replace(header, mode="mask"), painted


MODES: dict[str, Callable[[Asked, FeaturesHeader], Shown]] = {
    "Similarity": _similarity,
    "Components": _components,
    "Length": _length,
    "Groups": _groups,
    "Object": _object,
}


# -- what it means ------------------------------------------------------------------------------


def _explain(shown: str, more: str) -> None:
    """Show two lines below the picture, and fold the rest."""
    show_note(shown, Shared.note("features").name)
    with st.expander("How this is computed"):
        st.markdown(more)


def _explain_similarity(asked: Asked, painted: list[Painted]) -> None:
    two = len(asked.pictures) > 1
    line = " The line leads to the most similar patch of the other photo." if two else ""
    _explain(
        f"Two patches are alike to the model where their vectors point the same way.{line}",
        "The colour is the *cosine* of two vectors: 1 where they point the same way, 0 where they "
        "have nothing in common. The scale runs from the least to the most similar patch, so look "
        "at its numbers too: in some layers all patches are alike. A click or tap holds a patch; "
        "the arrow keys go on from there.",
    )


def _explain_components(asked: Asked, painted: list[Painted]) -> None:
    both = "in both photos" if Features.together.get() else "within one photo"
    foreground = (
        " The first component divides the patches in two; the foreground is the part that touches "
        "less of the border. The components are then fitted to it alone."
        if Features.foreground.get()
        else ""
    )
    _explain(
        f"Patches of similar colours have similar vectors, {both}. No labels are used.",
        "*Principal components* are the directions in which the vectors differ most. The first "
        "three are drawn as red, green and blue, each stretched to its full range, as in DINOv2's "
        f"notebooks (Oquab et al., 2023).{foreground}",
    )


def _explain_length(asked: Asked, painted: list[Painted]) -> None:
    norms, outliers = computed.lengths(asked)
    prefix = asked.bundle.tokens.prefix
    names = [f"{prefix_name(name)} {norms[0, i]:.1f}" for i, name in enumerate(prefix)]
    beside = f" Tokens without a place: {', '.join(names)}." if names else ""
    count = int(outliers.sum())
    if count:
        are = "patch is" if count == 1 else "patches are"
        far = f"{count} {are} framed: far longer than the rest."
    else:
        far = "No patch is far longer than the rest."
    _explain(
        f"The colour is the *length* of each patch's vector. {far}{beside}",
        "The length is the Euclidean norm. In large models a few patches of smooth background "
        "become outliers: the model uses them as a memory for the whole photo, and they say little "
        "about their own place (Darcet et al., 2024). A patch counts as one if it is five standard "
        "deviations above the median.",
    )


def _explain_groups(asked: Asked, painted: list[Painted]) -> None:
    _explain(
        "Patches of one colour have similar vectors. The grouping knows neither classes nor "
        "places.",
        "*k-means* divides the patches into as many groups as you choose, so that the vectors of a "
        "group point the same way. Neighbours end up together only because their vectors are "
        "alike. Group 1 is the largest.",
    )


OBJECT_TEXTS = {
    "TokenCut": "TokenCut joins patches whose keys in the last layer have a cosine above 0.2, and "
    "cuts this graph in two where the fewest links break (Wang et al., 2022).",
    "DINO's attention": "The fewest patches that together hold 60 % of the attention in the last "
    "layer, from CLS, or from all patches where there is no CLS (Caron et al., 2021).",
    "First component": "The first principal component divides the patches of the last layer in "
    "two. The object is the part that touches less of the border, as in DINOv2's notebooks (Oquab "
    "et al., 2023).",
}


def _explain_object(asked: Asked, painted: list[Painted]) -> None:
    method = Features.object_by.get()
    share = float(np.mean(painted[0].values))
    overlap = _overlap(asked, painted[0].values)
    _explain(
        f"The object takes {percent(share, 0)} of the photo. No labels are used.{overlap}",
        f"{OBJECT_TEXTS[method]} On 500 photos with known boxes, none of the three ways overlapped "
        "the object better than a box in the middle of the picture.",
    )


def _overlap(asked: Asked, mask: np.ndarray) -> str:
    box = _known_box(asked.pictures[0])
    if box is None:
        return " Mark its box on Attribution to see how far both overlap."
    grid = asked.bundle.tokens.grid
    wanted = box_mask(torch.tensor([box], dtype=torch.float64), (1.0, 1.0), grid)
    found = torch.from_numpy(np.asarray(mask, bool)).view(1, *grid)
    return f" Overlap with your box (IoU): {float(iou(found, wanted)):.2f}."


def _known_box(picture: Picture) -> tuple[float, float, float, float] | None:
    """Return the box that was drawn for this photo on the Attribution page, as shares."""
    if not Attribution.box_on.get() or Attribution.box_picture.get() != picture.key:
        return None
    (left, right), (top, bottom) = Attribution.box_across.get(), Attribution.box_down.get()
    return left / 100, top / 100, right / 100, bottom / 100


_EXPLAIN = {
    "Similarity": _explain_similarity,
    "Components": _explain_components,
    "Length": _explain_length,
    "Groups": _explain_groups,
    "Object": _explain_object,
}
