"""Draw scenes whose objects and captions are known, so that attention can be measured.

A scene holds two to four coloured shapes. Its caption names them and relates their places:

    >>> draw_scene(3).caption
    'a large green triangle above a small green star'

The objects are named from the highest centre to the lowest, and each relation is between the two
objects that it stands between. No two objects of a scene have both shape and colour in common.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw

from model.tokens import TokenLayout

TESTING = 1 << 40  # scenes from this number on are for testing during training
UNSEEN = 1 << 41  # scenes from this number on were used neither to train nor to choose a model
SIDE = 96  # pixels of a scene
SIZES = {"small": (15, 18), "large": (27, 32)}  # smallest and largest side of a box
COLOURS = {
    "red": (214, 39, 40),
    "orange": (255, 140, 20),
    "yellow": (245, 220, 40),
    "green": (44, 150, 60),
    "blue": (35, 90, 210),
    "purple": (140, 60, 180),
}
SHAPES = ("circle", "square", "triangle", "star", "cross")
RELATIONS = ("above", "left of", "right of")
KINDS = ("size", "colour", "shape")  # kinds of words in the name of an object

GAP = 3  # pixels between two boxes, and between a box and the edge
STEP = 6  # smallest difference in height of two centres, which decides the order of the names
CLEAR_RATIO = 1.6  # smallest ratio of the two sides of a distance, so that none is diagonal
SUPERSAMPLING = 2  # factor by which shapes are drawn larger and shrunk again, for smooth edges


Box = tuple[int, int, int, int]  # left, top; right, bottom: the first pixels outside


@dataclass(frozen=True)
class Object:
    """A coloured shape of a scene, and its box in pixels."""

    size: str
    colour: str
    shape: str
    box: Box

    @property
    def words(self) -> tuple[str, str, str]:
        """Words of its name in a caption: size, colour, shape."""
        return self.size, self.colour, self.shape


@dataclass(frozen=True)
class Description:
    """Content of a caption: size, colour and shape of each object, and relations between them."""

    objects: tuple[tuple[str, str, str], ...]
    relations: tuple[str | None, ...]  # each between two objects that follow one another

    @property
    def text(self) -> str:
        """Caption that says this."""
        first, *others = (f"a {' '.join(words)}" for words in self.objects)
        parts = zip(self.relations, others, strict=True)
        return " ".join([first, *(f"{relation} {name}" for relation, name in parts)])


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and its objects, in the order in which the caption names them."""

    image: Image.Image
    objects: tuple[Object, ...]

    @property
    def description(self) -> Description:
        """Content of the caption."""
        relations = tuple(find_relation(a, b) for a, b in pairwise(self.objects))
        return Description(tuple(o.words for o in self.objects), relations)

    @property
    def caption(self) -> str:
        """Caption of the scene."""
        return self.description.text


def vocabulary() -> tuple[str, ...]:
    """List every word of every caption."""
    relations = sorted({word for relation in RELATIONS for word in relation.split()})
    return ("a", *SIZES, *COLOURS, *SHAPES, *relations)


def draw_scene(seed: int) -> Scene:
    """Draw the scene with this number, which is the same every time."""
    chance = random.Random(seed)
    objects = _arrange_objects(chance)
    image = _draw_background(chance)
    brush = ImageDraw.Draw(image)
    for thing in objects:
        _DRAW[thing.shape](
            brush, [SUPERSAMPLING * edge for edge in thing.box], _vary_colour(thing.colour, chance)
        )
    return Scene(image.reduce(SUPERSAMPLING), objects)


def find_relation(higher: Object, lower: Object) -> str | None:
    """Find how the higher object lies to the lower one; None where it is not clear."""
    return _relate_boxes(higher.box, lower.box)


def _relate_boxes(higher: Box, lower: Box) -> str | None:
    across = (lower[0] + lower[2] - higher[0] - higher[2]) / 2
    down = _height(lower) - _height(higher)
    if down >= CLEAR_RATIO * abs(across):
        return "above"
    if abs(across) >= CLEAR_RATIO * down:
        return "left of" if across > 0 else "right of"
    return None


