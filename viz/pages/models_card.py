"""The card of a classifier: facts, figures and mix-ups."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from model.bundle import Bundle
from model.card import Card, OwnFileCard
from model.evaluate import confusion
from viz.charts.bars import share_bars
from viz.charts.confusion import READABLE, class_bars, class_dots, confusion_grid, full_grid
from viz.charts.heatmap import BARE
from viz.export.names import prefix_name
from viz.pages.shared.figures import draw_once, show_chart, show_facts_table, show_table
from viz.pages.shared.state import Models
from viz.pages.shared.text import plain
from viz.pictures.lettering import percent
from viz.server.costs import count_weights
from viz.server.results import computed_once

ECE = (
    "Of the pictures on which it is 70 % sure, a model should get 70 % right. Pictures are grouped "
    "by how sure it is; this is the mean distance between how sure it is and how often it is right "
    "(expected calibration error: Guo et al., 2017)."
)
MAPS = {
    "pointing_attention": "Attention of the last layer",
    "pointing_rollout": "Attention rollout",
}
YARDSTICKS = {
    "pointing_chance": "A place chosen blindly",
    "pointing_centre": "The middle of the picture",
}
ACTIVATIONS = {"gelu": "GELU", "quick_gelu": "QuickGELU", "relu": "ReLU"}
SCALINGS = {
    "head": "divided by the square root of a head's width",
    "width": "divided by the square root of the whole width",
    "after_softmax": "divided by the square root of the whole width, after the softmax",
}
POOLINGS = {
    "cls": "CLS",
    "mean": "the mean of the patches",
    "mean_all": "the mean of all tokens",
    "cls_and_mean": "CLS beside the mean of the patches",
}
TRAINING = ("training_pictures", "training_seconds")
CONFIDENCE = ("ece", "confidence", "confidence_wrong")
SHOWN_APART = {
    *("test_accuracy", "top5", "test_pictures"),
    *(*CONFIDENCE, *TRAINING, *MAPS, *YARDSTICKS),
}
EVEN = 0.005
"""Of confidence and accuracy, the difference below which they count as equal."""
MOST_NAMED = 10  # classes that are listed by name
MOST_MIXUPS = 10
INK = {"light": "#1f2328", "dark": "#e6e8ea"}


def show_facts(bundle: Bundle) -> None:
    """Show the facts of the network: size, picture, patches, classes."""
    rows, columns = bundle.tokens.grid
    height, width = bundle.image_size
    tall, wide = bundle.tokens.patch
    sides = "" if height == width else " (height × width)"
    facts = {
        "Parameters": f"{count_weights(bundle):,}",
        "Picture": f"{height} × {width} pixels{sides}{_assumed(bundle, 'img_size')}",
        "Patches": f"{rows} × {columns}, each of {tall} × {wide} pixels",
        **_layer_facts(bundle),
        "Tokens without a place": ", ".join(map(prefix_name, bundle.tokens.prefix)) or "none",
        "Classes": _classes(bundle),
        **_own_file_facts(bundle),
        **_stated_facts(bundle),
    }
    show_facts_table(facts)
    if bundle.card.note and not bundle.card.recipe:  # of a training it stands beside its figures
        st.caption(plain(bundle.card.note))


def _layer_facts(bundle: Bundle) -> dict[str, str]:
    config = getattr(bundle.net, "config", None)
    if config is None or not hasattr(config, "heads"):
        return _stated_layers(bundle.card.config)
    heads = f"{config.heads} head{'s' if config.heads > 1 else ''}"
    assumed = _assumed(bundle, "heads", what="their number assumed")
    return {"Layers": f"{config.depth}, each with {heads}{assumed}"}


def _stated_layers(stated: Mapping[str, Any]) -> dict[str, str]:
    """Read layers and heads off a hub's config; of several stages one number each."""
    depths = stated.get("depths", stated.get("num_hidden_layers"))
    heads = stated.get("num_heads", stated.get("num_attention_heads"))
    if isinstance(depths, int) and isinstance(heads, int):
        return {"Layers": f"{depths}, each with {heads} head{'s' if heads > 1 else ''}"}
    if isinstance(depths, list | tuple) and isinstance(heads, list | tuple):
        layers = ", ".join(
            f"{depth} with {many}" for depth, many in zip(depths, heads, strict=False)
        )
        return {"Layers": f"{plain(layers)} heads"}
    return {}


