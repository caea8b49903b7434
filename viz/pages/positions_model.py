"""The position code that the chosen model adds, beside two others of the same size."""

import numpy as np
import streamlit as st
from torch import Tensor

from model.analysis.position_codes import (
    PositionCode,
    code_similarity,
    find_position_code,
    random_code,
)
from model.features.components import find_components
from model.nets import mimetic_init
from model.nets.sinusoids import wave_code
from model.tokens import TokenLayout
from viz.charts.heatmap import BARE, heatmap
from viz.components.mounts import tiles
from viz.components.tiles_payload import shown_tiles, tiles_payload
from viz.export.names import prefix_name
from viz.pages.positions_export import describe_positions
from viz.pages.shared.explained import show_explained, show_note
from viz.pages.shared.figures import draw_once, show_chart
from viz.pages.shared.open_models import RANDOM
from viz.pages.shared.saving import show_save
from viz.pages.shared.session import Session
from viz.pages.shared.state import Positions, Shared
from viz.pictures.lettering import percent
from viz.pictures.patches import component_colors, enlarge

LIKENESSES = ["Cosine", "Dot product"]
PART = 340  # pixels across; as many side by side as there is room for
ALSO = {
    "rotary": "It also turns its queries and keys by their place: see *Rotation*.",
    "relative": "It also adds a learned number to each score, by the offset of the two patches.",
}
OTHERS = {
    "none": (
        "No position code was found in this model. A model without one cannot tell where a patch "
        "lies, and gives the same answer for every order of the patches: try *Does order matter?*"
    ),
    "rotary": (
        "This model adds no code to its tokens. It turns queries and keys by an angle that grows "
        "with the place, inside every layer: see *Rotation*."
    ),
    "relative": (
        "This model adds no code to its tokens. Each head adds a learned number to each score "
        "instead, one for each offset between two patches: a *relative position bias*."
    ),
}


def show_model_code(session: Session) -> None:
    """Show the tab."""
    bundle = session.bundle
    code = find_position_code(bundle.net, bundle.tokens)
    if code.patches is None:
        st.info(OTHERS[code.kind])
        return
    shown = _show_tiles(session, code, code.patches)
    _show_more(code, code.patches, bundle.tokens)
    patches, cosine = code.patches, Positions.likeness.get() == LIKENESSES[0]
    show_save(lambda: describe_positions(session, patches, cosine, shown))


def _show_tiles(session: Session, code: PositionCode, patches: Tensor) -> bytes:
    """Show the tiles; return their payload."""
    st.subheader("Which places are alike?")
    layout, width = session.bundle.tokens, patches.shape[1]
    made = _describe_origin(session, code)
    also = "".join(f" {ALSO[kind]}" for kind in code.other_kinds)
    stretched = ""
    if code.table_grid:
        rows, columns = code.table_grid
        stretched = (
            f" It keeps codes for {rows} × {columns} patches and stretches them (bicubic "
            f"interpolation) to {layout.grid[0]} × {layout.grid[1]}, as shown here."
        )
    show_explained(
        f"This model adds to each patch a code of {width} numbers, {made}.{also}{stretched}",
        Shared.note("code").name,
    )
    show_note(
        "Each tile belongs to one patch: how alike is its code to those of all patches? Point at a "
        "tile or tap it.",
        Shared.note("tiles").name,
    )
    Positions.likeness.begin(LIKENESSES)
    st.segmented_control(
        "Likeness",
        LIKENESSES,
        key=Positions.likeness.name,
        persist_state="session",
        required=True,
        help="The cosine compares directions only, from −1 to 1, as in Dosovitskiy et al. (2021, "
        "fig. 7). The dot product also counts how long the codes are; some tools draw it and call "
        "it a cosine.",
    )
    likeness = Positions.likeness.get()
    cosine = likeness == LIKENESSES[0]
    chosen, _ = shown_tiles(layout.grid)
    own = "This model's" if code.kind == "learned" else "This model's (waves)"
    codes = {own: patches} | _codes_to_compare(patches, _began_as_waves(session, code))
    values = {
        title: code_similarity(vectors[chosen], vectors, cosine).numpy()
        for title, vectors in codes.items()
    }
    lowest = min(float(v.min()) for v in values.values())
    span = (min(0.0, np.floor(10 * lowest) / 10), 1.0) if cosine else None
    payload = tiles_payload(values, layout.grid, likeness.lower(), span)
    tiles(payload, key=Positions.tiles.name)
    return payload


