"""The answer to an experiment, as the browser asks for it: the bars, without a rerun of the page.

A question is a path, ``QUERY/OFF/BY/HIDDEN/HIDE``: the token that the maps are from; the heads
that are off, such as ``1.2,3.1`` for head 2 of the first layer that is shown and head 1 of the
third; and the patches that are hidden, such as ``3-5,9``, from zero. A dash stands for none.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from model.errors import (
    CheckpointError,
    InterventionRefused,
    NothingRecorded,
    NothingToShow,
    WorkRefused,
)
from viz.components.payload import pack
from viz.pages.shared import model_variants, picture
from viz.pages.shared.recorded_images import ShownImage, recorded_image
from viz.pages.what_if_answers import Subject, Tried, subject_of, try_out
from viz.pages.what_if_experiment import (
    HEADS_BY,
    HIDES,
    Experiment,
    read_patches,
    read_places,
    write_patches,
    write_places,
)
from viz.pages.what_if_words import Sizes, answer_in_words
from viz.server.passes import NoSuchQuestion, Reply, SourceGone

NONE = "-"


def write_question(experiment: Experiment, query: int) -> str:
    """Write the question that the browser asks of an experiment.

    >>> write_question(Experiment(off=((0, 1),), hidden=(3, 4)), query=0)
    '0/1.2/zero/3-4/mean'
    """
    numbers = range(1 + max((layer for layer, _ in experiment.off), default=0))
    off = write_places(experiment.off, numbers) or NONE
    hidden = write_patches(experiment.hidden) or NONE
    return f"{query}/{off}/{experiment.by}/{hidden}/{experiment.hide}"


def sizes_of(subject: Subject) -> Sizes:
    """Describe what there is to switch off."""
    layers = [f"layer {number + 1}" for number in subject.numbers]
    return Sizes(layers, sum(subject.heads), subject.layout.patches)


def try_in_words(
    subject: Subject, shown: ShownImage, experiment: Experiment, query: int
) -> tuple[dict[str, Any], Tried | None]:
    """Try an experiment, and write the answer for the browser.

    What cannot be done is a sentence beside the unchanged answer, and None.
    """
    plain = try_out(subject, shown, Experiment(), query)
    names, sizes = subject.bundle.classes, sizes_of(subject)
    try:
        tried = try_out(subject, shown, experiment, query)
    except (InterventionRefused, NothingRecorded, WorkRefused) as refused:
        answer = answer_in_words(Experiment(), names, sizes, plain.logits, plain.logits)
        return answer | {"words": str(refused), "changed": False}, None
    answer = answer_in_words(experiment, names, sizes, plain.logits, tried.logits)
    return answer | {"changed": not experiment.is_empty}, tried


@dataclass(frozen=True)
class AnswerSource:
    """A model and one or two photos as a source of answers: it keeps names, never tensors."""

    shown: str
    """The key of the recorded image."""
    model: str
    picture: str
    layers: tuple[int, ...] | None
    second: str | None

    @property
    def id(self) -> str:
        """The name of this source, by its content."""
        return sha256(f"what if {self.shown} {self.second}".encode()).hexdigest()[:20]

    def answer(self, question: str) -> Reply:
        """Reply a question, as `viz.server.passes.Source`."""
        subject, shown = self._find()
        query, experiment = self._read(question, subject, shown)
        return Reply(pack(try_in_words(subject, shown, experiment, query)[0]))

    def _read(self, question: str, subject: Subject, shown: ShownImage) -> tuple[int, Experiment]:
        try:
            query, off, by, hidden, hide = question.split("/")
            if by not in HEADS_BY or not re.fullmatch(r"\d{1,6}", query):
                raise ValueError(question)
            experiment = Experiment(hide=hide, by=by)
            if hide not in HIDES and experiment.after not in [n + 1 for n in shown.numbers]:
                raise ValueError(hide)
            if experiment.needs_second and self.second is None:
                raise ValueError(question)
            if off != NONE:
                numbers = range(len(subject.heads))
                places = read_places(off, numbers, subject.heads)
                experiment = experiment.with_off(places, subject.heads)
            if hidden != NONE:
                patches = subject.layout.patches
                experiment = experiment.with_hidden(read_patches(hidden, patches), patches)
            if int(query) >= shown.layers[-1].tokens.tokens:
                raise ValueError(query)
            return int(query), experiment
        except ValueError as problem:
            raise NoSuchQuestion(question) from problem

    def _find(self) -> tuple[Subject, ShownImage]:
        """Find model and photos, or record anew what had to make room for others."""
        image = picture.find_image(self.picture)
        second = picture.find_picture(self.second) if self.second else None
        if image is None or (self.second and second is None):
            raise SourceGone(self.picture)
        try:
            bundle = model_variants.open_variant(self.model)
            shown = recorded_image(bundle, self.picture, image, self.layers)
        except (CheckpointError, NothingRecorded, NothingToShow) as problem:
            raise SourceGone(self.model) from problem
        return subject_of(bundle, shown, self.picture, image, second), shown
