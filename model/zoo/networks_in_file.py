"""The networks in a training run's file, below whatever keys: one is chosen, the rest named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from model.errors import ModelRejected
from model.zoo.pickled_values import LONGEST_NAME, Blank, StoredTensor

SAVE = "Save it with torch.save(model.state_dict(), PATH)."
AS_TRAINED = "Save the model's weights as they were trained, before they are quantised."
MAX_TENSORS = 4_000  # the largest CLIP has 1,300
MAX_DEPTH = 8  # of keys in keys
MAX_PLACES = 20  # of a list in which a network may lie

# Of several networks in one file the first in this order is taken.
_WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "net", "weights"),
    *("model_ema", "ema", "teacher", "student"),
)
# Keys below which a training run keeps its own tensors, none of them a network's.
_NO_NETWORK = re.compile(r"optim|sched|scaler|rng|random|callback|loop|loss|momentum|hyper", re.I)


@dataclass
class StoredNetwork:
    """What is kept of a pickle, its numbers still in the file."""

    tensors: dict[str, StoredTensor]
    beside: dict[str, StoredTensor]  # in small mappings: a head, saved apart from its encoder
    others: list[str]  # keys of further networks
    key: str  # of this one


@dataclass
class _Mapping:
    """A mapping of names to tensors in a file, and the keys that lead to it."""

    keys: tuple[str, ...]
    tensors: dict[str, StoredTensor]
    other: list[str]  # classes of what else it maps to

    @property
    def path(self) -> str:
        return ".".join(self.keys)

    def rank(self, most: int) -> tuple[int, ...]:
        """Order mappings: those with most tensors, then as `_WRAPPERS` are."""
        places = [_WRAPPERS.index(k) if k in _WRAPPERS else len(_WRAPPERS) for k in self.keys]
        return (2 * len(self.tensors) < most, *(places or [len(_WRAPPERS)]))


def choose_network(file: str, content: Any, network: str | None = None) -> StoredNetwork:
    """Find the mapping of names to tensors, whatever its key.

    Of several, those in the order of `_WRAPPERS` come first. Small ones (a head, saved apart from
    its encoder) lie beside the chosen one, further networks are named.

    Args:
        file: The file's name, for messages.
        content: What its pickle holds.
        network: The key of the network that is wanted, such as "student". A key that leads to no
            mapping is passed over: it may be a prefix of names.

    Raises:
        ModelRejected: There is none, or it is larger than any model's.
    """
    found = list(_mappings(content, (), set()))
    models = [each for each in found if each.tensors]
    most = max((len(each.tensors) for each in models), default=0)
    models.sort(key=lambda each: (not is_called(each.path, network), each.rank(most)))
    if not models or any(_is_special(of) for of in models[0].other):
        raise ModelRejected(_why_none(file, content, models[:1] or found))
    chosen, *rest = models
    beside: dict[str, StoredTensor] = {}
    others: list[str] = []
    for each in rest:
        if len(each.tensors) <= 4 < len(chosen.tensors):
            stem = f"{each.path}." if each.path else ""
            beside |= {f"{stem}{name}": tensor for name, tensor in each.tensors.items()}
        else:
            others.append(each.path)
    check_names(file, [*chosen.tensors, *beside])
    return StoredNetwork(chosen.tensors, beside, others, chosen.path)


def check_names(file: str, names: list[str]) -> None:
    """Raise ModelRejected for more tensors, or longer names, than any model has."""
    if len(names) > MAX_TENSORS:
        raise ModelRejected(f"{file} holds {len(names):,} tensors: no model has those.")
    longest = max(map(len, names), default=0)
    if longest > LONGEST_NAME:
        raise ModelRejected(f"{file} names a tensor in {longest:,} characters: no model does.")


def is_called(path: str, network: str | None) -> bool:
    """Say whether the keys or the prefix that lead to a network have this part.

    >>> is_called("checkpoint.student", "student"), is_called("students.", "student")
    (True, False)
    """
    return network is not None and f".{network.strip('.')}." in f".{path}."


def _is_special(of: str) -> bool:
    return of.startswith("torch._utils._rebuild")


def _why_none(file: str, content: Any, mappings: list[_Mapping]) -> str:
    """Say what the file holds in place of tensors by name."""
    other = [of for each in mappings for of in each.other]
    other += [content.of] if isinstance(content, Blank) else []
    if any(re.search(r"_rebuild_qtensor|torchao|bitsandbytes|quantized", of) for of in other):
        return f"{file} holds quantised tensors. {AS_TRAINED}"
    if any("_rebuild_meta_tensor" in of for of in other):
        return f"{file} holds tensors of the device meta, which have no numbers. {SAVE}"
    if any(map(_is_special, other)):
        return f"{file} holds sparse, quantised or complex tensors. {SAVE}"
    if any(of.startswith("numpy") for of in other):
        return (
            f"{file} holds NumPy arrays, not tensors. Save those: torch.save("
            "{name: torch.from_numpy(array) for name, array in arrays.items()}, PATH)."
        )
    if not other:
        return f"{file} holds no tensors by name. {SAVE}"
    what = "".join(c for c in other[0] if c.isprintable())[:60]
    return (
        f"{file} holds no tensors by name, but an object ({what}), which opens only by running a "
        f"stranger's program. Nothing of it was run. {SAVE}"
    )


def _mappings(content: Any, keys: tuple[str, ...], seen: set[int]) -> Iterator[_Mapping]:
    """Iterate over the mappings in a file that may be a network's."""
    items = items_of(content)
    if not isinstance(items, dict | list | tuple) or id(items) in seen or len(keys) > MAX_DEPTH:
        return
    seen.add(id(items))
    if isinstance(items, dict) and {"state", "param_groups"} <= items.keys():
        return  # an optimiser's
    if not isinstance(items, dict):
        for place, value in enumerate(items[:MAX_PLACES]):
            yield from _mappings(value, (*keys, str(place)), seen)
        return
    yield _Mapping(
        keys,
        {str(key): value for key, value in items.items() if isinstance(value, StoredTensor)},
        [value.of for value in items.values() if isinstance(value, Blank)],
    )
    for key, value in items.items():
        if not isinstance(key, str | int):  # a whole number may be an epoch's
            continue
        if len(str(key)) < 100 and not _NO_NETWORK.search(str(key)):
            yield from _mappings(value, (*keys, str(key)), seen)


def items_of(content: Any) -> Any:
    """Return what a `Blank` holds by key, and everything else as it is."""
    return content.items if isinstance(content, Blank) else content
