"""What if, for a captioner: which words change without this head, without this patch?"""

from collections.abc import Callable
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import streamlit as st

from model.captioning.caption import CaptionBundle
from viz.pages import what_if_parts as parts
from viz.pages import what_if_words as words
from viz.pages.shared import address
from viz.pages.shared.browser import write_address
from viz.pages.shared.captioned_picture import choose_captioner_and_picture
from viz.pages.shared.captions_written import Question, caption_of
from viz.pages.shared.explained import show_heading
from viz.pages.shared.photos import framed_photo
from viz.pages.shared.picture import Picture
from viz.pages.shared.saving import Saved, show_save
from viz.pages.shared.session import begin_session
from viz.pages.shared.state import Scene, WhatIf
from viz.pages.shared.text import plain
from viz.pages.what_if_answers import Subject, draw_at_random
from viz.pages.what_if_captions import (
    AttendingLayer,
    TriedCaption,
    layers_of_caption,
    subject_of_caption,
    try_caption,
)
from viz.pages.what_if_captions_export import describe_caption_trial
from viz.pages.what_if_experiment import Experiment
from viz.pages.what_if_ideas import find_ideas, show_ideas
from viz.standalone.views import AnswerChange

NO_WORDS = "The captioner has written nothing for this picture. Choose another."
NO_HEADS = "This captioner has no heads to switch off. Its patches can be hidden."
KINDS = {"self": "self-attention", "cross": "cross-attention"}


def show_caption_trials(
    question: str,
    lead: str,
    show_subjects: Callable[[], None],
    show_help: Callable[[], None],
) -> None:
    """Show the page for a captioner, top to bottom."""
    notes = begin_session()
    with show_heading(question, lead):
        show_help()
    chosen = choose_captioner_and_picture(WhatIf.captioner, show_subjects)
    if chosen is None:
        return
    bundle, shown = chosen
    caption = caption_of(bundle, shown, Question(bundle.name, shown.key))
    if not caption.words:
        st.info(NO_WORDS, icon=":material/info:")
        return
    subject = subject_of_caption(bundle, shown, caption.words)
    layers = layers_of_caption(bundle, shown, subject.words)
    if not layers:
        notes.append(NO_HEADS)
    about = parts.About(subject.numbers, subject.heads, subject.layout.patches)
    notes += parts.begin_history(about)
    if notes:
        st.caption(" ".join(notes))
    _show_experiment(bundle, shown, subject, layers, tuple(caption.words))


@st.fragment
def _show_experiment(
    bundle: CaptionBundle,
    shown: Picture,
    subject: Subject,
    layers: list[AttendingLayer],
    written: tuple[str, ...],
) -> None:
    """Show picture, caption, control and heads; a click runs this part of the page alone."""
    stage, choices, scans = st.container(), st.container(horizontal=True), st.container()
    sheet, chance = st.columns(2, gap="large")
    with choices:
        parts.choose_scans()
    ways = parts.hides_of(subject), parts.heads_by_of(subject)
    now = parts.history_now().now.done_by(*ways)
    before, problem = try_caption(subject, Experiment()), ""
    try:
        after = try_caption(subject, now)
    except parts.REFUSED as refused:
        after, problem = before, str(refused)
    header = parts.common_header(subject, framed_photo(bundle, shown), now) | {
        "image": f"{bundle.name} {shown.key}"
    }
    effects = parts.found_effects(subject, now.hide)
    with stage:
        answer = _answer(now, written, layers, subject, before, after)
        if problem:
            answer |= {"words": problem, "changed": False}
        parts.show_stage(header | answer, subject, now, effects["patches"])
    with sheet:
        if layers:
            _show_sheet(header, subject, layers, before, after, effects["heads"])
    _write_address(shown, now, subject)
    with chance:
        if now.is_empty:
            show_ideas(find_ideas(subject, _looked_at(layers, before), "the caption"))
        elif not problem:
            _show_control(subject, now, before, after)

            def gather() -> Saved:
                changed = words.what_is_off(now, _sizes(subject, layers))
                both = AnswerChange(answer["words"], answer["classes"], answer["captions"])
                tried = before, after
                return describe_caption_trial(shown, subject, layers, now, changed, both, tried)

            show_save(gather)
    with scans:
        parts.run_scans(subject, now.hide)


