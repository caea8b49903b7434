"""Pack what the component `lens` draws: the class of every patch at every layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from viz.components.payload import pack, with_photo


@dataclass(frozen=True)
class LensView:
    """What a lens reads of one photo; N counts patches, L layers, C the classes of the legend."""

    classes: Sequence[str]
    """The classes of the legend, each with a colour of its own."""
    others: Sequence[str]
    """Names of the classes beyond the legend."""
    labels: Sequence[int]
    """The model's own number of each of `classes`, then `others`."""
    best: np.ndarray
    """uint32 (L, N), the likeliest class: an index into `classes`, then `others`."""
    best_share: np.ndarray
    """float16 (L, N), its probability."""
    shares: np.ndarray
    """float16 (C, L, N), the probability of each class of the legend."""
    curves: np.ndarray
    """float32 (C, K, L), the same for K named curves."""
    curve_names: Sequence[str]


def lens_payload(
    view: LensView,
    photo: bytes | Mapping[str, str],
    grid: tuple[int, int],
    id: str,
    chosen: int,
    patch: int,
    palette: np.ndarray,
) -> bytes:
    """Pack a lens.

    Args:
        photo: JPEG, or the header entries with which the browser asks for it.
        grid: rows and columns of the patches.
        id: tells this lens from others.
        chosen: which class of the legend the curves show at first.
        patch: the patch that is held at first.
        palette: uint8 (C, 3), the colours of the legend.
    """
    header = {
        "id": id,
        "grid": grid,
        "classes": list(view.classes),
        "others": list(view.others),
        "curveNames": list(view.curve_names),
        "layers": len(view.best),
        "chosen": chosen,
        "patch": patch,
        "palette": palette[: len(view.classes)].tolist(),
    }
    header, arrays = with_photo(header, photo)
    return pack(
        header,
        **arrays,
        best=view.best.astype(np.uint32),
        bestShare=view.best_share.astype(np.float16),
        shares=view.shares.astype(np.float16),
        curves=view.curves.astype(np.float32),
    )
