"""Pack what the component `compare` draws: two maps over photos, and their difference.

The queries and keys of a layer, and the rows of rollout, are asked for by the browser: see
``viz.pages.shared.recorded_answers``. A finished map comes with the payload.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from viz.components.draw_style import DrawStyle
from viz.components.payload import pack


@dataclass(frozen=True)
class PaneHeader:
    """One side of the comparison."""

    title: str
    about: str
    grid: tuple[int, int] = (1, 1)
    box: tuple[float, float, float, float] = (0, 0, 1, 1)
    """What the model sees: left, top, right and bottom as shares of the photo."""
    prefix: Sequence[str] = ()
    method: str = "attention"
    """"attention", "rollout", or "map" for a finished map."""
    layer: int = 0
    head: int | str = "mean"
    origin: int | str = "patch"
    """A token, "patch" for the one under the cursor, or "mean" for all patches."""
    fusion: str = "mean"
    discard: float = 0.0
    whole: bool = True
    """Whether rollout comes from all tokens at once."""
    missing: str = ""
    """Why there is no map, in a sentence."""
    answers: dict[str, str] = field(default_factory=dict)
    """The source, the photo and the key with which the browser asks."""

    def as_header(self) -> dict[str, object]:
        """Return the pane as a payload's header carries it."""
        entries = asdict(self)
        answers, origin = entries.pop("answers"), entries.pop("origin")
        return entries | answers | {"from": origin}


def compare_payload(
    panes: Sequence[PaneHeader],
    maps: Sequence[np.ndarray | None],
    query: int,
    same_photo: bool,
    style: DrawStyle,
    choices: Mapping[str, Sequence[int]] | None = None,
) -> bytes:
    """Pack two panes.

    Args:
        panes: A and B.
        maps: of each the finished map (rows, columns); None where the browser computes it.
        query: the token of A that is held.
        same_photo: whether both see one photo, though perhaps other parts of it.
        choices: where no page has the choice of layer and head: "numbers" and "heads" of the
            layers that both have.
    """
    arrays = {
        f"map{index}": found.ravel().astype(np.float32)
        for index, found in enumerate(maps)
        if found is not None
    }
    header = {
        "panes": [pane.as_header() for pane in panes],
        "query": query,
        "samePhoto": same_photo,
        "style": style.as_header(),
        "choices": choices,
    }
    return pack(header, **arrays)
