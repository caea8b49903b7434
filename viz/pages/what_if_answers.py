"""What the page What if computes, each once for everybody, in the server's queue."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.bundle import Bundle
from model.captioning.caption import CaptionBundle
from model.datasets import samples
from model.datasets.vocabulary import START
from model.intervention import (
    head_means,
    intervene,
    keep_activations,
    scan_heads,
    scan_patches,
    scan_tokens,
)
from model.intervention.activations import Activations
from model.intervention.answers import CaptionAnswer, class_answer
from model.intervention.context import Intervention
from model.intervention.controls import DRAWS, random_answers
from model.intervention.outputs import FromRun, HeadMeans
from model.recording.recorder import AttentionRecorder
from model.tokens import TokenLayout
from viz.pages.shared.picture import offered_samples
from viz.pages.shared.recorded_images import ShownImage
from viz.pages.what_if_experiment import Experiment
from viz.server import queue
from viz.server.costs import forward_cost
from viz.server.queue import Cost
from viz.server.results import computed_once

BATCH = 16


@dataclass(frozen=True)
class Subject:
    """A model, a photo, and a second photo where there is one; with the keys of both photos.

    Args:
        layers: the recorder's names of the layers whose heads are shown.
        heads: how many heads each has.
        numbers: the model's own numbers of these layers, from zero.
        words: the numbers of a caption's words, for a captioner; its answer is how likely they are.
    """

    bundle: Bundle
    photo: str
    image: Image.Image
    layers: tuple[str, ...]
    heads: tuple[int, ...]
    numbers: tuple[int, ...]
    second: str | None = None
    second_image: Image.Image | None = None
    words: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """What tells this from another subject."""
        return self.bundle.name, self.photo, self.layers, self.second, self.words

    @cached_property
    def images(self) -> Tensor:
        """The prepared photo, (1, C, H, W)."""
        return self.bundle.prepare(self.image)

    @property
    def layout(self) -> TokenLayout:
        """The tokens of the blocks that patches go through."""
        bundle = self.bundle
        if isinstance(bundle, CaptionBundle):
            encoder = getattr(bundle.net, "encoder", None)
            return getattr(encoder, "tokens", None) or bundle.patch_layout
        return bundle.tokens

    def run(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, classes), or (B, words + 1, vocabulary)."""
        if not self.words:
            return self.bundle.net(images)
        words = torch.tensor([[START, *self.words]]).expand(len(images), -1)
        return self.bundle.net(images, words)

    def hide(self, name: str) -> str | Tensor:
        """How patches are hidden, as `intervene` takes it."""
        if name == "photo" and self.second_image is not None:
            return self.bundle.prepare(self.second_image)
        return "mean" if name == "photo" or name.startswith("after") else name

    def layer_numbered(self, number: int) -> str:
        """Name the layer with this number, from one. Raises ValueError where there is none."""
        return self.layers[self.numbers.index(number - 1)]

    def change(self, experiment: Experiment) -> Intervention:
        """Make the intervention of an experiment. Raises InterventionRefused."""
        off: dict[int | str, Sequence[int]] = {}
        for layer, head in experiment.off:
            off[self.layers[layer]] = [*off.get(self.layers[layer], []), head]
        source = second_run(self) if experiment.needs_second else None
        prefix = len(self.layout.prefix)
        hidden = experiment.hidden
        taken: dict[int | str, Sequence[int] | None] = {}
        if hidden and experiment.after is not None:
            taken[self.layer_numbered(experiment.after)] = [prefix + patch for patch in hidden]
            hidden = ()
        return intervene(
            self.bundle.net,
            heads_off={} if experiment.by == "photo" else off,
            heads_from=off if experiment.by == "photo" else {},
            replace_by=means_of_heads(self) if off and experiment.by == "mean" else None,
            source=source,
            tokens_from=taken,
            hide_patches=hidden,
            hide=self.hide(experiment.hide),
            tokens=self.layout,
        )


