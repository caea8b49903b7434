"""Measures of every head over many photos, in the memory of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from PIL import Image

from model.bundle import Bundle
from model.measures import RunningMean, measure_layers
from model.recorder import AttentionRecorder


def survey(
    bundle: Bundle, images: Iterable[Image.Image], layers: Sequence[int] | None = None
) -> Iterator[RunningMean]:
    """Yields the running mean after each photo; the last one is that of all.

    `layers` are those to measure, as for AttentionRecorder; None is all.
    """
    mean = RunningMean()
    for image in images:
        with torch.inference_mode(), AttentionRecorder(bundle.net, layers) as recorder:
            bundle.net(bundle.prepare(image))
            mean.add(measure_layers(recorder.records, bundle.tokens))
        yield mean
