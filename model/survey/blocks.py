"""Survey one block of pictures: read and decode them, run the model, gather what it tells."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from model import zoo
from model.bundle import Bundle
from model.captioning.caption import CaptionBundle
from model.card import Card
from model.errors import ImageRejected, InterventionRefused, SurveyError
from model.images import open_image
from model.intervention.scans import scan_heads
from model.survey.block_measure import BlockMeasure
from model.survey.fingerprint import Fingerprint, take_fingerprint
from model.survey.listing import Listing, PictureBlock
from model.survey.picture_measures import Shape, choose_batch, find_shape, measure_batch
from model.survey.sources.listed_picture import ListedPicture
from model.survey.state import EFFECTS, SurveyState

Box = tuple[float, ...] | None


@dataclass(frozen=True)
class Prepared:
    """The pictures of a block as the model takes them, and those that could not be opened."""

    block: int
    images: np.ndarray
    """float32 (n, C, H, W)."""
    pictures: list[int]
    """The number of each in the listing."""
    labels: list[str | None]
    boxes: list[Box]
    reasons: dict[int, str]
    """Why a picture could not be opened, by its number."""


@dataclass(frozen=True)
class Survey(BlockMeasure[PictureBlock, Prepared, SurveyState]):
    """The measures of every head, over the pictures of a listing."""

    name: str
    device: str
    shape: Shape
    fingerprint: Fingerprint
    preparation: Bundle
    """The model's bundle without its net: what preparing a picture needs."""

    def start_preparing(self) -> Callable[[PictureBlock], Prepared]:
        return partial(prepare_block, self.preparation)

    def start_measuring(self) -> Callable[[Prepared], SurveyState]:
        torch.set_num_threads(self.fingerprint.threads)
        bundle = load_model(self.name, self.device)
        kept = self.fingerprint
        own = take_fingerprint(
            bundle,
            kept.data,
            kept.pictures,
            block=kept.block,
            batch=kept.batch,
            sample=kept.sample,
        )
        kept.check(own, "A worker process")
        return lambda prepared: self.measure(bundle, prepared)

    def measure(self, bundle: Bundle, prepared: Prepared) -> SurveyState:
        """Measure the prepared pictures of a block."""
        state = SurveyState(self.name, self.fingerprint, self.shape, {prepared.block})
        for number, reason in prepared.reasons.items():
            state.add_damaged(number, reason)
        images = torch.from_numpy(prepared.images)
        for start in range(0, len(images), self.fingerprint.batch):
            part = slice(start, start + self.fingerprint.batch)
            measured = measure_batch(bundle, images[part], self.shape, prepared.boxes[part])
            state.add(measured, prepared.pictures[part], prepared.labels[part])
        for place, number in enumerate(prepared.pictures):
            if is_in_sample(number, self.fingerprint):
                state.effects.add(self._switch_heads_off(bundle, images[place : place + 1]))
        return state

    def _switch_heads_off(self, bundle: Bundle, image: Tensor) -> np.ndarray:
        """Measure by how much the answer changes without each head: (1, effects, L, H)."""
        image = image.to(next(bundle.net.parameters()).device)
        scan = scan_heads(bundle.net, image, batch_size=self.fingerprint.batch)
        found = np.full((1, len(EFFECTS), *self.shape.table), np.nan)
        for layer, name in enumerate(self.shape.layers):
            for place, measure in enumerate(EFFECTS):
                row = scan.effects.effect(measure)[scan.layers.index(name)]
                heads = self.shape.heads[layer]
                found[0, place, layer, :heads] = row[:heads].cpu()
        return found


