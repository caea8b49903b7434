"""Exports of a recorded image: one map, every head of every layer, and rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from model.recorded_image import RecordedImage, find_same_place
from model.recording.rollout import rollout
from model.tokens import TokenLayout
from viz.components.draw_style import DrawStyle
from viz.export.account import Account, name_file
from viz.export.drawing import Box, Drawing
from viz.export.export import Export, Frames
from viz.export.names import name_head, prefix_name, token_name
from viz.export.numbers import Numbers, count_from_one
from viz.export.painting import paint_map, scale_of
from viz.export.panels import Grid, Panel, draw_grid
from viz.export.pixels import FRAME, paint
from viz.export.program import Code, write_program
from viz.pictures.lettering import percent

EVEN = 1.25
"""A map whose maximum is below this many times its mean is called even, as in common.js."""
OF = "of the attention"


@dataclass(frozen=True)
class Seen:
    """A photo through a model, and how both are called.

    Attributes:
        recorded: the model's attention.
        model: the model's title; `photo`: the photo's.
        opening: the Python that opens both as `bundle` and `image`.
        layers: which layers were recorded, from zero; None for all.
        name: how the model is called in a file's name.
    """

    recorded: RecordedImage
    model: str
    photo: str
    opening: Code
    layers: Sequence[int] | None = None
    name: str = ""

    @property
    def recording(self) -> Code:
        """The Python that records the attention again, as `recorded`."""
        given = "" if self.layers is None else f", layers={list(self.layers)}"
        line = f"recorded = record_image(bundle, image{given})"
        return Code([line], ["from model.recorded_image import record_image"])


@dataclass(frozen=True)
class Chosen:
    """What is looked at: layer and head from zero, the token that asks, and how it is drawn."""

    layer: int
    query: int
    head: int | str = "mean"
    style: DrawStyle = field(default_factory=DrawStyle)
    fusion: str = "mean"
    discard: float = 0.0


def attention_exports(seen: Seen, chosen: Chosen) -> list[Export]:
    """Describe what can be saved of a recorded image.

    >>> from model import samples, zoo
    >>> from model.recorded_image import record_image
    >>> from viz.export.program import code_of_model, code_of_sample
    >>> recorded = record_image(zoo.load("cs231n-cifar10"), samples.load("chelsea"))
    >>> opening = code_of_model("cs231n-cifar10") + code_of_sample("chelsea")
    >>> seen = Seen(recorded, "A small model", "Cat", opening)
    >>> [each.title for each in attention_exports(seen, Chosen(layer=5, query=5))]
    ['This map', 'Every head', 'Rollout']
    """
    made = [_map_export(seen, chosen), _sheet_export(seen, chosen)]
    return made if seen.recorded.no_rollout else [*made, _rollout_export(seen, chosen)]


# -- one map --------------------------------------------------------------------------------------


def _map_export(seen: Seen, chosen: Chosen) -> Export:
    recorded, tokens = seen.recorded, tokens_of(seen, chosen)
    number = recorded.numbers[chosen.layer] + 1
    account = Account(
        _map_title(chosen.head, number),
        _facts(seen, chosen) | {"Layer": str(number), "Head": name_head(chosen.head)}
        | {"From": token_name(chosen.query, tokens), "Colours": _colours(chosen)},
        describe_row(attention_row(recorded, chosen), chosen, tokens),
    )  # fmt: skip
    place = _place(chosen.query, tokens)
    head = name_head(chosen.head).removesuffix(" of the heads")
    return Export(
        "This map",
        name_file(seen.photo, seen.name or seen.model, f"layer {number}", head, place),
        account,
        lambda: draw_map(seen, chosen, account.lines),
        lambda: _map_numbers(seen, chosen),
        write_program(account.title, [seen.opening, seen.recording, _map_code(chosen)]),
        [Frames("layers", lambda: layer_frames(seen, chosen))],
    )


def _map_title(head: int | str, number: int) -> str:
    if isinstance(head, int):
        return f"Attention of {name_head(head)} in layer {number}"
    return f"Attention in layer {number}, the {name_head(head)}"


def tokens_of(seen: Seen, chosen: Chosen) -> TokenLayout:
    """Return the tokens of the layer that is looked at."""
    return seen.recorded.layers[chosen.layer].tokens


def _facts(seen: Seen, chosen: Chosen) -> dict[str, str]:
    return {"Model": seen.model, "Photo": seen.photo}


def _colours(chosen: Chosen) -> str:
    ends = "the layer's maximum" if chosen.style.scaling == "layer" else "the map's own maximum"
    return f"{chosen.style.colors} up to {ends}, opacity {percent(chosen.style.opacity, 0)}"


def _place(query: int, tokens: TokenLayout) -> str:
    place = tokens.position_of(query)
    return tokens.prefix[query] if place is None else f"r{place[0] + 1}c{place[1] + 1}"


def head_rows(recorded: RecordedImage, layer: int, query: int) -> np.ndarray:
    """Compute every head's attention from one token, (heads, tokens) float32."""
    record = recorded.records[layer]
    if record.windows:
        return recorded.layer_maps(layer, query).reshape(record.shape[1], -1)
    return record.weights(queries=[query])[0, :, 0].numpy()


