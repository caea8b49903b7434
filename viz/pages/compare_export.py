"""What Compare saves: both maps and their difference, as they are seen."""

import numpy as np

from model.recorded_image import find_same_place
from model.tokens import TokenLayout
from viz.export.attention import patch_box
from viz.export.attribution import trace_class_code
from viz.export.comparison import WHOLE, Side, comparison_export
from viz.export.drawing import Box
from viz.export.names import token_name
from viz.export.program import Code
from viz.pages.attribution_maps import probabilities
from viz.pages.compare_panes import RECORDED, Pane, frame_of
from viz.pages.shared.address import HEADS_FUSED
from viz.pages.shared.browser import shown_view
from viz.pages.shared.html_file import compared_file
from viz.pages.shared.opening import opening_of
from viz.pages.shared.recorded_images import ShownImage, mean_rows, rollout_from
from viz.pages.shared.saving import Saved
from viz.pages.shared.session import chosen_layers


def describe_compared(a: Pane, b: Pane) -> Saved:
    """Describe what can be saved of both sides."""
    left, right = a.subject.recorded, b.subject.recorded
    if a.missing or b.missing or left is None or right is None:
        return Saved(missing="There are no two maps to save here.")
    view = shown_view()
    same_photo = a.subject.picture.key == b.subject.picture.key
    query_of_b = _place_in_b(a, b, view.query, same_photo)
    sides = _side(a, left, view.query, same_photo), _side(b, right, query_of_b, same_photo)
    html = None
    if a.method == b.method == "attention":
        html = compared_file(left, right, (a.title, b.title), view.query, view.style)
    return Saved([comparison_export(*sides, view.style)], html)


def _place_in_b(a: Pane, b: Pane, query: int, same_photo: bool) -> int:
    """Find B's token at the place that A's token is at."""
    here, there = _tokens(a), _tokens(b)
    place = here.position_of(query)
    if not same_photo or place is None:
        return find_same_place(query, here, there)
    box, other = _box(a, same_photo), _box(b, same_photo)
    row, column = (
        _patch_at(
            box[1 - axis] + (place[axis] + 0.5) / here.grid[axis] * (box[3 - axis] - box[1 - axis]),
            (other[1 - axis], other[3 - axis]),
            there.grid[axis],
        )
        for axis in (0, 1)
    )
    return there.index_of(row, column)


def _patch_at(place: float, ends: tuple[float, float], count: int) -> int:
    """Find the patch at a place between two ends, or the nearest one."""
    return min(max(int((place - ends[0]) / (ends[1] - ends[0]) * count), 0), count - 1)


def _tokens(pane: Pane) -> TokenLayout:
    assert pane.subject.recorded is not None, "checked before"
    return pane.subject.recorded.layers[pane.layer].tokens


def _box(pane: Pane, same_photo: bool) -> Box:
    bundle = pane.subject.bundle
    return frame_of(bundle, pane.subject.picture.image) if same_photo and bundle else WHOLE


def _side(pane: Pane, shown: ShownImage, query: int, same_photo: bool) -> Side:
    """Compute the map of one side, and describe it."""
    tokens, bundle = _tokens(pane), pane.subject.bundle
    assert bundle is not None, "a recording has a model"
    token = _token(pane, tokens, query)
    opening = opening_of(bundle.name, pane.subject.picture)
    about, asking = pane.about(shown), None
    if pane.method in RECORDED and pane.token == "patch":
        about = about.replace("the chosen token", token_name(query, tokens))
        asking = patch_box(query, tokens)
    if pane.method not in RECORDED:
        assert pane.finished is not None, "a method without a map is missing"
        values, code = pane.finished, _attributed_code(pane)
    elif pane.method == "rollout":
        values, code = _rollout(pane, shown, tokens, token)
    else:
        values, code = _attention(pane, shown, tokens, token)
    layers = chosen_layers(bundle.name)
    return Side(
        pane.title,
        about,
        values,
        shown.frame,
        opening + (code if pane.method not in RECORDED else _recording(layers) + code),
        _box(pane, same_photo),
        asking,
    )


def _token(pane: Pane, tokens: TokenLayout, query: int) -> int | None:
    """Return the token that asks; None for all patches, averaged."""
    if pane.token == "mean":
        return None
    return tokens.prefix.index(pane.token) if pane.token in tokens.prefix else query


def _recording(layers: tuple[int, ...] | None) -> Code:
    given = "" if layers is None else f", layers={list(layers)}"
    line = f"recorded = record_image(bundle, image{given})"
    return Code([line], ["from model.recorded_image import record_image"])


def _patches(tokens: TokenLayout) -> str:
    return f"range({len(tokens.prefix)}, {tokens.tokens})"


def _attention(
    pane: Pane, shown: ShownImage, tokens: TokenLayout, token: int | None
) -> tuple[np.ndarray, Code]:
    """Compute the map of a layer and a head, and write its Python."""
    if token is None:
        rows = mean_rows(shown, pane.layer)[:, tokens.patch_slice]
        maps = rows.reshape(-1, *tokens.grid)
        each = f"recorded.layer_maps({pane.layer}, query) for query in {_patches(tokens)}"
        lines, imports = [f"heads = np.mean([{each}], axis=0)"], ["import numpy as np"]
    else:
        maps, imports = shown.layer_maps(pane.layer, token), []
        lines = [f"heads = recorded.layer_maps({pane.layer}, {token})  # heads, rows, columns"]
    if pane.head in HEADS_FUSED:
        values, take = getattr(maps, pane.head)(axis=0), f"heads.{pane.head}(0)"
    else:
        values, take = maps[int(pane.head) - 1], f"heads[{int(pane.head) - 1}]"
    return values, Code([*lines, f"values = {take}"], imports)


def _rollout(
    pane: Pane, shown: ShownImage, tokens: TokenLayout, token: int | None
) -> tuple[np.ndarray, Code]:
    """Compute rollout, and write its Python."""
    asking = range(len(tokens.prefix), tokens.tokens) if token is None else [token]
    rows = [rollout_from(shown, each, pane.fusion, pane.discard) for each in asking]
    values = np.mean(rows, axis=0)[tokens.patch_slice].reshape(tokens.grid)
    asked = f"list({_patches(tokens)})" if token is None else f"[{token}]"
    how = f"query={asked}, fusion={pane.fusion!r}, discard={pane.discard}"
    lines = [
        f"rows = rollout(recorded.records, {how})[0].numpy()",
        "values = rows.mean(0)[bundle.tokens.patch_slice].reshape(bundle.tokens.grid)",
    ]
    return values, Code(lines, ["from model.rollout import rollout"])


def _attributed_code(pane: Pane) -> Code:
    """Write the Python of a method of Attribution, for the model's likeliest class."""
    subject = pane.subject
    assert subject.bundle is not None, "a recording has a model"
    picture = subject.picture
    best = int(probabilities(subject.bundle, picture.key, picture.image).argmax())
    explained = Code(
        [f"values = explain(trace, {pane.method!r})[0].numpy()"],
        ["from model.attribution.registry import explain"],
    )
    return trace_class_code(best, pane.explained) + explained
