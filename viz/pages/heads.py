"""Heads: how far does each head look, and at what?"""

from collections.abc import Sequence

import streamlit as st
from torch import Tensor

from model.analysis.head_measures import (
    KINDS,
    chance_measures,
    dominant_kind,
    score_kinds,
)
from model.nets import mimetic_init
from model.recorded_image import find_centre
from model.recording.recorder import AttentionRecord
from model.survey.picture_measures import OBJECT
from model.tokens import TokenLayout
from viz.charts.scatter import head_scatter
from viz.pages import heads_survey
from viz.pages.heads_dots import show_dots
from viz.pages.heads_export import describe_measures
from viz.pages.heads_measured import (
    Measures,
    measure_photos,
    measure_recorded,
    sample_photos,
    uploaded_photos,
)
from viz.pages.heads_measures import KIND_NAMES, MEASURES
from viz.pages.shared import open_models
from viz.pages.shared.attention_texts import why_signed
from viz.pages.shared.browser import change_view, write_address
from viz.pages.shared.explained import show_note
from viz.pages.shared.figures import draw_once
from viz.pages.shared.picture import MAX_MEGABYTES, TYPES
from viz.pages.shared.saving import show_save
from viz.pages.shared.session import (
    Session,
    begin_page,
    chosen_layers,
    session_url_params,
)
from viz.pages.shared.state import Heads
from viz.pages.shared.view import go_to_layer
from viz.pictures.lettering import percent

THIS, SAMPLES, OWN, SURVEY = "This photo", "The samples", "Many of yours", "A survey"
BEST = 3
MEASURE_WIDTH = 320  # pixels
NOTICEABLE = 0.05

KIND_HELP = {
    "neighbours": "Attention to the eight patches around, above what chance gives.",
    "row": "Attention along the row, above what chance gives.",
    "column": "Attention along the column, above what chance gives.",
    "uniform": "How evenly it attends: exp(entropy) / N, the share of tokens it spreads over. A "
    "head that attends to all tokens alike has 100 %.",
    "cls": "Attention from patches to CLS, above what chance gives.",
    "content": "How much of the map depends on what the photo shows, less where the head attends "
    "evenly or to tokens without a place. It is not counted above chance.",
}
STEM = (
    "This model begins with a stem of convolutions, which mixes each patch with its neighbours "
    "before any head looks. Its first heads have no need to look close by: the ViT paper saw the "
    "same behind a ResNet (section 4.5). Where flat patches go straight into the transformer, as "
    "in ImageNet's ViTs, the first layers have heads that look near and the last ones look far."
)
WINDOWED = (
    "Layers of this model attend within windows: there no head looks further than its window."
)
SIGNED = (
    "Some layers of this model change their maps after the softmax, so their weights fall below "
    "zero and are no shares of attention. The measures of such heads mean little: look at their "
    "maps on Explore."
)
MIMETIC = (
    "This model's heads looked near even before training (mimetic initialisation: Trockman and "
    "Kolter, 2023). To see how much of that is learned, go to the Models page, press *Open it "
    "untrained* under *Open another*, and come back here."
)
MIMETIC_UNTRAINED = (
    "Nothing here is learned: this network's heads were already this local at the start (mimetic "
    "initialisation: Trockman and Kolter, 2023)."
)


def page() -> None:
    """Show the whole page, top to bottom."""
    session = begin_page(
        "How far does each head look, and at what?",
        "Each mark is a head. Click one to see more of it.",
    )
    layout = session.bundle.tokens
    scope, measure = _choose_measure(layout.prefix)
    if scope == SURVEY:
        _show_survey(session, measure)
        return
    measures = _measure_heads(session, scope)
    if measures is not None:
        scores = score_kinds(
            measures,
            [
                _attended(record, layer.tokens)
                for record, layer in zip(
                    session.recorded.records, session.recorded.layers, strict=True
                )
            ],
        )
        _show_scatter(session, measures, scores, measure)
        _show_kinds(session, scores)
        found, named = measures, {THIS: "photo", SAMPLES: "samples", OWN: "uploaded photos"}
        show_save(lambda: describe_measures(session, found, measure, named[scope]))
    over = {} if scope == OWN else Heads.scope.url_params()  # a link cannot carry photos
    write_address(session_url_params(session) | Heads.measure.url_params() | over)


