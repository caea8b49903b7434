"""Recipes: what to train and how, read from a small TOML file."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_origin, get_type_hints

from model.errors import RecipeError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Built = TypeVar("Built", bound="DataclassInstance")


@dataclass(frozen=True)
class Data:
    """The data set of a recipe, and how its pictures are normalised."""

    name: str
    licence: str
    mean: tuple[float, ...]
    """Of each channel, for values from 0 to 1."""
    std: tuple[float, ...]
    """Standard deviation of each channel."""


@dataclass(frozen=True)
class Optimiser:
    """How weights are updated."""

    name: str = "adamw"
    """"adam" (weight decay as an L2 term of the gradient), "adamw", "muon" or "sgd"."""
    lr: float = 1e-3
    """Learning rate."""
    weight_decay: float = 0.0
    decay_all: bool = False
    """Decay biases, norms and tokens too, as torch does by default."""
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.0
    """For "sgd"."""
    clip: float = 0.0
    """The largest norm of the gradient; 0 for no limit."""


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes."""

    name: str = "constant"
    """"constant", or "cosine" down to zero, after the warm-up."""
    warmup: float = 0.0
    """The share of all steps in which the rate rises."""


@dataclass(frozen=True)
class Augment:
    """How pictures are augmented, see `model.training.augment`; zero or false leaves one out."""

    crop: int = 0
    zoom: float = 0.0
    turn: float = 0.0
    flip: bool = False
    colour: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    plain: float = 0.0
    """The last share of the epochs, in which pictures are only shifted, zoomed and mirrored."""


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """The settings that the recipes of all models share."""

    name: str
    title: str
    data: Data
    epochs: int
    batch: int
    """Pictures in one step."""
    start: str = ""
    """A checkpoint, beside the file to write, whose weights the training starts from."""
    seed: int = 0
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augment = field(default_factory=Augment)
    label_smoothing: float = 0.0
    ema: float = 0.0
    """Decay of the exponential moving average of the weights; 0 for none."""
    test_every: int = 1
    """Epochs between two measurements on the test set; the last epoch is always measured."""
    bfloat16: bool = False
    """Use half precision on a CPU too, as always on a GPU. Twice as fast on a CPU that has it
    (avx512_bf16, amx), slow on others."""
    weak_at: str = ""
    """What the model is bad at, in a sentence for its card."""


@dataclass(frozen=True, kw_only=True)
class Recipe(TrainingRecipe):
    """How to train a classifier.

    A `start` must be the same model, apart from dropout and the like. A head for another number of
    classes begins with fresh weights.
    """

    model: dict[str, Any]
    """A preset of `model.vit`, and the fields in which this model differs from it."""
    teachers: tuple[str, ...] = ()
    """Checkpoints beside the file to write, whose answers are learnt instead of the labels."""
    task: ClassVar[str] = "classify"


@dataclass(frozen=True, kw_only=True)
class CaptionRecipe(TrainingRecipe):
    """How to train a captioner.

    From a `start`, the encoder's weights are taken where they fit. Where captions are `drawn`, the
    start is the whole captioner that goes on learning.
    """

    encoder: dict[str, Any]
    """Fields of ViTConfig."""
    decoder: dict[str, Any]
    """Fields of CaptionerConfig, apart from the encoder and the vocabulary."""
    task: str = "caption"
    pictures: int = 0
    """Drawn scenes in an epoch; 0 for photos."""
    rarest: int = 1
    """How often a word must occur in the training captions to be learnt."""
    frozen: int = 0
    """Epochs at the beginning in which the encoder stays as it is."""
    captions: int = 1
    """Captions of each photo in a step."""
    drawn: int = 0
    """Captions sampled for each photo, see `model.training.self_critical`; 0 for none."""


PARTS: dict[str, type[Data | Optimiser | Schedule | Augment]] = {
    "data": Data,
    "optimiser": Optimiser,
    "schedule": Schedule,
    "augment": Augment,
}
_CHOICES = {"optimiser": ("adam", "adamw", "muon", "sgd"), "schedule": ("constant", "cosine")}


def recipe_names(task: str | None = None) -> list[str]:
    """List the recipes of the project, of one task ("classify" or "caption") or all."""
    files = resources.files(__package__).joinpath("recipes").iterdir()
    found = sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))
    return [name for name in found if task is None or load_recipe(name).task == task]


