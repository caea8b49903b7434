"""What if: what happens without this head, without this patch?"""

import numpy as np
import streamlit as st

from model.intervention.controls import DRAWS
from viz.export.names import token_name
from viz.pages import what_if_parts as parts
from viz.pages import what_if_words as words
from viz.pages.shared.attention_texts import why_off
from viz.pages.shared.browser import browser_pass, write_address
from viz.pages.shared.explained import show_note
from viz.pages.shared.recorded_images import ShownImage
from viz.pages.shared.saving import show_save
from viz.pages.shared.session import Session, begin_page, chosen_layers, session_url_params
from viz.pages.shared.state import WhatIf
from viz.pages.shared.text import plain
from viz.pages.what_if_answers import Subject, Tried, draw_at_random, subject_of, try_out
from viz.pages.what_if_captioner import show_caption_trials
from viz.pages.what_if_experiment import Experiment
from viz.pages.what_if_export import describe_trial
from viz.pages.what_if_ideas import find_ideas, show_ideas
from viz.pages.what_if_source import AnswerSource, try_in_words, write_question

QUESTION = "What happens without this head, without this patch?"
LEAD = (
    "Does the answer need this head, this patch? Hide a patch of the photo, or switch off a head "
    "below it: the answer moves at once."
)
SUBJECTS = {"model": "A classifier", "captioner": "A captioner"}


def page() -> None:
    """Show the whole page, top to bottom."""
    if WhatIf.subject.begin(SUBJECTS) == "captioner":
        show_caption_trials(QUESTION, LEAD, _show_subjects, _show_meaning)
    else:
        session = begin_page(QUESTION, LEAD, show_help=_show_meaning)
        _show_subjects()
        about = parts.About(
            session.recorded.numbers,
            tuple(session.recorded.head_counts),
            session.bundle.tokens.patches,
        )
        for note in parts.begin_history(about):
            st.caption(note)
        _show_experiment(session)


def _show_subjects() -> None:
    st.segmented_control(
        "Change",
        list(SUBJECTS),
        key=WhatIf.subject.name,
        required=True,
        format_func=SUBJECTS.__getitem__,
        label_visibility="collapsed",
        persist_state="session",
    )


@st.fragment
def _show_experiment(session: Session) -> None:
    """Show photo, answer, control and heads; a click runs this part of the page alone."""
    shown, own = session.recorded, session.picture
    stage, choices, scans = st.container(), st.container(), st.container()
    sheet, chance = st.columns(2, gap="large")
    with choices, st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        second = parts.choose_second(session.bundle, own.name_in_link)
        parts.choose_scans()
    subject = subject_of(session.bundle, shown, own.key, own.image, second)
    ways = parts.hides_of(subject), parts.heads_by_of(subject)
    now = parts.history_now().now.done_by(*ways)
    query = session.view.query
    answer, tried = try_in_words(subject, shown, now, query)
    before = try_out(subject, shown, Experiment(), query)
    source = AnswerSource(
        shown.key, session.bundle.name, own.key, chosen_layers(session.bundle.name), subject.second
    )
    browser_pass().grant(source)
    header = parts.common_header(subject, shown.photo, now) | {
        "image": shown.key,
        "source": source.id,
        "query": query,
        "question": write_question(now, query),
    }
    effects = parts.found_effects(subject, now.hide)
    with stage:
        parts.show_stage(header | answer, subject, now, effects["patches"])
    with sheet:
        _show_sheet(session, subject, header, before, tried or before, effects["heads"])
    write_address(session_url_params(session) | parts.what_if_url_params(now, shown.numbers))
    with chance:
        if now.is_empty:
            name = token_name(query, shown.layers[session.view.layer].tokens)
            show_ideas(find_ideas(subject, before.maps[-1].mean(0), name))
        elif tried is not None:
            _show_control(subject, now, before, tried)
            show_save(lambda: describe_trial(session, subject, now, answer, before, tried))
    with scans:
        parts.run_scans(subject, now.hide)


def _show_sheet(
    session: Session,
    subject: Subject,
    header: dict[str, object],
    before: Tried,
    after: Tried,
    effects: np.ndarray | None,
) -> None:
    shown: ShownImage = session.recorded
    st.subheader("Every head of every layer")
    place = token_name(session.view.query, shown.layers[session.view.layer].tokens)
    show_note(
        f"A row is a layer, a column a head; each map shows where {place} looks. "
        f"{why_off(shown.records[0])}",
        WhatIf.note.name,
    )
    numbers = [number + 1 for number in shown.numbers]
    about = {
        "numbers": numbers,
        "names": [f"Layer {number}" for number in numbers],
        "grids": [before.maps.shape[2:]] * len(numbers),
    }
    maps = {"before": before.maps, "after": after.maps}
    parts.show_switches(header | about, subject, maps, effects)


def _show_control(subject: Subject, now: Experiment, before: Tried, after: Tried) -> None:
    """Show what random changes of the same size do."""
    names = subject.bundle.classes
    if names is None or len(names) != len(before.logits):
        return
    parts.show_control_heading()
    old, new = words.softmax(before.logits), words.softmax(after.logits)
    target = int(old.argmax())
    try:
        drawn = draw_at_random(subject, len(now.off), len(now.hidden), now.hide, now.by)
    except parts.REFUSED as refused:
        st.caption(plain(str(refused)))
        return
    draws = words.softmax(drawn)[:, target]
    size = words.size_in_words(now)
    caption = words.spread_in_words(size, old[target], new[target], draws, names[target])
    parts.show_spread(float(old[target]), float(new[target]), draws, caption)


# -- what it means ------------------------------------------------------------------------------


def _show_meaning() -> None:
    with st.popover("What does this tell?", icon=":material/help:"):
        st.markdown(
            "**Head off.** The attention of a layer returns $W_O [O_1 \\ldots O_H] + b$, where "
            "$O_h = A_h V_h$ is the output of head $h$. Switching the head off puts zero in the "
            "place of $O_h$, which subtracts $W_O^{(h)} O_h$; all later layers work with the "
            "rest (Michel et al., 2019). *Its mean over the samples* keeps the part of the "
            "head's output that is the same for every photo.\n\n"
            "**Patch hidden.** The patch gets other pixels: the photo's mean colour, a blurred "
            "photo, or a second photo's patch (occlusion, Zeiler and Fergus, 2014). The model has "
            "never seen such holes. *Taking tokens out* makes no hole; a vision transformer copes "
            "better with that (Naseer et al., 2021).\n\n"
            "**From a second photo** one can also take a head's output, or the vectors of chosen "
            "patches after a layer (*activation patching*, Meng et al., 2022). Where the answer "
            "changes to the second photo's, that head or layer carries the difference.\n\n"
            f"**Is it a finding?** Any change does something. The grey dots are {DRAWS} random "
            "choices of as many heads and patches. An effect within their spread says little "
            "about *these* heads. And heads stand in for one another: a head that changes nothing "
            "alone may still matter together with others.\n\n"
            "**Log-odds** $\\log(p_t / p_r)$ compare the answer $t$ with the runner-up $r$. A "
            "probability near one hardly moves; its log-odds do."
        )


page()
