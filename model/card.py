"""A model's card: where it comes from, how its pictures are prepared, how well it does."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

Number = float | int  # an integer stays one, so that a page shows it as one


class Normalisation(BaseModel):
    """Mean and standard deviation of each channel, for values from 0 to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    mean: list[Number]
    std: list[Number]


class ResizeRule(BaseModel):
    """How a photo is resized, as `model.preprocessing.Resize` takes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    resized: int | list[int] | None = None  # shorter side, or height and width
    interpolation: str = "bicubic"


class Card(BaseModel):
    """What is known about a model; beside a checkpoint it is a file in JSON.

    Keys without a field are kept, in their place. A card never changes: `changed` and `without`
    make another one.

    Example:
        >>> card = Card(task="classify", title="Ants and bees", classes=["ant", "bee"])
        >>> card.title, card.epochs
        ('Ants and bees', None)
        >>> card.changed(epochs=3).without(["title"]).as_dict()
        {'task': 'classify', 'classes': ['ant', 'bee'], 'epochs': 3}
        >>> card["task"], card.get("seed"), "seed" in card
        ('classify', None, False)
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: str | None = None
    title: str | None = None
    task: str = "classify"  # or "caption"
    config: dict[str, Any] = Field(default_factory=dict)  # of the net, as its builder takes it
    classes: list[str] | None = None
    normalisation: Normalisation | None = None
    resize: ResizeRule | None = None
    parameters: int | None = None
    licence: str | None = None  # of the weights
    sha256: str | None = None  # of the weights file

    # How it was trained
    recipe: str | None = None
    command: str | None = None
    commands_first: list[str] = Field(
        default_factory=list
    )  # which make the checkpoints that this one needs
    went_on_from: str | None = None
    teachers: str | None = None
    machine: str | None = None
    seed: int | None = None
    epochs: int | None = None
    curve: list[dict[str, Any]] = Field(default_factory=list)  # a row for each epoch
    data: str | None = None
    data_licence: str | None = None
    note: str | None = None

    # How well it does
    metrics: dict[str, Number] = Field(default_factory=dict)
    confusion: list[Any] | None = None  # see model.evaluate.confusion
    weak_at: str | None = None

    _given: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_given(cls, values: dict[str, Any], validate: Callable[[Any], Self]) -> Self:
        card = validate(values)
        card._given = values
        return card

    def as_dict(self) -> dict[str, Any]:
        """Return the keys and values as they were given, in the same order, ready for JSON."""
        return {
            key: value.model_dump() if isinstance(value, BaseModel) else value
            for key, value in self._given.items()
        }

    def __getitem__(self, key: str) -> Any:
        """Return one value as the file has it: `card["title"]`. Raises KeyError without it."""
        return self.as_dict()[key]

    def __contains__(self, key: str) -> bool:
        """Tell whether the card says anything under this key."""
        return key in self._given

    def get(self, key: str, default: Any = None) -> Any:
        """Return one value as the file has it, or the default without it."""
        return self.as_dict().get(key, default)

    def changed(self, **values: Any) -> Self:
        """Return a card with these values in place of its own."""
        return type(self)(**self.as_dict() | values)

    def without(self, keys: Collection[str]) -> Self:
        """Return a card without these keys."""
        return type(self)(**{k: value for k, value in self.as_dict().items() if k not in keys})


class OwnFileCard(Card):
    """The card of a file that came without one, as far as its tensors tell."""

    checkpoint_format: str  # by whose names for the tensors it was read
    assumed: list[str]  # settings that neither the file nor the caller gives
    left_out: str  # names of tensors that are no part of the model
    other_networks: list[str] = Field(default_factory=list)  # keys by which `network` chooses them
