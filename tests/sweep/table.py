"""Write what a sweep found as a page of the documentation."""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.sweep.judge import (
    CRASH,
    EXACT,
    LABELLED,
    NO_SOFTMAX,
    REFUSED,
    SILENT,
    SKIPPED,
    WRONG,
    Outcome,
)

LIBRARIES = {  # by the name of the module that lists the models, the package to import
    "timm": "timm",
    "transformers": "transformers",
    "vit_pytorch": "vit_pytorch",
    "x_transformers": "x_transformers",
    "torchvision": "torchvision",
    "monai": "monai",
    "open_clip": "open_clip",
}
_DISTRIBUTIONS = {"vit_pytorch": "vit-pytorch", "x_transformers": "x-transformers"}
_DISTRIBUTIONS |= {"open_clip": "open-clip-torch"}
VERDICTS = (EXACT, LABELLED, NO_SOFTMAX, REFUSED, WRONG, SILENT, CRASH, SKIPPED)
_LEAD = """# Sweep: the recorder on whole libraries

`python -m tests.sweep --out docs/sweep.md` builds one model of each class and kind of attention
with random weights, runs it on two small images under the recorder, and judges what was recorded.
The truth is taken below the recorder, from the operations that reach torch's kernels: which tensor
multiplies values along the dimension of a softmax. Where a library returns maps of its own, these
are compared, too. The output must be the plain run's to the bit. Every model that is recorded is
recorded once more with one image alone: it must give the same layers and heads, and the map that
it has beside another image, with as many queries and keys unless the model itself chooses tokens.

- **exact**: every map of tokens is recorded, with the values, axes and heads that act; what the
  model computes besides (softmaxes over channels, features, classes) is named.
- **labelled**: the model weighs no tokens, and the recorder says so.
- **no softmax**: nothing to record.
- **refused**: a map of tokens is named in a sentence, and not recorded.
- **wrong**, **silent**, **crash**: a wrong map, a map neither recorded nor named, an error.
- **not run**: the sweep could not build or run the model by itself.
"""


def write_table(
    file: Path, outcomes: Sequence[Outcome], listed: Mapping[str, int] | None = None
) -> None:
    """Write counts for each library, then what is not exact, by name and with its reason.

    Args:
        file: the page.
        outcomes: what is known so far.
        listed: how many models of each library there are to judge.
    """
    parts = [
        _LEAD,
        f"{datetime.date.today():%d %B %Y}, {_versions()}.\n",
        _counts(outcomes, listed or {}),
        _alone(outcomes),
        _states(outcomes),
    ]
    for verdict in (WRONG, SILENT, CRASH, REFUSED, LABELLED, NO_SOFTMAX, SKIPPED):
        found = [each for each in outcomes if each.verdict == verdict]
        if found:
            parts.append(_list(verdict, found))
    file.write_text("\n".join(parts), encoding="utf-8")


def _versions() -> str:
    names = ["torch", *(_DISTRIBUTIONS.get(name, name) for name in LIBRARIES)]
    return ", ".join(f"{name} {_version(name)}" for name in names)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _counts(outcomes: Sequence[Outcome], listed: Mapping[str, int]) -> str:
    rows = [
        _row(("library", *VERDICTS, "judged, of")),
        _row(["---"] + ["--:"] * (len(VERDICTS) + 1)),
    ]
    for library, package in LIBRARIES.items():
        counts = Counter(each.verdict for each in outcomes if each.library == library)
        missing = not counts and importlib.util.find_spec(package) is None
        numbers = ["not installed"] if missing else [str(counts[v]) for v in VERDICTS]
        judged = counts.total()
        numbers += [""] * (len(VERDICTS) - len(numbers))
        rows.append(_row([library, *numbers, f"{judged} of {listed.get(library, judged)}"]))
    counts = Counter(each.verdict for each in outcomes)
    total = sum(listed.values()) or counts.total()
    numbers = [f"**{counts[verdict]}**" for verdict in VERDICTS]
    rows.append(_row(["**all**", *numbers, f"{counts.total()} of {total}"]))
    return "\n".join(rows) + "\n"


def _alone(outcomes: Sequence[Outcome]) -> str:
    recorded = [each for each in outcomes if each.records and each.verdict in (EXACT, REFUSED)]
    agree = sum(each.alone for each in recorded)
    since = len([each for each in recorded if each.versions])
    return (
        f"One image alone agrees with two on every axis: {agree} of {len(recorded)} recorded "
        f"({since} were judged since this is noted; before, “exact” demanded it of all but packed "
        "pictures).\n"
    )


def _states(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(each.versions.get("recorder", "earlier ones") for each in outcomes)
    if len(counts) == 1:
        return (
            f"All were judged on one state of `model/recording` (sha256 {next(iter(counts))}…).\n"
        )
    parts = ", ".join(f"{count} on {name}" for name, count in counts.most_common())
    return f"Judged on states of `model/recording` (by the sha256 of its files): {parts}.\n"


def _list(verdict: str, found: Sequence[Outcome]) -> str:
    lines = [f"## {verdict.capitalize()}: {len(found)}\n"]
    if not any(each.reason for each in found):
        return lines[0] + "\n" + ", ".join(f"{e.name} ({e.library})" for e in found) + ".\n"
    lines += [f"- {each.name} ({each.library}): {_short(each.reason)}" for each in found]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _short(reason: str, most: int = 300) -> str:
    reason = (
        " ".join(reason.split())
        .replace("|", "/")
        .replace("`", "")
        .replace("<", "‹")
        .replace(">", "›")
    )
    return reason if len(reason) <= most else reason[: most - 1] + "…"
