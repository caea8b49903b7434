"""What the page What if saves of a captioner: both captions, and its heads before and after."""

from collections.abc import Sequence
from typing import cast

import numpy as np

from model.captioning.caption import CaptionBundle
from model.datasets.vocabulary import START
from viz.export.captions_tried import DecoderMaps, TriedWords, tried_words_exports
from viz.export.program import Code
from viz.pages.shared import open_models, scene
from viz.pages.shared.html_file import caption_trial_file
from viz.pages.shared.opening import opening_of, photo_title
from viz.pages.shared.picture import Picture
from viz.pages.shared.saving import Saved
from viz.pages.what_if_answers import Subject
from viz.pages.what_if_captions import AttendingLayer, TriedCaption
from viz.pages.what_if_experiment import Experiment
from viz.pages.what_if_export import write_changes
from viz.standalone.views import AnswerChange

TITLES = {"cross": "Words to photo", "self": "Among words"}


def describe_caption_trial(
    shown: Picture,
    subject: Subject,
    layers: Sequence[AttendingLayer],
    now: Experiment,
    changed: str,
    answer: AnswerChange,
    tried: tuple[TriedCaption, TriedCaption],
) -> Saved:
    """Describe what can be saved of a finished experiment with a captioner.

    Args:
        changed: what is off and hidden, in words.
        answer: both answers, as the page shows them.
        tried: before and after.
    """
    bundle = cast(CaptionBundle, subject.bundle)
    before, after = tried
    read = _reading(subject, now)
    words = TriedWords(
        open_models.model_title(bundle.name),
        photo_title(shown),
        changed,
        before.words,
        after.words,
        np.stack([before.shares, after.shares]),
        [opening_of(bundle.name, shown), *read],
        Code(["values = np.stack([before[0], after[0]])  # before and after, words"]),
        [
            maps
            for kind in TITLES
            if (maps := _maps(bundle, shown, layers, kind, now, tried)) is not None
        ],
        bundle.name,
    )
    html = caption_trial_file(
        bundle, shown.image, lambda: subject.change(now), answer, subject.layout.grid, now.hidden
    )
    return Saved(tried_words_exports(words), html)


def _reading(subject: Subject, now: Experiment) -> list[Code]:
    """Write the Python that reads the caption before and after, as `before` and `after`."""
    encoder = getattr(subject.bundle.net, "encoder", None)
    has_tokens = getattr(encoder, "tokens", None) is not None
    tokens = "bundle.net.encoder.tokens" if has_tokens else "bundle.patch_layout"
    change, needed = write_changes(subject, now, tokens, "run")
    words = Code(
        [
            f"words = torch.tensor([{[START, *subject.words]}])  # the caption's, by their numbers",
            "",
            "def run(images):",
            "    return bundle.net(images, words.expand(len(images), -1))",
            "",
            "def read():",
            "    with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:",
            "        logits = run(bundle.prepare(image))[0].float()",
            "    chosen = logits.softmax(-1)[range(words.shape[1] - 1), words[0, 1:]]",
            "    maps = {each.name: each.weights()[0].float() for each in recorder.records}",
            "    return chosen.numpy(), maps",
        ],
        ["import numpy as np", "import torch", "from model import AttentionRecorder"],
    )
    both = Code(["before = read()", "with change:", "    after = read()"])
    return [words, *needed, change + both]


def _maps(
    bundle: CaptionBundle,
    shown: Picture,
    layers: Sequence[AttendingLayer],
    kind: str,
    now: Experiment,
    tried: tuple[TriedCaption, TriedCaption],
) -> DecoderMaps | None:
    """Gather the heads of one kind; None where there are none, or their maps differ in size."""
    places = [place for place, layer in enumerate(layers) if layer.kind == kind]
    shapes = {(layers[place].heads, *layers[place].grid) for place in places}
    if len(shapes) != 1 or shapes == {(layers[places[0]].heads, 1, 1)}:
        return None
    heads, rows, columns = shapes.pop()
    before, after = (
        each.maps[places, :heads, : rows * columns].reshape(-1, heads, rows, columns)
        for each in tried
    )
    photo = scene.enlarged(bundle.frame(shown.image)) if kind == "cross" else None
    names = [layers[place].name for place in places]
    removed = now.hide == "remove" and bool(now.hidden) and kind == "cross"
    return DecoderMaps(TITLES[kind], photo, before, after, _maps_code(bundle, kind, names, removed))


def _maps_code(bundle: CaptionBundle, kind: str, names: Sequence[str], removed: bool) -> Code:
    """Write the Python that takes the maps out of `before` and, where all tokens stay, `after`."""
    taken = "found[1][name].numpy()"
    if kind == "cross":
        grid, first = bundle.tokens.grid, len(bundle.tokens.prefix)
        taken = f"found[1][name].mean(1)[:, {first}:].reshape(-1, *{grid}).numpy()"
    lines = [
        f"names = {list(names)!r}",
        "",
        "def stack_maps(found):",
        f"    return np.stack([{taken} for name in names])",
        "",
        "before_maps = stack_maps(before)",
    ]
    return Code(lines if removed else [*lines, "after_maps = stack_maps(after)"])
