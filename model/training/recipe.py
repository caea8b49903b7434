"""What to train and how, read from a small TOML file."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, get_origin, get_type_hints

from model.errors import RecipeError


@dataclass(frozen=True)
class Data:
    name: str
    licence: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Optimiser:
    """`name`: "adam" (weight decay as an L2 term of the gradient), "adamw", "muon" (which see) or
    "sgd"."""

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.0
    decay_all: bool = False  # biases, norms and tokens too, as torch does when not told otherwise
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.0
    clip: float = 0.0  # largest norm of the gradient; 0: any


@dataclass(frozen=True)
class Schedule:
    """`name`: "constant", or "cosine" down to zero, after `warmup` (a share of all steps)."""

    name: str = "constant"
    warmup: float = 0.0


@dataclass(frozen=True)
class Augment:
    """Zero or false leaves a variation out. See `augment` for each. `plain`: the last share of the
    epochs, in which pictures are only shifted, zoomed and mirrored."""

    crop: int = 0
    zoom: float = 0.0
    turn: float = 0.0
    flip: bool = False
    colour: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    plain: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """`model`: a preset of `model.vit` and the fields in which this model differs from it.

    `ema`: decay of the exponential moving average of the weights, 0 for none.
    `test_every`: epochs between two looks at the test set (the last epoch is always measured).
    `start`: a checkpoint beside the one to write whose weights it goes on with. It is the same
    model, whatever was left out of it in training; the head begins anew for another number of
    classes.
    `teachers`: checkpoints beside the one to write whose answers are learnt, not the labels, see
    `distillation`.
    `bfloat16`: half precision on a CPU too, as always on a GPU; twice as fast on a CPU that has it
    (avx512_bf16, amx), slow on one that imitates it.
    """

    name: str
    title: str
    data: Data
    model: dict[str, Any]
    epochs: int
    batch: int
    start: str = ""
    teachers: tuple[str, ...] = ()
    seed: int = 0
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augment = field(default_factory=Augment)
    label_smoothing: float = 0.0
    ema: float = 0.0
    test_every: int = 1
    bfloat16: bool = False
    weak_at: str = ""
    task: ClassVar[str] = "classify"


@dataclass(frozen=True)
class CaptionRecipe:
    """`encoder`: fields of ViTConfig; `decoder`: fields of CaptionerConfig, but for the vocabulary.

    `pictures`: how many are drawn for an epoch, where they are drawn. `rarest`: how often a word
    comes at least in the training captions to get into the vocabulary. `start`: a checkpoint
    beside the one to write whose encoder is taken over where it fits and exists. `frozen`: so many
    epochs long the encoder stays as it started. `captions`: how many of a photo's captions are
    learnt in one step, for one look at the photo. `drawn`: so many captions a photo are drawn and
    learnt from by what they are worth, see `model.training.self_critical`; `start` is then the
    whole captioner to go on with. `bfloat16`: as in `Recipe`.
    """

    name: str
    title: str
    data: Data
    encoder: dict[str, Any]
    decoder: dict[str, Any]
    epochs: int
    batch: int
    task: str = "caption"
    pictures: int = 0
    rarest: int = 1
    start: str = ""
    frozen: int = 0
    captions: int = 1
    drawn: int = 0
    seed: int = 0
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augment = field(default_factory=Augment)
    label_smoothing: float = 0.0
    ema: float = 0.0
    test_every: int = 1
    bfloat16: bool = False
    weak_at: str = ""


PARTS = {"data": Data, "optimiser": Optimiser, "schedule": Schedule, "augment": Augment}
_CHOICES = {"optimiser": ("adam", "adamw", "muon", "sgd"), "schedule": ("constant", "cosine")}


def recipe_names(task: str | None = None) -> list[str]:
    """The recipes that come with the project, those of one task ("classify", "caption") or all."""
    files = resources.files(__package__).joinpath("recipes").iterdir()
    found = sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))
    return [name for name in found if task is None or load_recipe(name).task == task]


def load_recipe(name: str, changes: list[str] | tuple[str, ...] = ()) -> Recipe | CaptionRecipe:
    """The recipe of that name, or of the TOML file at that path.

    `changes`: "epochs=30", "optimiser.lr=1e-3", ...: values as TOML writes them.
    Raises RecipeError.
    """
    if name.endswith(".toml"):
        file, name = Path(name), Path(name).stem
    else:
        file = resources.files(__package__).joinpath("recipes", f"{name}.toml")
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise RecipeError(
            f'There is no recipe "{name}". Known: {", ".join(recipe_names())}; '
            "or give a .toml file."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"The recipe {name} is not valid TOML: {error}.") from None
    for change in changes:
        _change(table, change)
    return _recipe(name, table)


def _change(table: dict, change: str) -> None:
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


def _recipe(name: str, table: dict) -> Recipe | CaptionRecipe:
    table = {"name": name, **table}
    for key, part in PARTS.items():
        if key in table:
            table[key] = _build(part, table[key], f"[{key}] of recipe {name}")
    captions = table.get("task") == "caption"
    recipe = _build(CaptionRecipe if captions else Recipe, table, f"recipe {name}")
    if not captions and "preset" not in recipe.model:
        raise RecipeError(f"The recipe {name} names no preset under [model].")
    for key, choices in _CHOICES.items():
        if getattr(recipe, key).name not in choices:
            raise RecipeError(
                f'The recipe {name} asks for {key} "{getattr(recipe, key).name}". '
                f"Known: {', '.join(choices)}."
            )
    if not 0 <= recipe.augment.plain <= 1:
        raise RecipeError(f"The recipe {name} needs plain, a share of its epochs, from 0 to 1.")
    if captions and recipe.drawn and (recipe.drawn < 2 or recipe.pictures):
        raise RecipeError(
            f"The recipe {name} needs drawn of at least 2, to compare captions, and photos that "
            "people described."
        )
    if recipe.epochs < 1 or recipe.batch < 1 or recipe.test_every < 1:
        raise RecipeError(f"The recipe {name} needs epochs, batch and test_every of at least 1.")
    return recipe


_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    tuple: ((list, tuple), "a list such as [0.9, 0.99]"),
    dict: ((dict,), "a table"),
}


def check_types(kind: type, table: dict[str, Any], where: str) -> None:
    """Raise RecipeError for a name that the dataclass `kind` has not, or a value of another type.

    `where`: what the table is, as a sentence calls it.
    """
    hints = get_type_hints(kind)
    if unknown := sorted(set(table) - {field.name for field in dataclasses.fields(kind)}):
        known = ", ".join(field.name for field in dataclasses.fields(kind))
        raise RecipeError(f"The {where} has {unknown[0]}, which is unknown. Known: {known}.")
    for name, value in table.items():
        types, wanted = _KINDS.get(get_origin(hints[name]) or hints[name], ((), ""))
        if types and type(value) not in types:
            raise RecipeError(f"The {where} has {name} = {value!r}; it should be {wanted}.")


def _build(kind: type, table: Any, where: str):
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
