"""Record every attention model of whole libraries and judge the maps: `python -m tests.sweep`.

Each model runs in a process of its own, with random weights, on two small images. What multiplies
the values is taken below the recorder (`acting_maps.py`) and compared with the records. What is
known already is kept in a file, so that an interrupted sweep goes on where it was. To add a
library, write a module NAME_models.py with `list_models()` and `build(name)`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import re
import sys
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from model.nets.torchvision_cpu import ensure_operators
from tests.sweep.judge import CRASH, SILENT, WRONG, Outcome
from tests.sweep.run_model import recorder_state, run_model
from tests.sweep.table import LIBRARIES, write_table


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 if a map is wrong, missing in silence, or a run crashed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__)
    parser.add_argument("--library", nargs="*", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--only", default="", help="a pattern that names must match")
    parser.add_argument(
        "--out", type=Path, help="where the table is written, such as docs/sweep.md"
    )
    parser.add_argument("--state", type=Path, default=Path("sweep.jsonl"), help="what is known")
    parser.add_argument(
        "--again", default="", help="verdicts to judge anew, such as wrong,crash, or: changed"
    )
    parser.add_argument("--most", type=int, default=-1, help="models of a library to judge now")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    ensure_operators()
    known = read_state(options.state)
    again = set(options.again.split(","))
    for library in options.library:
        sweep(library, options.only, known, options.state, again, options.most)
    if options.out:
        names = {name: _list(name, options.state) for name in options.library}
        outcomes = [each for each in known.values() if each.name in names.get(each.library, ())]
        write_table(options.out, outcomes, {name: len(listed) for name, listed in names.items()})
    return int(any(each.verdict in (WRONG, SILENT, CRASH) for each in known.values()))


def sweep(
    library: str,
    only: str,
    known: dict[tuple[str, str], Outcome],
    state: Path,
    again: set[str],
    most: int,
) -> None:
    """Judge the models of one library that are not known yet."""
    if importlib.util.find_spec(LIBRARIES[library]) is None:
        print(f"{library}: not installed")
        return
    importlib.import_module(LIBRARIES[library])
    module = importlib.import_module(f"tests.sweep.{library}_models")
    if hasattr(module, "load"):
        module.load()
    models = _list(library, state)
    judged = 0
    for number, name in enumerate(models, 1):
        seen = known.get((library, name))
        if not re.search(only, name) or (seen and not _is_due(seen, again)):
            continue
        outcome = run_model(library, name)
        known[library, name] = outcome
        with state.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(outcome.as_dict()) + "\n")
        print(
            f"{number}/{len(models)} {name}: {outcome.verdict} {outcome.reason[:160]}", flush=True
        )
        judged += 1
        if judged == most:
            return


def _is_due(seen: Outcome, again: set[str]) -> bool:
    changed = "changed" in again and seen.versions.get("recorder") != recorder_state()
    return changed or seen.verdict in again


def _list(library: str, state: Path) -> list[str]:
    """List the models of a library: once for a state, since timm builds many to choose from."""
    file = state.with_suffix(f".{library}.json")
    if not file.is_file():
        models = importlib.import_module(f"tests.sweep.{library}_models").list_models()
        file.write_text(json.dumps(models), encoding="utf-8")
    return json.loads(file.read_text("utf-8"))


def read_state(file: Path) -> dict[tuple[str, str], Outcome]:
    """Read what an earlier sweep found."""
    if not file.is_file():
        return {}
    outcomes = [Outcome(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]
    return {(each.library, each.name): each for each in outcomes}


if __name__ == "__main__":
    sys.exit(main())
