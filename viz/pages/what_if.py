"""What if: what happens without this head, without this patch?"""

from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from model.datasets import samples
from model.errors import InterventionRefused, NothingRecorded, WorkRefused
from model.intervention.controls import DRAWS
from viz.components import mounts
from viz.components.draw_style import DrawStyle
from viz.components.payload import pack, photo_bytes
from viz.pages import what_if_words as words
from viz.pages.shared import picture
from viz.pages.shared.browser import write_address
from viz.pages.shared.recorded_images import ShownImage
from viz.pages.shared.session import Session, begin_page, session_url_params
from viz.pages.shared.state import Component, WhatIf, read_link
from viz.pages.shared.text import plain
from viz.pages.shared.view import token_name
from viz.pages.what_if_answers import (
    Subject,
    Tried,
    draw_at_random,
    effects_of_heads,
    effects_of_patches,
    try_out,
)
from viz.pages.what_if_experiment import (
    HIDES,
    Experiment,
    History,
    read_patches,
    read_places,
    write_patches,
    write_places,
)
from viz.pictures.sheet import quantise

HINT = "Click a patch to hide it, or drag over several. Shift draws a box."
NONE = "none"


def page() -> None:
    """Show the whole page, top to bottom."""
    session = begin_page(
        "What happens without this head, without this patch?",
        "Hide patches on the photo, and switch heads off below it: the answer moves at once.",
    )
    for note in _begin(session.recorded):
        st.caption(note)
    WhatIf.sent.set(None)
    _show_experiment(session)
    _show_meaning()


def _begin(shown: ShownImage) -> list[str]:
    """Take the experiment over from the address, once, and fit it to the model."""
    url_params, notes = read_link(), []
    history = WhatIf.history.get()
    about = (shown.numbers, tuple(shown.layers))
    if history is None:
        experiment = Experiment()
        hide = url_params.get("hide", "mean")
        if hide in HIDES:
            experiment = Experiment(hide=hide)
        count = shown.layers[-1].tokens.patches
        try:
            if text := url_params.get("off"):
                places = read_places(text, shown.numbers, shown.layers)
                experiment = experiment.with_off(places, shown.layers)
            if text := url_params.get("hidden"):
                experiment = experiment.with_hidden(read_patches(text, count), count)
        except ValueError:
            notes.append(
                "The link tells of heads or patches that this model does not have, so nothing is "
                "switched off."
            )
            experiment = Experiment()
        WhatIf.history.set(History().add(experiment))
    elif WhatIf.about.get() != about:
        if not history.now.is_empty:
            notes.append("This model has other heads and patches, so all are on again.")
        WhatIf.history.set(History())
    WhatIf.about.set(about)
    return notes


def _history() -> History:
    return WhatIf.history.get() or History()


@st.fragment
def _show_experiment(session: Session) -> None:
    """Show photo, answer, control and heads; a click runs this part of the page alone."""
    shown, query = session.recorded, session.view.query
    stage, choices = st.container(), st.container(horizontal=True, gap="large")
    sheet, chance = st.columns(2, gap="large")
    with choices:
        scan = _choose_scans()
        second = _choose_second(session)
    subject = _subject(session, second)
    now = _history().now
    if now.hide == "photo" and second is None:
        now = Experiment(now.off, now.hidden)
    plain_run = try_out(subject, Experiment(), query)
    try:
        tried = try_out(subject, now, query)
        problem = ""
    except (InterventionRefused, NothingRecorded, WorkRefused) as refused:
        tried, problem = plain_run, str(refused)
    with stage:
        effects = effects_of_patches(subject, now.hide) if "patches" in scan else None
        _show_stage(subject, now, plain_run, tried, problem, effects)
    with sheet:
        _show_sheet(session, subject, now, plain_run, tried, "heads" in scan)
    WhatIf.sent.set(shown.key)
    write_address(session_url_params(session) | _url_params(now, shown))
    with chance:
        if not now.is_empty and not problem:
            _show_control(subject, now, plain_run, tried)


def _subject(session: Session, second: picture.Picture | None) -> Subject:
    own = session.picture
    if second is None:
        return Subject(session.bundle, session.recorded, own.key, own.image)
    return Subject(session.bundle, session.recorded, own.key, own.image, second.key, second.image)


def _url_params(now: Experiment, shown: ShownImage) -> dict[str, str]:
    url_params = WhatIf.second.url_params() | WhatIf.scan_of_heads.url_params()
    url_params |= WhatIf.scan_of_patches.url_params()
    if now.off:
        url_params["off"] = write_places(now.off, shown.numbers)
    if now.hidden:
        url_params["hidden"] = write_patches(now.hidden)
    if now.hide != "mean":
        url_params["hide"] = now.hide
    return url_params


