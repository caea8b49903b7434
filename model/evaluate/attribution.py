"""Score every attribution method over many pictures.

`python -m model.evaluate attribution NAME --data DIR --limit 500 --out FILE.jsonl`

For a captioner of drawn scenes there is no DIR: see `model.evaluate.attribution_words`. One line
of the file is one picture; a second run goes on where the first was stopped. With --workers, --ray
or --shard the pictures are shared out. The table over all pictures is printed at the end, and
written beside the file as Markdown and as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from PIL import Image

from model import zoo
from model.attribution.registry import METHODS
from model.attribution.trace import trace_class
from model.bundle import Bundle
from model.captioning.caption import CaptionBundle
from model.datasets import pictures
from model.datasets.split import Split
from model.evaluate import attribution_words
from model.evaluate.arguments import count, device
from model.evaluate.attribution_scores import STEPS, Photo, score_methods
from model.evaluate.photo_measure import Task, add_engine_arguments, hash_split, run_photos

COLUMNS = {
    "deletion": "deletion ↓",
    "insertion": "insertion ↑",
    "deletion_zeroed": "deletion, zeroed ↓",
    "insertion_zeroed": "insertion, zeroed ↑",
    "positive": "positive ↓",
    "negative": "negative ↑",
    "pointing": "pointing ↑",
    "iou": "IoU ↑",
    "untrained": "agrees with random weights ↓",
    "milliseconds": "ms a map",
}


def add_attribution_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m model.evaluate attribution`."""
    parser.set_defaults(measure=run_attribution)
    parser.add_argument("name", help="a model's name, as model.zoo.load takes it")
    parser.add_argument("--data", type=Path, help="folder of the data set; none for drawn scenes")
    parser.add_argument("--limit", type=count, default=500, help="only the first pictures")
    parser.add_argument("--words", type=int, default=0, help="of each caption; 0: all that name")
    parser.add_argument("--out", type=Path, help="attribution-NAME.jsonl where it is not given")
    parser.add_argument(
        "--target",
        choices=("prediction", "label"),
        default="prediction",
        help="the class to explain: the model's answer, or the data's",
    )
    parser.add_argument("--device", type=device, default="cpu", help="cpu or cuda")
    add_engine_arguments(parser)


def run_attribution(options: argparse.Namespace) -> dict[str, Any]:
    """Run the command and return the summary over all pictures. Raises ValueError."""
    name = Path(options.name).stem if options.name.endswith(".safetensors") else options.name
    out = options.out or Path(f"attribution-{name.replace('/', '-')}.jsonl")
    open_task = partial(open_attribution, options)
    state, lines = run_photos(open_task, out, options, options.device)
    return write_summary(state.head, lines, out)


