"""Attention as files, without the app: `python -m viz IMAGE --model NAME --out DIR`.

IMAGE is a picture or a folder of pictures. Each gets a folder of its own with the
layers x heads sheet, every layer's mean map over the photo, rollout, and the numbers; of a
captioner, the map of each word. `--all` writes SVG, CSV, animations, captions in Markdown and
LaTeX, the Python that makes the numbers again, and one HTML file besides.
A run that was stopped goes on where it ended: pictures whose folders were finished by the same
model with the same options are passed over.

Of a clip (a video, an animated GIF or WebP, or with `--clip` a folder of frames) it writes the
chosen map of every frame, the animation as WebP and GIF, and the numbers; `--every N` takes each
N-th frame, and finished frames are kept by the next run. `--all` writes the map and rollout over
time as SVG, CSV, captions and Python, and one HTML file besides.

`--html FILE` writes the figure as one HTML file instead, which opens from disk, offline, with all
layers and heads alive in it; of a captioner, its caption; of a clip, every frame with a timeline.

With --without-heads or --hide there are two folders, "before" and "after", and "answers.json" has
the probability of every class in both.
"""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from model.evaluate.arguments import count, share

if TYPE_CHECKING:
    from model.bundle import Bundle
    from viz.files.wanted import Wanted

NUMBERS = "attention.npz"  # written last: its presence says that the picture is done


def main(arguments: list[str] | None = None, prog: str = "python -m viz") -> int:
    """Run the command; return 0 if every picture was drawn, and 1 with a sentence otherwise.

    Args:
        arguments: what follows the command's name; those of the command line if None.
        prog: the command's name, for its help.
    """
    parser = command_parser(prog)
    options = parser.parse_args(arguments)
    if bool(options.out) == bool(options.html):
        parser.error("give --out DIR for pictures and numbers, or --html FILE for one file.")
    from model import zoo
    from model.errors import NothingRecorded, NothingToShow
    from model.zoo import checkpoints

    # The same model with which the app opens; without any, loading says what is missing.
    default = next(iter(zoo.names()), checkpoints.DEFAULTS[0])
    options.model = options.model or default
    try:
        bundle = zoo.load(options.model, heads=options.heads, weights=options.weights)
        if options.html:
            return _write_html(bundle, options)
        if _is_clip(options):
            return _write_clip(bundle, options)
        pictures = _pictures(options.image)
    except (zoo.ModelNotFound, zoo.ModelRejected, FileNotFoundError) as problem:
        print(problem, file=sys.stderr)
        return 1
    made = _made_with(bundle, options)
    failures = 0
    stems = Counter(path.stem for path in pictures)
    for path in tqdm(pictures, unit="picture", disable=len(pictures) == 1):
        own = path.stem if stems[path.stem] == 1 else path.name
        out = options.out / own if options.image.is_dir() else options.out
        if options.image.is_dir() and _is_done(out / NUMBERS, made):
            continue
        try:
            _draw(path, bundle, options, out, made)
        except (ValueError, OSError, NothingRecorded, NothingToShow) as problem:
            failures += 1
            tqdm.write(f"{path.name}: {problem}", file=sys.stderr)
    return 1 if failures else 0


def command_parser(prog: str) -> argparse.ArgumentParser:
    """Return what reads the arguments of the command named `prog`."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("image", type=Path, help="a picture, a folder of pictures, or a clip")
    parser.add_argument("--model", help="as zoo.load takes it (default: the app's)")
    parser.add_argument("--heads", type=int, help="for a file of weights that cannot tell")
    parser.add_argument("--weights", default="trained", choices=("trained", "random"))
    parser.add_argument("--out", type=Path, help="folder to write into")
    parser.add_argument("--html", type=Path, metavar="FILE", help="one HTML file to write")
    parser.add_argument(
        "--all",
        action="store_true",
        help="besides, of each picture: SVG, CSV, animations, captions, Python, and one HTML file",
    )
    parser.add_argument(
        "--width", type=_width, default=1200, help="pixels, of what --all draws: 200 to 8000"
    )
    parser.add_argument(
        "--layers", type=_numbers, metavar="LAYER,...", help="which to record, from zero: 0,5,11"
    )
    parser.add_argument("--clip", action="store_true", help="the folder holds a clip's frames")
    parser.add_argument("--every", type=count, default=1, metavar="N", help="each N-th frame of it")
    parser.add_argument(
        "--map", metavar="LAYER.HEAD", help="of a clip, from zero: 5.2, 5.mean, or rollout"
    )
    parser.add_argument("--query", help="cls, or ROW,COLUMN from 1 (default: cls, or the centre)")
    parser.add_argument("--colors", default="viridis")
    parser.add_argument("--opacity", type=share, default=0.75, help="from 0 to 1")
    parser.add_argument("--fusion", default="mean", choices=("mean", "max", "min"))
    parser.add_argument("--discard", type=float, default=0.0)
    parser.add_argument(
        "--without-heads", type=_heads, metavar="LAYER.HEAD,...", help="4.2,5.0: from zero"
    )
    parser.add_argument(
        "--hide", type=_numbers, metavar="PATCH,...", help="17,18: row by row from zero"
    )
    parser.add_argument("--hide-by", default="mean", choices=("mean", "blur"))
    return parser


def _heads(text: str) -> list[tuple[int, int]]:
    """Read layer.head,layer.head,..."""
    try:
        pairs = [part.split(".") for part in text.split(",")]
        return [(int(layer), int(head)) for layer, head in pairs]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not LAYER.HEAD,..., as 4.2,5.0.") from None


def _numbers(text: str) -> list[int]:
    """Read number,number,..."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NUMBER,..., as 17,18.") from None