def _stated_facts(bundle: Bundle) -> dict[str, str]:
    """List how a hub's model prepares a photo, and what its config says."""
    stated = bundle.card.config
    if "model_type" not in stated:
        return {}
    mean, std = _format_channels(bundle.mean), _format_channels(bundle.std)
    facts = {"Normalisation": f"mean {mean}; deviation {std}"}
    if isinstance(act := stated.get("hidden_act"), str):
        facts["Activation"] = ACTIVATIONS.get(act, plain(act[:40]))
    if isinstance(eps := stated.get("layer_norm_eps"), float):
        facts["Layer norm"] = f"adds {eps:.4g} to the variance"
    return facts


def _classes(bundle: Bundle) -> str:
    if bundle.classes:
        few = len(bundle.classes) <= MOST_NAMED
        named = f": {', '.join(plain(name[:40]) for name in bundle.classes)}" if few else ""
        assumed = _assumed(bundle, "classes", what="their names assumed")
        return f"{len(bundle.classes):,}{named}{assumed}"
    unnamed = getattr(getattr(bundle.net, "config", None), "num_classes", 0)
    return f"{unnamed:,}, without names" if unnamed else "none"


def _own_file_facts(bundle: Bundle) -> dict[str, str]:
    """List how a file without a card was read, and what had to be assumed."""
    card = bundle.card
    if not isinstance(card, OwnFileCard):
        return {}
    config = bundle.net.config
    mean, std = _format_channels(bundle.mean), _format_channels(bundle.std)
    facts = {
        "Layout": plain(card.checkpoint_format),
        "Normalisation": f"mean {mean}; deviation {std}{_assumed(bundle, 'mean', 'std')}",
        "Activation": f"{ACTIVATIONS[config.activation]}{_assumed(bundle, 'activation')}",
        "Layer norm": f"adds {config.norm_eps:.4g} to the variance{_assumed(bundle, 'norm_eps')}",
        "Scores": f"{SCALINGS[config.scale_by]}{_assumed(bundle, 'scale_by')}",
        "Pooling": f"{POOLINGS[config.pool]}{_assumed(bundle, 'pool')}",
    }
    if "head" in card.assumed:
        facts["Head"] = "one Linear; that nothing but dropout lies before it is assumed"
    if card.left_out:
        facts["Left out of the file"] = plain(card.left_out)
    if card.other_networks:
        others = ", ".join(name[:60] for name in card.other_networks[:4])
        facts["Other networks in the file"] = f"{plain(others)} (“More” opens one of them)"
    return facts


def _assumed(bundle: Bundle, *settings: str, what: str = "assumed") -> str:
    """Write what follows a fact that had to be assumed, because neither file nor user gave it."""
    card = bundle.card
    assumed = isinstance(card, OwnFileCard) and set(settings) & set(card.assumed)
    return f", {what}: the file does not say" if assumed else ""


def _format_channels(values: Sequence[float]) -> str:
    """Write the values of the channels, or one number where all are equal."""
    return ", ".join(f"{value:.4g}" for value in (values[:1] if len(set(values)) == 1 else values))


# -- figures --------------------------------------------------------------------------------------


def show_figures(card: Card) -> None:
    """Show how well it does, and what it is bad at."""
    metrics = card.metrics
    if "test_accuracy" in metrics:
        _show_accuracy(metrics, len(card.classes or []))
    if weak := card.weak_at:
        st.markdown(f"**What it is bad at.** {plain(weak)}")
    if rest := {name: value for name, value in metrics.items() if name not in SHOWN_APART}:
        show_facts_table(
            {name.replace("_", " "): _number(value) for name, value in rest.items()}, border=True
        )


def _show_accuracy(metrics: dict[str, Any], classes: int) -> None:
    with st.container(horizontal=True, gap="medium"):
        st.metric("Accuracy", percent(metrics["test_accuracy"]), width="content")
        if "top5" in metrics:
            st.metric("In five guesses", percent(metrics["top5"]), width="content")
        if "ece" in metrics:
            st.metric("Confidence off by", percent(metrics["ece"]), help=ECE, width="content")
    pictures = (
        f"{metrics['test_pictures']:,} pictures" if "test_pictures" in metrics else "pictures"
    )
    blind = f" Guessing blindly is right {percent(1 / classes)} of the time." if classes else ""
    st.caption(f"Measured on {pictures} that it was not trained on.{blind}")
    if "confidence" in metrics:
        st.markdown(confidence_in_words(metrics))


