"""What the Features page computes, once for everybody: vectors of patches, and their colours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.attribution.metrics.localisation import mass_mask
from model.bundle import Bundle
from model.evaluate.pointing import attention_map
from model.features import principal_components, token_norms
from model.features.groups import group_tokens
from model.features.object_mask import first_component_mask, token_cut_mask
from model.features.patch_vectors import layer_vectors
from model.features.token_length import norm_outliers
from model.recording.recorder import AttentionRecorder
from viz.pages.shared.picture import Picture
from viz.server.costs import forward_cost
from viz.server.queue import Cost
from viz.server.results import computed_once

DINO_MASS = 0.6


@dataclass(frozen=True)
class Asked:
    """Which vectors are asked for: a model, one photo or two, a part, a layer, a head."""

    bundle: Bundle
    pictures: tuple[Picture, ...]
    part: str
    layer: int
    """An index into `layer_vectors`; -1 is the last."""
    head: int
    """From one; 0 for all heads side by side."""
    heads: int

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal questions."""
        photos = tuple(picture.key for picture in self.pictures)
        return self.bundle.name, photos, self.part, self.layer, self.head

    def vectors(self) -> Tensor:
        """Return the vectors of all tokens, (photos, N, D)."""
        each = [
            all_vectors(self.bundle, picture, self.part)[self.layer] for picture in self.pictures
        ]
        vectors = torch.stack(each)
        if not self.head:
            return vectors
        width = vectors.shape[-1] // self.heads
        return vectors[..., (self.head - 1) * width : self.head * width]

    def patches(self) -> Tensor:
        """Return the vectors of the patches, (photos, N, D)."""
        return self.vectors()[:, self.bundle.tokens.patch_slice]


@computed_once(
    "features",
    key=lambda bundle, picture, part: (bundle.name, picture.key, part),
    size=lambda vectors: sum(each.nbytes for each in vectors),
    cost=lambda bundle, picture, part: forward_cost(bundle, 3),
)
def all_vectors(bundle: Bundle, picture: Picture, part: str) -> list[Tensor]:
    """Compute one part at every layer, (N, D) each: as `model.features` does for one photo."""
    images = bundle.prepare(picture.image)
    return [each[0] for each in layer_vectors(bundle.net, images, part, bundle.tokens)]


def _grid_cost(asked: Asked, *given: object) -> Cost:
    """Estimate an eigenvector of a dense matrix, the most expensive of what is computed here."""
    patches = asked.bundle.tokens.patches
    return Cost(6 * 8 * patches**2, patches**3 / 5e9, f"A graph of {patches:,} patches")


@computed_once(
    "components",
    key=lambda asked, together, foreground: (*asked.key, together, foreground),
    size=lambda found: found[0].nbytes + found[1].nbytes,
)
def components(asked: Asked, together: bool, foreground: bool) -> tuple[np.ndarray, np.ndarray]:
    """Compute the first three components of the patches: (photos, N, 3), and which are shown."""
    patches = asked.patches()
    shown = torch.ones(patches.shape[:2], dtype=torch.bool)
    if foreground:
        shown = first_component_mask(patches, asked.bundle.tokens.grid).flatten(1)
    coordinates = torch.zeros(*shown.shape, 3)
    groups = [slice(None)] if together else [slice(i, i + 1) for i in range(len(patches))]
    for group in groups:
        chosen = patches[group][shown[group]]
        if len(chosen):
            own = coordinates[group]
            own[shown[group]] = principal_components(chosen[None], 3)[0]
            coordinates[group] = own
    return coordinates.numpy(), shown.numpy()


@computed_once("lengths", key=lambda asked: asked.key, size=lambda found: found[0].nbytes)
def lengths(asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """Compute the length of every token, (photos, N), and which patches are outliers."""
    norms = token_norms(asked.vectors())
    outliers = norm_outliers(norms[:, asked.bundle.tokens.patch_slice])
    return norms.numpy(), outliers.numpy()


@computed_once(
    "groups",
    key=lambda asked, count: (*asked.key, count),
    size=lambda groups: groups.nbytes,
    cost=_grid_cost,
)
def groups(asked: Asked, count: int) -> np.ndarray:
    """Group the patches of all photos together: (photos, N)."""
    return group_tokens(asked.patches(), count).numpy()


def _token_cut(asked: Asked) -> Tensor:
    keys = Asked(asked.bundle, asked.pictures, "keys", -1, 0, 0).patches()
    return token_cut_mask(keys, asked.bundle.tokens.grid)


def _dino_mass(asked: Asked) -> Tensor:
    bundle = asked.bundle
    images = torch.cat([bundle.prepare(picture.image) for picture in asked.pictures])
    with torch.no_grad(), AttentionRecorder(bundle.net, [-1]) as recorder:
        bundle.net(images)
    return mass_mask(attention_map(recorder.records[-1], bundle.tokens), DINO_MASS)


def _first_component(asked: Asked) -> Tensor:
    tokens = Asked(asked.bundle, asked.pictures, "tokens", -1, 0, 0).patches()
    return first_component_mask(tokens, asked.bundle.tokens.grid)


OBJECT = {
    "TokenCut": _token_cut,
    "DINO's attention": _dino_mass,
    "First component": _first_component,
}


@computed_once(
    "object",
    key=lambda asked, method: (asked.key[:2], method),
    size=lambda masks: masks.nbytes,
    cost=_grid_cost,
)
def object_masks(asked: Asked, method: str) -> np.ndarray:
    """Mask the object of each photo by one of `OBJECT`: bool (photos, N)."""
    return OBJECT[method](asked).flatten(1).numpy()


def as_indices(marked: np.ndarray) -> Sequence[int]:
    """List where a bool array is True."""
    return np.flatnonzero(marked).tolist()
