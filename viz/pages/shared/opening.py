"""The Python that opens what a page shows: its model, by its name here, and its photo."""

import re

from model.datasets import samples
from viz.export.program import Code, code_of_model, code_of_photo, code_of_sample
from viz.pages.shared import course
from viz.pages.shared.model_variants import ENCODER, NO_CODE
from viz.pages.shared.open_models import DIGITS, OWN, RANDOM
from viz.pages.shared.picture import MAX_SIDE, Picture

SCENE = "scene "
"""How the keys of drawn scenes begin."""


def opening_of(model: str, picture: Picture) -> Code:
    """Write the lines that open a model as `bundle` and a photo as `image`."""
    return model_code(model) + photo_code(picture)


def photo_title(picture: Picture) -> str:
    """Name a photo as the pages do."""
    if picture.sample:
        return samples.title(picture.sample)
    return picture.key.capitalize() if picture.key.startswith(SCENE) else "Your photo"


def photo_code(picture: Picture) -> Code:
    """Write the line that opens a photo; one that was uploaded is looked for as photo.jpg."""
    if picture.sample:
        return code_of_sample(picture.sample)
    if picture.key.startswith(SCENE):
        line = f"image = scenes.draw_scene(scenes.UNSEEN + {int(picture.key[len(SCENE) :])}).image"
        return Code([line], ["from model.datasets import scenes"])
    note = Code(["# photo.jpg stands for the photo that was uploaded."])
    return note + code_of_photo("photo.jpg", MAX_SIDE)


def model_code(name: str) -> Code:
    """Write the lines that open a model, or a variant of one.

    >>> for line in model_code("photos, after 4 epochs").lines: print(line)
    bundle = zoo.load('photos')
    course = open_course(snapshots_file(checkpoints.DIRECTORY / 'photos.safetensors'))
    bundle = replace(bundle, net=course.net_at(course.moments.index(4.0)))
    >>> model_code("photos (random weights)").lines
    ["bundle = zoo.load('photos', weights='random')"]
    """
    if name.endswith(NO_CODE):
        return model_code(name.removesuffix(NO_CODE)) + _WITHOUT_CODE
    if name.endswith(ENCODER):
        return model_code(name.removesuffix(ENCODER)) + _ENCODER
    base, _, moment = name.partition(course.AFTER)
    if found := re.match(r"[\d.]+", moment):
        return code_of_model(base) + _at_moment(base, float(found[0]))
    weights = "random" if name.endswith(RANDOM) else "trained"
    base = name.removesuffix(RANDOM)
    if not base.startswith(OWN):
        return code_of_model(base, weights)
    file = base[len(OWN) : -DIGITS].strip()
    return Code([f"# {file!r} stands for the file that was uploaded."]) + code_of_model(
        file, weights
    )


_WITHOUT_CODE = Code(
    [
        "code = find_position_code(bundle.net, bundle.tokens)",
        "bundle = replace(bundle, net=without_position_code(bundle.net, code))",
    ],
    [
        "from dataclasses import replace",
        "from model.analysis.position_codes import find_position_code",
        "from model.analysis.token_order import without_position_code",
    ],
)

_ENCODER = Code(
    [
        "captioner, encoder = bundle, bundle.net.encoder",
        "bundle = Bundle(captioner.name, encoder, encoder.config.tokens, captioner.mean,",
        "                captioner.std, captioner.resize, card=captioner.card,",
        "                bands=captioner.bands)",
    ],
    ["from model.bundle import Bundle"],
)


def _at_moment(name: str, moment: float) -> Code:
    file = f"checkpoints.DIRECTORY / {name + '.safetensors'!r}"
    return Code(
        [
            f"course = open_course(snapshots_file({file}))",
            f"bundle = replace(bundle, net=course.net_at(course.moments.index({moment})))",
        ],
        [
            "from dataclasses import replace",
            "from model.snapshots import open_course, snapshots_file",
            "from model.zoo import checkpoints",
        ],
    )
