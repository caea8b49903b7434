"""What Inside a head saves: the scores of one query, its attention, and all numbers on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from model.captioning.caption import CaptionBundle
from model.datasets.vocabulary import START
from model.intervention.head_steps import steps_of
from model.tokens import TokenLayout
from viz.components.draw_style import DrawStyle
from viz.export.account import Account, name_file
from viz.export.attention import patch_box
from viz.export.captions_tried import number_repeated
from viz.export.charts import draw_bars
from viz.export.drawing import Box, Drawing
from viz.export.export import Export
from viz.export.features import paint_span
from viz.export.names import name_head, token_name
from viz.export.numbers import Numbers
from viz.export.painting import paint_map
from viz.export.panels import Grid, Panel, draw_grid
from viz.export.program import Code, write_program
from viz.pages.inside_head_file import inside_file
from viz.pages.inside_head_payload import Looked
from viz.pages.shared import open_models, scene
from viz.pages.shared.browser import shown_view
from viz.pages.shared.opening import opening_of, photo_title
from viz.pages.shared.picture import Picture
from viz.pages.shared.saving import Saved
from viz.pages.shared.session import Session
from viz.pages.shared.view import fit_view
from viz.pictures.lettering import percent

WINDOWS = "This layer attends within windows; Explore saves its maps."


@dataclass(frozen=True)
class FollowedQuery:
    """One query through one head.

    Attributes:
        model, picture: whose head it is, and what it looks at.
        layer: the layer's title; `asks`: what the query is called.
        frame: what the model saw, `tokens` on it; where the keys are `words`, they are named.
        asking: the patch that asks, as shares of the photo.
        code: the Python that makes `inside`.
    """

    model: str
    picture: Picture
    layer: str
    head: int
    asks: str
    frame: Image.Image
    tokens: TokenLayout
    words: Sequence[str] | None
    asking: Box | None
    style: DrawStyle
    steps: Callable[[], dict[str, np.ndarray]]
    code: Code


def describe_inside(session: Session, looked: Looked) -> Saved:
    """Describe what can be saved of the head and the query that are shown of a classifier."""
    recorded, bundle = session.recorded, session.bundle
    view = fit_view(replace(shown_view(), layer=looked.layer), recorded.layers)
    number, head = recorded.numbers[view.layer], view.head if isinstance(view.head, int) else 0
    html = inside_file(looked, head, view.query)
    if recorded.records[view.layer].windows:
        return Saved(html=html, missing=WINDOWS)
    tokens, query = recorded.layers[view.layer].tokens, view.query
    given = f"layer={number}, head={head}, query={query}"
    code = Code([f"inside = inside_head(bundle.net, bundle.prepare(image), {given})"])
    followed = FollowedQuery(
        bundle.name,
        session.picture,
        f"layer {number + 1}",
        head,
        token_name(query, tokens),
        recorded.frame,
        tokens,
        None,
        patch_box(query, tokens),
        view.style,
        lambda: _steps(looked, head, query),
        code,
    )
    return Saved([_export(followed)], html)


def describe_inside_caption(
    bundle: CaptionBundle, picture: Picture, looked: Looked, layer: str, head: int, word: int
) -> Saved:
    """Describe what can be saved of the head and the word that are shown of a captioner.

    Args:
        layer: the module's name.
        head: from zero, like `word`, which is the start before the first one.
    """
    asking = list(looked.words or ())
    last = bundle.word(asking[1:], len(asking) - 2)
    code = Code(
        [
            f"words = torch.tensor([{[START, *last.before, last.number]}])  # by their numbers",
            "with torch.no_grad():",
            "    memory = bundle.net.encode_image(bundle.prepare(image))",
            "inside = inside_head(",
            "    bundle.net,",
            "    lambda: bundle.net.teacher_force(memory, words),",
            f"    layer={layer!r}, head={head}, query={word},",
            ")",
        ],
        ["import torch"],
    )
    followed = FollowedQuery(
        bundle.name,
        picture,
        f"layer {looked.layers[looked.layer]} of the decoder",
        head,
        asking[word],
        scene.enlarged(bundle.frame(picture.image)),
        bundle.tokens,
        number_repeated(asking) if looked.words_are_asked else None,
        None,
        looked.style,
        lambda: _steps(looked, head, word),
        code,
    )
    return Saved([_export(followed)], inside_file(looked, head, word))


def _steps(looked: Looked, head: int, query: int) -> dict[str, np.ndarray]:
    """Compute the numbers of every step by its name."""
    found = steps_of(looked.numbers, head, query, 0)
    return {step.name: step.value.detach().numpy() for step in found.steps}


def _export(followed: FollowedQuery) -> Export:
    account = Account(
        f"From scores to attention, in {name_head(followed.head)} of {followed.layer}",
        {"Model": open_models.model_title(followed.model)}
        | {"Photo": photo_title(followed.picture), "From": followed.asks},
        ["The softmax of the scores, divided by the root of the head's width, is the attention."],
    )  # fmt: skip
    take = Code(
        ['softmax = inside["softmax"].numpy()'],
        ["from model.intervention import inside_head"],
    )
    scaled = Code(['scaled = inside["scaled"].numpy()'])
    steps = followed.steps
    parts = [opening_of(followed.model, followed.picture), followed.code + take]
    if "scaled" in steps():
        parts[-1] += scaled
    name = name_file(
        "inside", followed.model, followed.layer, f"head {followed.head + 1}", followed.asks
    )
    return Export(
        "One head",
        name,
        account,
        lambda: _draw(followed, account.lines),
        lambda: Numbers(steps(), "softmax", {"token": _name_keys(followed)}),
        write_program(account.title, parts),
    )


def _name_keys(followed: FollowedQuery) -> list[str]:
    tokens = followed.tokens
    return list(followed.words or (token_name(token, tokens) for token in range(tokens.tokens)))


def _draw(followed: FollowedQuery, caption: Sequence[str]) -> Drawing:
    """Draw scores and attention over the photo, or over the words."""
    found, style = followed.steps(), followed.style
    if followed.words is not None:
        return draw_bars(followed.words, {"Attention": found["softmax"].tolist()}, caption)
    tokens = followed.tokens
    maps = {
        name: found[name][tokens.patch_slice].reshape(tokens.grid)
        for name in ("scaled", "softmax")
        if name in found
    }
    weights = maps["softmax"]
    attention = Panel(followed.frame, paint_map(weights, style), "Attention",
                      f"up to {percent(float(weights.max()))}", followed.asking)  # fmt: skip
    if "scaled" not in maps:
        return draw_grid(Grid([[attention]], caption=caption))
    scores = maps["scaled"]
    low, high = float(scores.min()), float(scores.max())
    panel = Panel(followed.frame, paint_span(scores, low, high, style), "Scores, scaled",
                  f"{low:.2f} to {high:.2f}".replace("-", "−"), followed.asking)  # fmt: skip
    return draw_grid(Grid([[panel, attention]], caption=caption))
