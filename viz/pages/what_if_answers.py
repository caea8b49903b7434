"""What the page What if computes, each once for everybody, in the server's queue."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.bundle import Bundle
from model.intervention import intervene, scan_heads, scan_patches
from model.intervention.controls import DRAWS, random_answers
from model.recording.recorder import AttentionRecorder
from model.tokens import TokenLayout
from viz.pages.shared.recorded_images import ShownImage
from viz.pages.what_if_experiment import Experiment
from viz.server.costs import forward_cost
from viz.server.results import computed_once

BATCH = 16


@dataclass(frozen=True)
class Subject:
    """A model, a photo, and a second photo where there is one; with the keys of both photos."""

    bundle: Bundle
    shown: ShownImage
    photo: str
    image: Image.Image
    second: str | None = None
    second_image: Image.Image | None = None

    @property
    def key(self) -> tuple[str, str, tuple[int, ...], str | None]:
        """What tells this from another subject."""
        return self.bundle.name, self.photo, self.shown.numbers, self.second

    @property
    def images(self) -> Tensor:
        """The prepared photo, (1, C, H, W)."""
        return self.bundle.prepare(self.image)

    def hide(self, name: str) -> str | Tensor:
        """How patches are hidden, as `intervene` takes it."""
        if name == "photo" and self.second_image is not None:
            return self.bundle.prepare(self.second_image)
        return "mean" if name == "photo" else name


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
    key=lambda subject, experiment, query: (subject.key, experiment, query),
    size=lambda tried: tried.logits.nbytes + tried.maps.nbytes,
    cost=lambda subject, experiment, query: forward_cost(subject.bundle),
)
def try_out(subject: Subject, experiment: Experiment, query: int) -> Tried:
    """Run the model with heads off and patches hidden.

    `query` is the token of the last layer from which the maps are; the default one where the
    experiment takes that token away. Raises InterventionRefused.
    """
    bundle, shown = subject.bundle, subject.shown
    off: dict[int | str, list[int]] = {}
    for layer, head in experiment.off:
        off.setdefault(shown.records[layer].name, []).append(head)
    changes = intervene(
        bundle.net,
        heads_off=off,
        hide_patches=experiment.hidden,
        hide=subject.hide(experiment.hide),
        tokens=bundle.tokens,
    )
    with torch.no_grad(), changes, AttentionRecorder(bundle.net) as recorder:
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


@computed_once(
    "what if, by chance",
    key=lambda subject, heads, patches, hide: (subject.key, heads, patches, hide),
    size=lambda logits: logits.nbytes,
    cost=lambda subject, heads, patches, hide: forward_cost(subject.bundle, DRAWS),
)
def draw_at_random(subject: Subject, heads: int, patches: int, hide: str) -> np.ndarray:
    """Run the model with as many random heads off and patches hidden: logits (draws, classes)."""
    layers = {
        record.name: layer.heads
        for record, layer in zip(subject.shown.records, subject.shown.layers, strict=True)
    }
    # A draw that takes tokens out is a sequence of its own; it hides the pixels' mean instead.
    hidden = "mean" if hide == "remove" else hide
    logits = random_answers(
        subject.bundle.net,
        subject.images,
        subject.bundle.tokens,
        layers=layers,
        heads=heads,
        patches=patches,
        hide=subject.hide(hidden),
    )
    return logits.float().numpy()


@computed_once(
    "which heads",
    key=lambda subject: subject.key,
    size=lambda effects: effects.nbytes,
    cost=lambda subject: forward_cost(subject.bundle, sum(subject.shown.head_counts)),
)
def effects_of_heads(subject: Subject) -> np.ndarray:
    """Scan every head: change of the log-odds without it, (layers, heads) float32, NaN for none."""
    scan = scan_heads(subject.bundle.net, subject.images, batch_size=BATCH)
    effects = scan.effects.effect("log_odds").float().numpy()
    return np.stack([effects[scan.layers.index(record.name)] for record in subject.shown.records])


@computed_once(
    "which patches",
    key=lambda subject, hide: (subject.key, hide),
    size=lambda effects: effects.nbytes,
    cost=lambda subject, hide: forward_cost(subject.bundle, subject.bundle.tokens.patches),
)
def effects_of_patches(subject: Subject, hide: str) -> np.ndarray:
    """Scan every patch: change of the log-odds where it is hidden, (patches,) float32."""
    effects = scan_patches(
        subject.bundle.net,
        subject.images,
        hide=subject.hide(hide),
        tokens=subject.bundle.tokens,
        batch_size=BATCH,
    )
    return effects.effect("log_odds").float().numpy().ravel()