def _describe_origin(session: Session, code: PositionCode) -> str:
    """Say where the numbers of the code come from."""
    trained = not session.bundle.name.endswith(RANDOM)
    if _began_as_waves(session, code):
        then = "and was trained from there" if trained else "and has not been trained yet"
        return f"which began as waves along rows and columns (mimetic initialisation) {then}"
    if code.kind == "learned":
        return "learned in training like any other weight" if trained else "not trained yet"
    return "fixed beforehand, not learned"


def _began_as_waves(session: Session, code: PositionCode) -> bool:
    return code.kind == "learned" and mimetic_init.uses_mimetic_init(session.bundle.net)


def _codes_to_compare(patches: Tensor, from_waves: bool) -> dict[str, Tensor]:
    """Make codes to compare the model's own with, (patches, D) each, by their titles."""
    positions, width = patches.shape
    codes = {}
    try:
        codes["Waves of the same width"] = wave_code(positions, width + width % 2).float()
    except ValueError as problem:
        st.info(f"Waves are not drawn beside this code. {problem}")
    chance = "Random, as most codes begin" if from_waves else "Random, as before training"
    codes[chance] = random_code(positions, width, float(patches.std()))
    return codes


def _show_more(code: PositionCode, patches: Tensor, layout: TokenLayout) -> None:
    with st.container(horizontal=True, gap="large"):
        for show_part in (
            lambda: _show_norms(patches, layout),
            lambda: _show_components(patches, layout),
            lambda: _show_prefix(code, patches),
        ):
            with st.container(width=PART):
                show_part()


def _show_norms(patches: Tensor, layout: TokenLayout) -> None:
    st.subheader("Length")
    norms = patches.norm(dim=1)
    _show_map(norms.reshape(layout.grid).numpy(), "length", "norms")
    st.caption(
        f"The length of each patch's code, {norms.min():.2f} to {norms.max():.2f}. The longer, the "
        "more the place counts beside the pixels."
    )


def _show_components(patches: Tensor, layout: TokenLayout) -> None:
    st.subheader("Principal components")
    found = find_components(patches, 3)
    picture = component_colors(found.coordinates(patches).numpy(), layout.grid)
    st.image(
        enlarge(picture, 284),
        width=284,
        output_format="PNG",
        alt="The three leading principal components of the code as red, green and blue",
    )
    held = ", ".join(percent(float(share), 0) for share in found.shares)
    st.caption(
        "Red, green, blue: the three directions in which the codes differ most, with "
        f"{held} of the variance."
    )


def _show_prefix(code: PositionCode, patches: Tensor) -> None:
    names = [prefix_name(name) for name in code.prefix]
    st.subheader(" and ".join(names) if names else "Tokens without a place")
    if not names:
        st.caption("In this model only patches have a position code.")
        return
    vectors = {name: vector for name, vector in zip(names, code.prefix.values(), strict=True)}
    lines = []
    for name, vector in vectors.items():
        cosines = code_similarity(vector[None], patches)[0]
        lines.append(
            f"| {name} | {vector.norm():.2f} | "
            + f"{cosines.min():.2f} to {cosines.max():.2f} |".replace("-", "−")
        )
    st.markdown("\n".join(["| Token | Length | Cosine with patches |", "|:--|--:|--:|", *lines]))
    st.caption(
        "Its code tells such a token from the patches, whose codes are "
        f"{patches.norm(dim=1).mean():.2f} long on average."
    )


def _show_map(values: np.ndarray, what: str, key: str) -> None:
    figure = draw_once(
        heatmap,
        values,
        "Column",
        "Row",
        f"Row %{{y}}, column %{{x}}<br>{what} %{{z:.3f}}",
        square=True,
        first=1,
        height=300,
    )
    show_chart(figure, key=key, config=BARE, alt=f"{what} of each patch's code")
