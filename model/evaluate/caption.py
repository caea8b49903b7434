"""How good captions are, and whether a word's attention lies on what the word names."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from tqdm import tqdm

from model import scenes
from model.captions import CaptionBundle

UNSEEN = 1 << 40  # numbers of scenes from here on are for tests
SCENES = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(measure=measure)
    parser.add_argument("name", help="a shipped captioner, or its .safetensors file")
    parser.add_argument("--beams", type=int, default=1, help="1, the default, is greedy")
    parser.add_argument("--limit", type=int, help="only so many pictures; not on the card")
    parser.add_argument(
        "--no-write", dest="write", action="store_false", help="leave the card as it is"
    )


def measure(options: argparse.Namespace) -> dict:
    """The figures of `python -m model.evaluate caption`. Raises ValueError."""
    from model import checkpoints, zoo

    file = Path(options.name)
    if file.suffix != ".safetensors":
        file = checkpoints.DIRECTORY / f"{options.name}.safetensors"
    bundle = zoo.load(file)
    if not isinstance(bundle, CaptionBundle):
        raise ValueError(f"{options.name} writes no captions; its task is {bundle.card['task']}.")
    if not set(scenes.vocabulary()) <= set(bundle.vocabulary):
        raise ValueError(f"{options.name} does not describe drawn scenes, the only data known yet.")
    figures = scenes_figures(bundle, options.limit or SCENES, beams=options.beams)
    if options.write and options.limit is None:
        how = "" if options.beams == 1 else f"_beam{options.beams}"
        written = {f"{name}{how}": value for name, value in figures.items()}
        bundle.card["metrics"] = bundle.card.get("metrics", {}) | written
        bundle.card.pop("sha256")
        checkpoints.save(bundle.net, file, bundle.card)
    return {"name": file.stem, "beams": options.beams} | figures


def scenes_figures(
    bundle: CaptionBundle, count: int, first: int = UNSEEN, beams: int = 1
) -> dict[str, float]:
    """Figures on the scenes number `first` and on.

    `captions_right`: every object with size and colour, and every relation. `pointing_KIND`: of
    the words of that kind (size, colour, shape) that name an object of the scene, how many have
    the peak of their attention (last layer, mean of the heads) in its box; `pointing_chance`: a
    place chosen blindly would hit so many; `pointing_centre`: the middle of the picture would.
    """
    right, hits, blind, centre = [], defaultdict(list), [], []
    middle = scenes.SIDE / 2
    for number in tqdm(range(first, first + count), disable=not sys.stderr.isatty(), leave=False):
        scene = scenes.draw(number)
        caption = bundle.caption(scene.image, beams=beams)
        right.append(scenes.parse(caption.text) == scene.description)
        kinds = {word: kind for word, _, kind in scenes.naming(caption.words, scene)}
        for word, thing, hit in scenes.pointing(caption, scene, bundle.tokens):
            hits[kinds[word]].append(hit)
            left, top, across, down = scene.objects[thing].box
            blind.append((across - left) * (down - top) / scenes.SIDE**2)
            centre.append(scenes.inside(middle, middle, scene.objects[thing].box))
    figures = {"test_scenes": count, "captions_right": fmean(right)}
    if blind:
        figures |= {f"pointing_{kind}": fmean(hits[kind]) for kind in scenes.KINDS}
        figures |= {"pointing_chance": fmean(blind), "pointing_centre": fmean(centre)}
    return {name: round(value, 4) for name, value in figures.items()}
