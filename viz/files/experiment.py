"""The files of an experiment: before and after heads are off and patches hidden."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model.bundle import Bundle
from model.intervention import Intervention, intervene
from model.recorded_image import RecordedImage
from viz.export.attention import patch_box
from viz.export.experiment import Trial, experiment_exports
from viz.export.names import token_name
from viz.export.program import Code
from viz.files.attention import NUMBERS, record, see, write_attention, write_numbers
from viz.files.wanted import Wanted, write_beside, write_export
from viz.standalone.views import AnswerChange

SHOWN = 5  # classes


def change_of(bundle: Bundle, wanted: Wanted) -> Intervention:
    """Make the intervention. Raises InterventionRefused for unknown heads and patches."""
    return intervene(
        bundle.net,
        heads_off={layer: heads for layer, heads in wanted.heads_off.items()},
        hide_patches=wanted.hide or (),
        hide=wanted.hide_by,
        tokens=bundle.tokens,
    )


def write_experiment(
    bundle: Bundle, image: Image.Image, wanted: Wanted, path: Path, out: Path, made: str
) -> None:
    """Write the files before and after, and both answers."""
    change, before = change_of(bundle, wanted), record(bundle, image, wanted)
    with change:
        after = record(bundle, image, wanted)
    write_attention(bundle, before, wanted, path, out / "before", made)
    write_attention(bundle, after, wanted, path, out / "after", made)
    logits = both_logits(bundle, image, change)
    answers = {
        name: _answer(bundle, each) for name, each in zip(("before", "after"), logits, strict=True)
    }
    write_beside(out / "answers.json", (json.dumps(answers, indent=2) + "\n").encode())
    if wanted.all:
        trial = _describe(bundle, before, after, logits, wanted, path)
        for export in experiment_exports(trial):
            name = export.title.lower().replace(" ", "-")
            write_export(export, out, name, wanted.width, ("npz",))
    numbers = {"before_logits": logits[0], "after_logits": logits[1], "made": np.array(made)}
    write_numbers(out / NUMBERS, numbers)


def both_logits(
    bundle: Bundle, image: Image.Image, change: Intervention
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the answer before and after, (classes,) float32 each."""
    with torch.no_grad():
        before = bundle.net(bundle.prepare(image))[0].float()
        with change:
            after = bundle.net(bundle.prepare(image))[0].float()
    return before.numpy(), after.numpy()


def answer_change(
    bundle: Bundle, logits: tuple[np.ndarray, np.ndarray], wanted: Wanted
) -> AnswerChange:
    """Say what became of the answer."""
    before, after = (_answer(bundle, each) for each in logits)
    without = name_changes(wanted)
    if not before:
        return AnswerChange(f"The maps before, and without {without}.")
    shown = dict.fromkeys([*list(before)[:SHOWN], *list(after)[:3]])
    (old, was), (new, now) = next(iter(before.items())), next(iter(after.items()))
    words = f"Without {without}: {old}, {was:.1%}, becomes {new}, {now:.1%}."
    return AnswerChange(words, [(name, before[name], after[name]) for name in shown])


def name_changes(wanted: Wanted) -> str:
    """Name what is switched off and hidden.

    >>> name_changes(Wanted(without_heads=[(4, 2)], hide=[1, 2]))
    'head 3 of layer 5 and 2 patches'
    """
    parts = [f"head {head + 1} of layer {layer + 1}" for layer, head in wanted.without_heads or ()]
    hidden = len(wanted.hide or ())
    if hidden:
        parts.append("1 patch" if hidden == 1 else f"{hidden} patches")
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _answer(bundle: Bundle, logits: np.ndarray) -> dict[str, float]:
    """Compute the probability of every class, likeliest first; empty where there are none."""
    if bundle.classes is None or len(logits) != len(bundle.classes):
        return {}
    shares = zip(bundle.classes, torch.from_numpy(logits).softmax(0).tolist(), strict=True)
    return dict(sorted(shares, key=lambda share: -share[1]))


def _describe(
    bundle: Bundle,
    before: RecordedImage,
    after: RecordedImage,
    logits: tuple[np.ndarray, np.ndarray],
    wanted: Wanted,
    path: Path,
) -> Trial:
    seen, chosen = see(bundle, before, wanted, path)
    tokens = before.layers[-1].tokens
    first = len(tokens.prefix)
    return Trial(
        bundle.name,
        path.stem,
        name_changes(wanted),
        token_name(chosen.query, tokens),
        before.frame,
        before.maps(-1, chosen.query),
        after.maps(-1, chosen.query),
        logits,
        answer_change(bundle, logits, wanted).classes,
        [number + 1 for number in before.numbers],
        chosen.layer,
        chosen.head,
        [box for patch in wanted.hide or () if (box := patch_box(first + patch, tokens))],
        patch_box(chosen.query, tokens),
        [seen.opening, _code(wanted, chosen.query)],
        wanted.style,
    )


def _code(wanted: Wanted, query: int) -> Code:
    """Write the Python that makes the experiment again."""
    given = f"heads_off={wanted.heads_off!r}, hide_patches={list(wanted.hide or ())!r}"
    given += f", hide={wanted.hide_by!r}"
    layers = "" if wanted.layers is None else f", layers={list(wanted.layers)}"
    maps = f"record_image(bundle, image{layers}).maps(-1, {query})"
    return Code(
        [
            f"change = intervene(bundle.net, tokens=bundle.tokens, {given})",
            f"before_maps = {maps}",
            "with change:",
            f"    after_maps = {maps}",
            "with torch.no_grad():",
            "    before_logits = bundle.net(bundle.prepare(image))[0].float().numpy()",
            "with torch.no_grad(), change:",
            "    after_logits = bundle.net(bundle.prepare(image))[0].float().numpy()",
        ],
        [
            "import torch",
            "from model.intervention import intervene",
            "from model.recorded_image import record_image",
        ],
    )