def _width(text: str) -> int:
    """Read the width of a picture in pixels."""
    try:
        width = int(text)
    except ValueError:
        width = 0
    if not 200 <= width <= 8000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels from 200 to 8000.")
    return width


def _made_with(bundle: Bundle, options: argparse.Namespace) -> str:
    """Describe all that the files depend on, the picture apart."""
    apart = ("image", "out", "html")
    chosen = {name: value for name, value in vars(options).items() if name not in apart}
    weights = {"model": bundle.name, "sha256": bundle.card.sha256}
    return json.dumps(chosen | weights, sort_keys=True)


def _is_done(numbers: Path, made: str) -> bool:
    try:
        with np.load(numbers) as arrays:
            return str(arrays["made"]) == made
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return False


def _pictures(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    from model.images import looks_like_a_picture

    found = sorted(filter(looks_like_a_picture, path.iterdir()))
    if not found:
        raise FileNotFoundError(f"There is no picture in {path}.")
    return found


def _is_clip(options: argparse.Namespace) -> bool:
    from model.video import looks_like_a_clip

    return bool(options.clip) or looks_like_a_clip(options.image)


def _write_clip(bundle: Bundle, options: argparse.Namespace) -> int:
    """Write the files of a clip; a run that was stopped goes on where it ended."""
    from model.errors import NothingRecorded, NothingToShow
    from viz.files.clip import write_clip
    from viz.files.wanted import Wanted

    wanted, made = Wanted.from_options(options), _made_with(bundle, options)
    try:
        _refuse_changes(wanted)
        write_clip(bundle, wanted, options.image, options.out, made, options.every, options.map)
    except (ValueError, OSError, NothingRecorded, NothingToShow) as problem:
        print(f"{options.image.name}: {problem}", file=sys.stderr)
        return 1
    return 0


def _refuse_changes(wanted: Wanted) -> None:
    """Raise ValueError where a clip is to be seen by a changed model."""
    if wanted.changes:
        raise ValueError(
            "--without-heads and --hide take one picture: of a clip, give a frame's picture."
        )


def _draw(path: Path, bundle: Bundle, options: argparse.Namespace, out: Path, made: str) -> None:
    """Write the files of one picture. Raises ValueError with a sentence where that fails."""
    from model.captioning.caption import CaptionBundle
    from model.images import open_picture
    from viz.files.attention import record, write_attention
    from viz.files.captions import write_caption
    from viz.files.experiment import write_experiment
    from viz.files.figure import figure_of
    from viz.files.wanted import Wanted
    from viz.standalone import export_html

    opened, wanted = open_picture(path), Wanted.from_options(options)
    if opened.note:
        tqdm.write(f"{path.name}: {opened.note}", file=sys.stderr)
    out.mkdir(parents=True, exist_ok=True)
    if wanted.all:  # before the numbers, which say that all is done
        export_html(figure_of(bundle, opened.image, wanted), out / "figure.html")
    given = wanted, path, out, made
    if isinstance(bundle, CaptionBundle):
        write_caption(bundle, opened.image, *given)
    elif wanted.changes:
        write_experiment(bundle, opened.image, *given)
    else:
        write_attention(bundle, record(bundle, opened.image, wanted), *given)


def _write_html(bundle: Bundle, options: argparse.Namespace) -> int:
    """Write one picture or clip as an HTML file; say how large it is."""
    from model.errors import NothingRecorded, NothingToShow
    from model.images import open_picture
    from viz.files.clip import figure_of_clip
    from viz.files.figure import figure_of
    from viz.files.wanted import Wanted
    from viz.standalone import export_html, file_size

    wanted = Wanted.from_options(options)
    try:
        if _is_clip(options):
            _refuse_changes(wanted)
            figure = figure_of_clip(bundle, wanted, options.image, options.every, options.map)
        elif options.image.is_dir():
            raise ValueError("--html takes one picture or clip; --out takes a folder of pictures.")
        else:
            figure = figure_of(bundle, open_picture(options.image).image, wanted)
        print(f"{options.html}: at most {file_size(figure) / 1e6:.1f} MB ...", file=sys.stderr)
        path = export_html(figure, options.html)
    except (ValueError, OSError, NothingRecorded, NothingToShow) as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