# -- the photo and the answer -------------------------------------------------------------------


def _show_stage(
    subject: Subject,
    now: Experiment,
    before: Tried,
    after: Tried,
    problem: str,
    effects: np.ndarray | None,
) -> None:
    shown, history = subject.shown, _history()
    count = subject.bundle.tokens.patches
    header: dict[str, Any] = {
        "image": shown.key,
        "grid": subject.bundle.tokens.grid,
        "style": {**_style(), "lines": True},
        "hidden": now.hidden,
        "hide": now.hide,
        "hides": [(n, t) for n, t in HIDES.items() if n != "photo" or subject.second],
        "second": subject.second,
        "undo": history.can_undo,
        "redo": history.can_redo,
        "changed": not now.is_empty,
        "serial": _serial(WhatIf.stage),
        "hint": HINT,
        "note": "",
    }
    header |= _answer(subject, now, before, after, count)
    if problem:
        header |= {"words": problem, "changed": False}
    arrays: dict[str, Any] = {}
    if _needs_photo(WhatIf.stage, shown):
        arrays["photo"] = shown.photo
    if subject.second_image is not None:
        arrays["second"] = _second_photo(subject.second_image, subject)
    if effects is not None:
        arrays["effects"] = effects
    mounts.what_if(pack(header, **arrays), on_act=_act_on_stage, key=WhatIf.stage.name)


def _answer(
    subject: Subject, now: Experiment, before: Tried, after: Tried, count: int
) -> dict[str, Any]:
    """Write the answer: sentence and paired bars."""
    names, shown = subject.bundle.classes, subject.shown
    if names is None or len(names) != len(before.logits):
        sentence = (
            "This model has no classes, so it has no answer to compare. Its maps before and after "
            "are below."
        )
        return {"words": sentence, "classes": [], "note": ""}
    old, new = words.softmax(before.logits), words.softmax(after.logits)
    rows = [(names[i], float(old[i]), float(new[i])) for i in words.paired_classes(old, new)]
    if now.is_empty:
        best = int(old.argmax())
        sentence = (
            f"All heads are on and every patch is shown: the model says {names[best]}, "
            f"{words.as_percent(old[best])}. What does it need for that?"
        )
    else:
        without = words.what_is_off(now, shown.numbers, sum(shown.head_counts), count)
        sentence = words.change_in_words(without, names, old, new)
    return {"words": sentence, "classes": rows, "note": ""}


def _second_photo(image: Image.Image, subject: Subject) -> bytes:
    return photo_bytes(subject.bundle.frame(image))


def _style() -> dict[str, object]:
    return DrawStyle().as_header()


# -- the heads ----------------------------------------------------------------------------------


def _show_sheet(
    session: Session, subject: Subject, now: Experiment, before: Tried, after: Tried, scan: bool
) -> None:
    shown = subject.shown
    st.subheader("Every head of every layer")
    place = token_name(session.view.query, shown.layers[session.view.layer].tokens)
    st.caption(
        f"A row is a layer, a column a head; each map shows where {place} looks. Click a head to "
        "switch it off: what it returns becomes zero."
    )
    arrays: dict[str, Any] = {}
    if _needs_photo(WhatIf.switches, shown):
        arrays["photo"] = shown.photo
    for name, tried in (("before", before), ("after", after)):
        values, maxima = quantise(tried.maps.reshape(*tried.maps.shape[:2], -1))
        arrays |= {name: values, f"{name}_maxima": maxima}
    if scan:
        arrays["effects"] = effects_of_heads(subject)
    header = {
        "image": shown.key,
        "heads": shown.head_counts,
        "numbers": [number + 1 for number in shown.numbers],
        "grid": before.maps.shape[2:],
        "style": _style(),
        "off": now.off,
        "serial": _serial(WhatIf.switches),
    }
    mounts.switches(pack(header, **arrays), on_act=_act_on_switches, key=WhatIf.switches.name)


# -- what was done ------------------------------------------------------------------------------


def _act_on_stage() -> None:
    _act(WhatIf.stage)


def _act_on_switches() -> None:
    _act(WhatIf.switches)