def attention_row(recorded: RecordedImage, chosen: Chosen) -> np.ndarray:
    """Compute the attention that is looked at, (tokens,) float32."""
    rows = head_rows(recorded, chosen.layer, chosen.query)
    head = chosen.head
    return rows[head] if isinstance(head, int) else getattr(rows, head)(axis=0)


def describe_row(row: np.ndarray, chosen: Chosen, tokens: TokenLayout) -> list[str]:
    """Describe a row as the page does: its token, the strongest patch, and the prefix tokens."""
    patches = row[tokens.patch_slice]
    best = len(tokens.prefix) + int(patches.argmax())
    even = ", spread almost evenly" if 0 < patches.max() < EVEN * patches.mean() else ""
    most = "most goes" if row.argmax() >= len(tokens.prefix) else "of the patches, most goes"
    lines = [
        f"From {token_name(chosen.query, tokens)}{even}, {most} to {token_name(best, tokens)}: "
        f"{percent(row[best])}, {row[best] / row.mean():.1f} times the average."
    ]
    if tokens.prefix:
        named = zip(tokens.prefix, row, strict=False)
        shares = [f"{prefix_name(name)} gets {percent(share)}" for name, share in named]
        if chosen.head not in ("max", "min"):  # whose rows do not sum to one
            shares.append(f"all patches together {percent(patches.sum())}")
        lines.append(f"{', '.join(shares)}.")
    return lines


def patch_box(query: int, tokens: TokenLayout) -> Box | None:
    """Return the box of the asking patch as shares of the photo; None for a prefix token."""
    place = tokens.position_of(query)
    if place is None:
        return None
    (row, column), (rows, columns) = place, tokens.grid
    return column / columns, row / rows, (column + 1) / columns, (row + 1) / rows


def draw_map(seen: Seen, chosen: Chosen, caption: Sequence[str] = (), title: str = "") -> Drawing:
    """Draw the map that is looked at over the photo, with its colour scale."""
    recorded, tokens = seen.recorded, tokens_of(seen, chosen)
    rows = head_rows(recorded, chosen.layer, chosen.query)[:, tokens.patch_slice]
    chosen_row = attention_row(recorded, chosen)[tokens.patch_slice]
    top = float(rows.max()) if chosen.style.scaling == "layer" else float(chosen_row.max())
    panel = Panel(
        recorded.frame,
        paint_map(chosen_row.reshape(tokens.grid), chosen.style, top),
        title=title,
        asking=patch_box(chosen.query, tokens),
        lines=chosen.style.lines,
    )
    scale = scale_of(chosen.style, f"{percent(top)} {OF}")
    return draw_grid(Grid([[panel]], caption=caption, scale=scale))


def _map_numbers(seen: Seen, chosen: Chosen) -> Numbers:
    tokens, row = tokens_of(seen, chosen), attention_row(seen.recorded, chosen)
    rows, columns = tokens.grid
    return Numbers(
        {
            "patches": row[tokens.patch_slice].reshape(tokens.grid),
            "row": row,
            "query": np.array(chosen.query),
            "prefix": np.array(tokens.prefix, str),
        },
        "patches",
        {"row": count_from_one(rows), "column": count_from_one(columns)},
    )


def _map_code(chosen: Chosen) -> Code:
    take = f"heads[{chosen.head}]" if isinstance(chosen.head, int) else f"heads.{chosen.head}(0)"
    return Code(
        [
            f"# Layers, heads and tokens count from zero; token {chosen.query} asks.",
            f"heads = recorded.layer_maps({chosen.layer}, {chosen.query})  # heads, rows, columns",
            f"patches = {take}",
        ]
    )


def layer_frames(seen: Seen, chosen: Chosen) -> list[Image.Image]:
    """Draw the map of every layer, from the same place of the photo."""
    recorded, here = seen.recorded, tokens_of(seen, chosen)
    frames = []
    for layer, each in enumerate(recorded.layers):
        head = chosen.head
        if isinstance(head, int) and head >= each.heads:
            head = "mean"
        query = find_same_place(chosen.query, here, each.tokens)
        now = Chosen(layer, query, head, chosen.style)
        title = f"Layer {recorded.numbers[layer] + 1}, {name_head(head)}"
        frames.append(paint(draw_map(seen, now, title=title), FRAME))
    return frames


# -- every head of every layer --------------------------------------------------------------------


def _sheet_export(seen: Seen, chosen: Chosen) -> Export:
    tokens = tokens_of(seen, chosen)
    account = Account(
        "Attention of every head in every layer",
        _facts(seen, chosen) | {"From": token_name(chosen.query, tokens)}
        | {"Colours": f"{chosen.style.colors}, each map up to its own maximum"},
    )  # fmt: skip
    return Export(
        "Every head",
        name_file(seen.photo, seen.name or seen.model, "heads", _place(chosen.query, tokens)),
        account,
        lambda: _draw_sheet(seen, chosen, account.lines),
        lambda: _sheet_numbers(seen, chosen),
        write_program(account.title, [seen.opening, seen.recording, _sheet_code(seen, chosen)]),
    )