def _write_address(shown: Picture, now: Experiment, subject: Subject) -> None:
    number, captioner = Scene.number, WhatIf.captioner
    drawn = Scene.subject.get() == "scene"
    what = number.param.write(number.get()) if drawn else address.PHOTO.write(shown.name_in_link)
    write_address(
        captioner.param.write(captioner.get())
        | what
        | parts.what_if_url_params(now, subject.numbers)
    )


def _answer(
    now: Experiment,
    written: tuple[str, ...],
    layers: list[AttendingLayer],
    subject: Subject,
    before: TriedCaption,
    after: TriedCaption,
) -> dict[str, Any]:
    """Write the answer: both captions, and how likely each word of the first is."""
    rows = zip(written, before.shares.tolist(), after.shares.tolist(), strict=True)
    answer: dict[str, Any] = {"classes": list(rows), "changed": not now.is_empty, "captions": []}
    if now.is_empty:
        answer["words"] = (
            f"The captioner writes: “{' '.join(written)}”. What does it need for that? The bars "
            "show how likely each word is after the words before it."
        )
        return answer
    old, new = before.words, after.words
    answer["words"] = words.caption_in_words(
        words.what_is_off(now, _sizes(subject, layers)), old, new
    )
    answer["captions"] = [
        ["It was", _marked(old, new)],
        ["Now", _marked(new, old)],
    ]
    return answer


def _sizes(subject: Subject, layers: list[AttendingLayer]) -> words.Sizes:
    """Name the layers, and count what can be switched off."""
    titles = [f"{KINDS[layer.kind]} {layer.number}" for layer in layers]
    return words.Sizes(titles, sum(subject.heads), subject.layout.patches)


def _marked(own: tuple[str, ...], other: tuple[str, ...]) -> list[tuple[str, bool]]:
    """Pair each word with whether the other caption lacks it at this place."""
    changed = [True] * len(own)
    for block in SequenceMatcher(a=own, b=other, autojunk=False).get_matching_blocks():
        for place in range(block.a, block.a + block.size):
            changed[place] = False
    return list(zip(own, changed, strict=True))


def _show_sheet(
    header: dict[str, Any],
    subject: Subject,
    layers: list[AttendingLayer],
    before: TriedCaption,
    after: TriedCaption,
    effects: np.ndarray | None,
) -> None:
    st.subheader("Every head of the decoder")
    st.caption(
        "A row is a layer, a column a head; choose one to switch it off. Cross-attention: where "
        "the words look on the picture. Self-attention: which words (top to bottom) look at which."
    )
    about = {
        "numbers": [f"{layer.kind} {layer.number}" for layer in layers],
        "names": [f"{KINDS[layer.kind].capitalize()} {layer.number}" for layer in layers],
        "grids": [layer.grid for layer in layers],
        "bare": [layer.kind == "self" for layer in layers],
    }
    maps = {"before": before.maps, "after": after.maps}
    parts.show_switches(header | about, subject, maps, effects)


def _looked_at(layers: list[AttendingLayer], before: TriedCaption) -> np.ndarray:
    """Return how much the words look at each patch in the last cross-attention; empty: none."""
    last = [place for place, layer in enumerate(layers) if layer.kind == "cross"][-1:]
    patches = [int(np.prod(layers[place].grid)) for place in last]
    return before.maps[last].mean((0, 1))[: patches[0]] if last else np.zeros(0)


def _show_control(
    subject: Subject, now: Experiment, before: TriedCaption, after: TriedCaption
) -> None:
    """Show what random changes of the same size do to the caption's words."""
    parts.show_control_heading()
    try:
        logits = draw_at_random(subject, len(now.off), len(now.hidden), now.hide, now.by)
    except parts.REFUSED as refused:
        st.caption(plain(str(refused)))
        return
    chosen = words.softmax(logits)[:, range(len(subject.words)), list(subject.words)]
    draws = np.exp(np.log(chosen).mean(1))
    old, new = (float(np.exp(np.log(tried.shares).mean())) for tried in (before, after))
    name = "a word of the caption (geometric mean)"
    caption = words.spread_in_words(words.size_in_words(now), old, new, draws, name)
    parts.show_spread(old, new, draws, caption)
