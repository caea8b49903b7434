"""The course of training: a model as it was at a chosen moment, where its snapshots are shipped."""

from dataclasses import replace
from pathlib import Path

import streamlit as st

from model.bundle import Bundle
from model.errors import CheckpointError
from model.snapshots import Course, open_course, snapshots_file
from model.zoo import catalogue, checkpoints
from viz.pages.shared import open_models
from viz.pages.shared.state import Setting, Shared
from viz.server.costs import model_bytes
from viz.server.results import computed_once

AFTER = ", after "
"""Between a model's name and the moment."""
END = -1.0
"""What session and address call the trained model."""


def name_without_moment(name: str) -> str:
    """Return the name of a model without the moment that `choose_moment` adds."""
    return name.partition(AFTER)[0]


def choose_moment(
    bundle: Bundle,
    setting: Setting[float] = Shared.epoch,
    label: str = "The course of its training",
) -> Bundle:
    """Show a slider over the moments of a model's training; return the model of the chosen one.

    A model without snapshots has no slider, and stays as it is.
    """
    course = _course_of(bundle.name)
    if course is None:
        return bundle
    moments = [*course.moments[:-1], END]
    setting.begin(moments)
    st.select_slider(
        label,
        moments,
        key=setting.name,
        format_func=lambda moment: moment_title(course.moments[-1] if moment == END else moment),
        width=520,
        persist_state="session",
        help="From random weights to the trained model: maps, heads and answers as they were.",
    )
    moment = setting.get()
    return bundle if moment == END else model_at(bundle, moment)


def open_moment(name: str) -> Bundle:
    """Open a model by a name that may have a moment; raises as `open_models.open_model_named`."""
    bundle = open_models.open_model_named(name_without_moment(name))
    course = _course_of(bundle.name)
    moments = course.moments if course else ()
    found = [moment for moment in moments if name == f"{bundle.name}{AFTER}{moment_title(moment)}"]
    return model_at(bundle, found[0]) if found else bundle


@computed_once(
    "moment",
    key=lambda bundle, moment: (bundle.name, moment),
    size=model_bytes,
)
def model_at(bundle: Bundle, moment: float) -> Bundle:
    """Return a model as it was after so many epochs, under a name of its own."""
    name = name_without_moment(bundle.name)
    course = _course_of(name)
    if course is None:
        return bundle
    net = course.net_at(course.moments.index(moment))
    card = bundle.card.without(catalogue.LEARNED)
    return replace(bundle, name=f"{name}{AFTER}{moment_title(moment)}", net=net, card=card)


def moment_title(moment: float) -> str:
    """Name a moment, such as after "1 epoch"."""
    if moment == 0:
        return "0 epochs"
    return "1 epoch" if moment == 1 else f"{moment:g} epochs" if moment > 1 else f"{moment:g} epoch"


def moments_of(name: str) -> tuple[float, ...]:
    """List the moments of a model's training, in epochs; none where no snapshots are shipped."""
    course = _course_of(name_without_moment(name))
    return course.moments if course else ()


def _course_of(name: str) -> Course | None:
    """Open the snapshots of a shipped model; None where there are none, or damaged ones."""
    file = snapshots_file(checkpoints.DIRECTORY / f"{name}.safetensors")
    if Path(name).name != name or not file.is_file():
        return None
    return _open(file)


@computed_once("course", key=str, size=lambda course: 2_000_000)
def _open(file: Path) -> Course | None:
    try:
        return open_course(file)
    except CheckpointError:
        return None  # the model itself opens all the same
