"""What lies behind a complete encoder in a file: a head that is understood, or parts left out."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from torch import Tensor

from model.zoo.checkpoint_format import CheckpointFormat, Tensors

# Names at the beginning of which there is no head, but what acts on the tokens.
_ACTS_ON_TOKENS = re.compile(r"(?!decoder|mask_)\w*(pos_|position|rope|rel_|relative|token|prompt)")
# What lies between the encoder and its head, so that the head alone would answer wrongly.
_BEFORE_HEAD = re.compile(r"pre_logits|neck|bottleneck|pool|proj|adapter")
# What a training leaves beside a model, and what no answer passes through.
_OF_TRAINING = re.compile(r"decoder|criterion|loss|mask_|queue|momentum|logit_scale|center|aux")
_HEAD = re.compile(
    r"(\w*head\w*|fc\w*|classif\w*|cls\w*|linear\w*|logits|out\w*|last_layer|\w*probe\w*|mlp\w*"
    r"|regress\w*|[0-9]+)"
)
_OF_HEAD = ("head", "norm_of", "projection")


def follows_a_gap(name: str, names: Collection[str]) -> bool:
    """Say whether a part without weights lies before this one in a Sequential: dropout, or ReLU.

    >>> follows_a_gap("head.1.weight", ["head.1.weight"])
    True
    >>> follows_a_gap("1.weight", ["0.cls_token", "1.weight"])
    False
    """
    found = re.fullmatch(r"(.*\.)?([1-9][0-9]*)\.weight", name)
    before = found and f"{found[1] or ''}{int(found[2]) - 1}."
    return before is not None and not any(name.startswith(before) for name in names)


def is_inside(source: CheckpointFormat, name: str) -> bool:
    """Say whether an unknown tensor lies in the encoder, where it would change the attention."""
    bare = name.removeprefix(source.only).removeprefix(source.prefix)
    for theirs, ours in source.names.items():
        if ours.startswith("blocks.") and bare.startswith(theirs.partition("*")[0]):
            return True
        root = theirs.partition(".")[0]
        if ours.startswith(("embed", "cls_", "positions", "norm_embedding")) and (
            bare.partition(".")[0] == root
        ):
            return True
    return bool(_ACTS_ON_TOKENS.match(bare))


def attach_head(
    source: CheckpointFormat,
    tensors: Tensors,
    renamed: Tensors,
    unknown: Sequence[str],
    beside: Tensors,
) -> tuple[Tensors, list[str]]:
    """Keep a head that is one Linear upon what the encoder returns; leave the rest out.

    Args:
        source: The format of the file.
        tensors: The file's tensors.
        renamed: The tensors that the format has names for, under ours.
        unknown: Names of the others that lie behind the encoder.
        beside: Tensors that lie beside the model.

    Returns:
        The tensors of the model under our names, and the names of what is left out.
    """
    theirs = {name: tensors[name] for name in unknown}
    for name, tensor in beside.items():
        ours, _ = source.rename({source.only + _without_parents(name, source.only): tensor})
        known = {n: t for n, t in ours.items() if n.startswith(_OF_HEAD) and n not in renamed}
        if known:
            renamed = renamed | known
        else:
            theirs[name] = tensor
    if not _is_linear(renamed):
        renamed, gone = _without_head(source, tensors, renamed, theirs, ("head",))
        return renamed, gone
    if "norm.weight" in renamed and "norm_of_mean.weight" in renamed:
        # A norm of the mean after the norm of the tokens, for which our model has no place.
        return _without_head(source, tensors, renamed, theirs, ("head", "norm_of_mean"))
    if "head.weight" in renamed:
        root = _root(source, source.their_name("head.weight", tensors))
        between = [
            name
            for name in theirs
            if not _OF_TRAINING.search(name)
            and (_root(source, name) == root or _BEFORE_HEAD.search(_root(source, name)))
        ]
        if between or not _fits(renamed, renamed["head.weight"]):
            return _without_head(source, tensors, renamed, theirs, ("head",))
    elif "projection" not in " ".join(source.names.values()):
        renamed, theirs = _with_linear(renamed, theirs)
    if "head.weight" in renamed and "head.bias" not in renamed:
        weight = renamed["head.weight"]
        renamed = renamed | {"head.bias": weight.new_zeros(len(weight))}
    return renamed, list(theirs)


def _is_linear(renamed: Tensors) -> bool:
    """Say whether a head, where there is one, is one Linear.

    Others have a kernel, or a weight that is made anew at each call from parts of other names.
    """
    head = {name: t for name, t in renamed.items() if re.match(r"head(_dist)?\.", name)}
    weights = [name for name in head if name.endswith(".weight")]
    roots = {name.partition(".")[0] for name in head}
    sides = {"weight": 2, "bias": 1}
    return len(weights) == len(roots) and all(
        tensor.ndim == sides.get(name.partition(".")[2]) for name, tensor in head.items()
    )


def _with_linear(renamed: Tensors, theirs: Tensors) -> tuple[Tensors, Tensors]:
    """Take the one Linear behind the encoder for its head, whatever its name."""
    answer = [name for name in theirs if not _OF_TRAINING.search(name)]
    weights = [name for name in answer if name.endswith("weight")]
    if len(weights) != 1:
        return renamed, theirs
    stem = weights[0].removesuffix("weight")
    if set(answer) - {f"{stem}weight", f"{stem}bias"} or not _fits(renamed, theirs[weights[0]]):
        return renamed, theirs
    if not any(map(_HEAD.fullmatch, stem.split("."))):
        return renamed, theirs
    head = {f"head.{name.removeprefix(stem)}": theirs[name] for name in answer}
    return renamed | head, {n: t for n, t in theirs.items() if n not in answer}


def _without_head(
    source: CheckpointFormat,
    tensors: Tensors,
    renamed: Tensors,
    theirs: Tensors,
    parts: tuple[str, ...],
) -> tuple[Tensors, list[str]]:
    gone = [name for name in renamed if name.startswith(tuple(f"{part}." for part in parts))]
    names = [source.their_name(name, tensors) for name in gone]
    names = [name if name in tensors else name.removeprefix(source.only) for name in names]
    return {n: t for n, t in renamed.items() if n not in gone}, [*names, *theirs]


def _fits(renamed: Tensors, weight: Tensor) -> bool:
    """Say whether a Linear takes what the encoder returns: a token, or a token and the mean."""
    widths = set(renamed["embed.proj.weight"].shape[:1])
    if "cls_token" in renamed:
        widths |= {2 * width for width in widths}
    widths |= {len(t) for n, t in renamed.items() if n == "projection.weight"}
    widths |= {t.shape[-1] for n, t in renamed.items() if n == "projection.transposed"}
    return weight.ndim == 2 and weight.shape[1] in widths


def _without_parents(name: str, prefix: str) -> str:
    """Take the longest beginning of a prefix, "a.b." or "a.", off a name beside it."""
    while prefix and not name.startswith(prefix):
        prefix = prefix[:-1].rpartition(".")[0]
        prefix += "." if prefix else ""
    return name.removeprefix(prefix)


def _root(source: CheckpointFormat, name: str) -> str:
    return _without_parents(name, source.only).removeprefix(source.prefix).partition(".")[0]
