"""From a head or a patch that is looked at to the page What if, with just that switched off."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from model.captioning.caption import CaptionBundle
from viz.pages.shared.captions_written import Question, caption_of
from viz.pages.shared.picture import Picture
from viz.pages.shared.session import Session, session_url_params
from viz.pages.shared.state import Component, WhatIf
from viz.pages.what_if_captions import subject_of_caption
from viz.pages.what_if_experiment import Experiment, History
from viz.pages.what_if_parts import About

PAGE = "what_if.py"


def what_if_address(url_params: Mapping[str, str]) -> str:
    """Write the address of What if for what a page shows; the browser adds a head or a patch."""
    return f"what_if?{urlencode(url_params)}"


def classifier_address(session: Session) -> str:
    """Write the address of What if for a classifier."""
    return what_if_address(session_url_params(session))


def go_without(component: Component, session: Session) -> None:
    """Open What if, if somebody has just asked for it in the browser."""
    if chosen := component.get().get("without"):
        recorded = session.recorded
        patches = session.bundle.tokens.patches
        about = About(recorded.numbers, tuple(recorded.head_counts), patches)
        WhatIf.subject.set("model")
        _open(about, chosen)


def go_on_captioning_without(component: Component, bundle: CaptionBundle, shown: Picture) -> None:
    """Open What if for a captioner, likewise."""
    if chosen := component.get().get("without"):
        own = caption_of(bundle, shown, Question(bundle.name, shown.key))
        subject = subject_of_caption(bundle, shown, own.words)
        WhatIf.subject.set("captioner")
        WhatIf.captioner.set(bundle.name)
        _open(About(subject.numbers, subject.heads, subject.layout.patches), chosen)


def _open(about: About, chosen: Mapping[str, Any]) -> None:
    experiment = Experiment().with_off(chosen.get("off", ()), about.heads)
    experiment = experiment.with_hidden(chosen.get("hidden", ()), about.patches)
    WhatIf.history.set(History().add(experiment))
    WhatIf.about.set(about)
    st.switch_page(PAGE)