def _draw_sheet(seen: Seen, chosen: Chosen, caption: Sequence[str]) -> Drawing:
    recorded, box = seen.recorded, patch_box(chosen.query, tokens_of(seen, chosen))
    maps = recorded.maps(chosen.layer, chosen.query)
    panels: list[list[Panel | None]] = []
    for layer, count in zip(maps, recorded.head_counts, strict=True):
        shown = [
            Panel(recorded.frame, paint_map(each, chosen.style), asking=box)
            for each in layer[:count]
        ]
        panels.append([*shown, *([None] * (len(layer) - count))])
    return draw_grid(
        Grid(
            panels,
            [f"Layer {number + 1}" for number in recorded.numbers],
            [f"head {head}" for head in count_from_one(recorded.heads)],
            caption,
        )
    )


def _sheet_numbers(seen: Seen, chosen: Chosen) -> Numbers:
    """Gather every map from the asking token, and its rollout."""
    recorded, tokens = seen.recorded, tokens_of(seen, chosen)
    maps, layers = recorded.maps(chosen.layer, chosen.query), np.array(recorded.numbers) + 1
    arrays = {"maps": maps, "layers": layers, "query": np.array(chosen.query)}
    arrays |= {"grid": np.array(tokens.grid), "prefix": np.array(tokens.prefix, str)}
    if not recorded.windowed:
        arrays["weights"] = recorded.rows(chosen.query)
    if not recorded.no_rollout:
        arrays["rollout"] = rollout_row(seen, chosen)
    _, heads, rows, columns = maps.shape
    axes = {"layer": layers.tolist(), "head": count_from_one(heads)}
    axes |= {"row": count_from_one(rows), "column": count_from_one(columns)}
    return Numbers(arrays, "maps", axes)


def _sheet_code(seen: Seen, chosen: Chosen) -> Code:
    at = f"layer={chosen.layer}, query={chosen.query}"
    lines = [f"maps = recorded.maps({at})  # layers, heads, rows, columns"]
    if not seen.recorded.windowed:
        lines.append(
            f"weights = recorded.rows({chosen.query})  # with the tokens before the patches"
        )
    return Code(lines)


# -- rollout --------------------------------------------------------------------------------------


def rollout_row(seen: Seen, chosen: Chosen) -> np.ndarray:
    """Compute rollout from the asking token, (tokens,) float32."""
    records, query = seen.recorded.records, chosen.query
    return rollout(records, query=query, fusion=chosen.fusion, discard=chosen.discard)[0].numpy()


def _rollout_export(seen: Seen, chosen: Chosen) -> Export:
    tokens = tokens_of(seen, chosen)
    settings = f"{chosen.fusion} of the heads, residual 0.5, {percent(chosen.discard, 0)} discarded"
    account = Account(
        "Attention rollout through all layers",
        _facts(seen, chosen) | {"From": token_name(chosen.query, tokens), "Settings": settings},
    )
    how = f"query={chosen.query}, fusion={chosen.fusion!r}, discard={chosen.discard}"
    code = Code(
        [
            f"row = rollout(recorded.records, {how})[0].numpy()",
            "patches = row[bundle.tokens.patch_slice].reshape(bundle.tokens.grid)",
        ],
        ["from model.rollout import rollout"],
    )
    return Export(
        "Rollout",
        name_file(seen.photo, seen.name or seen.model, "rollout", _place(chosen.query, tokens)),
        account,
        lambda: _draw_rollout(seen, chosen, account.lines),
        lambda: _rollout_numbers(seen, chosen),
        write_program(account.title, [seen.opening, seen.recording, code]),
    )


def _draw_rollout(seen: Seen, chosen: Chosen, caption: Sequence[str]) -> Drawing:
    tokens = tokens_of(seen, chosen)
    patches = rollout_row(seen, chosen)[tokens.patch_slice].reshape(tokens.grid)
    panel = Panel(
        seen.recorded.frame,
        paint_map(patches, chosen.style),
        asking=patch_box(chosen.query, tokens),
        lines=chosen.style.lines,
    )
    scale = scale_of(chosen.style, f"{percent(patches.max())} of the rollout")
    return draw_grid(Grid([[panel]], caption=caption, scale=scale))


def _rollout_numbers(seen: Seen, chosen: Chosen) -> Numbers:
    tokens, row = tokens_of(seen, chosen), rollout_row(seen, chosen)
    rows, columns = tokens.grid
    arrays = {"patches": row[tokens.patch_slice].reshape(tokens.grid), "row": row}
    arrays |= {"query": np.array(chosen.query), "prefix": np.array(tokens.prefix, str)}
    axes = {"row": count_from_one(rows), "column": count_from_one(columns)}
    return Numbers(arrays, "patches", axes)
