"""Turn what a notebook has, a net and a picture or records, into a recorded image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from model.bundle import Bundle
from model.errors import NothingRecorded, NothingToShow
from model.image_layers import find_grid, image_layers, name_others, name_skipped
from model.recorded_image import RecordedImage, record_image
from model.recording.record import AttentionRecord
from model.recording.recorder import AttentionRecorder
from model.tokens import TokenLayout

Prepare = Callable[[Image.Image], Tensor]
TOP = 5  # classes that are named


class CannotShow(ValueError):
    """What was given cannot be shown; the message says what to pass.

    In a notebook the message stands in the cell alone, without a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


@dataclass(frozen=True)
class Given:
    """A picture through a model, and what is known of both."""

    recorded: RecordedImage
    model: str
    notes: Sequence[str] = field(default=())


def record_given(
    subject: Any,
    image: Image.Image | Tensor | None,
    tokens: TokenLayout | None = None,
    prepare: Prepare | None = None,
    classes: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    name: str = "",
) -> Given:
    """Record what `viz.notebook.show` was given; see there for the arguments.

    Raises:
        CannotShow: with a sentence that says what to pass.
    """
    try:
        if isinstance(subject, Bundle):
            found = record_image(subject, _picture(image), layers)
            return Given(found, name or subject.name, _notes(found))
        if isinstance(subject, RecordedImage):
            return Given(subject, name or "records", _notes(subject))
        if isinstance(subject, nn.Module):
            return _record_net(subject, image, tokens, prepare, classes, layers, name)
        if _are_records(subject):
            found = from_records(list(subject), _picture(image), tokens)
            return Given(found, name or "records", _notes(found))
    except (NothingRecorded, NothingToShow) as problem:
        raise CannotShow(str(problem)) from None
    raise CannotShow(
        f"A {type(subject).__name__} cannot be shown. Give a net or a bundle with a picture, the "
        "records of an AttentionRecorder with a picture and its tokens, or a caption."
    )


def from_records(
    records: Sequence[AttentionRecord], frame: Image.Image, tokens: TokenLayout | None
) -> RecordedImage:
    """Make a recorded image of records that were kept before.

    Args:
        records: of one forward pass over one picture.
        frame: the part of the picture that the model saw.
        tokens: what each token stands for.

    Raises:
        CannotShow: where the tokens are unknown, or others than the model's.
        NothingToShow: where no record attends among the picture's tokens.
    """
    if tokens is None:
        raise CannotShow(ask_for_tokens(records))
    found = image_layers(records, tokens)
    if all(each.layer.tokens.tokens != tokens.tokens for each in found):
        raise CannotShow(ask_for_tokens(records, tokens))
    return RecordedImage(
        records=[each.record for each in found],
        layers=[each.layer for each in found],
        numbers=tuple(each.place for each in found),
        whole=True,
        frame=frame,
        guesses=[],
        not_shown=name_others(records, found),
        skipped=name_skipped(records, found),
    )


def ask_for_tokens(records: Sequence[AttentionRecord], given: TokenLayout | None = None) -> str:
    """Say which `tokens` to pass, with the layouts that the number of tokens allows."""
    count = max(record.shape[-1] for record in records)
    guesses = []
    for prefix in ((), ("cls",), ("cls", "dist"), ("cls", "reg0", "reg1", "reg2", "reg3")):
        grid = find_grid(count - len(prefix), (1, 1))
        if grid and grid[0] == grid[1]:
            guesses.append(f"TokenLayout(grid={grid}, prefix={prefix}, patch=(16, 16))")
    such = f", such as tokens={' or '.join(guesses)}" if guesses else ""
    lack = f"`tokens` has {given.tokens}" if given else "nothing says which patch each of them is"
    return (
        f"The model attends among {count} tokens, and {lack}. "
        f"Pass tokens{such}; from model.tokens import TokenLayout. A patch is its size in pixels."
    )


def _are_records(subject: Any) -> bool:
    return (
        isinstance(subject, Sequence)
        and len(subject) > 0
        and all(isinstance(each, AttentionRecord) for each in subject)
    )


def _picture(image: Any) -> Image.Image:
    if not isinstance(image, Image.Image):
        raise CannotShow(
            "Give the picture as the second argument, as PIL opens it: "
            "model.images.open_image(path) or PIL.Image.open(path)."
        )
    return image.convert("RGB")


def _record_net(
    net: nn.Module,
    image: Image.Image | Tensor | None,
    tokens: TokenLayout | None,
    prepare: Prepare | None,
    classes: Sequence[str] | None,
    layers: Sequence[int] | None,
    name: str,
) -> Given:
    """Record a net of one's own, which brings neither preprocessing nor a layout."""
    images = _prepared(image, prepare)
    if isinstance(known := getattr(net, "tokens", None), TokenLayout):
        tokens = tokens or known
    training = net.training
    net.eval()
    try:
        with torch.no_grad(), AttentionRecorder(net, layers) as recorder:
            logits = net(images)
    finally:
        net.train(training)
    frame, note = _frame(image, images)
    found = from_records(recorder.records, frame, tokens)
    whole = {"whole": layers is None, "guesses": _guess(logits, classes)}
    if layers is not None:
        whole["numbers"] = tuple(layers[number] for number in found.numbers)
    found = RecordedImage(**{**vars(found), **whole, "not_recorded": recorder.not_recorded})
    return Given(found, name or type(net).__name__, [*note, *_notes(found)])


def _prepared(image: Any, prepare: Prepare | None) -> Tensor:
    """Return the picture as the net takes it, (1, C, H, W)."""
    if isinstance(image, Tensor):
        images = image
    elif prepare is None:
        raise CannotShow(
            "A net of your own needs its preprocessing: pass prepare=, a function from a PIL "
            "picture to a tensor (1, C, H, W), or give the prepared tensor as the picture."
        )
    else:
        images = prepare(_picture(image))
    if not isinstance(images, Tensor) or images.ndim not in (3, 4):
        raise CannotShow("A prepared picture is a tensor (1, C, H, W), or (C, H, W).")
    images = images[None] if images.ndim == 3 else images
    if len(images) != 1:
        raise CannotShow(
            f"One picture is shown at a time, and these are {len(images)}: images[:1]."
        )
    return images


def _frame(image: Any, images: Tensor) -> tuple[Image.Image, list[str]]:
    """Return what the model saw: the picture where its sides agree, or else the tensor, drawn."""
    height, width = images.shape[-2:]
    if (
        isinstance(image, Image.Image)
        and abs(image.width * height / (image.height * width) - 1) < 0.01
    ):
        return image.convert("RGB"), []
    pixels = images[0].detach().float().cpu().numpy()
    pixels = pixels[:3] if len(pixels) >= 3 else np.repeat(pixels[:1], 3, axis=0)
    low, high = float(pixels.min()), float(pixels.max())
    scaled = (255 * (pixels - low) / max(high - low, 1e-9)).round().astype(np.uint8)
    drawn = Image.fromarray(scaled.transpose(1, 2, 0))
    return drawn, ["The photo is drawn from the prepared tensor, stretched to its own range."]


def _guess(logits: Any, classes: Sequence[str] | None) -> list[tuple[str, float]]:
    logits = getattr(logits, "logits", logits)
    if classes is None or not isinstance(logits, Tensor) or logits.shape[-1] != len(classes):
        return []
    best = logits.reshape(-1, len(classes))[0].float().softmax(-1).topk(min(TOP, len(classes)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [(str(classes[index]), share) for index, share in pairs]


def _notes(recorded: RecordedImage) -> list[str]:
    return [note for note in (recorded.not_recorded, recorded.not_shown) if note]
