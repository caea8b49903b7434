"""Attention as files, without the app: `python -m viz IMAGE --model NAME --out DIR`.

IMAGE is a picture or a folder of pictures. Each gets a folder of its own with the
layers x heads sheet, every layer's mean map over the photo, rollout, and the numbers.
A run that was stopped goes on where it ended: pictures whose folders were finished by the same
model with the same options are passed over.

`--html FILE` writes the figure as one HTML file instead, which opens from disk, offline, with all
layers and heads alive in it; of a captioner, its caption.

With --without-heads or --hide there are two folders, "before" and "after", and "answers.json" has
the probability of every class in both.
"""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from model.evaluate.arguments import share
from viz.pictures.overlay import overlay
from viz.pictures.sheet import sheet

if TYPE_CHECKING:
    from PIL import Image

    from model.bundle import Bundle
    from model.intervention import Intervention
    from model.recorded_image import RecordedImage
    from model.tokens import TokenLayout

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
    if options.html and (options.without_heads or options.hide):
        parser.error("--html shows the model as it is: --without-heads and --hide go with --out.")
    from model import zoo
    from model.captioning.caption import CaptionBundle
    from model.errors import NothingRecorded, NothingToShow
    from model.zoo import checkpoints

    # The same model with which the app opens; without any, loading says what is missing.
    default = next(iter(zoo.names()), checkpoints.DEFAULTS[0])
    name = default if options.model is None else options.model
    try:
        bundle = zoo.load(name, heads=options.heads, weights=options.weights)
        if options.html:
            return _write_html(bundle, options)
        if isinstance(bundle, CaptionBundle):
            raise zoo.ModelRejected(f"{name} writes captions: see its words in the app.")
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
    parser.add_argument("image", type=Path, help="a picture, or a folder of pictures")
    parser.add_argument("--model", help="as zoo.load takes it (default: the app's)")
    parser.add_argument("--heads", type=int, help="for a file of weights that cannot tell")
    parser.add_argument("--weights", default="trained", choices=("trained", "random"))
    parser.add_argument("--out", type=Path, help="folder to write into")
    parser.add_argument("--html", type=Path, metavar="FILE", help="one HTML file to write")
    parser.add_argument(
        "--layers", type=_numbers, metavar="LAYER,...", help="of the HTML file, from zero: 0,5,11"
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


def _made_with(bundle: Bundle, options: argparse.Namespace) -> str:
    """Describe all that the files depend on, the picture apart."""
    apart = ("image", "out", "html", "layers")
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


def _draw(path: Path, bundle: Bundle, options: argparse.Namespace, out: Path, made: str) -> None:
    """Write the files of one picture. Raises ValueError with a sentence where that fails."""
    from model.images import open_picture
    from model.recorded_image import record_image

    opened = open_picture(path)
    if opened.note:
        tqdm.write(f"{path.name}: {opened.note}", file=sys.stderr)
    recorded = record_image(bundle, opened.image)
    if not (options.without_heads or options.hide):
        _write(recorded, options, out, made)
        return
    changed = _intervention(bundle, options)
    with changed:
        after = record_image(bundle, opened.image)
    _write(recorded, options, out / "before", made)
    _write(after, options, out / "after", made)
    answers = {"before": _answer(bundle, opened.image)}
    with changed:
        answers["after"] = _answer(bundle, opened.image)
    (out / "answers.json").write_text(json.dumps(answers, indent=2) + "\n", encoding="utf-8")
    np.savez(out / NUMBERS, made=made)


def _write_html(bundle: Bundle, options: argparse.Namespace) -> int:
    """Write one picture as an HTML file; say how large it is."""
    from model.errors import ImageRejected
    from model.images import open_picture
    from viz.notebook import show
    from viz.standalone import export_html, file_size

    try:
        if options.image.is_dir():
            raise ValueError("--html takes one picture; --out takes a folder of them.")
        opened = open_picture(options.image)
        query = _parse_query(options.query, bundle.tokens) if options.query else None
        shown = show(bundle, opened.image, layers=options.layers, query=query)
        print(f"{options.html}: at most {file_size(shown) / 1e6:.1f} MB ...", file=sys.stderr)
        path = export_html(shown, options.html)
    except (ValueError, OSError, ImageRejected) as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def _intervention(bundle: Bundle, options: argparse.Namespace) -> Intervention:
    from model.intervention import intervene

    off: dict[int | str, list[int]] = {}
    for layer, head in options.without_heads or ():
        off.setdefault(layer, []).append(head)
    return intervene(
        bundle.net,
        heads_off=off,
        hide_patches=options.hide or (),
        hide=options.hide_by,
        tokens=bundle.tokens,
    )


def _answer(bundle: Bundle, image: Image.Image) -> dict[str, float]:
    """Compute the probability of every class, likeliest first; empty where there are none."""
    import torch

    with torch.no_grad():
        logits = bundle.net(bundle.prepare(image))[0].float()
    if bundle.classes is None or len(logits) != len(bundle.classes):
        return {}
    shares = zip(bundle.classes, logits.softmax(0).tolist(), strict=True)
    return dict(sorted(shares, key=lambda share: -share[1]))


def _write(recorded: RecordedImage, options: argparse.Namespace, out: Path, made: str) -> None:
    """Write the files of one recorded image."""
    tokens = recorded.layers[-1].tokens
    query = _parse_query(options.query, tokens)
    maps = recorded.maps(-1, query)
    paint = partial(overlay, recorded.frame, color_map=options.colors, opacity=options.opacity)
    out.mkdir(parents=True, exist_ok=True)
    _clear(out)
    style = {"color_map": options.colors, "opacity": options.opacity}
    flat = maps.reshape(*maps.shape[:2], -1)
    sheet(recorded.frame, flat, maps.shape[2:], recorded.head_counts, **style).save(
        out / "heads.png"
    )
    for layer, heads in enumerate(maps, start=1):
        paint(weights=heads.mean(0)).save(out / f"layer-{layer:02d}-mean.png")
    arrays: dict[str, Any] = {"maps": maps, "query": query, "made": made}
    arrays["prefix"] = np.array(tokens.prefix, str)
    if not recorded.windowed:
        arrays["weights"] = recorded.rows(query)
    if not recorded.no_rollout:
        row = _rollout(recorded, query, options)
        paint(weights=row[tokens.patch_slice].reshape(tokens.grid)).save(out / "rollout.png")
        arrays["rollout"] = row
    _save(out / NUMBERS, arrays)


def _clear(out: Path) -> None:
    """Remove the files of a model that was drawn before, which may have more layers."""
    if (out / NUMBERS).exists():
        for left in (out / NUMBERS, out / "rollout.png", *out.glob("layer-[0-9]*-mean.png")):
            left.unlink(missing_ok=True)


def _rollout(recorded: RecordedImage, query: int, options: argparse.Namespace) -> np.ndarray:
    from model.recording.rollout import rollout

    rows = rollout(recorded.records, query=query, fusion=options.fusion, discard=options.discard)
    return rows[0].numpy()


def _parse_query(text: str | None, tokens: TokenLayout) -> int:
    from model.recorded_image import default_query

    if text is None:
        return default_query(tokens)
    if text in tokens.prefix:
        return tokens.prefix.index(text)
    try:
        row, column = map(int, text.split(","))
        return tokens.index_of(row - 1, column - 1)
    except (ValueError, IndexError):
        names = "".join(f"{name}, or " for name in tokens.prefix)
        rows, columns = tokens.grid
        raise ValueError(
            f"--query {text}: give {names}ROW,COLUMN from 1,1 to {rows},{columns}."
        ) from None


def _save(path: Path, arrays: dict[str, Any]) -> None:
    """Write the file whole or not at all, because it says that the picture is done."""
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)
    unfinished.replace(path)


if __name__ == "__main__":
    sys.exit(main())
