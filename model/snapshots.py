"""The course of training: a net's weights at chosen moments, in one file with a card.

`python -m model.training RECIPE ... --snapshots` keeps them beside the checkpoint, in the folder
`snapshots`. In a loop of your own three lines do the same:

    recorder = SnapshotRecorder(net, "snapshots/mine.safetensors", course_moments(epochs))
    recorder.see(epoch + step / steps)  # after each step: keeps the weights where a moment is due
    recorder.finish({"normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3}, "classes": names})

`open_course` opens such a file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as write_safetensors
from torch import Tensor

from model.card import Card
from model.errors import CheckpointError
from model.nets.uninitialised import weights_given
from model.nets.vit import VisionTransformer, ViTConfig
from model.zoo import checkpoints
from model.zoo.cards import card_as_json, card_path, read_card, read_checkpoint_file

FOLDER = "snapshots"
MOMENTS = "moments"
"""Where file and card list the moments, in epochs."""
MOST = 1_000
"""Moments of one file."""


def course_moments(epochs: int) -> tuple[float, ...]:
    """List the moments at which weights are kept: 0, 1/4, 1, 2, 4, 8 ... epochs, and the end.

    >>> course_moments(10)
    (0.0, 0.25, 1.0, 2.0, 4.0, 8.0, 10.0)
    """
    doubled = (float(1 << power) for power in range(epochs.bit_length()))
    return tuple(sorted({0.0, 0.25, float(epochs), *doubled}))


def snapshots_file(checkpoint: Path) -> Path:
    """Return where the snapshots of a checkpoint lie."""
    return checkpoint.parent / FOLDER / checkpoint.name


class SnapshotRecorder:
    """Keep a net's weights at chosen moments of its training, in one file.

    The file is written anew at each moment, so a run that is stopped loses nothing, and `go_on`
    continues it. Weights are stored as in a checkpoint, in float16.

    Args:
        net: the net that learns. Its weights are read at each moment.
        file: where the weights go, ends in .safetensors; the card's name ends in .json.
        moments: in epochs, rising; 0 is before the first step, so give the net before it learns.

    Raises:
        ValueError: the moments do not rise, or one is negative.

    >>> import tempfile
    >>> from model.vit import build
    >>> net = build("vit", img_size=8, patch_size=4, dim=4, depth=1, heads=1, num_classes=2)
    >>> folder = tempfile.TemporaryDirectory()
    >>> recorder = SnapshotRecorder(net, Path(folder.name, "mine.safetensors"), [0, 1])
    >>> for epoch in range(2):
    ...     recorder.see(epoch + 1)  # after a step that a real loop takes here
    >>> card = recorder.finish({"normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3}})
    >>> open_course(recorder.file).moments
    (0.0, 1.0)
    >>> folder.cleanup()
    """

    def __init__(
        self, net: VisionTransformer, file: str | os.PathLike[str], moments: Sequence[float]
    ) -> None:
        if not moments or list(moments) != sorted(set(moments)) or moments[0] < 0:
            raise ValueError(f"Moments are epochs from 0 on, each once and rising, not {moments}.")
        self.net, self.file = net, Path(file)
        self.moments = [float(moment) for moment in moments]
        self.kept: dict[float, dict[str, Tensor]] = {}
        if self.moments[0] == 0:
            self.kept[0.0] = _stored_weights(net)

    def see(self, epochs: float) -> None:
        """Keep the weights if a moment is due after so many epochs; call it after each step."""
        due = [m for m in self.moments if m <= epochs and m not in self.kept]
        if due:
            # Of several moments that have passed, each has the weights of now.
            self.kept |= {moment: _stored_weights(self.net) for moment in due}
            self._write()

    def go_on(self, epochs: float) -> None:
        """Continue the file of a run that was stopped, and goes on after so many epochs.

        Raises CheckpointError where a moment that has passed is not in the file.
        """
        passed = [moment for moment in self.moments if moment <= epochs]
        course = _read_weights(self.file)
        if missing := [moment for moment in passed if moment not in course]:
            raise CheckpointError(
                f"{self.file.name} has no weights after {missing[0]:g} epochs, which have passed: "
                "go on without snapshots, or begin anew."
            )
        self.kept = {moment: course[moment] for moment in passed}

    def finish(self, card: Card | Mapping[str, Any]) -> Card:
        """Write the card, which gets the net's config, the moments and the file's sha256."""
        self._write()
        facts = {
            "task": "classify",
            "config": dataclasses.asdict(self.net.config),
            MOMENTS: sorted(self.kept),
            "sha256": hashlib.sha256(self.file.read_bytes()).hexdigest(),
        }
        written = (card if isinstance(card, Card) else Card(**card)).changed(**facts)
        checkpoints.write_whole(card_path(self.file), card_as_json(written))
        return written

    def _write(self) -> None:
        moments = sorted(self.kept)
        tensors = {
            f"{index}.{name}": tensor
            for index, moment in enumerate(moments)
            for name, tensor in self.kept[moment].items()
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        data = write_safetensors(tensors, metadata={MOMENTS: json.dumps(moments)})
        checkpoints.write_whole(self.file, data)


@dataclass(frozen=True)
class Course:
    """The snapshots of one training run, as `open_course` opens them."""

    card: Card
    moments: tuple[float, ...]
    """In epochs, rising."""
    weights: tuple[dict[str, Tensor], ...]
    """The weights at each moment."""

    def net_at(self, index: int) -> VisionTransformer:
        """Build the net as it was at a moment, in eval mode with float32 weights."""
        with weights_given():
            net = VisionTransformer(ViTConfig(**self.card.config))
        net.load_state_dict(self.weights[index])
        return net.eval()


def open_course(file: str | os.PathLike[str]) -> Course:
    """Open a file of snapshots.

    Raises CheckpointError where file or card is missing, damaged, or belongs to something else.
    """
    file = Path(file)
    card = read_card(file)
    if hashlib.sha256(read_checkpoint_file(file)).hexdigest() != card.sha256:
        raise CheckpointError(
            f"{file.name} is damaged, or its card describes another file: the sha256 differs. "
            "Fetch both again, or train with --snapshots again."
        )
    course = _read_weights(file)
    for weights in course.values():
        checkpoints.check_fits(file, card, weights)
    return Course(card, tuple(course), tuple(course.values()))


def _stored_weights(net: VisionTransformer) -> dict[str, Tensor]:
    return {name: checkpoints.as_stored(name, t) for name, t in net.state_dict().items()}


def _read_weights(file: Path) -> dict[float, dict[str, Tensor]]:
    """Read the weights at each moment. Raises CheckpointError."""
    tensors = checkpoints.parse_weights(file, read_checkpoint_file(file))
    moments = _read_moments(file)
    course: dict[float, dict[str, Tensor]] = {moment: {} for moment in moments}
    for name, tensor in tensors.items():
        index, _, own = name.partition(".")
        if not index.isdecimal() or int(index) >= len(moments):
            raise CheckpointError(f"{file.name} holds no snapshots: {name!r} is of no moment.")
        course[moments[int(index)]][own] = tensor
    return course


def _read_moments(file: Path) -> list[float]:
    try:
        with safe_open(file, "pt") as opened:
            moments = json.loads((opened.metadata() or {})[MOMENTS])
        found = [float(moment) for moment in moments]
    except (SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{file.name} does not list the moments of its snapshots. Make it with "
            "model.snapshots.SnapshotRecorder."
        ) from error
    if found != sorted(set(found)) or len(found) > MOST:
        raise CheckpointError(f"The moments in {file.name} do not rise, or are too many.")
    return found
