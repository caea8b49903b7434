"""The parts of the page What if, the same for classifiers and captioners."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from model.bundle import Bundle
from model.datasets import samples
from model.errors import InterventionRefused, NothingRecorded, WorkRefused
from viz.components import mounts
from viz.components.draw_style import DrawStyle
from viz.components.payload import pack
from viz.pages.shared.browser import browser_pass
from viz.pages.shared.photos import framed_photo, grant_photo
from viz.pages.shared.picture import OWN, Picture, picture_named, samples_beside
from viz.pages.shared.state import Component, Setting, Shared, WhatIf, read_link
from viz.pages.shared.text import plain
from viz.pages.what_if_answers import Subject, effects_of_heads, effects_of_patches
from viz.pages.what_if_experiment import (
    HEADS_BY,
    HIDES,
    Experiment,
    History,
    experiment_url_params,
    read_experiment,
)
from viz.pictures.sheet import quantise

NONE = "none"
HINT = "Click or tap a patch to hide it, or drag over several. “Draw boxes” hides a whole box."
REFUSED = (InterventionRefused, NothingRecorded, WorkRefused)


@dataclass(frozen=True)
class About:
    """What there is to switch off: the layers' numbers, their heads, and how many patches."""

    numbers: tuple[int, ...]
    heads: tuple[int, ...]
    patches: int


# -- the experiment -----------------------------------------------------------------------------


def begin_history(about: About) -> list[str]:
    """Take the experiment over from the address, once, and fit it to the model; return notes."""
    notes: list[str] = []
    history = WhatIf.history.get()
    if history is None:
        try:
            first = read_experiment(read_link(), about.numbers, about.heads, about.patches)
        except ValueError:
            first = Experiment()
            notes.append(
                "The link names heads or patches that this model does not have, so nothing is "
                "switched off."
            )
        WhatIf.history.set(History().add(first))
    elif WhatIf.about.get() != about:
        if not history.now.is_empty:
            notes.append("This model has other heads and patches, so all are on again.")
        WhatIf.history.set(History())
    WhatIf.about.set(about)
    return notes


def history_now() -> History:
    """Return the experiments that were made."""
    return WhatIf.history.get() or History()


def what_if_url_params(now: Experiment, numbers: Sequence[int]) -> dict[str, str]:
    """Write the experiment and the page's settings into the parameters of an address."""
    return (
        WhatIf.subject.url_params()
        | WhatIf.second.url_params()
        | WhatIf.scan_of_heads.url_params()
        | WhatIf.scan_of_patches.url_params()
        | experiment_url_params(now, numbers)
    )


def act_on_stage() -> None:
    """Make the step that somebody made on the photo."""
    _act(WhatIf.stage)


def act_on_switches() -> None:
    """Make the step that somebody made on the sheet of heads."""
    _act(WhatIf.switches)


def _act(component: Component) -> None:
    act, about = component.get().get("act"), WhatIf.about.get()
    if not act or about is None:
        return
    WhatIf.serial.set(max(WhatIf.serial.get(), act["serial"]))
    history = history_now()
    now = history.now
    match act["do"]:
        case "hidden":
            history = history.add(now.with_hidden(act["hidden"], about.patches))
        case "off":
            history = history.add(now.with_off(act["off"], about.heads))
        case "ways":
            history = history.add(now.by_ways(act.get("hide", now.hide), act.get("by", now.by)))
        case "restore":
            history = history.add(Experiment(hide=now.hide, by=now.by))
        case "undo":
            history = history.move(-1)
        case "redo":
            history = history.move(1)
    WhatIf.history.set(history)


# -- the second photo ---------------------------------------------------------------------------


def choose_second(bundle: Bundle, photo: str) -> Picture | None:
    """Show the choice of a second photo, from which patches and activations may be taken."""
    own = [OWN] if Shared.own.get() else []
    choices = [NONE, *(name for name in (*samples_beside(bundle), *own) if name != photo)]
    WhatIf.second.begin(choices)
    chosen = st.selectbox(
        "Second photo, to take patches or heads from",
        choices,
        key=WhatIf.second.name,
        format_func=_second_title,
    )
    return picture_named(chosen)


def _second_title(name: str) -> str:
    titles = {NONE: "None", OWN: "Your photo"}
    return titles.get(name) or samples.title(name)


def hides_of(subject: Subject) -> dict[str, str]:
    """Name the ways to hide patches: the second photo's too, where there is one."""
    ways = {name: title for name, title in HIDES.items() if name != "photo"}
    if subject.second is None:
        return ways
    ways["photo"] = HIDES["photo"]
    if not subject.words:
        for number in subject.numbers:
            ways[f"after{number + 1}"] = f"the second photo, after layer {number + 1}"
    return ways


def heads_by_of(subject: Subject) -> dict[str, str]:
    """Name what the output of a head that is off may become."""
    return {n: t for n, t in HEADS_BY.items() if n != "photo" or subject.second is not None}