def _act(component: Component) -> None:
    """Make the step that somebody made in the browser."""
    act, about = component.get().get("act"), WhatIf.about.get()
    if not act or about is None:
        return
    WhatIf.serials.set({**WhatIf.serials.get(), component.name: act["serial"]})
    history = _history()
    now, (_, layers) = history.now, about
    count = layers[-1].tokens.patches
    match act["do"]:
        case "hidden":
            history = history.add(now.with_hidden(act["hidden"], count))
        case "off":
            history = history.add(now.with_off(act["off"], layers))
        case "hide" if act["hide"] in HIDES:
            history = history.add(Experiment(now.off, now.hidden, act["hide"]))
        case "restore":
            history = history.add(Experiment(hide=now.hide))
        case "undo":
            history = history.move(-1)
        case "redo":
            history = history.move(1)
    WhatIf.history.set(history)


def _serial(component: Component) -> int:
    """Number of the last act that Python knows of; the browser ignores what is older."""
    return WhatIf.serials.get().get(component.name, 0)


def _needs_photo(component: Component, shown: ShownImage) -> bool:
    act = component.get().get("act") or {}
    return act.get("do") == "ask" or WhatIf.sent.get() != shown.key


# -- chance, scans, second photo ----------------------------------------------------------------


def _show_control(subject: Subject, now: Experiment, before: Tried, after: Tried) -> None:
    """Show what random changes of the same size do."""
    st.subheader("Would any other do the same?")
    st.caption("The same number of heads and patches, drawn by chance.")
    names = subject.bundle.classes
    if names is None or len(names) != len(before.logits):
        return
    old, new = words.softmax(before.logits), words.softmax(after.logits)
    target = int(old.argmax())
    try:
        draws = words.softmax(draw_at_random(subject, len(now.off), len(now.hidden), now.hide))[
            :, target
        ]
    except (InterventionRefused, WorkRefused) as refused:
        st.caption(plain(str(refused)))
        return
    caption = words.spread_in_words(
        words.size_in_words(now), old[target], new[target], draws, names[target]
    )
    if now.hide == "remove" and now.hidden:
        caption += " The random patches are hidden by their mean colour."
    header = {"before": float(old[target]), "after": float(new[target]), "caption": caption}
    mounts.spread(pack(header, draws=draws.astype(np.float32)), key=WhatIf.spread.name)


def _choose_scans() -> set[str]:
    """Show the two scans; return which ones are asked for."""
    WhatIf.scan_of_heads.begin()
    WhatIf.scan_of_patches.begin()
    patches = st.toggle(
        "Which patches matter?",
        key=WhatIf.scan_of_patches.name,
        help="Hides every patch by itself and colours it by how much the log-odds of the answer "
        "against the runner-up fall.",
    )
    heads = st.toggle(
        "Which heads matter?",
        key=WhatIf.scan_of_heads.name,
        help="Switches every head off by itself and colours it by how much the log-odds of the "
        "answer against the runner-up fall.",
    )
    return {name for name, on in (("patches", patches), ("heads", heads)) if on}


def _choose_second(session: Session) -> picture.Picture | None:
    """Show the choice of a second photo, of which hidden patches may be taken."""
    choices = [NONE, *(n for n in samples.names() if n != session.picture.sample)]
    WhatIf.second.begin(choices)
    chosen = st.pills(
        "Second photo: its patches can take the place of hidden ones",
        choices,
        key=WhatIf.second.name,
        required=True,
        format_func=lambda name: "None" if name == NONE else samples.title(name),
    )
    return None if chosen in (None, NONE) else picture.sample_picture(chosen)


# -- what it means ------------------------------------------------------------------------------


def _show_meaning() -> None:
    with st.popover("What does this tell?", icon=":material/help:"):
        st.markdown(
            "The attention of a layer returns $W_O [O_1 \\ldots O_H] + b$, where $O_h = A_h V_h$ "
            "is what head $h$ has gathered. **Head off** puts zero in the place of $O_h$, which "
            "subtracts $W_O^{(h)} O_h$; everything after it goes on with that (Michel et al., "
            "2019). A **hidden patch** has other pixels: the photo's mean colour, a blurred photo, "
            "or a second photo's patch (occlusion, Zeiler and Fergus, 2014). The model has never "
            "seen such holes; *taking tokens out* leaves the rest of the sequence as it is, which "
            "is kinder to a vision transformer (Naseer et al., 2021).\n\n"
            f"**Is it a finding?** Any change does something. The grey dots are {DRAWS} random "
            "choices of as many heads and patches: an effect inside their spread says little about "
            "*these* heads. And heads stand in for one another: one that changes nothing alone may "
            "still matter together with others.\n\n"
            "**Log-odds** $\\log(p_t / p_r)$ compare the answer $t$ with the runner-up $r$; a "
            "probability near one hardly moves, the log-odds do."
        )


page()
