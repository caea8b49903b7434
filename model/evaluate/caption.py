"""Measure captions, and whether a word's attention lies on the object that the word names."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from model import zoo
from model.captioning import decoding
from model.captioning.base import CaptioningNet
from model.captioning.caption import CaptionBundle
from model.datasets import captions, scenes
from model.evaluate import caption_scores
from model.evaluate.arguments import count
from model.preprocessing import prepare_batch
from model.zoo import checkpoints

SCENES = 1000


def add_caption_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m model.evaluate caption`."""
    parser.set_defaults(measure=run_caption)
    parser.add_argument("name", help="a shipped captioner, or its .safetensors file")
    parser.add_argument(
        "--data", type=Path, help="folder of the photos and captions; none for drawn scenes"
    )
    parser.add_argument("--beams", type=count, default=1, help="1, the default, is greedy")
    parser.add_argument("--limit", type=count, help="only so many pictures; not on the card")
    parser.add_argument(
        "--no-write", dest="write", action="store_false", help="leave the card as it is"
    )


def run_caption(options: argparse.Namespace) -> dict[str, Any]:
    """Run `python -m model.evaluate caption` and return its figures. Raises ValueError."""
    file = checkpoints.find_checkpoint(options.name)
    bundle = zoo.load(file)
    if not isinstance(bundle, CaptionBundle):
        raise ValueError(f"{options.name} writes no captions; its task is {bundle.card.task}.")
    if bundle.knows_only_scenes:
        figures = measure_on_scenes(bundle, options.limit or SCENES, beams=options.beams)
    else:
        figures = measure_on_photos(bundle, options.data, options.limit, options.beams)
    if options.write and options.limit is None:
        how = "" if options.beams == 1 else f"_beam{options.beams}"
        written = {f"{name}{how}": value for name, value in figures.items()}
        card = bundle.card.changed(metrics=bundle.card.metrics | written).without(["sha256"])
        checkpoints.save_checkpoint(bundle.net, file, card)
    return {"name": file.stem, "beams": options.beams} | figures


def measure_on_scenes(
    bundle: CaptionBundle, count: int, first: int = scenes.UNSEEN, beams: int = 1
) -> dict[str, float]:
    """Measure a captioner on `count` drawn scenes, from scene number `first` on.

    `captions_right`: the share of captions with every object, its size and colour, and every
    relation right. `pointing_KIND`: the share of words of that kind (size, colour, shape) whose
    attention (last layer, mean of the heads) peaks in the box of the object that they name.
    `pointing_chance` and `pointing_centre`: the same for a random place, and for the middle of the
    picture. A memory of one vector has no pointing.
    """
    right: list[bool] = []
    hits: dict[str, list[bool]] = defaultdict(list)
    blind: list[float] = []
    centre: list[bool] = []
    middle = scenes.SIDE / 2
    for number in tqdm(range(first, first + count), disable=not sys.stderr.isatty(), leave=False):
        scene = scenes.draw_scene(number)
        caption = bundle.caption(scene.image, beams=beams)
        right.append(scenes.parse(caption.text) == scene.description)
        if bundle.memory_of_one:  # its only patch is the whole picture
            continue
        kinds = {word: kind for word, _, kind in scenes.find_named_objects(caption.words, scene)}
        for word, thing, hit in scenes.score_pointing_game(caption, scene, bundle.tokens):
            hits[kinds[word]].append(hit)
            left, top, across, down = scene.objects[thing].box
            blind.append((across - left) * (down - top) / scenes.SIDE**2)
            centre.append(scenes.inside_box(middle, middle, scene.objects[thing].box))
    figures = {"test_scenes": count, "captions_right": fmean(right)}
    if blind:
        figures |= {f"pointing_{kind}": fmean(hits[kind]) for kind in scenes.KINDS}
        figures |= {"pointing_chance": fmean(blind), "pointing_centre": fmean(centre)}
    return {name: round(value, 4) for name, value in figures.items()}


def measure_on_photos(
    bundle: CaptionBundle, folder: Path | None, limit: int | None = None, beams: int = 1
) -> dict[str, float]:
    """Score captions of the test photos in `folder` by `caption_scores.score_captions`.

    Greedy captions are compared with two baselines: the most frequent training caption for all
    photos (`commonest_...`), and the caption of the most similar training photo (`nearest_...`).
    Raises ValueError where there are no photos.
    """
    if folder is None:
        raise ValueError("Give the folder of the photos and captions with --data.")
    net, test = bundle.net, captions.read_captioned_photos(folder, "test", limit)
    prepare = make_prepare(bundle)
    memory = caption_scores.encode_images(net, test.images, prepare)
    figures = caption_scores.score_captions(_write_captions(bundle, memory, beams), test.captions)
    if beams == 1:
        train = captions.read_captioned_photos(folder, "train", limit)
        common = [caption_scores.commonest_caption(train)] * len(test)
        # A part of the training photos at a time: their memories together are large.
        means = [
            caption_scores.encode_images(net, part, prepare).mean(1)
            for part in train.images.split(500)
        ]
        near = caption_scores.nearest_captions(train, torch.cat(means), memory.mean(1))
        for name, texts in {"commonest": common, "nearest": near}.items():
            found = caption_scores.score_captions(texts, test.captions)
            figures |= {f"{name}_{kind}": found[kind] for kind in ("bleu1", "bleu4", "cider")}
    rounded = {name: round(value, 4) for name, value in figures.items()}
    return {"test_photos": len(test)} | rounded


def _write_captions(bundle: CaptionBundle, memory: Tensor, beams: int) -> list[str]:
    """Write a caption for each photo, given their memory (N, M, D)."""
    net, longest = bundle.net, bundle.net.config.max_words
    if beams == 1:
        rows = decoding.greedy(net, memory, longest)
    else:
        bar = tqdm(memory.split(1), disable=not sys.stderr.isatty(), leave=False)
        rows = [decoding.beam_search(net, one, beams, longest)[0].words for one in bar]
    return [" ".join(net.config.vocabulary[i] for i in row) for row in rows]


def make_prepare(bundle: CaptionBundle) -> Callable[[Tensor], Tensor]:
    """Make the function that turns uint8 images (B, C, H, W) into the captioner's input."""
    encoder = own_captioner(bundle).config.encoder
    return lambda images: prepare_batch(images, encoder, bundle)


def own_captioner(bundle: CaptionBundle) -> CaptioningNet[Any]:
    """Return the net of one of our own captioners. Raises ValueError for a hub's."""
    if not isinstance(bundle.net, CaptioningNet):
        raise ValueError(f"{bundle.name} is not a captioner that this project trained.")
    return bundle.net
