"""What the Patches page computes, once for everybody: patches, their vectors, and pictures."""

import io
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from PIL import Image
from torch import Tensor, nn

from model.analysis.patch_filters import PatchFilters, find_patch_filters
from model.bundle import Bundle
from model.features.components import find_components
from model.nets.vit import VisionTransformer
from model.recorded_image import find_centre
from model.tokens import patchify
from viz.charts.heatmap import heatmap
from viz.pages.shared.picture import Picture
from viz.pictures.patches import as_colors, clickable, enlarge, join, mosaic
from viz.server.costs import forward_cost
from viz.server.results import computed_once

SIDE = 400  # pixels of a picture, at least
STRIP = 1280
WIDEST = 1460  # Streamlit encodes a wider picture anew in every rerun
PATCH = 148  # the width at which one patch is shown, with its numbers below as high as these
MOST_CLICKABLE = 1024  # patches; a chart of more points is slow
IN_A_LINE = 64
NAMES_OF_STEP = ("patch_embed", "conv_proj")  # timm's and torchvision's, on the top module
COMPONENTS, RAW = 28, 96
FIGURE_BYTES = 500_000


@dataclass(frozen=True)
class CutPhoto:
    """A photo as the model takes it, cut into N patches."""

    prepared: Tensor
    """(1, C, height, width)"""
    pixels: Tensor
    """(N, C·p·q), normalised"""
    tiles: np.ndarray
    """uint8 (N, p, q, 3), as colours"""
    wrong: np.ndarray
    """The same, cut by reshape where rearrange was meant."""
    vectors: Tensor | None
    """(N, D), the tokens before positions are added; None for an unknown step."""

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        vectors = 0 if self.vectors is None else self.vectors.nbytes
        arrays = self.tiles.nbytes + self.wrong.nbytes
        return self.prepared.nbytes + self.pixels.nbytes + arrays + vectors


def _key(bundle: Bundle, shown: Picture, *more: object) -> tuple[object, ...]:
    return bundle.name, shown.key, *more


@computed_once(
    "patches",
    key=_key,
    size=lambda cut: cut.nbytes,
    cost=lambda bundle, shown: forward_cost(bundle),
)
def cut_photo(bundle: Bundle, shown: Picture) -> CutPhoto:
    """Cut a photo into patches, and compute their vectors."""
    prepared = bundle.prepare(shown.image)
    covered = bundle.tokens.covered(prepared)
    pixels = patchify(covered, bundle.tokens.patch)[0]
    wrong = color_tiles(bundle, covered.reshape(pixels.shape))
    with torch.no_grad():
        vectors = embed_patches(bundle, prepared)
    return CutPhoto(prepared, pixels, color_tiles(bundle, pixels), wrong, vectors)