def parse(text: str) -> Description | None:
    """Parse a caption; None for a text that is not a caption of a scene.

    >>> parse("a small red circle left of a large blue square").relations
    ('left of',)
    """
    found = _CAPTION.fullmatch(" ".join(text.lower().split()))
    if found is None:
        return None
    names = re.findall(f"a ({_NAME})", found[0])
    relations = re.findall(f" ({_RELATION}) a", found[0])
    objects = tuple((size, colour, shape) for size, colour, shape in map(str.split, names))
    return Description(objects, tuple(relations))


def find_named_objects(words: Sequence[str], scene: Scene) -> list[tuple[int, int, str]]:
    """Find the words that name an object of the scene.

    A name, such as "small red circle", belongs to the object of this shape and colour; the words
    of a name that fits no object are left out.

        >>> scene = draw_scene(3)  # a large green triangle above a small green star
        >>> find_named_objects("a large green star".split(), scene)
        [(1, 1, 'size'), (2, 1, 'colour'), (3, 1, 'shape')]

    Returns:
        (index of the word, index of the object, kind of word as in KINDS) for each such word.
    """
    numbers = {(thing.colour, thing.shape): i for i, thing in enumerate(scene.objects)}
    found = []
    for i in range(len(words) - 2):
        size, colour, shape = words[i : i + 3]
        if size in SIZES and (colour, shape) in numbers:
            found += [(i + j, numbers[colour, shape], kind) for j, kind in enumerate(KINDS)]
    return found


class WordAttention(Protocol):
    """Words with their attention to patches, such as a `model.captioning.caption.Caption`."""

    words: list[str]

    def attention(self, layer: int = -1, head: int | None = None) -> np.ndarray:
        """Return the attention of each word to each image token."""
        ...


def score_pointing_game(
    caption: WordAttention,
    scene: Scene,
    tokens: TokenLayout,
    layer: int = -1,
    head: int | None = None,
) -> list[tuple[int, int, bool]]:
    """Test whether each word that names an object attends most to a patch of that object.

    It is the pointing game of Zhang et al. 2018, "Top-Down Neural Attention by Excitation
    Backprop": a hit is a word whose most attended patch has its middle in the object's box.

    Args:
        caption: a caption of this scene's picture.
        scene: the scene.
        tokens: layout of the tokens that the caption attends to.
        layer: decoder layer.
        head: head of that layer; None for the mean of all.

    Returns:
        (index of the word, index of the object, whether it is a hit) for each such word.
    """
    attention = np.asarray(caption.attention(layer, head))[:, tokens.patch_slice]
    rows, columns = tokens.grid
    hits = []
    for word, number, _ in find_named_objects(caption.words, scene):
        row, column = divmod(int(attention[word].argmax()), columns)
        x, y = (column + 0.5) * SIDE / columns, (row + 0.5) * SIDE / rows
        hits.append((word, number, inside_box(x, y, scene.objects[number].box)))
    return hits


def inside_box(x: float, y: float, box: Box) -> bool:
    """Whether a point in pixels lies in the box (left, top, right, bottom)."""
    left, top, right, bottom = box
    return left <= x < right and top <= y < bottom


_RELATION = "|".join(RELATIONS)
_NAME = " ".join(f"(?:{'|'.join(words)})" for words in (SIZES, COLOURS, SHAPES))
_CAPTION = re.compile(f"a {_NAME}(?: (?:{_RELATION}) a {_NAME})*")


# -- arranging ------------------------------------------------------------------------------------


def _arrange_objects(chance: random.Random) -> tuple[Object, ...]:
    """Arrange objects that lie apart and can be named in one clear order."""
    names = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    named = chance.sample(names, chance.randint(2, 4))
    sizes = [chance.choice(list(SIZES)) for _ in named]
    sides = [chance.randint(*SIZES[size]) for size in sizes]
    while (boxes := _place_boxes(sides, chance)) is None or not _are_describable(
        sorted(boxes, key=_height)
    ):
        pass
    parts = zip(sizes, named, boxes, strict=True)
    things = [Object(size, colour, shape, box) for size, (colour, shape), box in parts]
    return tuple(sorted(things, key=lambda thing: _height(thing.box)))


