"""Measures of every head over many photos, in the memory of a few."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from PIL import Image

from model.analysis.head_measures import RunningMean, measure_layers
from model.bundle import Bundle
from model.recording.recorder import AttentionRecorder

TOKENS = 1024  # tokens that go through the model at a time: more photos where they are small


def survey_heads(
    bundle: Bundle, images: Iterable[Image.Image], layers: Sequence[int] | None = None
) -> Iterator[RunningMean]:
    """Yields the running mean after each few photos; the last one is that of all.

    `layers` are those to measure, as for AttentionRecorder; None is all.
    """
    mean, images = RunningMean(), iter(images)
    size = max(1, TOKENS // bundle.tokens.tokens)
    while prepared := [bundle.prepare(image) for image in islice(images, size)]:
        with torch.no_grad(), AttentionRecorder(bundle.net, layers) as recorder:
            bundle.net(torch.cat(prepared))
            mean.add(measure_layers(recorder.records, bundle.tokens), len(prepared))
        yield mean
