"""The sentences of the page What if."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from viz.pages.what_if_experiment import Experiment
from viz.pictures.lettering import percent

MOST_NAMED = 3
SHOWN = 5  # classes
NO_CLASSES = (
    "This model has no classes, so it has no answer to compare. Its maps before and after are "
    "below."
)
BEGIN = (
    "All heads are on and every patch is shown: the model says {}, {}. What does it need for that?"
)


@dataclass(frozen=True)
class Sizes:
    """What there is to switch off: the layers' names, and how many heads and patches."""

    layers: Sequence[str]
    heads: int
    patches: int


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits (..., classes) into probabilities."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def paired_classes(before: np.ndarray, after: np.ndarray) -> list[int]:
    """Choose the classes to show: the likeliest before, and what has risen among the likeliest.

    >>> paired_classes(np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.2, 0.7]))
    [0, 1, 2]
    """
    first = np.argsort(-before)[:SHOWN].tolist()
    risen = [i for i in np.argsort(-after)[:3].tolist() if i not in first]
    return [*first, *risen]


def answer_in_words(
    experiment: Experiment,
    names: Sequence[str] | None,
    sizes: Sizes,
    before: np.ndarray,
    after: np.ndarray,
) -> dict[str, Any]:
    """Write a classifier's answer for the browser: a sentence, and paired bars.

    Args:
        names: of the classes; None for a model without classes.
        before: logits (classes,) of the unchanged model.
        after: of the changed one.
    """
    if names is None or len(names) != len(before):
        return {"words": NO_CLASSES, "classes": []}
    old, new = softmax(before), softmax(after)
    rows = [(names[i], float(old[i]), float(new[i])) for i in paired_classes(old, new)]
    if experiment.is_empty:
        best = int(old.argmax())
        return {"words": BEGIN.format(names[best], percent(old[best])), "classes": rows}
    without = what_is_off(experiment, sizes)
    return {"words": change_in_words(without, names, old, new), "classes": rows}


def what_is_off(experiment: Experiment, sizes: Sizes) -> str:
    """Name what is switched off and hidden.

    >>> sizes = Sizes(layers=[f"layer {n}" for n in range(1, 7)], heads=24, patches=64)
    >>> what_is_off(Experiment(off=((4, 2),), hidden=(1, 2)), sizes)
    'head 3 of layer 5 and 2 of 64 patches'
    """
    parts = []
    off, hidden = experiment.off, len(experiment.hidden)
    if len(off) == sizes.heads:
        parts.append("any head of any layer")
    elif len(off) > MOST_NAMED:
        parts.append(f"{len(off)} of {sizes.heads} heads")
    elif off:
        parts += [f"head {head + 1} of {sizes.layers[layer]}" for layer, head in off]
    if hidden == sizes.patches:
        parts.append("any patch")
    elif hidden:
        parts.append(f"{hidden} of {sizes.patches} patches")
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def change_in_words(
    without: str, names: Sequence[str], before: np.ndarray, after: np.ndarray
) -> str:
    """Say what became of the answer.

    >>> names = ["cat", "dog"]
    >>> change_in_words("any patch", names, np.array([0.9, 0.1]), np.array([0.8, 0.2]))
    'Without any patch, the answer stays cat: 90.0 % falls to 80.0 %.'
    """
    first, now = int(before.argmax()), int(after.argmax())
    if first == now:
        way = _way(before[first], after[first])
        return f"Without {without}, the answer stays {names[first]}: {way}."
    was, left = percent(before[first]), percent(after[first])
    return (
        f"Without {without}, the answer changes from {names[first]} ({was}) to {names[now]} "
        f"({percent(after[now])}). {_capital(names[first])} is left at {left}."
    )


def caption_in_words(without: str, before: Sequence[str], after: Sequence[str]) -> str:
    """Say what became of a caption.

    >>> caption_in_words("any patch", ["a", "red", "star"], ["a", "blue", "star"])
    'Without any patch, it writes another caption: 1 of 3 words is gone.'
    """
    if list(before) == list(after):
        return f"Without {without}, it writes the same caption."
    kept = SequenceMatcher(a=before, b=after, autojunk=False).get_matching_blocks()
    gone = len(before) - sum(block.size for block in kept)
    if not gone:
        return f"Without {without}, it writes another caption: all its words, and more."
    be = "is" if gone == 1 else "are"
    return f"Without {without}, it writes another caption: {gone} of {len(before)} words {be} gone."


def spread_in_words(count: str, before: float, after: float, draws: np.ndarray, name: str) -> str:
    """Say how a change lies among random changes of the same size.

    >>> spread_in_words("1 head", 0.9, 0.2, np.array([0.8, 0.9, 0.85]), "cat")
    'Grey: 1 head at random, 3 times; cat is then between 80.0 % and 90.0 %. Your choice: 20.0 %, \
below all of them: the answer needs it more than a random choice.'
    """
    low, high = draws.min(), draws.max()
    below = int((draws < after).sum())
    where = (
        "below all of them: the answer needs it more than a random choice"
        if after < low
        else "above all of them: the answer needs it less than a random choice"
        if after > high
        else f"among them: {below} of {len(draws)} lie below it, so it is nothing special"
    )
    between = f"{percent(low)} and {percent(high)}"
    return (
        f"Grey: {count} at random, {len(draws)} times; {name} is then between {between}. "
        f"Your choice: {percent(after)}, {where}."
    )


def size_in_words(experiment: Experiment) -> str:
    """Say how much is switched off and hidden, for the control."""
    parts = []
    if experiment.off:
        parts.append(f"{len(experiment.off)} head{'s' * (len(experiment.off) > 1)}")
    if experiment.hidden:
        parts.append(f"{len(experiment.hidden)} patch{'es' * (len(experiment.hidden) > 1)}")
    return " and ".join(parts)


def _way(before: float, after: float) -> str:
    if percent(before) == percent(after):
        return f"{percent(before)}, as before"
    verb = "rises" if after > before else "falls"
    return f"{percent(before)} {verb} to {percent(after)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
