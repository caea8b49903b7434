"""Measure every checkpoint again, from its file, and compare with the figures on its card."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from model import zoo
from model.card import Card
from model.datasets import captions, scenes
from model.errors import CheckpointError
from model.evaluate import caption, classify, confusion
from model.evaluate.caption_glance import GLANCE, TEST_SCENES, glance
from model.nets.vit import VisionTransformer
from model.zoo import cards, checkpoints

TOLERANCE = 0.001
HALF_LOSS = 0.002  # what storing in float16 may cost, of the accuracy in float32
FOLDERS = {
    "CIFAR-10": "cifar10",
    "Fashion-MNIST": "fashion_mnist",
    "Tiny ImageNet": "tiny_imagenet",
    "Flickr8k": "flickr8k",
}
NO_QUALITY = ("training_pictures", "training_seconds")  # these cannot be measured again
ROUNDING = 1e-9
DIFFERS, NOT_MEASURED, UNKNOWN = "DIFFERS", "NOT MEASURED", "not on the card"
WRONG = (DIFFERS, NOT_MEASURED)
WIDTHS = "{:<20} {:<28} {:>9} {:>9} {:>10}  {}"


class Skipped(Exception):
    """A checkpoint that cannot be measured here; the message says why."""


class Line(NamedTuple):
    """One figure, on the card and measured; None where it is missing."""

    figure: str
    card: float | None
    measured: float | None
    least: float = -TOLERANCE  # the smallest difference, measured minus card, that passes
    most: float = TOLERANCE

    @property
    def difference(self) -> float | None:
        """Measured minus card."""
        if self.card is None or self.measured is None:
            return None
        return self.measured - self.card

    @property
    def verdict(self) -> str:
        """What is wrong with the figure; empty if nothing is."""
        if self.card is None:
            return UNKNOWN
        if self.difference is None:
            return NOT_MEASURED
        fits = self.least - ROUNDING <= self.difference <= self.most + ROUNDING
        return "" if fits else DIFFERS


def check_checkpoints(files: Sequence[Path], folder: Path, device: str = "cpu") -> dict[str, Any]:
    """Print a table of all figures of checkpoints, and return a summary.

    `folder` holds the folders of the data sets; a checkpoint whose data is missing is skipped.
    A figure on a card that cannot be measured counts as a difference. So does a file that cannot
    be opened, or whose data is damaged. Raises ValueError where nothing could be checked.
    """
    checked: list[str] = []
    skipped: dict[str, str] = {}
    differences = 0
    print(WIDTHS.format("name", "figure", "card", "measured", "difference", "").rstrip())
    for file in files:
        try:
            for line in _compare_figures(file, folder, device):
                differences += line.verdict in WRONG
                print(_format_line(file.stem, line), flush=True)
        except Skipped as reason:
            skipped[file.stem] = str(reason)
            print(f"{file.stem:<20} skipped: {reason}", flush=True)
        except (ValueError, OSError) as error:  # a damaged file, data of other classes, ...
            differences += 1
            print(f"{file.stem:<20} {error}", flush=True)
        else:
            checked.append(file.stem)
    if not checked and not differences:
        raise ValueError("Nothing was checked. Give the folder of the data sets with --data.")
    return {"checked": checked, "skipped": skipped, "differences": differences}


def _format_line(name: str, line: Line) -> str:
    values = (
        _format_number(line.card),
        _format_number(line.measured),
        _format_number(line.difference, "+"),
    )
    return WIDTHS.format(name, line.figure, *values, line.verdict).rstrip()


def _format_number(value: float | None, sign: str = "") -> str:
    if value is None:
        return ""
    return f"{value:{sign}}" if isinstance(value, int) else f"{value:{sign}.4f}"


def _compare_figures(file: Path, folder: Path, device: str) -> Iterator[Line]:
    card = cards.read_card(file)
    measure = _measure_captioner if card.task == "caption" else _measure_classifier
    measured, others = measure(file, card, folder, device)
    figures = {name: v for name, v in card.metrics.items() if name not in NO_QUALITY}
    for name in figures | measured:
        yield Line(name, figures.get(name), measured.get(name))
    yield from others


def _data_folder(card: Card, folder: Path) -> Path:
    known = FOLDERS.get(card.data or "")
    if known is None:
        raise Skipped(f"nobody knows where its data ({card.data or 'not named'}) lies")
    if not (folder / known).is_dir():
        raise Skipped(f"there is no folder {folder / known}")
    return folder / known


# -- one checkpoint --------------------------------------------------------------------------------


def _measure_classifier(
    file: Path, card: Card, folder: Path, device: str
) -> tuple[dict[str, float], list[Line]]:
    folder = _data_folder(card, folder)
    net, card = checkpoints.load_checkpoint(file)
    if not isinstance(net, VisionTransformer):
        raise CheckpointError(f"{file.name} is no classifier, and its card calls it one.")
    figures, _ = classify.measure_classifier(net, card, folder, device=device)
    pictures = card.metrics.get("test_pictures", figures["test_pictures"])
    if figures["test_pictures"] != pictures:
        raise Skipped(
            f"its figures come from {pictures:,} test pictures, the folder has "
            f"{figures['test_pictures']:,}"
        )
    accuracy, others = figures["test_accuracy"], []
    if (full := _accuracy_in_float32(card)) is not None:
        others.append(Line("float32 when trained", full, accuracy, -HALF_LOSS, 1.0))
    if card.confusion is not None:
        others.append(Line("table of mix-ups, right", _confusion_accuracy(file, card), accuracy))
    return figures, others


def _accuracy_in_float32(card: Card) -> float | None:
    """Return the last accuracy of the training curve: of the same net, before it was stored.

    A net trained on a GPU was measured there in bfloat16, which comes close.
    """
    last = (card.curve or [{}])[-1]
    return last.get("test_accuracy") if last.get("epoch") == card.epochs else None


def _confusion_accuracy(file: Path, card: Card) -> float:
    try:
        counts = confusion.unpack_confusion(card.confusion or [], len(card.classes or ()))
    except ValueError as error:
        raise CheckpointError(f"{file.name}: {error}") from error
    return counts.trace() / counts.sum()


def _measure_captioner(
    file: Path, card: Card, folder: Path, device: str
) -> tuple[dict[str, float], list[Line]]:
    bundle = zoo.load(file)
    if not isinstance(bundle, zoo.CaptionBundle):
        raise CheckpointError(f"{file.name} is no captioner, and its card calls it one.")
    figures: dict[str, float] = {}
    for beams in _measured_beams(card):
        how = "" if beams == 1 else f"_beam{beams}"
        found = _measure_captions(bundle, card, folder, how, beams)
        figures |= {f"{name}{how}": value for name, value in found.items()}
    others = []
    if (full := _accuracy_in_float32(card)) is not None:
        stored = glance(caption.own_captioner(bundle), _curve_data(bundle, card, folder), bundle)
        words = stored["test_accuracy"]
        others.append(Line("float32 when trained, words", full, words, -HALF_LOSS, 1.0))
    return figures, others


def _curve_data(bundle: zoo.CaptionBundle, card: Card, folder: Path) -> captions.CaptionData:
    """Return the pictures that the training curve was measured on."""
    if bundle.knows_only_scenes:
        return captions.DrawnScenes(TEST_SCENES, scenes.TESTING)
    return captions.read_captioned_photos(_data_folder(card, folder), "val", GLANCE)


def _measure_captions(
    bundle: zoo.CaptionBundle, card: Card, folder: Path, how: str, beams: int
) -> dict[str, float]:
    if bundle.knows_only_scenes:
        count = int(card.metrics.get(f"test_scenes{how}", caption.SCENES))
        return caption.measure_on_scenes(bundle, count, beams=beams)
    return caption.measure_on_photos(bundle, _data_folder(card, folder), beams=beams)


def _measured_beams(card: Card) -> list[int]:
    """List the numbers of beams on the card: "captions_right_beam3" was measured with 3."""
    ends = (re.search(r"_beam(\d+)$", name) for name in card.metrics)
    return sorted({1, *(int(end[1]) for end in ends if end)})