def plan_survey(
    name: str,
    listing: Listing,
    *,
    device: str = "cpu",
    batch: int | None = None,
    threads: int = 1,
    sample: int = 64,
) -> tuple[Survey, str | None]:
    """Open a model, see what its heads are like, and fix all that decides the numbers.

    Args:
        name: of the model, as `zoo.load` takes it.
        listing: of the pictures.
        device: "cpu" or "cuda".
        batch: pictures that go through the model at once; None chooses.
        threads: of torch, in each process.
        sample: how many pictures, spread over the listing, to switch heads off on.

    Returns:
        The survey; and a note where heads cannot be switched off, else None.

    Raises:
        ModelNotFound, ModelRejected, NothingRecorded, NothingToShow, SurveyError
    """
    torch.set_num_threads(threads)
    bundle = load_model(name, device)
    shape = find_shape(bundle)
    note = explain_no_effects(bundle) if sample else None
    fingerprint = take_fingerprint(
        bundle,
        listing.digest,
        listing.pictures,
        block=listing.block,
        batch=1 if shape.alone else batch or choose_batch(bundle, shape),
        sample=0 if note else min(sample, listing.pictures),
    )
    return Survey(name, device, shape, fingerprint, _without_net(bundle)), note


def load_model(name: str, device: str = "cpu") -> Bundle:
    """Open a model of pictures. Raises SurveyError for a captioner."""
    bundle = zoo.load(name)
    if isinstance(bundle, CaptionBundle):
        raise SurveyError(f"{name} is a captioner; a survey takes a model that sees pictures only.")
    bundle.net.to(device)
    return bundle


def _without_net(bundle: Bundle) -> Bundle:
    return replace(bundle, net=nn.Identity(), classes=None, card=Card())


def is_in_sample(picture: int, fingerprint: Fingerprint) -> bool:
    """Whether heads are switched off on this picture: on every so manieth of the listing."""
    if not fingerprint.sample:
        return False
    return picture % -(-fingerprint.pictures // fingerprint.sample) == 0


def explain_no_effects(bundle: Bundle) -> str | None:
    """Say why heads cannot be switched off in this model; None where they can."""
    image = torch.zeros(1, len(bundle.mean), *bundle.image_size)
    try:
        scan_heads(bundle.net, image.to(next(bundle.net.parameters()).device))
    except InterventionRefused as problem:
        return str(problem)
    return None


# -- reading and decoding -------------------------------------------------------------------------


def prepare_block(bundle: Bundle, block: PictureBlock) -> Prepared:
    """Read, decode and prepare the pictures of a block; a damaged one becomes a reason."""
    images, kept, boxes, reasons = [], [], [], {}
    for number, entry in enumerate(block.entries, block.first):
        try:
            image = open_entry(entry)
        except (ImageRejected, OSError) as problem:
            reasons[number] = f"{entry.name}: {problem}"
            continue
        images.append(bundle.prepare(image).numpy())
        boxes.append(_box_in_frame(entry.box, bundle.frame_box(image)))
        kept.append(number)
    labels = [block.entries[number - block.first].label for number in kept]
    empty = np.empty((0, len(bundle.mean), *bundle.image_size), np.float32)
    return Prepared(block.number, np.concatenate([empty, *images]), kept, labels, boxes, reasons)


def open_entry(entry: ListedPicture, max_side: int | None = None) -> Image.Image:
    """Read a picture from where its bytes lie, as `open_image` does.

    Raises:
        ImageRejected, OSError
    """
    if entry.problem:
        raise ImageRejected(entry.problem)
    with open(entry.file, "rb") as file:
        if not 0 <= entry.offset <= os.fstat(file.fileno()).st_size - entry.size:
            raise ImageRejected("The picture lies outside its file. Fetch or list it again.")
        file.seek(entry.offset)
        data = file.read(entry.size)
    if entry.pixels is None:
        return open_image(data, max_side)
    rows, columns, *channels = entry.pixels
    shape = (rows, columns, *channels) if channels and channels[0] > 1 else (rows, columns)
    return Image.fromarray(np.frombuffer(data, np.uint8).reshape(shape)).convert("RGB")


def _box_in_frame(box: Box, frame: tuple[int, int, int, int]) -> Box:
    """Turn a box in pixels into shares of the part that the model sees."""
    if box is None:
        return None
    left, top, right, bottom = frame
    width, height = right - left, bottom - top
    x0, y0, x1, y1 = box
    return (x0 - left) / width, (y0 - top) / height, (x1 - left) / width, (y1 - top) / height