# -- photo, heads, control ----------------------------------------------------------------------


def common_header(subject: Subject, jpeg: bytes, now: Experiment) -> dict[str, Any]:
    """Describe the experiment for the browser's components, which share it."""
    return grant_photo(jpeg) | {
        "session": browser_pass().key[:8],
        "serial": WhatIf.serial.get(),
        "style": DrawStyle().as_header(),
        "off": now.off,
        "by": now.by,
        "hidden": now.hidden,
        "hide": now.hide,
        "query": 0,
    }


def show_stage(
    header: Mapping[str, Any], subject: Subject, now: Experiment, effects: np.ndarray | None
) -> None:
    """Mount the photo, and the answer before and after that the header has."""
    history = history_now()
    hint = HINT
    arrays = {} if effects is None else {"effects": effects}
    lost = "log-probability of the caption" if subject.words else "log-odds"
    payload = {
        **header,
        "grid": subject.layout.grid,
        "hides": list(hides_of(subject).items()),
        "undo": history.can_undo,
        "redo": history.can_redo,
        "any": not now.is_empty,
        "hint": hint,
        "lost": lost,
    }
    if subject.second_image is not None and subject.second is not None:
        jpeg = framed_photo(subject.bundle, Picture(subject.second, subject.second_image))
        payload["second"] = grant_photo(jpeg)["photo"]
    mounts.what_if(pack(payload, **arrays), on_act=act_on_stage, key=WhatIf.stage.name)


def show_switches(
    header: Mapping[str, Any],
    subject: Subject,
    maps: Mapping[str, np.ndarray],
    effects: np.ndarray | None,
) -> None:
    """Mount the sheet of heads: `maps` has "before" and "after", (layers, heads, ...) each.

    The header besides has the layers' "names" and "numbers", and the "grids" of their maps.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, values in maps.items():
        steps, maxima = quantise(values.reshape(*values.shape[:2], -1))
        arrays |= {name: steps, f"{name}_maxima": maxima}
    if effects is not None:
        arrays["effects"] = effects
    payload = {
        **header,
        "heads": subject.heads,
        "ways": list(heads_by_of(subject).items()),
        "lost": "log-probability of the caption" if subject.words else "log-odds",
    }
    mounts.switches(pack(payload, **arrays), on_act=act_on_switches, key=WhatIf.switches.name)


COMPARED = (
    "Any change does something. So compare yours with as many heads and patches at random: a "
    "head or a patch is needed only if the answer falls further without it."
)


def show_control_heading(about: str = COMPARED) -> None:
    """Show what the control is."""
    st.subheader("Would any other do the same?")
    st.caption(about)


def show_spread(before: float, after: float, draws: np.ndarray, caption: str) -> None:
    """Mount the answer beside those of random changes."""
    header = {"before": before, "after": after, "caption": caption}
    mounts.spread(pack(header, draws=draws.astype(np.float32)), key=WhatIf.spread.name)


# -- scans --------------------------------------------------------------------------------------


def choose_scans() -> None:
    """Show the two scans."""
    for setting, label, what in (
        (WhatIf.scan_of_patches, "Which patches matter?", "Hides every patch by itself"),
        (WhatIf.scan_of_heads, "Which heads matter?", "Switches every head off by itself"),
    ):
        setting.begin()
        st.toggle(
            label,
            key=setting.name,
            help=f"{what} and colours it by how much the answer loses: the log-odds of a class "
            "against the runner-up, or the log-probability of a caption.",
        )


def found_effects(subject: Subject, hide: str) -> dict[str, np.ndarray | None]:
    """Return what the scans that are asked for have found; None where one has not run yet."""
    return {
        "patches": effects_of_patches.kept(subject, hide) if WhatIf.scan_of_patches.get() else None,
        "heads": effects_of_heads.kept(subject) if WhatIf.scan_of_heads.get() else None,
    }


def run_scans(subject: Subject, hide: str) -> None:
    """Run the scans that are asked for and have not run, with progress and a way to stop them.

    Everything else is on the page by then; it is drawn again with what was found.
    """
    asked = [
        (setting, lambda scan=scan, args=args: scan(*args))
        for setting, scan, args in (
            (WhatIf.scan_of_patches, effects_of_patches, (subject, hide)),
            (WhatIf.scan_of_heads, effects_of_heads, (subject,)),
        )
        if setting.get() and scan.kept(*args) is None
    ]
    if not asked:
        return
    place = st.empty()
    with place.container():
        st.button("Stop", on_click=_stop, args=([setting for setting, _ in asked],))
        try:
            for _, scan in asked:
                scan()
        except REFUSED as refused:
            st.caption(plain(str(refused)))
            return
    place.empty()
    st.rerun()


def _stop(settings: Collection[Setting[bool]]) -> None:
    for setting in settings:
        setting.set(False)