def subject_of(
    bundle: Bundle, shown: ShownImage, photo: str, image: Image.Image, second: object = None
) -> Subject:
    """Describe a classifier and a photo; `second` has the key and the image of another one."""
    return Subject(
        bundle,
        photo,
        image,
        tuple(record.name for record in shown.records),
        tuple(shown.head_counts),
        shown.numbers,
        getattr(second, "key", None),
        getattr(second, "image", None),
    )


@computed_once(
    "second run",
    key=lambda subject: (subject.bundle.name, subject.second, subject.words),
    size=lambda kept: kept.nbytes,
    cost=lambda subject: forward_cost(subject.bundle),
)
def second_run(subject: Subject) -> Activations:
    """Keep what the model computes for the second photo."""
    assert subject.second_image is not None, "an experiment that needs one is offered with one"
    images = subject.bundle.prepare(subject.second_image)
    return keep_activations(subject.bundle.net, images, subject.run)


@computed_once(
    "means of heads",
    key=lambda subject: (subject.bundle.name, subject.words),
    size=lambda means: sum(mean.nbytes for mean in means.means.values()),
    cost=lambda each: forward_cost(each.bundle, len(offered_samples(each.bundle))),
)
def means_of_heads(subject: Subject) -> HeadMeans:
    """Average every head's output over the samples."""
    names = offered_samples(subject.bundle)
    batches = (subject.bundle.prepare(samples.load(name)) for name in names)
    return head_means(subject.bundle.net, batches, f"the {len(names)} samples", subject.run)


# -- before and after ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Tried:
    """The answer of a changed run, and every head's map from one token.

    Args:
        logits: (classes,) float32.
        maps: (layers, heads, rows, columns) float32.
    """

    logits: np.ndarray
    maps: np.ndarray


@computed_once(
    "what if",
    key=lambda subject, shown, experiment, query: (subject.key, experiment, query),
    size=lambda tried: tried.logits.nbytes + tried.maps.nbytes,
    cost=lambda subject, shown, experiment, query: forward_cost(subject.bundle),
)
def try_out(subject: Subject, shown: ShownImage, experiment: Experiment, query: int) -> Tried:
    """Run a classifier with heads off and patches hidden.

    `query` is the token of the last layer from which the maps are; the default one where the
    experiment takes that token away. Raises InterventionRefused.
    """
    bundle = subject.bundle
    with torch.no_grad(), subject.change(experiment), AttentionRecorder(bundle.net) as recorder:
        logits = bundle.net(subject.images)
    records = {record.name: record for record in recorder.records}
    if experiment.hide == "remove" and experiment.hidden:
        maps = _maps_of_kept(records, shown, experiment.hidden, query, bundle.tokens)
    else:
        changed = ShownImage(
            **{**vars(shown), "records": [records[record.name] for record in shown.records]}
        )
        maps = changed.maps(-1, query)
    return Tried(logits[0].float().numpy(), maps)


def _maps_of_kept(
    records: dict, shown: ShownImage, hidden: tuple[int, ...], query: int, layout: TokenLayout
) -> np.ndarray:
    """Lay out the maps of a shorter sequence on the whole grid, zero where patches are gone."""
    gone = {len(layout.prefix) + patch for patch in hidden}
    kept = [token for token in range(layout.tokens) if token not in gone]
    asks = kept.index(query if query in kept else kept[0])
    maps = np.zeros((len(shown.records), shown.heads, layout.tokens), np.float32)
    for layer, record in enumerate(shown.records):
        row = records[record.name].weights(queries=[asks])[0, :, 0].numpy()
        maps[layer, : len(row), kept] = row.T
    patches = maps[..., layout.patch_slice]
    return patches.reshape(*patches.shape[:2], *layout.grid)


def _after_the_bars(subject: Subject, times: int) -> Cost:
    """Estimate passes that count as long work, so that a worker is left for somebody's bars."""
    cost = forward_cost(subject.bundle, times)
    return replace(cost, seconds=max(cost.seconds, queue.LONG))


