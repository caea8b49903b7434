"""A file saved from the CS231n assignment's `CaptioningTransformer`, opened with its features."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.captioning.course_captioner import (
    FEATURES_SEED,
    PHOTO,
    CourseCaptionBundle,
    CourseCaptioner,
    CourseCaptionerConfig,
    draw_features,
)
from model.captioning.feature_files import read_features
from model.card import OwnFileCard
from model.datasets.vocabulary import SPECIAL
from model.errors import ModelRejected
from model.preprocessing import Resize
from model.zoo.checkpoint_format import Tensors, find_mismatch
from model.zoo.config_from_tensors import MAX_WIDTH

DEFAULT_HEADS = 4
MAX_WORDS = 1_000  # of a caption
MAX_VOCABULARY = 200_000
MAX_VOCABULARY_BYTES = 20_000_000
_SPECIAL = ("<null>", "<start>", "<end>", "<unk>")  # as the course writes SPECIAL
_TITLE = "the CS231n assignment's captioner"
_NEEDED = ("visual_projection.weight", "embedding.weight", "positional_encoding.pe")
_OUTSIDE = {"visual_projection": "bridge", "embedding": "embed", "output": "head"}
_INSIDE = {
    **{"self_attn": "self_attention", "cross_attn": "cross_attention", "ffn": "mlp"},
    **{"norm_self": "norm_self", "norm_cross": "norm_cross", "norm_ffn": "norm_mlp"},
}
# The assignment of 2021 and 2022 names the layers as torch does, and its MLP uses ReLU.
_INSIDE_BEFORE = {
    **{"multihead_attn": "cross_attention", "linear1": "mlp.fc1", "linear2": "mlp.fc2"},
    **{"norm1": "norm_self", "norm2": "norm_cross", "norm3": "norm_mlp"},
}
_LAYER = re.compile(r"transformer\.layers\.([0-9]{1,3})\.(\w+)\.(.+)")


def is_course_captioner(names: Iterable[str]) -> bool:
    """Say whether tensors bear the names of the assignment's captioner."""
    return set(_NEEDED) <= set(names)


def open_course_captioner(
    path: Path,
    tensors: Tensors,
    heads: int | None = None,
    features: str | Path | Sequence[float] | Tensor | None = None,
    row: int = 0,
    vocabulary: str | Path | Sequence[str] | None = None,
    **settings: Any,
) -> CourseCaptionBundle:
    """Open the captioner with the features of one image.

    Args:
        path: The file, for names and messages.
        tensors: Its tensors.
        heads: The number of heads; None for the assignment's default of 4.
        features: The image's features, or an `.npy` or `.h5` file of many images' features; None
            to draw them at random.
        row: Which image of such a file.
        vocabulary: The assignment's `coco2014_vocab.json`, or all words in their order; None to
            show words as numbers.
        settings: Nothing else can be said of it.

    Raises:
        ModelRejected: The tensors make no such captioner, or the others do not fit it.
    """
    if settings:
        raise ModelRejected(
            f"A captioner of the assignment has no setting {', '.join(sorted(settings))[:100]}. "
            "Leave it out."
        )
    net = _build(path, tensors, heads, _words(vocabulary, len(tensors["embedding.weight"])))
    values, told = _features(features, row, net.config.features)
    assumed = {"heads": heads, "vocabulary": vocabulary, "features": features}
    return CourseCaptionBundle(
        name=path.stem,
        net=net,
        tokens=net.tokens,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        resize=Resize(PHOTO),
        card=OwnFileCard(
            name=path.stem,
            title=f"{path.name} ({_TITLE})",
            task="caption",
            parameters=sum(p.numel() for p in net.parameters()),
            checkpoint_format=_TITLE,
            assumed=[name for name, value in assumed.items() if value is None],
            left_out="",
            note=told,
        ),
        features=values,
        features_from=told,
    )


