"""Open sample photos, which lie in this package or in packages that are installed anyway.

Each says what it shows in the words of several data sets, so that a model is offered photos of
its own classes. Some photos are mistaken by a shipped model: they are marked, and tested.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from PIL import Image

from model.images import open_image

HERE = "model.datasets"
LEAST = 2  # photos of a model's own classes, or it is offered photos of anything


@dataclass(frozen=True)
class Sample:
    """A sample photo.

    Attributes:
        package: the package that holds the file.
        file: the file's place in the package.
        title: what it shows, in a word.
        credit: the subject, the maker and the licence.
        shows: the classes of some data set that are right for it.
        mistaken_by: the shipped models that name it wrongly or describe it wrongly.
    """

    package: str
    file: str
    title: str
    credit: str
    shows: tuple[str, ...] = ()
    mistaken_by: frozenset[str] = frozenset()


def _farm_animal(
    file: str, title: str, shows: Sequence[str], mistaken_by: Iterable[str] = ()
) -> Sample:
    credit = f"{title}, from GCompris, by Timothée Giet and others (CC BY-SA 4.0)"
    return Sample(
        HERE, f"sample_pictures/{file}", title, credit, tuple(shows), frozenset(mistaken_by)
    )


def _garment(title: str, shows: str = "", mistaken_by: Iterable[str] = ()) -> Sample:
    file = f"sample_pictures/{title.lower().replace(' ', '-')}.png"
    credit = f"{title}, a test picture of Fashion-MNIST, by Zalando Research (MIT)"
    return Sample(HERE, file, title, credit, (shows or title,), frozenset(mistaken_by))


_SAMPLES = {
    "chelsea": Sample(
        "skimage",
        "data/chelsea.png",
        "Cat",
        "Chelsea the cat, by Stéfan van der Walt (CC0)",
        ("tabby", "tabby cat", "cat"),
        frozenset({"photos-plain", "cs231n-cifar10", "flickr8k-captioner"}),
    ),
    "coffee": Sample(
        "skimage",
        "data/coffee.png",
        "Coffee",
        "A cup at Pikolo, by Rachel Michetti (CC0)",
        ("espresso",),
    ),
    "officer": Sample(
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "Officer",
        "Grace Hopper, by the United States Navy (public domain)",
        ("bow tie", "military uniform"),
        frozenset({"photos-plain"}),
    ),
    "dog": _farm_animal(
        "dog.jpg",
        "Dog",
        ("German shepherd", "dog"),
        ("cifar10-plain", "cs231n-cifar10", "cs231n-challenge"),
    ),
    "koala": Sample(
        HERE,
        "sample_pictures/koala.jpg",
        "Koala",
        "A koala climbing a tree, by David Iliff (CC BY-SA 3.0)",
        ("koala",),
    ),
    "astronaut": Sample(
        "skimage", "data/astronaut.png", "Astronaut", "Eileen Collins, by NASA (public domain)"
    ),
    "rocket": Sample(
        "skimage",
        "data/rocket.jpg",
        "Rocket",
        "Falcon 9 with DSCOVR, by SpaceX (public domain)",
        ("missile",),
    ),
    "horses": _farm_animal("horses.jpg", "Horses", ("horse",)),
    "moose": Sample(
        HERE,
        "sample_pictures/moose.jpg",
        "Moose",
        "A moose, by Ryan Hagerty, United States Fish and Wildlife Service (public domain)",
        ("deer",),
        frozenset({"cifar10-plain", "cs231n-cifar10", "cs231n-challenge"}),
    ),
    "duck": _farm_animal(
        "duck.jpg", "Duck", ("bird",), ("cifar10-plain", "cs231n-cifar10", "cs231n-challenge")
    ),
    "cow": _farm_animal("cow.jpg", "Cow", (), ("flickr8k-captioner",)),
    "ankle-boot": _garment("Ankle boot"),
    "pullover": _garment("Pullover"),
    "trouser": _garment("Trouser"),
    "sneaker": _garment("Sneaker"),
    "bag": _garment("Bag"),
    "shirt": _garment("Shirt", mistaken_by={"d2l-fashion-mnist"}),
}
_OF_ANYTHING = ("chelsea", "coffee", "officer", "dog", "koala", "astronaut", "rocket")
_TO_DESCRIBE = ("dog", "cow", "chelsea")


def names(classes: Sequence[str] = (), model: str = "") -> list[str]:
    """List the names of the photos to offer, the first one first.

        >>> names()
        ['chelsea', 'coffee', 'officer', 'dog', 'koala', 'astronaut', 'rocket']
        >>> names(["Sneaker", "Bag", "Coat"])
        ['sneaker', 'bag']

    Args:
        classes: the model's classes. Photos of these are listed; photos of anything where fewer
            than two samples show one of them.
        model: the model's name; the photos that it mistakes come last.
    """
    known = {word.strip().lower() for name in classes for word in (name, *name.split(","))}
    suiting = [
        name
        for name, sample in _SAMPLES.items()
        if any(shown.lower() in known for shown in sample.shows)
    ]
    offered = suiting if len(suiting) >= LEAST else list(_OF_ANYTHING)
    return sorted(offered, key=lambda name: is_mistaken(name, model))


def names_to_describe(model: str = "") -> list[str]:
    """List the photos to offer a captioner of photos; those that `model` mistakes come last.

    >>> names_to_describe("flickr8k-captioner")
    ['dog', 'cow', 'chelsea']
    """
    return sorted(_TO_DESCRIBE, key=lambda name: is_mistaken(name, model))


def all_names() -> list[str]:
    """List every name that `load` takes."""
    return list(_SAMPLES)


def is_known(name: str | None) -> bool:
    """Say whether `load` takes this name."""
    return name in _SAMPLES


def is_mistaken(name: str, model: str) -> bool:
    """Say whether a shipped model names this photo wrongly, or describes it wrongly.

    >>> is_mistaken("shirt", "d2l-fashion-mnist")
    True
    """
    return name in _SAMPLES and model in _SAMPLES[name].mistaken_by


def right_classes(name: str) -> tuple[str, ...]:
    """List the classes, of any data set, that are right for a photo.

    >>> right_classes("dog")
    ('German shepherd', 'dog')

    Raises:
        ValueError: for an unknown name.
    """
    return _sample(name).shows


def load(name: str) -> Image.Image:
    """Open a sample photo as an RGB image, at its own size.

        >>> load("chelsea").size  # width, height
        (451, 300)

    Args:
        name: a name that `is_known`.

    Raises:
        ValueError: for an unknown name.
    """
    sample = _sample(name)
    return open_image(files(sample.package).joinpath(sample.file).read_bytes())


def title(name: str) -> str:
    """Name in one word what a photo shows.

    >>> title("chelsea")
    'Cat'

    Raises:
        ValueError: for an unknown name.
    """
    return _sample(name).title


def credit(name: str) -> str:
    """Name the subject of a photo, its maker and its licence.

    >>> credit("chelsea")
    'Chelsea the cat, by Stéfan van der Walt (CC0)'

    Raises:
        ValueError: for an unknown name.
    """
    return _sample(name).credit


def _sample(name: str) -> Sample:
    if name not in _SAMPLES:
        raise ValueError(f"There is no sample photo “{name}”. There are {', '.join(_SAMPLES)}.")
    return _SAMPLES[name]