def color_tiles(bundle: Bundle, pixels: Tensor) -> np.ndarray:
    """Turn normalised patches (N, C·p·q) into colours (N, p, q, 3) uint8."""
    channels = len(bundle.mean)
    cells = pixels.unflatten(1, (channels, *bundle.tokens.patch))
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (bundle.mean, bundle.std))
    colors = ((cells * std + mean).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return colors[..., :3] if channels >= 3 else colors[..., :1].repeat(3, axis=-1)


# -- the patch step -------------------------------------------------------------------------------


@computed_once("patch filters", key=lambda bundle: bundle.name, size=lambda filters: 1000)
def filters_of(bundle: Bundle) -> PatchFilters | None:
    """Find the weights that read pixels; None where no layer was recognised."""
    return find_patch_filters(bundle.net, bundle.tokens)


def reads_whole_patches(bundle: Bundle) -> bool:
    """Say whether a token is made of its own patch alone, as far as is known."""
    filters = filters_of(bundle)
    return filters is None or filters.whole


def embed_patches(bundle: Bundle, prepared: Tensor) -> Tensor | None:
    """Compute the patch tokens before positions are added, (N, D); None for an unknown step."""
    step = _find_patch_step(bundle)
    if step is None:
        return None
    out = step(prepared)[0].float()
    if out.ndim == 3:  # (D, rows, columns), or (rows, columns, D)
        out = out.flatten(1).T if out.shape[1:] == bundle.tokens.grid else out.flatten(0, 1)
    return out if len(out) == bundle.tokens.patches else None


@computed_once("receptive field", key=lambda bundle, prepared: bundle.name, size=lambda found: 200)
def receptive_field(bundle: Bundle, prepared: Tensor) -> tuple[int, int] | None:
    """Measure the receptive field of the token in the middle: height and width in pixels.

    It is where the token has a gradient. It is the same in every photo, so it is measured once.
    """
    image, middle = prepared.clone().requires_grad_(), find_centre(bundle.tokens)
    with torch.enable_grad():
        vectors = embed_patches(bundle, image)
        if vectors is None:
            return None
        token = vectors[middle - len(bundle.tokens.prefix)]
        (slope,) = torch.autograd.grad(token.square().sum(), image)
    touched = (slope[0] != 0).any(0)
    height, width = (int(touched.any(axis).sum()) for axis in (1, 0))
    return height, width


def _find_patch_step(bundle: Bundle) -> nn.Module | None:
    """Find the module that makes tokens of pixels; None where it is not known."""
    for name in ("embed",) if isinstance(bundle.net, VisionTransformer) else NAMES_OF_STEP:
        if (step := getattr(bundle.net, name, None)) is not None:
            return step
    # Others keep it deeper, but where one convolution spans a patch, that is the whole step.
    filters = filters_of(bundle)
    if filters is None or not filters.whole:
        return None
    step = bundle.net.get_submodule(filters.name)
    return step if isinstance(step, nn.Conv2d) else None


# -- pictures -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CutPictures:
    """Pictures of a cut photo, as PNG."""

    photo: bytes
    right: bytes
    """All patches with gaps between them."""
    wrong: bytes
    """The same of what reshape cuts."""


@computed_once(
    "pictures of patches",
    key=_key,
    size=lambda found: len(found.photo) + len(found.right) + len(found.wrong),
)
def cut_pictures(bundle: Bundle, shown: Picture) -> CutPictures:
    """Draw the photo and its patches, in order and not."""
    cut, grid = cut_photo(bundle, shown), bundle.tokens.grid
    scale = max(1, round(SIDE / (grid[1] * cut.tiles.shape[2])))
    right, wrong = (as_png(mosaic(tiles, grid[1], scale)) for tiles in (cut.tiles, cut.wrong))
    return CutPictures(as_png(join(cut.tiles, grid)), right, wrong)


@dataclass(frozen=True)
class PatchPictures:
    """Pictures in which one patch is marked, as PNG, and charts."""

    patch: bytes
    grid: bytes
    line: bytes
    """The patches one by one."""
    clickable: go.Figure | None
    """None where there are too many patches to click."""
    vectors: go.Figure | None


@computed_once(
    "pictures of a patch",
    key=_key,
    size=lambda found: len(found.patch) + len(found.grid) + len(found.line) + FIGURE_BYTES,
)
def patch_pictures(bundle: Bundle, shown: Picture, patch: int, width: int) -> PatchPictures:
    """Draw everything in which one patch is marked; ``width`` is that of the chart in pixels."""
    cut, grid = cut_photo(bundle, shown), bundle.tokens.grid
    across = cut.tiles.shape[2]
    of_grid = mosaic(cut.tiles, grid[1], max(1, round(SIDE / (grid[1] * across))), marked=patch)
    in_a_line = min(len(cut.tiles), IN_A_LINE)
    scale = max(1, round(STRIP / (in_a_line * across)))
    return PatchPictures(
        as_png(join(cut.tiles[patch : patch + 1], (1, 1)), PATCH, PATCH),
        as_png(of_grid),
        as_png(mosaic(cut.tiles, in_a_line, scale, marked=patch)),
        clickable(of_grid, grid, width) if 1 < len(cut.tiles) <= MOST_CLICKABLE else None,
        None if cut.vectors is None else _chart_vectors(cut.vectors, patch),
    )


def _chart_vectors(vectors: Tensor, patch: int) -> go.Figure:
    reach = float(vectors.abs().quantile(0.99)) or 1.0
    return heatmap(
        vectors.T.numpy(),
        "Patch along the sequence",
        "Dimension",
        "Patch %{x}, dimension %{y}<br>value %{z:.3f}",
        span=(-reach, reach),
        first=1,
        height=320,
        line_at=patch + 1,
    )


@computed_once(
    "pictures of filters",
    key=lambda bundle, filters, raw: (bundle.name, raw),
    size=lambda found: len(found[0]),
)
def filter_picture(
    bundle: Bundle, filters: PatchFilters, raw: bool
) -> tuple[bytes, int, float | None]:
    """Draw filters, or the directions in which they differ most.

    Returns:
        The picture as PNG, how many it shows, and their share of the variance, if they are
        directions.
    """
    _, channels, height, width = filters.weight.shape
    share = None
    if raw:
        drawn = filters.weight[:RAW]
    else:
        found = find_components(filters.weight.flatten(1), COMPONENTS)
        drawn = found.directions.float().unflatten(1, (channels, height, width))
        share = float(found.shares.sum())
    scale = max(1, round(64 / width))
    picture = mosaic(as_colors(drawn.numpy()), 16 if raw else 14, scale, gap=6)
    return as_png(picture, 1), len(drawn), share


def as_png(picture: Image.Image, side: int = SIDE, widest: int = WIDEST) -> bytes:
    """Encode a picture, enlarged to a side of so many pixels at least, and not wider than asked."""
    picture = enlarge(picture, side)
    if picture.width > widest:
        height = max(1, round(picture.height * widest / picture.width))
        picture = picture.resize((widest, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
