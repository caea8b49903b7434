"""Score every relevance method over many pictures.

`python -m model.evaluate attribution NAME --data DIR --limit 500 --out FILE.jsonl`

For a captioner of drawn scenes there is no DIR: see `model.evaluate.attribution_words`. One line
of the file is one picture; run again, it goes on where it was stopped. The table over all of them
is printed at the end and lies beside the file, as Markdown and as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from model import zoo
from model.agreement import rank_correlation
from model.arguments import count, device
from model.bundle import Bundle
from model.captions import CaptionBundle
from model.evaluate.pointing import edges, shares
from model.faithfulness import Curve, deletion, insertion, perturbation
from model.localisation import box_mask, inside, mass_mask, overlap, points_into
from model.relevance import METHODS, explain, why_not
from model.trace import Trace, trace_class

STEPS = 10  # Chefer's test wants tenths
MASS = 0.6

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


@dataclass(frozen=True)
class Photo:
    """A picture of a data set; `box` is left, top, right, bottom with the last pixels inside."""

    image: Image.Image
    label: str
    box: Sequence[int] | None


@dataclass(frozen=True)
class Task:
    """What is measured: `score` makes the file's line for each of the pictures, from 0."""

    head: dict[str, Any]  # the file's first line, which tells this run from others
    pictures: int
    score: Callable[[int], dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.set_defaults(measure=measure)
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


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the command; the table over all pictures. Raises ValueError with a sentence."""
    from tqdm import tqdm

    name = Path(options.name).stem if options.name.endswith(".safetensors") else options.name
    out = options.out or Path(f"attribution-{name.replace('/', '-')}.jsonl")
    task = _task(options)
    done = _begin(out, task.head)
    with out.open("a", encoding="utf-8") as file:
        for number in tqdm(range(task.pictures), unit="picture"):
            if number in done:
                continue
            file.write(json.dumps({"photo": number} | task.score(number)) + "\n")
            file.flush()
    lines = [line for line in _lines(out)[1:] if line["photo"] < task.pictures]
    summary = task.head | summarise(lines)
    text = table(summary)
    out.with_suffix(".md").write_text(text, encoding="utf-8")
    out.with_suffix(".json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(text)
    return summary


def _task(options: argparse.Namespace) -> Task:
    bundle = zoo.load(options.name)
    if isinstance(bundle, CaptionBundle):
        from model.evaluate import attribution_words

        return attribution_words.task(options, bundle)
    if options.data is None:
        raise ValueError(f"{options.name} is a classifier: name a folder of photos with --data.")
    untrained = zoo.load(options.name, weights="random")
    for model in (bundle, untrained):
        model.net.to(options.device)
    photos = read_photos(options.data, bundle, options.limit)
    head = {
        "model": options.name,
        "sha256": bundle.card.get("sha256"),
        "data": options.data.resolve().name,
        "target": options.target,
        "steps": STEPS,
    }

    def score(number: int) -> dict[str, Any]:
        return score_photo(bundle, untrained, photos[number], options.target, number)

    return Task(head, len(photos), score)


def read_photos(folder: Path, bundle: Bundle, limit: int | None) -> list[Photo]:
    """The test pictures of a data set."""
    from model.training import data

    split = data.read(folder, "test", min(bundle.image_size)).first(limit)
    boxes = [None] * len(split) if split.boxes is None else split.boxes.tolist()
    pictures = (image.permute(1, 2, 0).squeeze(-1).numpy() for image in split.images)
    labels = (split.classes[label] for label in split.labels.tolist())
    return [
        Photo(Image.fromarray(pixels), label, box)
        for pixels, label, box in zip(pictures, labels, boxes, strict=True)
    ]


# -- one photo ------------------------------------------------------------------------------------


def score_photo(
    bundle: Bundle, untrained: Bundle, photo: Photo, target: str, seed: int
) -> dict[str, Any]:
    """Every score of every method that makes sense on this model."""
    device = next(bundle.net.parameters()).device
    images = bundle.prepare(photo.image).to(device)
    with torch.no_grad():  # some nets keep tensors of their first pass, which must serve any later
        answer = int(bundle.net(images)[0].argmax())
    explained = answer if target == "prediction" else _class_of(bundle, photo.label)
    found = scores(
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


def scores(
    trace_of: Callable[[Bundle], Trace],
    models: tuple[Bundle, Bundle],
    photo: Photo,
    target: int,
    seed: int,
) -> dict[str, Any]:
    """Of one photo and one target, a class or the number of a word: what a line tells of it.

    `models`: the one that is explained, and the same one with random weights. `trace_of` makes a
    trace of either.
    """
    bundle, untrained = models
    device = next(bundle.net.parameters()).device
    started = _now(device)
    trace = trace_of(bundle)
    seconds = _now(device) - started
    maps, times = _maps(trace, seed)
    found: dict[str, dict[str, float]] = {name: {} for name in maps}
    for columns in (
        _faithful(trace, maps, target),
        _on_the_object(bundle, photo, maps),
        _like_untrained(trace_of(untrained), maps, seed),
        [{"milliseconds": 1000 * value} for value in times],
    ):
        for name, values in zip(maps, columns, strict=True):
            found[name] |= values
    return {
        "pass_milliseconds": 1000 * seconds,
        "box": _chance(bundle, photo),
        "methods": found,
    }


def _maps(trace: Trace, seed: int) -> tuple[dict[str, Tensor], list[float]]:
    maps, times = {}, []
    for name in METHODS:
        if why_not(trace, name):
            continue
        started = _now(trace.images.device)
        maps[name] = explain(trace, name, **_settings(name, seed))
        times.append(_now(trace.images.device) - started)
    return maps, times


def _settings(name: str, seed: int) -> dict[str, int]:
    """Another random map for each photo."""
    return {"seed": seed} if name == "random_map" else {}


def _faithful(trace: Trace, maps: dict[str, Tensor], target: int) -> list[dict[str, float]]:
    """All methods' curves in one go: the same photo, once a method."""
    together = torch.cat(list(maps.values()))
    copies = trace.images.expand(len(together), -1, -1, -1)

    def curve(which: Any, kind: str) -> Curve:
        return which(trace.net, copies, together, target, trace.layout, kind, STEPS)

    blurred = curve(deletion, "blurred"), curve(insertion, "blurred")
    zeroed = curve(deletion, "zeroed"), curve(insertion, "zeroed")
    columns = {
        "deletion": blurred[0].area,
        "insertion": blurred[1].area,
        "deletion_zeroed": zeroed[0].area,
        "insertion_zeroed": zeroed[1].area,
    }
    columns["positive"], columns["negative"] = perturbation(*zeroed)
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _on_the_object(bundle: Bundle, photo: Photo, maps: dict[str, Tensor]) -> list[dict[str, float]]:
    placed = _box_in_frame(bundle, photo)
    if placed is None:
        return [{}] * len(maps)
    box, size = placed
    together = torch.cat(list(maps.values())).cpu()
    boxes = edges(box).expand(len(together), -1)
    hits = points_into(together, boxes, size)
    overlaps = overlap(mass_mask(together, MASS), box_mask(boxes, size, together.shape[1:]))
    return [
        {"pointing": float(hit), "iou": iou}
        for hit, iou in zip(hits.tolist(), overlaps.tolist(), strict=True)
    ]


def _like_untrained(other: Trace, maps: dict[str, Tensor], seed: int) -> list[dict[str, float]]:
    """How far a map is that of the same model with random weights; 1 would be damning."""
    found = []
    for name, values in maps.items():
        map_ = explain(other, name, **_settings(name, seed))
        value = float(rank_correlation(values, map_))
        found.append({"untrained": value} if value == value else {})  # no order, no correlation
    return found


def _chance(bundle: Bundle, photo: Photo) -> dict[str, float] | None:
    """How often a random point, and the middle of the photo, lie in the box."""
    placed = _box_in_frame(bundle, photo)
    if placed is None:
        return None
    box, (height, width) = placed
    middle = torch.tensor([[width / 2, height / 2]])
    return {
        "chance": float(shares(box, (height, width))),
        "centre": float(inside(middle, edges(box))),
    }


def _box_in_frame(bundle: Bundle, photo: Photo) -> tuple[Tensor, tuple[int, int]] | None:
    """The box (1, 4) in the part of the photo that the patches cover, and that part's size.

    None where no box is known, or it lies outside.
    """
    if photo.box is None:
        return None
    left, top, right, bottom = bundle.frame_box(photo.image)
    x0, y0, x1, y1 = photo.box
    box = max(x0, left), max(y0, top), min(x1, right - 1), min(y1, bottom - 1)
    if box[2] < box[0] or box[3] < box[1]:
        return None
    return torch.tensor([box]) - torch.tensor([left, top, left, top]), (bottom - top, right - left)


def _class_of(bundle: Bundle, label: str) -> int:
    if bundle.classes is None or label not in bundle.classes:
        raise ValueError(
            f"{bundle.name} has no class “{label}”. Give data that it was trained on, or explain "
            "its own answers with --target prediction."
        )
    return bundle.classes.index(label)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


# -- all photos -----------------------------------------------------------------------------------


def summarise(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the photos, or over all their words (of the times: medians), a method each."""
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


def table(summary: dict[str, Any]) -> str:
    """The summary as Markdown."""
    methods = summary["methods"]
    columns = [c for c in COLUMNS if any(c in scores for scores in methods.values())]
    rows = [
        ["method", *(COLUMNS[c] for c in columns)],
        ["---", *("---:" for _ in columns)],
        *([name, *(_cell(c, s.get(c)) for c in columns)] for name, s in methods.items()),
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


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if column == "milliseconds" else f"{value:.3f}"


# -- the file -------------------------------------------------------------------------------------


def _begin(out: Path, head: dict[str, Any]) -> set[int]:
    """Start the file, or see which photos it has; ValueError where it is of another run."""
    if not out.exists() or out.stat().st_size == 0:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(head) + "\n", encoding="utf-8")
        return set()
    lines = _lines(out)
    if not lines or lines[0] != head:
        raise ValueError(f"{out} is of another run. Delete it, or name another file with --out.")
    # A line that was cut short when the run was stopped is left out, and its photo done again.
    out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return {line["photo"] for line in lines[1:]}


def _lines(file: Path) -> list[dict[str, Any]]:
    return list(_whole(file.read_text(encoding="utf-8").splitlines()))


def _whole(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            return
