"""Measure every head over many photos, in the memory of a few."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from PIL import Image
from torch import Tensor

from model.analysis.head_measures import RunningMean, measure_layers
from model.bundle import Bundle
from model.image_layers import image_layers
from model.recording.recorder import AttentionRecord, AttentionRecorder
from model.recording.rollout import explain_mixed_images

TOKENS = 1024  # in one forward pass: several photos where they are small


def survey_heads(
    bundle: Bundle, images: Iterable[Image.Image], layers: Sequence[int] | None = None
) -> Iterator[RunningMean]:
    """Measure every head over photos, and yield the running mean after each group of them.

    Args:
        bundle: the model.
        images: photos of any size; an iterator is read as far as the survey has come.
        layers: the layers to measure, as in `AttentionRecorder`; None for all.

    Yields:
        The same `RunningMean` each time; after the last group it holds the mean over all photos.

    >>> from model import samples, zoo
    >>> photos = [samples.load(name) for name in samples.names()[:2]]
    >>> *_, mean = survey_heads(zoo.load("cifar10"), photos)
    >>> mean.count, mean.mean()["entropy"].shape  # photos, and (layers, heads)
    (2, torch.Size([4, 8]))
    """
    mean, images = RunningMean(), iter(images)
    size = max(1, TOKENS // bundle.tokens.tokens)
    while prepared := [bundle.prepare(image) for image in islice(images, size)]:
        groups = [_record(bundle, prepared, layers)]
        if len(prepared) > 1 and any(map(explain_mixed_images, groups[0])):
            size = 1  # which picture a map belongs to cannot be told where there are several
            groups = [_record(bundle, [one], layers) for one in prepared]
        for records in groups:
            pictures = len(prepared) // len(groups)
            found = [each.record for each in image_layers(records, bundle.tokens, pictures)]
            mean.add(measure_layers(found, bundle.tokens), pictures)
        yield mean


def _record(
    bundle: Bundle, prepared: list[Tensor], layers: Sequence[int] | None
) -> list[AttentionRecord]:
    with torch.no_grad(), AttentionRecorder(bundle.net, layers) as recorder:
        bundle.net(torch.cat(prepared))
    return recorder.records
