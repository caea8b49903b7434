"""Open sample photos from packages that are installed anyway, so no network is needed."""

from dataclasses import dataclass
from importlib.resources import files

from PIL import Image

from model.images import open_image


@dataclass(frozen=True)
class Sample:
    """A sample photo: its file in a package, its title and its credit."""

    package: str
    file: str  # in the package
    title: str
    credit: str


_SAMPLES = {
    "chelsea": Sample(
        "skimage", "data/chelsea.png", "Cat", "Chelsea the cat, by Stéfan van der Walt (CC0)"
    ),
    "coffee": Sample(
        "skimage", "data/coffee.png", "Coffee", "A cup at Pikolo, by Rachel Michetti (CC0)"
    ),
    "officer": Sample(
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "Officer",
        "Grace Hopper, by the United States Navy (public domain)",
    ),
    "astronaut": Sample(
        "skimage", "data/astronaut.png", "Astronaut", "Eileen Collins, by NASA (public domain)"
    ),
    "rocket": Sample(
        "skimage", "data/rocket.jpg", "Rocket", "Falcon 9 with DSCOVR, by SpaceX (public domain)"
    ),
}


def names() -> list[str]:
    """List the names that `load` takes, the default photo first.

    >>> names()
    ['chelsea', 'coffee', 'officer', 'astronaut', 'rocket']
    """
    return list(_SAMPLES)


def load(name: str) -> Image.Image:
    """Open a sample photo as an RGB image, at its own size.

        >>> load("chelsea").size  # width, height
        (451, 300)

    Args:
        name: one of `names()`.

    Raises:
        ValueError: for an unknown name.
    """
    sample = _sample(name)
    return open_image(files(sample.package).joinpath(sample.file).read_bytes())


def title(name: str) -> str:
    """Name in one word what a photo shows.

        >>> title("chelsea")
        'Cat'

    Args:
        name: one of `names()`.

    Raises:
        ValueError: for an unknown name.
    """
    return _sample(name).title


def credit(name: str) -> str:
    """Name the subject of a photo, its maker and its licence.

        >>> credit("chelsea")
        'Chelsea the cat, by Stéfan van der Walt (CC0)'

    Args:
        name: one of `names()`.

    Raises:
        ValueError: for an unknown name.
    """
    return _sample(name).credit


def _sample(name: str) -> Sample:
    if name not in _SAMPLES:
        raise ValueError(f"There is no sample photo “{name}”. There are {', '.join(_SAMPLES)}.")
    return _SAMPLES[name]