def write_summary(head: dict[str, Any], lines: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    """Print the table over all pictures, write it beside the file of lines, and return it."""
    summary = head | summarise_scores(lines)
    text = format_table(summary)
    out.with_suffix(".md").write_text(text, encoding="utf-8")
    out.with_suffix(".json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(text)
    return summary


def open_attribution(options: argparse.Namespace) -> Task:
    """Open what scoring takes: the model, the same one untrained, and the pictures.

    Raises:
        ValueError: the options do not suit the model.
        DataError, ModelNotFound, ModelRejected
    """
    bundle = zoo.load(options.name)
    if isinstance(bundle, CaptionBundle):
        return attribution_words.word_task(options, bundle)
    if options.data is None:
        raise ValueError(f"{options.name} is a classifier: name a folder of photos with --data.")
    untrained = zoo.load(options.name, weights="random")
    for model in (bundle, untrained):
        model.net.to(options.device)
    split = pictures.read_split(options.data, "test", min(bundle.image_size))
    photos = photos_of(split.first(options.limit))
    head = {
        "model": options.name,
        "sha256": bundle.card.sha256,
        "data": options.data.resolve().name,
        "target": options.target,
        "steps": STEPS,
    }

    def score(number: int) -> dict[str, Any]:
        return score_photo(bundle, untrained, photos[number], options.target, number)

    measures = ("attribution", *METHODS)
    return Task(head, measures, (bundle, untrained), hash_split(split), len(photos), score)


def photos_of(split: Split) -> list[Photo]:
    """List the pictures of a data set, with their labels and boxes."""
    boxes = [None] * len(split) if split.boxes is None else split.boxes.tolist()
    images = (image.permute(1, 2, 0).squeeze(-1).numpy() for image in split.images)
    labels = (split.classes[label] for label in split.labels.tolist())
    return [
        Photo(Image.fromarray(pixels), label, box)
        for pixels, label, box in zip(images, labels, boxes, strict=True)
    ]


# -- one photo ------------------------------------------------------------------------------------


def score_photo(
    bundle: Bundle, untrained: Bundle, photo: Photo, target: str, seed: int
) -> dict[str, Any]:
    """Compute every score of every method that suits this model."""
    device = next(bundle.net.parameters()).device
    images = bundle.prepare(photo.image).to(device)
    with torch.no_grad():  # some nets keep tensors of their first pass for later ones
        answer = int(bundle.net(images)[0].argmax())
    explained = answer if target == "prediction" else _class_index(bundle, photo.label)
    found = score_methods(
        lambda model: trace_class(model.net, images, model.tokens, explained),
        (bundle, untrained),
        photo,
        explained,
        seed,
    )
    return {
        "label": photo.label,
        "class": explained,
        "right": bundle.classes is not None and bundle.classes[answer] == photo.label,
        **found,
    }


def _class_index(bundle: Bundle, label: str) -> int:
    if bundle.classes is None or label not in bundle.classes:
        raise ValueError(
            f"{bundle.name} has no class “{label}”. Give data that it was trained on, or explain "
            "its own answers with --target prediction."
        )
    return bundle.classes.index(label)


# -- all photos -----------------------------------------------------------------------------------


def summarise_scores(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Average the scores of each method over the photos, or over all their words.

    Times are medians.
    """
    targets = [target for line in lines for target in line.get("words", [line])]
    methods: dict[str, dict[str, float]] = {}
    for name in targets[0]["methods"] if targets else ():
        found = [target["methods"][name] for target in targets]
        methods[name] = {
            column: round(summary(values), 4)
            for column in COLUMNS
            if (values := [scores[column] for scores in found if column in scores])
            for summary in [median if column == "milliseconds" else fmean]
        }
    boxes = [target["box"] for target in targets if target["box"]]
    chance = {
        f"pointing_{kind}": round(fmean(box[kind] for box in boxes), 4)
        for kind in ("chance", "centre")
        if boxes
    }
    passes = [target["pass_milliseconds"] for target in targets]
    words = {"words": len(targets)} if any("words" in line for line in lines) else {}
    return {
        "photos": len(lines),
        **words,
        "right": round(fmean(line["right"] for line in lines), 4) if lines else None,
        "pass_milliseconds": round(median(passes), 2) if passes else None,
        **chance,
        "methods": methods,
    }


def format_table(summary: dict[str, Any]) -> str:
    """Write the summary as Markdown."""
    methods = summary["methods"]
    columns = [c for c in COLUMNS if any(c in scores for scores in methods.values())]
    rows = [
        ["method", *(COLUMNS[c] for c in columns)],
        ["---", *("---:" for _ in columns)],
        *([name, *(_format_cell(c, s.get(c)) for c in columns)] for name, s in methods.items()),
    ]
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    what = (
        f"{summary['words']} words in the captions of {summary['photos']} {summary['data']}, each "
        f"a {summary['target']} that {summary['model']} named rightly"
        if "words" in summary
        else f"{summary['photos']} photos of {summary['data']}, explained for the "
        f"{summary['target']} of {summary['model']}"
    )
    notes = [
        what,
        f"one pass forward and back, shared by all methods: {summary['pass_milliseconds']} ms",
    ]
    if "pointing_chance" in summary:
        notes.append(
            f"pointing by chance {summary['pointing_chance']:.3f}, at the middle of the picture "
            f"{summary['pointing_centre']:.3f}"
        )
    return f"{text}\n\n{'; '.join(notes)}.\n"


def _format_cell(column: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if column == "milliseconds" else f"{value:.3f}"
