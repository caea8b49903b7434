"""The sentences of the page What if."""

from collections.abc import Sequence

import numpy as np

from viz.pages.what_if_experiment import Experiment

MOST_NAMED = 3
SHOWN = 5  # classes


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


def what_is_off(experiment: Experiment, numbers: Sequence[int], heads: int, patches: int) -> str:
    """Name what is switched off and hidden.

    >>> what_is_off(Experiment(off=((4, 2),), hidden=(1, 2)), range(6), heads=24, patches=64)
    'head 3 of layer 5 and 2 of 64 patches'
    """
    parts = []
    off = experiment.off
    if len(off) == heads:
        parts.append("any head of any layer")
    elif len(off) > MOST_NAMED:
        parts.append(f"{len(off)} of {heads} heads")
    elif off:
        parts += [f"head {head + 1} of layer {numbers[layer] + 1}" for layer, head in off]
    hidden = len(experiment.hidden)
    if hidden == patches:
        parts.append("any patch")
    elif hidden:
        parts.append(f"{hidden} of {patches} patches")
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
    was, left = as_percent(before[first]), as_percent(after[first])
    return (
        f"Without {without}, the answer changes from {names[first]} ({was}) to {names[now]} "
        f"({as_percent(after[now])}). {_capital(names[first])} is left at {left}."
    )


def spread_in_words(count: str, before: float, after: float, draws: np.ndarray, name: str) -> str:
    """Say how a change lies among random changes of the same size.

    >>> spread_in_words("1 head", 0.9, 0.2, np.array([0.8, 0.9, 0.85]), "cat")
    'Grey: 1 head at random, 3 times; cat is then between 80.0 % and 90.0 %. Your choice: 20.0 %, \
below all of them.'
    """
    low, high = draws.min(), draws.max()
    below = int((draws < after).sum())
    where = (
        "below all of them"
        if after < low
        else "above all of them"
        if after > high
        else f"among them: {below} of {len(draws)} lie below it"
    )
    between = f"{as_percent(low)} and {as_percent(high)}"
    return (
        f"Grey: {count} at random, {len(draws)} times; {name} is then between {between}. "
        f"Your choice: {as_percent(after)}, {where}."
    )


def size_in_words(experiment: Experiment) -> str:
    """Say how much is switched off and hidden, for the control."""
    parts = []
    if experiment.off:
        parts.append(f"{len(experiment.off)} head{'s' * (len(experiment.off) > 1)}")
    if experiment.hidden:
        parts.append(f"{len(experiment.hidden)} patch{'es' * (len(experiment.hidden) > 1)}")
    return " and ".join(parts)


def as_percent(value: float) -> str:
    """Write a share."""
    return f"{100 * value:.{1 if value >= 0.00995 else 2}f} %"


def _way(before: float, after: float) -> str:
    if abs(after - before) < 0.0005:
        return f"{as_percent(before)}, as before"
    verb = "rises" if after > before else "falls"
    return f"{as_percent(before)} {verb} to {as_percent(after)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
