"""The card of a captioner: how well it writes, what it is bad at, and how it was made."""

from typing import Any

import streamlit as st

from model.bundle import Bundle
from model.card import OwnFileCard
from viz.pages.shared.figures import show_facts_table, show_table
from viz.pages.shared.text import plain
from viz.pages.shared.training_facts import show_training
from viz.pictures.lettering import percent

SHARES = {
    "captions_right": "Captions right in every word",
    "pointing_colour": "Peak in the object's box, for its colour",
    "pointing_shape": "Peak in the object's box, for its shape",
    "pointing_size": "Peak in the object's box, for its size",
    "pointing_chance": "A place chosen blindly",
}
SCORES = {"bleu1": "BLEU-1", "bleu4": "BLEU-4", "rouge_l": "ROUGE-L", "cider": "CIDEr"}
BASELINES = {"nearest": "Caption of the most similar photo", "commonest": "Commonest caption"}
BEAMS = "_beam3"


def show_card(bundle: Bundle) -> None:
    """Show a popover with the card; nothing for a captioner that has none."""
    card = bundle.card
    if isinstance(card, OwnFileCard):
        with st.popover("About this captioner", icon=":material/info:", width="content"):
            _show_own_file(bundle, card)
        return
    if card.recipe is None:
        return
    with st.popover("About this captioner", icon=":material/info:", width="content"):
        if weak := card.weak_at:
            st.markdown(f"**What it is bad at.** {plain(weak)}")
        metrics = card.metrics
        _show_shares(metrics)
        _show_scores(metrics)
        show_training(card)


def _show_own_file(bundle: Bundle, card: OwnFileCard) -> None:
    """Show what a file without a card holds, and what it leaves open."""
    config = bundle.net.config
    assumed = {name: ", assumed: the file does not say" for name in card.assumed}
    words = "as numbers: the file holds no words" if "vocabulary" in assumed else "named"
    show_facts_table(
        {
            "Layout": plain(card.checkpoint_format),
            "Parameters": f"{card.parameters or 0:,}",
            "Layers": f"{config.layers}, each with {config.heads} heads{assumed.get('heads', '')}",
            "Vocabulary": f"{len(config.vocabulary):,} words, {words}",
        }
    )
    if card.note:
        st.markdown(plain(card.note))


def _show_shares(metrics: dict[str, Any]) -> None:
    found = {title: percent(metrics[name]) for name, title in SHARES.items() if name in metrics}
    if found:
        show_facts_table(found)
        st.caption(f"On {metrics['test_scenes']:,} scenes that it was not trained on.")


def _show_scores(metrics: dict[str, Any]) -> None:
    """Show the scores of greedy decoding, of beams and of the baselines, a row each."""
    if "bleu4" not in metrics:
        return
    ways = {"Greedy": "{}", "Beam 3": "{}" + BEAMS}
    ways |= {title: f"{name}_{{}}" for name, title in BASELINES.items()}
    rows = {
        way: [metrics.get(key.format(name)) for name in (*SCORES, "distinct")]
        for way, key in ways.items()
    }
    rows = {way: values for way, values in rows.items() if any(v is not None for v in values)}
    columns = {"": list(rows)}
    for place, title in enumerate((*SCORES.values(), "Different captions")):
        columns[title] = [_number(values[place]) for values in rows.values()]
    show_table(columns)
    st.caption(f"On {metrics['test_photos']:,} photos that it was not trained on. More is better.")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