def _show_survey(session: Session, measure: str) -> None:
    if (survey := heads_survey.choose_survey(session)) is not None:
        heads_survey.show_survey(session, survey, measure)
    chosen = (Heads.measure, Heads.scope, Heads.survey, Heads.surveyed, Heads.ranking)
    params = session_url_params(session)
    for setting in chosen:
        params |= setting.url_params()
    write_address(params)


def _choose_measure(prefix: tuple[str, ...]) -> tuple[str, str]:
    registers = any(name.startswith("reg") for name in prefix)
    Heads.scope.begin([THIS, SAMPLES, OWN, SURVEY])
    there = [
        name
        for name in MEASURES
        if (name != "registers" or registers)
        and (name not in ("cls", "object_from_cls") or _has_class_token(prefix))
        and (name not in OBJECT or Heads.scope.get() == SURVEY)
    ]
    Heads.measure.begin(there)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        measure = st.selectbox(
            "Measure",
            there,
            key=Heads.measure.name,
            format_func=lambda name: MEASURES[name][0],
            width=MEASURE_WIDTH,
        )
        st.segmented_control(
            "Averaged over",
            [THIS, SAMPLES, OWN, SURVEY],
            key=Heads.scope.name,
            required=True,
            wrap=True,
        )
    return Heads.scope.get(), measure


def _has_class_token(prefix: tuple[str, ...]) -> bool:
    return any(not name.startswith("reg") for name in prefix)


def _attended(record: AttentionRecord, layout: TokenLayout) -> TokenLayout:
    """Return the layout of the tokens that a token of this layer can attend to."""
    return TokenLayout(record.windows.size) if record.windows else layout


# -- measuring ----------------------------------------------------------------------------------


def _measure_heads(session: Session, scope: str) -> Measures | None:
    """Measure every head over the chosen photos; None while there are none."""
    bundle = session.bundle
    if scope == THIS:
        return measure_recorded(session.recorded, bundle.tokens)
    layers = chosen_layers(bundle.name)
    if scope == SAMPLES:
        return measure_photos(bundle, layers, sample_photos())[0]
    uploads = st.file_uploader(
        "Photos to average over",
        type=TYPES,
        accept_multiple_files=True,
        key=Heads.uploads.name,
        max_upload_size=MAX_MEGABYTES,
    )
    if not uploads:
        st.caption(
            "Choose several photos at once. They lie in the server's memory, not on its disk, "
            "until you remove them here or leave Saccade; what stays after that is the averages."
        )
        return None
    measures, refused = measure_photos(bundle, layers, uploaded_photos(uploads))
    if refused:
        st.warning(f"{len(refused)} could not be opened. {refused[0]}", icon=":material/error:")
    return measures


# -- the dots -----------------------------------------------------------------------------------


def _show_scatter(
    session: Session, measures: dict[str, Tensor], scores: dict[str, Tensor], measure: str
) -> None:
    _, title, unit, sentence = MEASURES[measure]
    view = session.view
    windowed = session.recorded.windowed
    figure = draw_once(
        head_scatter,
        measures[measure].numpy(),
        dominant_kind(scores),
        KIND_NAMES,
        title,
        unit,
        None if windowed else chance_measures(session.bundle.tokens)[measure],
        (view.layer, view.head) if isinstance(view.head, int) else None,
        numbers=_layer_numbers(session),
    )
    # A fresh key forgets the last click, so that coming back does not open Explore again.
    clicked = show_dots(figure, Heads.dots(Heads.clicks.get()), title)
    show_note(
        f"{sentence} The shape of a mark tells what its head does most, of the kinds below.",
        Heads.note.name,
    )
    if any(map(why_signed, session.recorded.records)):
        st.caption(SIGNED)
    notes = [WINDOWED] if any(record.windows for record in session.recorded.records) else []
    if measure.startswith("distance") and (note := _explain_locality(session)):
        notes.append(note)
    if notes:
        with st.expander("Why do this model's heads lie like this?"):
            st.markdown("\n\n".join(notes))
    if clicked:
        _open_in_explore(session, *clicked)


