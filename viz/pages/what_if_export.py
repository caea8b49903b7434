"""What the page What if saves: both answers, and the maps before and after."""

from typing import Any

from viz.export.attention import patch_box
from viz.export.experiment import Trial, experiment_exports
from viz.export.names import token_name
from viz.export.program import Code
from viz.pages import what_if_words as words
from viz.pages.shared import open_models
from viz.pages.shared.browser import shown_view
from viz.pages.shared.html_file import experiment_file
from viz.pages.shared.opening import opening_of, photo_code, photo_title
from viz.pages.shared.picture import find_picture, offered_samples
from viz.pages.shared.saving import Saved
from viz.pages.shared.session import Session, chosen_layers
from viz.pages.shared.view import fit_view
from viz.pages.what_if_answers import Subject, Tried
from viz.pages.what_if_experiment import Experiment
from viz.pages.what_if_source import sizes_of
from viz.standalone.views import AnswerChange


def describe_trial(
    session: Session,
    subject: Subject,
    now: Experiment,
    answer: dict[str, Any],
    before: Tried,
    after: Tried,
) -> Saved:
    """Describe what can be saved of a finished experiment."""
    recorded, tokens = session.recorded, subject.layout
    view = fit_view(shown_view(), recorded.layers)
    removed = now.hide == "remove" and bool(now.hidden)
    trial = Trial(
        open_models.model_title(session.bundle.name),
        photo_title(session.picture),
        words.what_is_off(now, sizes_of(subject)),
        token_name(session.view.query, tokens),
        recorded.frame,
        before.maps,
        after.maps,
        (before.logits, after.logits),
        answer["classes"],
        [number + 1 for number in recorded.numbers],
        view.layer,
        view.head,
        [box for patch in now.hidden if (box := patch_box(len(tokens.prefix) + patch, tokens))],
        patch_box(session.view.query, tokens),
        [opening_of(session.bundle.name, session.picture), *_code(session, subject, now)],
        view.style,
        session.bundle.name,
    )
    both = AnswerChange(answer["words"], answer["classes"])
    html = experiment_file(session, lambda: subject.change(now), both, now.hidden)
    return Saved(experiment_exports(trial), None if removed else html)


def _code(session: Session, subject: Subject, now: Experiment) -> list[Code]:
    """Write the Python that makes the experiment again."""
    change, before = write_changes(subject, now)
    layers = chosen_layers(session.bundle.name)
    kept = "" if layers is None else f", layers={list(layers)}"
    maps = f"record_image(bundle, image{kept}).maps(-1, {session.view.query})"
    run = [
        "images = bundle.prepare(image)",
        "with torch.no_grad():",
        "    before_logits = bundle.net(images)[0].float().numpy()",
        f"before_maps = {maps}",
        "with torch.no_grad(), change:",
        "    after_logits = bundle.net(images)[0].float().numpy()",
    ]
    if not (now.hide == "remove" and now.hidden):
        run += ["with change:", f"    after_maps = {maps}"]
    imports = ["import torch", "from model.recorded_image import record_image"]
    return [*before, change + Code(run, imports)]


def write_changes(
    subject: Subject, now: Experiment, tokens: str = "bundle.tokens", run: str = ""
) -> tuple[Code, list[Code]]:
    """Write the Python that makes the intervention as `change`, and what it needs before.

    Args:
        tokens: the Python that names the layout of the patches that are hidden.
        run: the function that runs the net, where it is not called on images alone.
    """
    given, before = _changes(subject, now, run)
    line = f"change = intervene(bundle.net, tokens={tokens}, {', '.join(given)})"
    return Code([line], ["from model.intervention import intervene"]), before


def _changes(subject: Subject, now: Experiment, run: str) -> tuple[list[str], list[Code]]:
    """Write the arguments of `intervene`, and the Python that they need before."""
    off: dict[str, list[int]] = {}
    for layer, head in now.off:
        off.setdefault(subject.layers[layer], []).append(head)
    given = []
    if off:
        given.append(f"{'heads_from' if now.by == 'photo' else 'heads_off'}={off!r}")
    if off and now.by == "mean":
        given.append("replace_by=means")
    hidden, prefix = list(now.hidden), len(subject.layout.prefix)
    if hidden and now.after is not None:
        taken = {subject.layer_numbered(now.after): [prefix + patch for patch in hidden]}
        given.append(f"tokens_from={taken!r}")
    elif hidden:
        how = "bundle.prepare(other)" if now.hide == "photo" else repr(now.hide)
        given.append(f"hide_patches={hidden!r}, hide={how}")
    if now.needs_second:
        given.append("source=source")
    return given, [*_second_code(subject, now), *_means_code(subject, now, bool(off), run)]


def _second_code(subject: Subject, now: Experiment) -> list[Code]:
    """Write the Python that opens and runs the second photo, where the experiment needs it."""
    second = find_picture(subject.second) if now.needs_second and subject.second else None
    if second is None:
        return []
    opening = photo_code(second)
    lines = [line.replace("image = ", "other = ", 1) for line in opening.lines]
    run = "source = keep_activations(bundle.net, bundle.prepare(other))"
    return [
        Code([*lines, run], [*opening.imports, "from model.intervention import keep_activations"])
    ]


def _means_code(subject: Subject, now: Experiment, off: bool, run: str) -> list[Code]:
    """Write the Python that averages heads over the samples, where the experiment needs it."""
    if not off or now.by != "mean":
        return []
    names = offered_samples(subject.bundle)
    return [
        Code(
            [
                f"names = {names!r}",
                "batches = (bundle.prepare(samples.load(name)) for name in names)",
                f'means = head_means(bundle.net, batches, "the samples"{run and f", {run}"})',
            ],
            ["from model.datasets import samples", "from model.intervention import head_means"],
        )
    ]
