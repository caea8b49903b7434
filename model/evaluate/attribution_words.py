"""Score every attribution method over the words of captions of drawn scenes.

`python -m model.evaluate attribution scenes-captioner --limit 500 --out FILE.jsonl`

A scene's boxes are known, and so is the meaning of each word of its caption. The run explains every
word of the model's own caption that names the colour or the shape of an object that is there, or
a random `--words` of them. The map should lie on that object.
"""

from __future__ import annotations

import argparse
import random
from typing import Any

from model import zoo
from model.attribution.registry import WORD_METHODS
from model.attribution.word_trace import trace_word
from model.captioning.caption import CaptionBundle
from model.datasets import scenes
from model.evaluate.attribution_scores import STEPS, Photo, score_methods
from model.evaluate.photo_measure import Task

NAMING = ("colour", "shape")


def word_task(options: argparse.Namespace, bundle: CaptionBundle) -> Task:
    """Prepare a run over scenes that are new to the captioner. ValueError for other captioners."""
    if options.data is not None:
        raise ValueError("The scenes for a captioner are drawn as they are needed: no --data.")
    if not bundle.knows_only_scenes:
        raise ValueError(
            f"{options.name} does not describe drawn scenes, the only pictures for which it is "
            "known where the thing is that a word names."
        )
    if options.device != "cpu":
        raise ValueError("Words are explained on the processor alone: leave --device out.")
    untrained = zoo.load(options.name, weights="random")
    if not isinstance(untrained, CaptionBundle):
        raise ValueError(f"{options.name} writes no captions without its training.")
    head = {
        "model": options.name,
        "sha256": bundle.card.sha256,
        "data": "drawn scenes",
        "first_scene": scenes.UNSEEN,
        "target": " or ".join(NAMING),
        "steps": STEPS,
    }
    if options.words:
        head["words"] = options.words

    def score(number: int) -> dict[str, Any]:
        return score_scene(bundle, untrained, number, options.words)

    measures = ("attribution", *WORD_METHODS)
    models = (bundle, untrained)
    return Task(head, measures, models, f"scenes from {scenes.UNSEEN}", options.limit, score)


def score_scene(
    bundle: CaptionBundle, untrained: CaptionBundle, number: int, most: int = 0
) -> dict[str, Any]:
    """Score every method on each word that names a colour or a shape rightly, or on `most`."""
    scene = scenes.draw_scene(scenes.UNSEEN + number)
    caption = bundle.caption(scene.image)
    named = [
        found for found in scenes.find_named_objects(caption.words, scene) if found[2] in NAMING
    ]
    if most:
        named = sorted(random.Random(number).sample(named, min(most, len(named))))
    return {
        "label": scene.caption,
        "caption": caption.text,
        "right": scenes.parse(caption.text) == scene.description,
        "words": [
            {"word": caption.words[place], "place": place, "kind": kind}
            | _score_word((bundle, untrained), scene, caption.words, place, thing, number)
            for place, thing, kind in named
        ],
    }


def _score_word(
    models: tuple[CaptionBundle, CaptionBundle],
    scene: scenes.Scene,
    words: list[str],
    place: int,
    thing: int,
    number: int,
) -> dict[str, Any]:
    bundle, _ = models
    images = bundle.prepare(scene.image).to(next(bundle.net.parameters()).device)
    word = bundle.word(words, place)
    left, top, right, bottom = scene.objects[thing].box
    photo = Photo(scene.image, words[place], (left, top, right - 1, bottom - 1))
    return score_methods(
        lambda model: trace_word(model.net, images, model.patch_layout, word),
        models,
        photo,
        word.number,
        seed=1000 * number + place,  # another random map for each word
    )
