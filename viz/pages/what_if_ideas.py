"""Experiments that are worth a first try, each a button, where nothing is changed yet."""

from collections.abc import Mapping

import numpy as np
import streamlit as st

from model.intervention.controls import DRAWS
from viz.pages import what_if_parts as parts
from viz.pages.shared.state import WhatIf
from viz.pages.what_if_answers import Subject
from viz.pages.what_if_experiment import Experiment


def show_ideas(ideas: Mapping[str, Experiment]) -> None:
    """Say what will stand here as soon as something is changed, and offer a few experiments."""
    parts.show_control_heading(
        f"Any change does something. So {DRAWS} random choices of the same size will stand here "
        "beside yours, as soon as you hide a patch or switch off a head. For a start:"
    )
    for number, (label, experiment) in enumerate(ideas.items()):
        st.button(
            label,
            key=WhatIf.idea(number),
            icon=":material/play_arrow:",
            on_click=_try_out,
            args=(experiment,),
        )


def find_ideas(subject: Subject, looked: np.ndarray, who: str) -> dict[str, Experiment]:
    """List experiments, each by what its button says.

    Args:
        looked: how much each patch is looked at; without patches by which it can be told, a list
            of another length.
        who: looks, such as "CLS".
    """
    ideas = {}
    patches = subject.layout.patches
    count = max(1, round(patches / 10))
    if looked.size == patches:
        order = np.argsort(-looked.ravel(), kind="stable")
        most, least = (Experiment().with_hidden(each, patches) for each in _ends(order, count))
        ideas[f"Hide the {count} patches at which {who} looks most"] = most
        ideas[f"Hide the {count} at which {who} looks least"] = least
    if subject.heads:
        first = [(0, head) for head in range(subject.heads[0])]
        ideas["Switch off the first layer's heads"] = Experiment().with_off(first, subject.heads)
    return ideas


def _ends(order: np.ndarray, count: int) -> tuple[list[int], list[int]]:
    return order[:count].tolist(), order[-count:].tolist()


def _try_out(experiment: Experiment) -> None:
    WhatIf.history.set(parts.history_now().add(experiment))
