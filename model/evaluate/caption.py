"""How good captions are, and whether a word's attention lies on what the word names."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor
from tqdm import tqdm

from model import zoo
from model.captioning import decoding
from model.captioning.caption import CaptionBundle
from model.datasets import captions, scenes
from model.evaluate import caption_scores
from model.evaluate.arguments import count
from model.preprocessing import normalise, resize_batch
from model.zoo import checkpoints

SCENES = 1000


def add_caption_arguments(parser: argparse.ArgumentParser) -> None:
    """What `python -m model.evaluate caption` takes."""
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


def run_caption(options: argparse.Namespace) -> dict:
    """The figures of `python -m model.evaluate caption`. Raises ValueError."""
    file = checkpoints.find_checkpoint(options.name)
    bundle = zoo.load(file)
    if not isinstance(bundle, CaptionBundle):
        raise ValueError(f"{options.name} writes no captions; its task is {bundle.card.task}.")
    if bundle.knows_only_scenes:
        figures = scenes_figures(bundle, options.limit or SCENES, beams=options.beams)
    else:
        figures = photo_figures(bundle, options.data, options.limit, options.beams)
    if options.write and options.limit is None:
        how = "" if options.beams == 1 else f"_beam{options.beams}"
        written = {f"{name}{how}": value for name, value in figures.items()}
        card = bundle.card.changed(metrics=bundle.card.metrics | written).without(["sha256"])
        checkpoints.save_checkpoint(bundle.net, file, card)
    return {"name": file.stem, "beams": options.beams} | figures


def scenes_figures(
    bundle: CaptionBundle, count: int, first: int = scenes.UNSEEN, beams: int = 1
) -> dict[str, float]:
    """Figures on the scenes number `first` and on.

    `captions_right`: every object with size and colour, and every relation. `pointing_KIND`: of
    the words of that kind (size, colour, shape) that name an object of the scene, how many have
    the peak of their attention (last layer, mean of the heads) in its box; `pointing_chance`: a
    place chosen blindly would hit so many; `pointing_centre`: the middle of the picture would. None
    of these for a memory of one.
    """
    right, hits, blind, centre = [], defaultdict(list), [], []
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


def photo_figures(
    bundle: CaptionBundle, folder: Path | None, limit: int | None = None, beams: int = 1
) -> dict[str, float]:
    """Figures on the test photos in `folder`: those of `caption_scores.scores`, and, for greedy
    captions, those of two baselines: the commonest training caption for all photos
    (`commonest_...`), and the caption of the most similar training photo (`nearest_...`).

    Raises ValueError where there are no photos.
    """
    if folder is None:
        raise ValueError("Give the folder of the photos and captions with --data.")
    net, test = bundle.net, captions.read_captioned_photos(folder, "test", limit)
    prepare = preparation(bundle)
    memory = caption_scores.memories(net, test.images, prepare)
    figures = caption_scores.caption_scores(_written(bundle, memory, beams), test.captions)
    if beams == 1:
        train = captions.read_captioned_photos(folder, "train", limit)
        common = [caption_scores.commonest(train)] * len(test)
        # A part of the training photos at a time: their memories together are large.
        means = [
            caption_scores.memories(net, part, prepare).mean(1) for part in train.images.split(500)
        ]
        near = caption_scores.nearest(train, torch.cat(means), memory.mean(1))
        for name, texts in {"commonest": common, "nearest": near}.items():
            found = caption_scores.caption_scores(texts, test.captions)
            figures |= {f"{name}_{kind}": found[kind] for kind in ("bleu1", "bleu4", "cider")}
    rounded = {name: round(value, 4) for name, value in figures.items()}
    return {"test_photos": len(test)} | rounded


def _written(bundle: CaptionBundle, memory: Tensor, beams: int) -> list[str]:
    """The captions of many photos, of which `memory` (N, M, D) is what their words look at."""
    net, longest = bundle.net, bundle.net.config.max_words
    if beams == 1:
        rows = decoding.greedy(net, memory, longest)
    else:
        bar = tqdm(memory.split(1), disable=not sys.stderr.isatty(), leave=False)
        rows = [decoding.beam_search(net, one, beams, longest)[0].words for one in bar]
    return [" ".join(net.config.vocabulary[i] for i in row) for row in rows]


def preparation(bundle: CaptionBundle) -> Callable[[Tensor], Tensor]:
    """What makes the captioner's input of uint8 images (B, C, H, W)."""

    def prepare(images: Tensor) -> Tensor:
        return normalise(resize_batch(images, bundle.net.config.encoder), bundle.mean, bundle.std)

    return prepare