# -- by chance ----------------------------------------------------------------------------------


@computed_once(
    "what if, by chance",
    key=lambda subject, heads, patches, hide, by: (subject.key, heads, patches, hide, by),
    size=lambda logits: logits.nbytes,
    cost=lambda subject, heads, patches, hide, by: _after_the_bars(subject, DRAWS),
)
def draw_at_random(subject: Subject, heads: int, patches: int, hide: str, by: str) -> np.ndarray:
    """Run the model with as many random heads off and patches hidden: its output for each draw.

    The output is (draws, classes), or (draws, words + 1, vocabulary) of a captioner. `hide` and
    `by` as of `Experiment`. Raises InterventionRefused.
    """
    torch.set_num_threads(1)  # of this worker, for this work: the next click's bars find a core
    after = Experiment(hide=hide).after
    replace_by: HeadMeans | FromRun | None = None
    if heads and by == "mean":
        replace_by = means_of_heads(subject)
    elif heads and by == "photo":
        replace_by = FromRun(second_run(subject).heads)
    logits = random_answers(
        subject.bundle.net,
        subject.images,
        subject.layout,
        layers=dict(zip(subject.layers, subject.heads, strict=True)),
        heads=heads,
        replace_by=replace_by,
        patches=patches,
        hide=subject.hide(hide),
        source=second_run(subject) if after else None,
        after=subject.layer_numbered(after) if after else None,
        run=subject.run,
    )
    return logits.float().numpy()


# -- scans --------------------------------------------------------------------------------------


@computed_once(
    "which heads",
    key=lambda subject: subject.key,
    size=lambda effects: effects.nbytes,
    cost=lambda subject: _after_the_bars(subject, sum(subject.heads)),
)
def effects_of_heads(subject: Subject) -> np.ndarray:
    """Scan every head: change of the answer without it, (layers, heads) float32, NaN for none."""
    scan = scan_heads(
        subject.bundle.net,
        subject.images,
        run=subject.run if subject.words else None,
        answer=CaptionAnswer(subject.words) if subject.words else None,
        batch_size=BATCH,
        report=queue.report,
    )
    effects = scan.effects.effect(measure_of(subject)).float().numpy()
    return np.stack([effects[scan.layers.index(name)] for name in subject.layers])


@computed_once(
    "which patches",
    key=lambda subject, hide: (subject.key, hide),
    size=lambda effects: effects.nbytes,
    cost=lambda subject, hide: _after_the_bars(subject, subject.layout.patches),
)
def effects_of_patches(subject: Subject, hide: str) -> np.ndarray:
    """Scan every patch: change of the answer where it is hidden, (patches,) float32.

    Where patches become the second photo's after a layer, their tokens there (activation patching).
    """
    if (after := Experiment(hide=hide).after) is not None:
        return _effects_of_tokens(subject, after)
    effects = scan_patches(
        subject.bundle.net,
        subject.images,
        hide=subject.hide(hide),
        tokens=subject.layout,
        run=subject.run if subject.words else None,
        answer=CaptionAnswer(subject.words) if subject.words else None,
        batch_size=BATCH,
        report=queue.report,
    )
    return effects.effect(measure_of(subject)).float().numpy().ravel()


def _effects_of_tokens(subject: Subject, layer: int) -> np.ndarray:
    assert subject.second_image is not None, "an experiment that needs one is offered with one"
    net, others = subject.bundle.net, subject.bundle.prepare(subject.second_image)
    with torch.no_grad():
        answer = class_answer(subject.run(subject.images)[0])
        effects = scan_tokens(
            net,
            subject.images,
            others,
            answer,
            layers=[layer - 1],
            batch_size=BATCH,
            report=queue.report,
        )
    tokens = effects.effect(measure_of(subject)).float().numpy()[0]
    return tokens[len(subject.layout.prefix) :]


def measure_of(subject: Subject) -> str:
    """Name what a scan measures: log-odds of a class, or the log-probability of a caption."""
    return "logprob" if subject.words else "log_odds"
