"""The command: `python -m model.survey NAME --data SOURCE --out DIR`; --help lists the options.

`python -m model.survey merge DIR... --out DIR` merges the parts that --shard made.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from model.survey.shard import shard


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    merging = given[:1] == ["merge"]
    options = (_merge_parser() if merging else _parser()).parse_args(given[merging:])
    from model.survey import run

    try:
        if merging:
            file = run.merge_surveys(options.folders, options.out)
        else:
            settings = {k: v for k, v in vars(options).items() if k not in ("name", "data", "out")}
            file = run.survey_data(options.name, options.data, options.out, **settings)
    except (ValueError, RuntimeError) as error:  # SurveyError, DataError, NothingRecorded, ...
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. What was done is saved: the same command goes on.", file=sys.stderr)
        return 130
    print(f"The results are in {file}, and as Parquet beside it.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.survey", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="a model's name, as model.zoo.load takes it")
    parser.add_argument("--data", type=Path, required=True, help="folder, .tar, packed split, ...")
    parser.add_argument("--out", type=Path, required=True, help="folder for state and results")
    parser.add_argument("--shard", type=shard, default=(1, 1), help="i/n: the i-th of n parts")
    parser.add_argument(
        "--ray", nargs="?", const="", metavar="ADDRESS", help="on Ray: of this machine, or there"
    )
    cores = os.cpu_count() or 1
    parser.add_argument("--workers", type=int, default=cores, help=f"processes; here {cores}")
    parser.add_argument("--threads", type=int, default=1, help="of torch in each process; 1")
    parser.add_argument("--batch", type=int, help="pictures at once; chosen where not given")
    parser.add_argument("--block", type=int, default=64, help="pictures in a block; 64")
    parser.add_argument(
        "--effects", dest="sample", type=int, default=64, help="photos to switch heads off on; 64"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return parser


def _merge_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.survey merge", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="a part of the survey")
    parser.add_argument("--out", type=Path, required=True, help="folder for the whole")
    return parser


if __name__ == "__main__":
    sys.exit(main())
