"""Survey a data set into a folder: list it, go through its blocks, save, and write the results."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from model.errors import SurveyError
from model.survey.blocks import Survey, plan_survey
from model.survey.listing import Listing, write_listing
from model.survey.ray_cluster import run_on_ray
from model.survey.results import write_results
from model.survey.sources.recognise import list_pictures
from model.survey.state import SurveyState
from model.survey.workers import run_here

LISTING, STATE, UNPACKED = "pictures.parquet", "state.json.gz", "unpacked"
BLOCK = 64
SAVED_EVERY = 15.0
"""Seconds between two savings: with the blocks in work, less than a minute is lost at a crash."""


def survey_data(
    name: str,
    source: Path,
    out: Path,
    *,
    shard: tuple[int, int] = (1, 1),
    workers: int = 1,
    ray: str | None = None,
    device: str = "cpu",
    block: int = BLOCK,
    batch: int | None = None,
    threads: int = 1,
    sample: int = 64,
) -> Path:
    """Survey every head of a model over a data set, or one shard of it.

    It goes on where it was stopped, by whatever: the folder `out` holds the state.

    Args:
        name: of the model, as `zoo.load` takes it.
        source: the pictures, as `list_pictures` takes them.
        out: the folder for state and results; made where it is missing.
        shard: (i, n) for the i-th of n parts, from 1; parts are merged by `merge_surveys`.
        workers: processes here, each with the model and `threads` threads; on Ray, actors. On a
            GPU they decode, and this process holds the model. 0: everything in this process.
        ray: None for this machine alone, "" for a Ray of its own, or the address of a cluster.
        device: "cpu" or "cuda".
        block: pictures in a block, the smallest part of a survey.
        batch: pictures that go through the model at once; None chooses.
        threads: of torch in each process.
        sample: on how many pictures every head is switched off.

    Returns:
        The JSON file with the results.

    Raises:
        DataError, SurveyError, ModelNotFound, ModelRejected, NothingRecorded, NothingToShow
    """
    with _disk(out):
        listing = _open_listing(source, out, block)
        kept = SurveyState.load(out / STATE) if (out / STATE).is_file() else None
        survey, note = plan_survey(
            name, listing, device=device, batch=batch, threads=threads, sample=sample
        )
        if note:
            print(f"No head is switched off: {note}")
        if kept:
            survey.fingerprint.check(kept.fingerprint, f"What is in {out}")
        state = kept or SurveyState(name, survey.fingerprint, survey.shape)
        todo = [n for n in range(listing.blocks)[shard[0] - 1 :: shard[1]] if n not in state.blocks]
        found = _run(survey, listing, todo, workers, ray)
        _gather(state, found, out / STATE, len(todo) * listing.block)
        return write_results(state, listing, out)


def merge_surveys(folders: Sequence[Path], out: Path) -> Path:
    """Merge the parts of a survey, each in its folder, and return the JSON file of the whole.

    Raises:
        SurveyError: a part is missing, was made otherwise, or was given twice.
    """
    with _disk(out):
        for folder in folders:
            if not (folder / STATE).is_file():
                raise SurveyError(f"{folder} holds no survey: it has no {STATE}. Check the path.")
        listing = Listing(folders[0] / LISTING)
        state = SurveyState.load(folders[0] / STATE)
        for folder in folders[1:]:
            state.merge(SurveyState.load(folder / STATE), str(folder))
        if not (out / LISTING).is_file():
            shutil.copyfile(folders[0] / LISTING, out / LISTING)
        state.save(out / STATE)
        return write_results(state, listing, out)


@contextmanager
def _disk(out: Path) -> Iterator[None]:
    """Make the folder, and turn what a disk refuses into a sentence."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "The disk is full" if full else f"{out} cannot be used ({error})"
        raise SurveyError(
            f"{reason}. What was saved before is kept: make room or choose another --out, and "
            "give the same command again."
        ) from None


def _open_listing(source: Path, out: Path, block: int) -> Listing:
    """Open the listing in `out`, or make it."""
    if not (out / LISTING).is_file():
        write_listing(list_pictures(source, out / UNPACKED), out / LISTING, block)
    return Listing(out / LISTING)


def _run(
    survey: Survey, listing: Listing, todo: list[int], workers: int, ray: str | None
) -> Iterator[SurveyState]:
    """Go through the blocks, and yield the state of each as it comes."""
    if ray is not None:
        return run_on_ray(survey, listing.path, todo, workers, ray)
    blocks = listing.read_blocks(todo)
    if survey.device == "cpu" or not workers:
        return run_here(survey.start, blocks, workers)
    return map(survey.start_measuring(), run_here(survey.start_preparing, blocks, workers))


def _gather(state: SurveyState, found: Iterator[SurveyState], file: Path, pictures: int) -> None:
    """Merge the states of blocks as they come, and save now and then."""
    saved = time.monotonic()
    with tqdm(total=pictures, unit=" pictures", smoothing=0.05) as bar:
        try:
            for part in found:
                state.merge(part)
                bar.update(part.pictures + part.damaged)
                if state.damaged:
                    bar.set_postfix_str(f"{state.damaged:,} damaged")
                if time.monotonic() - saved > SAVED_EVERY:
                    state.save(file)
                    saved = time.monotonic()  # saving itself is not counted
        finally:
            state.save(file)  # also what was done before an error
