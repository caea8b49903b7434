"""What the Heads page measures, once for everybody: every head over a photo, or over many."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import streamlit as st
import torch
from PIL import Image
from streamlit.runtime.uploaded_file_manager import UploadedFile
from torch import Tensor

from model.analysis.head_measures import RunningMean, measure_layers
from model.bundle import Bundle
from model.datasets import samples
from model.errors import ImageRejected
from model.images import open_image
from model.survey.head_survey import survey_heads
from model.tokens import TokenLayout
from viz.pages.shared.picture import DECODING, MAX_SIDE, sample_picture
from viz.pages.shared.recorded_images import ShownImage
from viz.server.costs import forward_cost
from viz.server.queue import Cost
from viz.server.results import computed_once

Measures = dict[str, Tensor]
"""By the name of the measure, (layers, heads) each."""


@dataclass(frozen=True)
class PhotoToMeasure:
    """A photo by a name that no other has, and how it is opened."""

    key: str
    open: Callable[[], Image.Image]
    bytes: int = 0
    """What decoding it takes."""


def sample_photos() -> list[PhotoToMeasure]:
    """List the samples."""
    return [PhotoToMeasure(name, partial(_open_sample, name)) for name in samples.names()]


def uploaded_photos(uploads: Sequence[UploadedFile]) -> list[PhotoToMeasure]:
    """List the photos that somebody uploaded."""
    return [
        PhotoToMeasure(upload.file_id, partial(_open_upload, upload), DECODING.bytes)
        for upload in uploads
    ]


def _open_sample(name: str) -> Image.Image:
    return sample_picture(name).image


def _open_upload(upload: UploadedFile) -> Image.Image:
    return open_image(upload.getvalue(), max_side=MAX_SIDE)


def _size(found: Measures | str) -> int:
    return 1000 if isinstance(found, str) else 1000 + sum(each.nbytes for each in found.values())


@computed_once("head measures", key=lambda shown, layout: shown.key, size=_size)
def measure_recorded(shown: ShownImage, layout: TokenLayout) -> Measures:
    """Measure every head in what was recorded of one photo."""
    with torch.inference_mode():
        return measure_layers(shown.records, layout)


def _survey_cost(bundle: Bundle, layers: tuple[int, ...] | None, photo: PhotoToMeasure) -> Cost:
    forward = forward_cost(bundle)
    return replace(forward, bytes=forward.bytes + photo.bytes)


@computed_once(
    "head survey",
    key=lambda bundle, layers, photo: (bundle.name, layers, photo.key),
    size=_size,
    cost=_survey_cost,
)
def _measure_photo(
    bundle: Bundle, layers: tuple[int, ...] | None, photo: PhotoToMeasure
) -> Measures | str:
    """Measure every head in one photo; a sentence where the photo cannot be opened."""
    try:
        image = photo.open()
    except ImageRejected as problem:
        return str(problem)
    *_, mean = survey_heads(bundle, [image], layers)
    return mean.mean()


def measure_photos(
    bundle: Bundle, layers: tuple[int, ...] | None, photos: Sequence[PhotoToMeasure]
) -> tuple[Measures | None, list[str]]:
    """Average the measures of every head over photos, with a progress bar.

    Each photo is one piece of work, so that other sessions have their turn between two of them.

    Returns:
        The means, None if no photo could be opened; and why each of the others could not.
    """
    bar, mean, refused = st.empty(), RunningMean(), []
    for number, photo in enumerate(photos):
        bar.progress(number / len(photos), f"Photo {number + 1} of {len(photos)}")
        found = _measure_photo(bundle, layers, photo)
        if isinstance(found, str):
            refused.append(found)
        else:
            mean.add(found)
    bar.empty()
    return mean.mean() if mean.count else None, refused