def _build(
    path: Path, tensors: Tensors, heads: int | None, words: tuple[str, ...]
) -> CourseCaptioner:
    """Build the net that the tensors make, and load them. Raises ModelRejected."""
    renamed = _rename(tensors)
    table = renamed.pop("positions.code")
    before = any(".multihead_attn." in name for name in tensors)
    try:
        config = CourseCaptionerConfig(
            features=renamed["bridge.weight"].shape[1],
            vocabulary=words,
            dim=renamed["bridge.weight"].shape[0],
            layers=len({name.split(".")[1] for name in renamed if name.startswith("layers.")}),
            heads=DEFAULT_HEADS if heads is None else heads,
            mlp_dim=len(renamed["layers.0.mlp.fc1.weight"]),
            activation="relu" if before else "gelu",
            max_words=min(table.shape[-2], MAX_WORDS) - 1,
        )
        if max(config.dim, config.mlp_dim) > MAX_WIDTH or table.shape[-1] != config.dim:
            raise ValueError("Its tables are of other widths than its words.")
        with torch.device("meta"):
            sketch = CourseCaptioner(config)  # shapes without values
    except (ValueError, LookupError, RuntimeError, TypeError) as error:
        why = f" {error}" if type(error) is ValueError else ""
        raise ModelRejected(
            f"{path.name} has the names of {_TITLE}, but makes none.{why}"
        ) from error
    if differs := find_mismatch(sketch.state_dict(), renamed):
        raise ModelRejected(
            f"{path.name} has the names of {_TITLE}, but its {differs.name[:100]} is {differs}."
        )
    net = CourseCaptioner(config)
    net.load_state_dict(renamed)
    net.positions.code = table.reshape(-1, config.dim)[: config.max_words + 1].float()
    return net.eval()


def _rename(tensors: Tensors) -> Tensors:
    """Give the tensors our names; those that have none keep theirs, and fit nothing."""
    renamed: Tensors = {}
    inside = _INSIDE | _INSIDE_BEFORE
    for name, tensor in tensors.items():
        stem, _, last = name.rpartition(".")
        if name == "positional_encoding.pe":
            renamed["positions.code"] = tensor
        elif found := _LAYER.fullmatch(name):
            number, part, rest = found.groups()
            renamed[f"layers.{number}.{inside.get(part, part)}.{rest}"] = tensor
        else:
            renamed[f"{_OUTSIDE.get(stem, stem)}.{last}"] = tensor
    return renamed


def _features(given: Any, row: int, count: int) -> tuple[Tensor, str]:
    """Return one image's features (1, count), and a sentence that says where they come from."""
    if given is None:
        return draw_features(count), (
            f"The words come from features that were drawn at random (seed {FEATURES_SEED}), since "
            "the file holds no encoder."
        )
    if isinstance(given, str | Path):
        path = Path(given)
        if not path.is_file():
            raise ModelRejected(f"There is no file {path.name[:100]} of features.")
        return read_features(path, row, count), (
            f"The words come from the features in row {row} of {path.name[:60]}, since the file "
            "holds no encoder."
        )
    values = torch.as_tensor(given, dtype=torch.float32).reshape(1, -1)
    if values.shape[1] != count:
        raise ModelRejected(f"These are {values.shape[1]:,} features, and it takes {count:,}.")
    return (
        values,
        "The words come from the features that were given, since the file has no encoder.",
    )


# Words


def _words(given: Any, count: int) -> tuple[str, ...]:
    """Return `count` words, SPECIAL first: the given ones, or else numbers."""
    if count > MAX_VOCABULARY or count < len(SPECIAL):
        raise ModelRejected(f"Its vocabulary has {count:,} words: no captioner's has.")
    if given is None:
        return (*SPECIAL, *map(str, range(len(SPECIAL), count)))
    words = read_vocabulary(Path(given)) if isinstance(given, str | Path) else list(given)
    if len(words) != count:
        raise ModelRejected(
            f"The vocabulary has {len(words):,} words, and the captioner {count:,}. Choose the "
            "vocabulary that it was trained with."
        )
    if tuple(str(word).lower() for word in words[:4]) != _SPECIAL:
        raise ModelRejected(
            "The vocabulary does not begin with <NULL>, <START>, <END> and <UNK>, as the "
            "assignment's does. Put it into this order."
        )
    return (*SPECIAL, *(str(word)[:100] for word in words[4:]))


def read_vocabulary(path: Path) -> list[str]:
    """Read the words of the assignment's `coco2014_vocab.json` in order. Raises ModelRejected."""
    try:
        if path.stat().st_size > MAX_VOCABULARY_BYTES:
            raise ValueError("it is too large")
        values = json.loads(path.read_bytes())
        words = values.get("idx_to_word")
        if not isinstance(words, list):
            numbers = values.get("word_to_idx", values)
            words = sorted(numbers, key=numbers.__getitem__)
            if [numbers[word] for word in words] != list(range(len(words))):
                raise ValueError("its numbers leave gaps")
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError, OSError) as error:
        raise ModelRejected(
            f"{path.name[:100]} is no vocabulary: those of the assignment hold idx_to_word and "
            "word_to_idx. Choose coco2014_vocab.json."
        ) from error
    return words


def is_vocabulary(path: Path) -> bool:
    """Say whether a file is a vocabulary as the assignment writes it."""
    try:
        read_vocabulary(path)
        return any(key in json.loads(path.read_bytes()) for key in ("idx_to_word", "word_to_idx"))
    except ModelRejected:
        return False