def confidence_in_words(metrics: Mapping[str, float]) -> str:
    """Say how sure a model is beside how often it is right, and when it is wrong.

    >>> confidence_in_words({"test_accuracy": 0.6, "confidence": 0.7, "confidence_wrong": 0.5})
    '**Can its percentages be trusted?** On average it is 70.0 % sure of its answer, and right \
60.0 % of the time: it is too sure of itself. When it is wrong, it is still 50.0 % sure.'
    """
    sure, right = metrics["confidence"], metrics["test_accuracy"]
    verdict = (
        "on average they agree"
        if abs(sure - right) < EVEN
        else "it is too sure of itself"
        if sure > right
        else "it is right more often than it says"
    )
    words = (
        f"**Can its percentages be trusted?** On average it is {percent(sure)} sure of its "
        f"answer, and right {percent(right)} of the time: {verdict}."
    )
    if "confidence_wrong" in metrics:
        words += f" When it is wrong, it is still {percent(metrics['confidence_wrong'])} sure."
    return words


def show_pointing(card: Card) -> None:
    """Show how often maps peak on the object; nothing where that was not measured."""
    metrics = card.metrics
    if not any(name in metrics for name in MAPS):
        return
    st.markdown("**Does it look at the object?**")
    bars, held_against = (
        {title: metrics[name] for name, title in names.items() if name in metrics}
        for names in (MAPS, YARDSTICKS)
    )
    show_chart(
        draw_once(share_bars, bars, held_against),
        key="pointing",
        config=BARE,
        alt="Pointing at the object",
    )
    st.caption(
        "How often a map's peak lies in the box around the object. The grey bars are what one "
        "reaches without looking."
    )


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


# -- mix-ups --------------------------------------------------------------------------------------


def show_mixups(card: Card) -> None:
    """Show which classes are taken for which; nothing where the card does not say."""
    if card.confusion is None:
        return
    st.subheader("What does it mix up?")
    classes = card.classes or []
    try:
        counts, mixups = _read_confusion(card.confusion, len(classes))
    except ValueError as problem:
        st.warning(plain(str(problem)))
        return
    many = len(classes) > READABLE
    left, right = st.columns([3, 2], gap="large")
    with left:
        (_show_best_and_worst if many else _show_grid)(counts, classes)
    with right:
        _show_most_frequent(mixups, classes)
    if many:
        _show_all(counts, classes)


@computed_once(
    "mix-ups",
    key=lambda kept, classes: (classes, repr(kept)),
    size=lambda found: found[0].nbytes,
)
def _read_confusion(
    kept: Sequence[Sequence[int]] | Sequence[str], classes: int
) -> tuple[np.ndarray, list[confusion.Mixup]]:
    """Read a card's table once for everybody: counts (classes, classes), and the worst mix-ups."""
    counts = confusion.unpack_confusion(kept, classes)
    return counts, confusion.find_mixups(counts, MOST_MIXUPS)


def _show_grid(counts: np.ndarray, classes: list[str]) -> None:
    show_chart(
        draw_once(confusion_grid, counts, classes, INK[st.context.theme.type or "light"]),
        key="confusion",
        config=BARE,
        alt="What the pictures of each class were taken for, in percent",
    )
    st.caption(
        "A row is a class, a column what its pictures were taken for, in percent of the row. Right "
        "answers are grey, mistakes have colour."
    )


def _show_best_and_worst(counts: np.ndarray, classes: list[str]) -> None:
    st.markdown("**The classes that it knows best, and least**")
    show_chart(
        draw_once(class_bars, counts, classes),
        key="class_bars",
        config=BARE,
        alt="Best and worst classes",
    )


def _show_all(counts: np.ndarray, classes: list[str]) -> None:
    st.markdown(f"**All {len(classes)} classes**; point at one, or tap it, for its name")
    show_chart(
        draw_once(class_dots, counts, classes),
        key="class_dots",
        config=BARE,
        alt="Every class, best first",
    )
    if st.toggle("Show the whole grid", key=Models.whole_grid.name, persist_state="session"):
        st.caption(
            "A row is a class, a column what its pictures were taken for, both in the order of "
            "the model's answers. Point at a dot, or tap it, for its name."
        )
        show_chart(
            draw_once(full_grid, counts, classes),
            key="grid",
            config=BARE,
            alt="All classes by all answers",
        )


def _show_most_frequent(found: list[confusion.Mixup], classes: list[str]) -> None:
    st.markdown("**The most frequent mix-ups**")
    rows = {
        "Class": [plain(classes[mixup.true]) for mixup in found],
        "Taken for": [plain(classes[mixup.taken]) for mixup in found],
        "How often": [f"{mixup.times:,} of {mixup.pictures:,}" for mixup in found],
    }
    show_table(rows)
