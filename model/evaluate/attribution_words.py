"""Score every relevance method over the words of captions of drawn scenes.

`python -m model.evaluate attribution scenes-captioner --limit 500 --out FILE.jsonl`

A scene's boxes are known, and so is what each word of its caption means. Explained is every word
of the model's own caption that names the colour or the shape of an object that is there; the map
should lie on that object.
"""

from __future__ import annotations

import argparse
from typing import Any

from model import scenes, zoo
from model.captions import CaptionBundle
from model.evaluate.attribution import STEPS, Photo, Task, scores
from model.evaluate.caption import UNSEEN
from model.word_trace import trace_word

NAMING = ("colour", "shape")


def task(options: argparse.Namespace, bundle: CaptionBundle) -> Task:
    """Scenes that the captioner has not seen. Raises ValueError for other captioners."""
    if options.data is not None:
        raise ValueError("The scenes for a captioner are drawn as they are needed: no --data.")
    if not set(scenes.vocabulary()) <= set(bundle.vocabulary):
        raise ValueError(
            f"{options.name} does not describe drawn scenes, the only pictures for which it is "
            "known where the thing is that a word names."
        )
    untrained = zoo.load(options.name, weights="random")
    for model in (bundle, untrained):
        model.net.to(options.device)
    head = {
        "model": options.name,
        "sha256": bundle.card.get("sha256"),
        "data": "drawn scenes",
        "first_scene": UNSEEN,
        "target": " or ".join(NAMING),
        "steps": STEPS,
    }
    return Task(head, options.limit, lambda number: score_scene(bundle, untrained, number))


def score_scene(bundle: CaptionBundle, untrained: CaptionBundle, number: int) -> dict[str, Any]:
    """Every score of every method, for each word that names a colour or a shape rightly."""
    scene = scenes.draw(UNSEEN + number)
    caption = bundle.caption(scene.image)
    named = scenes.naming(caption.words, scene)
    return {
        "label": scene.caption,
        "caption": caption.text,
        "right": scenes.parse(caption.text) == scene.description,
        "words": [
            {"word": caption.words[place], "place": place, "kind": kind}
            | _score_word((bundle, untrained), scene, caption.words, place, thing, number)
            for place, thing, kind in named
            if kind in NAMING
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
    return scores(
        lambda model: trace_word(model.net, images, model.patch_layout, word),
        models,
        photo,
        word.number,
        seed=1000 * number + place,  # another random map for each word
    )