def _layer_numbers(session: Session) -> list[int]:
    """Number the recorded layers by their place in the model, from one."""
    return [number + 1 for number in session.recorded.numbers]


def _explain_locality(session: Session) -> str:
    """Say what the architecture and the first weights do to how far its heads look."""
    if mimetic_init.uses_mimetic_init(session.bundle.net):
        return MIMETIC_UNTRAINED if session.bundle.name.endswith(open_models.RANDOM) else MIMETIC
    config = getattr(session.bundle.net, "config", None)
    return STEM if getattr(config, "embed", "") == "stem" else ""


def _open_in_explore(session: Session, layer: int, head: int) -> None:
    """Open this head in Explore; the layer is counted among those recorded, from zero.

    It opens from a patch, because heads are measured from the patches.
    """
    Heads.clicks.set(Heads.clicks.get() + 1)
    tokens = session.recorded.layers[layer].tokens
    there = go_to_layer(session.view, layer, session.recorded.layers)
    query = there.query if there.query >= len(tokens.prefix) else find_centre(tokens)
    change_view(layer=layer, head=head, query=query, held=True)
    st.switch_page("explore.py")


# -- by what they do ----------------------------------------------------------------------------


def _show_kinds(session: Session, scores: dict[str, Tensor]) -> None:
    st.subheader("Find heads by what they do")
    st.caption(
        "The clearest heads of each kind. For neighbours, row, column and CLS, 0 % is chance, and "
        "at 100 % a head does nothing else. The question marks explain *Uniform* and *Content*."
    )
    best = {kind: _find_best(scores[kind]) for kind in KINDS}
    if not _has_class_token(session.bundle.tokens.prefix):
        best["cls"] = []
    found = [kind for kind in KINDS if best[kind]]
    across = 4 if len(found) == 4 else 3
    for first in range(0, len(found), across):
        for column, kind in zip(st.columns(across), found[first : first + across], strict=False):
            with column.container(border=True, height="stretch"):
                st.markdown(f"**{KIND_NAMES[kind]}**", help=KIND_HELP[kind])
                _show_kind(session, kind, best[kind])
    _name_kinds_not_found(session, [kind for kind in KINDS if not best[kind]])


def _show_kind(session: Session, kind: str, best: list[tuple[int, int, float]]) -> None:
    numbers = _layer_numbers(session)
    for layer, head, score in best:
        label = f"Layer {numbers[layer]}, head {head + 1}: {percent(score, 0)}"
        if st.button(label, key=Heads.found(kind, layer, head), width="stretch"):
            _open_in_explore(session, layer, head)


def _name_kinds_not_found(session: Session, kinds: Sequence[str]) -> None:
    """Name the kinds that no head of this model is, in one sentence."""
    has_cls = _has_class_token(session.bundle.tokens.prefix)
    sought = [f"*{KIND_NAMES[kind]}*" for kind in kinds if has_cls or kind != "cls"]
    sentences = [] if has_cls else ["This model has no CLS."]
    if sought:
        sentences.append(f"No head here does any of these noticeably: {', '.join(sought)}.")
    if sentences:
        st.caption(" ".join(sentences))


def _find_best(scores: Tensor) -> list[tuple[int, int, float]]:
    """Find the heads with the highest scores, if these are noticeable: layer, head, score."""
    flat = scores.flatten().nan_to_num(-1)
    values, indices = flat.topk(min(BEST, len(flat)))
    return [
        (index // scores.shape[1], index % scores.shape[1], value)
        for value, index in zip(values.tolist(), indices.tolist(), strict=True)
        if value >= NOTICEABLE
    ]


page()
