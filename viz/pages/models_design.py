"""Why the chosen model is built as it is: each choice in a sentence or two, with its numbers."""

import math
from collections.abc import Iterator

import streamlit as st

from model.bundle import Bundle
from model.nets.vit import ViTConfig
from viz.pages.shared.explained import show_explained
from viz.pages.shared.state import Shared
from viz.server.costs import count_weights

CLS = (
    "The answer is read from CLS, a token without a place that begins alike for every photo and "
    "collects from the patches by attention. Without CLS a model reads the mean of its patches: "
    "each then counts alike, and none has to be asked. Both work."
)
MEAN = (
    "The answer is read from the mean of all patches: each counts alike, and no map of one token "
    "shows where the answer comes from. Other models add CLS, a token without a place that "
    "collects from the patches by attention, and read it alone. Both work."
)
CLS_AND_MEAN = "The answer is read from CLS and from the mean of the patches, side by side."
PRE = (
    "Each norm stands before its attention or MLP (pre-norm), so the residual connections lead "
    "from the first layer to the last without a norm on them, and deep models train well. With "
    "the norm after the addition (post-norm) they need small steps at the start of training."
)
POST = (
    "Each norm stands after the addition (post-norm), as in the first transformer: it rescales "
    "all that the residual connections carry, so deep models need small steps at the start of "
    "training. With the norm before attention and MLP (pre-norm) nothing stands on that way."
)
STEM = (
    "Small convolutions read the photo before the first layer, so a token already knows the "
    "surroundings of its patch. That helps where pictures are few."
)
FEW = (
    "A convolution is built so that near pixels belong together and a thing may stand anywhere. "
    "Attention must learn both from pictures; with too few it learns its training pictures by "
    "heart. What helps: convolutions in front, altered copies of the pictures, a teacher's "
    "answers, weights learned on more data."
)


def show_design(bundle: Bundle) -> None:
    """Show the section; nothing for a net whose choices are not known."""
    config = getattr(bundle.net, "config", None)
    if not isinstance(config, ViTConfig):
        return
    st.subheader("Why is it built like this?")
    paragraphs = [f"**{title}.** {text}" for title, text in explain_design(bundle, config)]
    half = (len(paragraphs) + 1) // 2
    parts = paragraphs[:half], paragraphs[half:]
    for number, column in enumerate(st.columns(2, gap="large")):
        with column:
            show_explained("\n\n".join(parts[number]), Shared.note(f"design {number}").name)


def explain_design(bundle: Bundle, config: ViTConfig) -> Iterator[tuple[str, str]]:
    """Yield the choices that students ask about: a title, and why it was made."""
    yield "Patch step", _explain_patch_step(config)
    yield "Several heads", _explain_heads(config)
    yield "√d", _explain_scale(config)
    yield "CLS or mean", {"cls": CLS, "cls_and_mean": CLS_AND_MEAN}.get(config.pool, MEAN)
    yield "Norms", PRE if config.norm == "pre" else POST
    yield "Little data", f"{_count_pictures(bundle)}{FEW}"


def _explain_patch_step(config: ViTConfig) -> str:
    if config.embed == "stem":
        return STEM
    side, channels = config.patch_size, config.in_channels
    return (
        f"One linear layer turns the {side} · {side} · {channels} = {side * side * channels:,} "
        f"numbers of a patch into a token of {config.dim}. A convolution with a {side} × {side} "
        f"kernel and a stride of {side} computes the same."
    )


def _explain_heads(config: ViTConfig) -> str:
    each = config.dim // config.heads
    if config.heads == 1:
        return (
            f"One head has the whole width of {config.dim} numbers for each query, key and value. "
            "With several, each could look for something else from the same patch; they would be "
            "narrower and cost no more."
        )
    return (
        f"{config.heads} heads share the width of {config.dim}: {config.dim} / {config.heads} = "
        f"{each} numbers for each query, key and value. Each head can look for something else "
        "from the same patch. More heads would be narrower and cost no more."
    )


def _explain_scale(config: ViTConfig) -> str:
    each = config.dim // config.heads
    divided = config.dim if config.scale_by != "head" else each
    text = (
        f"A score is a sum of {each} products, as many as a head is wide, and spreads "
        f"√{each} = {math.sqrt(each):.3g} times as widely as one of them. Divided by that, the "
        "softmax does not give everything to one patch."
    )
    if divided != each:
        text += f" This model divides by √{divided}, the root of its whole width, instead."
    return text


def _count_pictures(bundle: Bundle) -> str:
    pictures = bundle.card.metrics.get("training_pictures")
    if not pictures:
        return ""
    weights = count_weights(bundle)
    return f"It has {weights:,} weights and learned from {pictures:,} pictures. "
