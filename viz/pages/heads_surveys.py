"""The surveys that this server has, and the pictures that they speak of.

A survey is shipped, or lies where the server was told when it was started, or is uploaded; no path
comes from a visitor.
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.dataset as ds
import streamlit as st
from PIL import Image
from streamlit.runtime.uploaded_file_manager import UploadedFile

from model.bundle import Bundle
from model.errors import DataError, ImageRejected, SurveyError
from model.images import open_image
from model.survey.blocks import open_entry
from model.survey.fingerprint import hash_model
from model.survey.listing import to_entry
from model.survey.picture_measures import Shape, find_shape
from model.survey.results import RESULTS
from model.survey.run import LISTING
from model.survey.sources.listed_picture import ListedPicture
from model.survey.sources.recognise import list_pictures
from model.survey.survey_results import SurveyResults, TopPicture, read_results
from model.zoo import checkpoints
from viz.pages.heads_packed import PACKED, packed_pictures
from viz.pages.shared.picture import MAX_SIDE
from viz.pages.shared.text import plain
from viz.server.costs import forward_cost
from viz.server.results import computed_once

LOG = logging.getLogger(__name__)
SHIPPED = checkpoints.DIRECTORY / "surveys"
SURVEYS = ("--surveys", "SACCADE_SURVEYS")
DATA = ("--survey-data", "SACCADE_SURVEY_DATA")
MEGABYTES = 20
"""Of a survey that is uploaded: ViT-B/16 over ImageNet has 12."""


@dataclass(frozen=True)
class OpenSurvey:
    """A survey with the pictures that can be opened here."""

    name: str
    results: SurveyResults
    folder: Path | None = None
    """Where it lies on the server, with its listing."""
    shipped: bool = False
    """Whether it comes with the app."""


def given_path(
    which: tuple[str, str], arguments: Sequence[str], environment: Mapping[str, str]
) -> Path | None:
    """Find a path that the command line or else the environment gives.

    >>> given_path(SURVEYS, ["app.py", "--surveys", "mine"], {})
    PosixPath('mine')
    """
    option, variable = which
    for name, value in pairwise(arguments):
        if name == option:
            return Path(value)
    named = environment.get(variable)
    return Path(named) if named else None


@cache
def server_surveys() -> Mapping[str, OpenSurvey]:
    """Read the shipped surveys and the ones in the folder given to the server, by name, once."""
    files: dict[str, tuple[Path, Path | None]] = {
        file.stem: (file, None) for file in sorted(SHIPPED.glob("*.json"))
    }
    if given := given_path(SURVEYS, sys.argv, os.environ):
        folders = [given, *sorted(given.glob("*/"))]
        files |= {p.name: (p / RESULTS, p) for p in folders if (p / RESULTS).is_file()}
    found = {}
    for name, (file, folder) in files.items():
        try:
            results = read_results(file.read_bytes())
            found[name] = OpenSurvey(name, results, folder, folder is None)
        except (SurveyError, OSError) as problem:
            LOG.warning("%s: %s", file, problem)
    return found


def surveys_of(bundle: Bundle) -> dict[str, OpenSurvey]:
    """Find the server's surveys of a model: of these very weights."""
    weights = _weights(bundle)
    return {name: s for name, s in server_surveys().items() if s.results.weights == weights}


@computed_once("uploaded survey", key=lambda upload: upload.file_id, size=lambda found: 1 << 20)
def uploaded_survey(upload: UploadedFile) -> OpenSurvey | str:
    """Read a survey that somebody uploaded; a sentence where it is none."""
    try:
        return OpenSurvey(upload.name, read_results(upload.getvalue()))
    except SurveyError as problem:
        return str(problem)


def explain_misfit(survey: OpenSurvey, bundle: Bundle) -> str | None:
    """Say why a survey cannot be shown with a model; None where it can."""
    results = survey.results
    if results.weights != _weights(bundle):
        return (
            f"This survey is of {plain(results.model)}, with other weights than the model above: "
            "choose that model."
        )
    shape = _shape(bundle)
    asked = max((top.query for top in _top_pictures(survey)), default=0)
    own = (shape.numbers, shape.heads, shape.grids)
    if (results.numbers, results.heads, results.grids) != own or asked >= bundle.tokens.tokens:
        return (
            "This survey names layers, heads or tokens that its model does not have. It is "
            "damaged: make it again, or merge its parts again."
        )
    return None


@computed_once("weights' hash", key=lambda bundle: bundle.name, size=lambda found: 100)
def _weights(bundle: Bundle) -> str:
    return hash_model(bundle)


@computed_once(
    "heads' shape", key=lambda bundle: bundle.name, size=lambda found: 10_000, cost=forward_cost
)
def _shape(bundle: Bundle) -> Shape:
    return find_shape(bundle)


# -- pictures -------------------------------------------------------------------------------------


def open_pictures(
    survey: OpenSurvey, names: Sequence[str], uploads: Sequence[UploadedFile]
) -> dict[str, Image.Image]:
    """Open pictures of a survey by name, as far as they are here.

    Args:
        survey: the survey.
        names: of pictures in its rankings.
        uploads: what the visitor has uploaded: pictures, which are known by their files' names, and
            files of the packed form.
    """
    here = _listed(survey.name, survey.folder, _top_names(survey))
    own = {upload.name: upload for upload in uploads}
    found: dict[str, Image.Image] = {}
    for packed in uploads:
        if packed.name.endswith(PACKED):
            found |= packed_pictures(packed, tuple(names))
    for name in names:
        try:
            if name in found:
                continue
            if upload := own.get(name.rpartition("/")[2]):
                found[name] = open_image(upload.getvalue(), max_side=MAX_SIDE)
            elif name in here:
                found[name] = open_entry(here[name])
        except (ImageRejected, OSError):
            continue  # the page says how many are missing
    return found


def _top_names(survey: OpenSurvey) -> frozenset[str]:
    return frozenset(top.name for top in _top_pictures(survey))


def _top_pictures(survey: OpenSurvey) -> Iterator[TopPicture]:
    for heads in survey.results.top.values():
        for head in heads:
            yield from head


@st.cache_resource(max_entries=20, show_spinner="Looking for the survey's pictures…")
def _listed(name: str, folder: Path | None, names: frozenset[str]) -> dict[str, ListedPicture]:
    """Find where pictures lie: by the survey's own listing, or in the data given to the server."""
    if folder is not None and (folder / LISTING).is_file():
        wanted = ds.field("name").isin(list(names))
        rows = ds.dataset(folder / LISTING).to_table(filter=wanted).to_pylist()
        return {row["name"]: to_entry(row) for row in rows}
    data = given_path(DATA, sys.argv, os.environ)
    if data is None:
        return {}
    try:
        listed = list_pictures(data, Path(_room().name))
        return {each.name: each for each in listed if each.name in names}
    except (DataError, OSError) as problem:
        LOG.warning("The data given with %s cannot be read: %s", DATA[0], problem)
        return {}


@cache
def _room() -> TemporaryDirectory[str]:
    """Make the folder where a compressed packed file is unpacked, while the server runs."""
    return TemporaryDirectory(prefix="saccade-")
