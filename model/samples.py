"""Four photos to begin with. They lie in scikit-image's package, so no network is needed."""

from dataclasses import dataclass
from importlib.resources import files

from PIL import Image

from model.images import open_image


@dataclass(frozen=True)
class Sample:
    file: str  # in scikit-image's data folder
    title: str
    credit: str


_SAMPLES = {
    "chelsea": Sample("chelsea.png", "Cat", "Chelsea the cat, by Stéfan van der Walt (CC0)"),
    "coffee": Sample("coffee.png", "Coffee", "A cup at Pikolo, by Rachel Michetti (CC0)"),
    "astronaut": Sample("astronaut.png", "Astronaut", "Eileen Collins, by NASA (public domain)"),
    "rocket": Sample("rocket.jpg", "Rocket", "Falcon 9 with DSCOVR, by SpaceX (public domain)"),
}


def names() -> list[str]:
    """The names that `load` takes, the one to open with first."""
    return list(_SAMPLES)


def load(name: str) -> Image.Image:
    """The photo as an RGB image, at its own size. ValueError for an unknown name."""
    return open_image(files("skimage").joinpath("data", _sample(name).file).read_bytes())


def title(name: str) -> str:
    """What it shows, in a word. ValueError for an unknown name."""
    return _sample(name).title


def credit(name: str) -> str:
    """What it shows, who made it and on what terms. ValueError for an unknown name."""
    return _sample(name).credit


def _sample(name: str) -> Sample:
    if name not in _SAMPLES:
        raise ValueError(f"There is no sample photo “{name}”. There are {', '.join(_SAMPLES)}.")
    return _SAMPLES[name]