def load_recipe(name: str, changes: list[str] | tuple[str, ...] = ()) -> Recipe | CaptionRecipe:
    """Load a recipe by its name, or from a TOML file.

    Args:
        name: a recipe of the project, or the path of a .toml file.
        changes: "epochs=30", "optimiser.lr=1e-3", ..., with values as TOML writes them.

    Raises:
        RecipeError: there is no such recipe, or it makes no sense; the message says what to do.

    >>> recipe = load_recipe("cs231n-cifar10", ["epochs=3"])
    >>> recipe.epochs, recipe.optimiser.name, recipe.model
    (3, 'adam', {'preset': 'cs231n'})
    """
    try:
        table = tomllib.loads(_read_text(name))
    except OSError:
        raise RecipeError(
            f'There is no recipe "{_stem(name)}". Known: {", ".join(recipe_names())}; '
            "or give a .toml file."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"The recipe {_stem(name)} is not valid TOML: {error}.") from None
    for change in changes:
        _apply_change(table, change)
    return _build_recipe(_stem(name), table)


def _stem(name: str) -> str:
    return Path(name).stem if name.endswith(".toml") else name


def _read_text(name: str) -> str:
    if name.endswith(".toml"):
        return Path(name).read_text(encoding="utf-8")
    file = resources.files(__package__).joinpath("recipes", f"{name}.toml")
    return file.read_text(encoding="utf-8")


def _apply_change(table: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    try:
        value = tomllib.loads(f"value = {text}")["value"] if equals else None
    except tomllib.TOMLDecodeError:
        value = text  # a bare word
    *path, last = key.strip().split(".")
    for part in path:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            value = None
            break
    if value is None:
        raise RecipeError(f'"{change}" changes nothing. Write it as --set optimiser.lr=0.001.')
    table[last] = value


def _build_recipe(name: str, table: dict[str, Any]) -> Recipe | CaptionRecipe:
    table = {"name": name, **table}
    for key, part in PARTS.items():
        if key in table:
            table[key] = _build(part, table[key], f"[{key}] of recipe {name}")
    recipe: Recipe | CaptionRecipe
    if table.get("task") == "caption":
        recipe = _build(CaptionRecipe, table, f"recipe {name}")
    else:
        recipe = _build(Recipe, table, f"recipe {name}")
    if isinstance(recipe, Recipe) and "preset" not in recipe.model:
        raise RecipeError(f"The recipe {name} names no preset under [model].")
    for key, choices in _CHOICES.items():
        if getattr(recipe, key).name not in choices:
            raise RecipeError(
                f'The recipe {name} asks for {key} "{getattr(recipe, key).name}". '
                f"Known: {', '.join(choices)}."
            )
    if not 0 <= recipe.augment.plain <= 1:
        raise RecipeError(f"The recipe {name} needs plain, a share of its epochs, from 0 to 1.")
    if isinstance(recipe, CaptionRecipe) and _lacks_captions_to_compare(recipe):
        raise RecipeError(
            f"The recipe {name} needs drawn of at least 2, to compare captions, and photos that "
            "people described."
        )
    if recipe.epochs < 1 or recipe.batch < 1 or recipe.test_every < 1:
        raise RecipeError(f"The recipe {name} needs epochs, batch and test_every of at least 1.")
    return recipe


def _lacks_captions_to_compare(recipe: CaptionRecipe) -> bool:
    return recipe.drawn != 0 and (recipe.drawn < 2 or recipe.pictures > 0)


_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    tuple: ((list, tuple), "a list such as [0.9, 0.99]"),
    dict: ((dict,), "a table"),
}


def check_types(kind: type[Any], table: dict[str, Any], where: str) -> None:
    """Raise RecipeError for a name that the dataclass `kind` lacks, or a value of a wrong type.

    `where` names the table in the sentence.
    """
    hints = get_type_hints(kind)
    if unknown := sorted(set(table) - {field.name for field in dataclasses.fields(kind)}):
        known = ", ".join(field.name for field in dataclasses.fields(kind))
        raise RecipeError(f"The {where} has {unknown[0]}, which is unknown. Known: {known}.")
    for name, value in table.items():
        types, wanted = _KINDS.get(get_origin(hints[name]) or hints[name], ((), ""))
        if types and type(value) not in types:
            raise RecipeError(f"The {where} has {name} = {value!r}; it should be {wanted}.")


def _build(kind: type[Built], table: Any, where: str) -> Built:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if not isinstance(table, dict):
        raise RecipeError(f"The {where} should be a table of {', '.join(fields)}.")
    check_types(kind, table, where)
    missing = [
        name
        for name, f in fields.items()
        if name not in table
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise RecipeError(f"The {where} lacks {missing[0]}.")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