def _place_boxes(sides: Sequence[int], chance: random.Random) -> list[Box] | None:
    """Place boxes at random; None where two of them touch."""
    boxes: list[Box] = []
    for side in sides:
        room = SIDE - 2 * GAP - side + 1
        left, top = GAP + int(room * chance.random()), GAP + int(room * chance.random())
        box = left, top, left + side, top + side
        if any(_boxes_touch(box, other) for other in boxes):
            return None
        boxes.append(box)
    return boxes


def _are_describable(boxes: Sequence[Box]) -> bool:
    """Whether boxes, from the highest to the lowest, have clear relations."""
    return all(
        _height(lower) - _height(higher) >= STEP and _relate_boxes(higher, lower) is not None
        for higher, lower in pairwise(boxes)
    )


def _boxes_touch(a: Box, b: Box) -> bool:
    return a[0] < b[2] + GAP and b[0] < a[2] + GAP and a[1] < b[3] + GAP and b[1] < a[3] + GAP


def _height(box: Box) -> float:
    return (box[1] + box[3]) / 2


# -- drawing --------------------------------------------------------------------------------------


def _draw_background(chance: random.Random) -> Image.Image:
    """Draw a plain, shaded or cloudy background, greyer than any object."""
    kind = chance.choice(("plain", "shaded", "cloudy"))
    low = chance.randint(20, 205)
    base = [low + chance.randint(-15, 15) for _ in range(3)]
    cells = {"plain": 1, "shaded": 2, "cloudy": 8}[kind]
    noise = np.random.default_rng(chance.getrandbits(32))
    light = noise.uniform(-25, 25, (cells, cells, 1)) * (kind != "plain")
    image = Image.fromarray(np.clip(np.array(base) + light, 0, 255).astype(np.uint8))
    smooth = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return smooth.resize((SIDE * SUPERSAMPLING, SIDE * SUPERSAMPLING), Image.Resampling.NEAREST)


def _vary_colour(colour: str, chance: random.Random) -> tuple[int, ...]:
    return tuple(min(255, max(0, part + chance.randint(-12, 12))) for part in COLOURS[colour])


Brush = Callable[[ImageDraw.ImageDraw, list[int], tuple[int, ...]], None]


def _circle(brush: ImageDraw.ImageDraw, box: list[int], tint: tuple[int, ...]) -> None:
    brush.ellipse((box[0], box[1], box[2] - 1, box[3] - 1), fill=tint)


def _polygon(corners: Sequence[tuple[float, float]]) -> Brush:
    """Make a brush for a polygon whose corners are given as shares of the box."""

    def draw(brush: ImageDraw.ImageDraw, box: list[int], tint: tuple[int, ...]) -> None:
        width, height = box[2] - box[0] - 1, box[3] - box[1] - 1
        brush.polygon([(box[0] + x * width, box[1] + y * height) for x, y in corners], fill=tint)

    return draw


def _star() -> list[tuple[float, float]]:
    corners = []
    for i in range(10):
        reach = 1.0 if i % 2 == 0 else 0.42
        angle = math.pi * i / 5
        corners.append((reach * math.sin(angle), -reach * math.cos(angle)))
    xs, ys = zip(*corners, strict=True)
    return [
        ((x - min(xs)) / (max(xs) - min(xs)), (y - min(ys)) / (max(ys) - min(ys)))
        for x, y in corners
    ]


_ARM = (0.32, 0.68)  # where the bars of the cross begin and end
_DRAW: dict[str, Brush] = {
    "circle": _circle,
    "square": _polygon([(0, 0), (1, 0), (1, 1), (0, 1)]),
    "triangle": _polygon([(0.5, 0), (1, 1), (0, 1)]),
    "star": _polygon(_star()),
    "cross": _polygon(
        [
            *[(_ARM[0], 0), (_ARM[1], 0), (_ARM[1], _ARM[0]), (1, _ARM[0])],
            *[(1, _ARM[1]), (_ARM[1], _ARM[1]), (_ARM[1], 1), (_ARM[0], 1)],
            *[(_ARM[0], _ARM[1]), (0, _ARM[1]), (0, _ARM[0]), (_ARM[0], _ARM[0])],
        ]
    ),
}
