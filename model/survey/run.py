"""Survey a data set into a folder: list it, go through its blocks, save, and write the results."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from model.errors import SurveyError
from model.survey.blocks import plan_survey
from model.survey.gathering import gather, keep_what_is_saved
from model.survey.listing import Listing, write_listing
from model.survey.results import write_results
from model.survey.sources.recognise import list_pictures
from model.survey.state import SurveyState

LISTING, STATE, UNPACKED = "pictures.parquet", "state.json.gz", "unpacked"
BLOCK = 64


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
    with keep_what_is_saved(out):
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
        gather(survey, state, listing.read_block, todo, out / STATE, workers=workers, ray=ray)
        return write_results(state, listing, out)


def merge_surveys(folders: Sequence[Path], out: Path) -> Path:
    """Merge the parts of a survey, each in its folder, and return the JSON file of the whole.

    Raises:
        SurveyError: a part is missing, was made otherwise, or was given twice.
    """
    with keep_what_is_saved(out):
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


def _open_listing(source: Path, out: Path, block: int) -> Listing:
    """Open the listing in `out`, or make it."""
    if not (out / LISTING).is_file():
        entries = list_pictures(source.absolute(), out.absolute() / UNPACKED)
        write_listing(entries, out / LISTING, block)
    return Listing(out.absolute() / LISTING)
