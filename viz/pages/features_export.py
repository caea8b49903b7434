"""What Features saves: the colours of the patches, and the numbers that they stand for."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from model.features import similarity
from viz.components.features_payload import FeaturesHeader, Painted
from viz.export.attention import patch_box
from viz.export.export import Export
from viz.export.features import Described, features_export
from viz.export.names import token_name
from viz.export.program import Code
from viz.pages import features_computed as computed
from viz.pages.features_computed import Asked
from viz.pages.shared import open_models
from viz.pages.shared.opening import model_code, photo_code
from viz.pages.shared.state import Features

WHAT = {
    "Similarity": "Which patches are alike",
    "Components": "The leading principal components of the patches",
    "Length": "How long the vectors of the patches are",
    "Groups": "Groups of patches that are alike",
    "Object": "The object, found without labels",
}
UNITS = {"Similarity": "cosine", "Length": "length"}


def describe_features(
    asked: Asked, header: FeaturesHeader, painted: Sequence[Painted], shown: str, query: int
) -> Export:
    """Describe what can be saved of what is shown."""
    tokens = asked.bundle.tokens
    alike = shown == "Similarity"
    if alike:
        values = _alike(asked, query)
        colors = None
    else:
        values = [np.asarray(own.values, np.float32).reshape(tokens.grid) for own in painted]
        colors = [own.paint.reshape(*tokens.grid, 4) for own in painted]
    facts = {
        "Model": open_models.model_title(asked.bundle.name),
        "Vectors": f"{asked.part}, {_layer_title(asked)}",
        "Head": f"{asked.head}" if asked.head else "",
        "From": token_name(query, tokens) if alike else "",
        "Settings": _settings(shown),
    }
    return features_export(
        Described(
            WHAT[shown],
            shown,
            facts,
            [asked.bundle.frame(picture.image) for picture in asked.pictures],
            header.titles,
            values,
            colors,
            [*_opening(asked), *_CODE[shown](asked, query)],
            header.style,
            patch_box(query, tokens) if alike else None,
            UNITS.get(shown, ""),
            _through_layers(asked, query) if alike else {},
            asked.bundle.name,
        )
    )


def _alike(asked: Asked, query: int) -> list[np.ndarray]:
    """Compute the cosine of every patch with the token that asks, of the first photo."""
    tokens, vectors = asked.bundle.tokens, asked.vectors()
    found = similarity(vectors, vectors[0, query])[:, tokens.patch_slice]
    return [own.reshape(tokens.grid).numpy() for own in found]


def _through_layers(asked: Asked, query: int) -> dict[str, Callable[[], np.ndarray]]:
    """Say how to compute the same at every layer."""
    depth = len(computed.all_vectors(asked.bundle, asked.pictures[0], asked.part))
    each = [
        Asked(asked.bundle, asked.pictures[:1], asked.part, layer, asked.head, asked.heads)
        for layer in range(depth)
    ]
    return {
        f"{asked.part.capitalize()}, {_layer_title(one)}": partial(_alike_here, one, query)
        for one in each
    }


def _alike_here(asked: Asked, query: int) -> np.ndarray:
    return _alike(asked, query)[0]


def _layer_title(asked: Asked) -> str:
    depth = len(computed.all_vectors(asked.bundle, asked.pictures[0], asked.part))
    layer = asked.layer % depth
    normed = asked.part == "tokens" and layer == depth - 1
    return "after the last norm" if normed else f"layer {layer + 1}"


def _settings(shown: str) -> str:
    """Say what was chosen for what is shown."""
    if shown == "Components":
        only = "of the foreground" if Features.foreground.get() else ""
        together = "of both photos together" if Features.together.get() else ""
        return ", ".join(filter(None, [only, together]))
    if shown == "Groups":
        return f"{Features.groups.get()} groups"
    return f"found by {Features.object_by.get()}" if shown == "Object" else ""


# -- Python ---------------------------------------------------------------------------------------


def _opening(asked: Asked) -> list[Code]:
    """Write the Python that computes the vectors of all tokens, (photos, N, D)."""
    code = model_code(asked.bundle.name)
    for picture in asked.pictures:
        opened = photo_code(picture)
        lines = [line.replace("image = ", "images.append(", 1) for line in opened.lines]
        lines = [f"{line})" if line.startswith("images.append(") else line for line in lines]
        code += Code(lines, opened.imports)
    code = Code(["images = []", *code.lines], code.imports)
    lines = [
        f"each = [layer_vectors(bundle.net, bundle.prepare(image), {asked.part!r}, bundle.tokens)",
        "        for image in images]",
        f"vectors = torch.cat([layers[{asked.layer}] for layers in each])",
    ]
    if asked.head:
        width = f"vectors.shape[-1] // {asked.heads}"
        lines.append(f"width = {width}  # of a head")
        lines.append(f"vectors = vectors[..., {asked.head - 1} * width : {asked.head} * width]")
    lines.append("patches = vectors[:, bundle.tokens.patch_slice]")
    imports = ["import torch", "from model.features.patch_vectors import layer_vectors"]
    return [code, Code(lines, imports)]


_FOLD = "maps = values.reshape(-1, *bundle.tokens.grid).numpy()"


def _similarity_code(asked: Asked, query: int) -> list[Code]:
    return [
        Code(
            [f"values = similarity(patches, vectors[0, {query}])", _FOLD],
            ["from model.features import similarity"],
        )
    ]


def _components_code(asked: Asked, query: int) -> list[Code]:
    together = Features.together.get() and len(asked.pictures) > 1
    shown = "torch.ones(patches.shape[:2], dtype=torch.bool)"
    imports = ["from model.features import principal_components"]
    if Features.foreground.get():
        shown = "first_component_mask(patches, bundle.tokens.grid).flatten(1)"
        imports.append("from model.features.object_mask import first_component_mask")
    groups = "[slice(None)]" if together else "[slice(i, i + 1) for i in range(len(patches))]"
    lines = [
        f"shown = {shown}",
        "coordinates = torch.zeros(*shown.shape, 3)",
        f"for group in {groups}:",
        "    found = principal_components(patches[group][shown[group]][None], 3)[0]",
        "    coordinates[group][shown[group]] = found",
        "values = coordinates[..., 0]  # drawn as red; the others as green and blue",
        _FOLD,
    ]
    return [Code(lines, imports)]


def _length_code(asked: Asked, query: int) -> list[Code]:
    lines = ["values = token_norms(patches)", _FOLD]
    return [Code(lines, ["from model.features import token_norms"])]


def _groups_code(asked: Asked, query: int) -> list[Code]:
    lines = [f"values = group_tokens(patches, {Features.groups.get()})", _FOLD]
    return [Code(lines, ["from model.features.groups import group_tokens"])]


def _object_code(asked: Asked, query: int) -> list[Code]:
    part = "keys" if Features.object_by.get() == "TokenCut" else "tokens"
    if Features.object_by.get() == "DINO's attention":
        lines = [
            "images = torch.cat([bundle.prepare(image) for image in images])",
            "with torch.no_grad(), AttentionRecorder(bundle.net, [-1]) as recorder:",
            "    bundle.net(images)",
            f"values = mass_mask(attention_map(recorder.records[-1], bundle.tokens), {_MASS})",
        ]
        imports = [
            "from model import AttentionRecorder",
            "from model.attribution.metrics.localisation import mass_mask",
            "from model.evaluate.pointing import attention_map",
        ]
        return [Code([*lines, _FOLD], imports)]
    find = "token_cut_mask" if part == "keys" else "first_component_mask"
    lines = [
        f"each = [layer_vectors(bundle.net, bundle.prepare(image), {part!r}, bundle.tokens)[-1]",
        "        for image in images]",
        "patches = torch.cat(each)[:, bundle.tokens.patch_slice]",
        f"values = {find}(patches, bundle.tokens.grid)",
        _FOLD,
    ]
    return [Code(lines, [f"from model.features.object_mask import {find}"])]


_MASS = computed.DINO_MASS
_CODE: dict[str, Callable[[Asked, int], list[Code]]] = {
    "Similarity": _similarity_code,
    "Components": _components_code,
    "Length": _length_code,
    "Groups": _groups_code,
    "Object": _object_code,
}
