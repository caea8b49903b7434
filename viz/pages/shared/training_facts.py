"""How a model was made, as its card has it: data, licences, seed, curve and command."""

from typing import Any

import streamlit as st

from model.card import Card
from viz.charts.learning_curve import learning_curve
from viz.pages.shared.figures import draw_once, show_chart, show_facts_table
from viz.pages.shared.text import plain

BARE = {"displayModeBar": False}
SHORT = 120
"""Letters of a note that is shown; a longer one is folded."""
MADE_OF = {
    "data": "Data",
    "data_licence": "Licence of the data",
    "licence": "Licence of the weights",
    "seed": "Random seed",
    "epochs": "Epochs",
    "went_on_from": "Went on from",
    "teachers": "Learned from",
}


def show_training(card: Card) -> None:
    """Show data, licences, seed, curve and command; nothing where the card has none of them."""
    curve, facts = card.curve, _made_of(card)
    if not facts:
        return
    st.subheader("How was it made?")
    left, right = st.columns(2, gap="large")
    with left:
        if len(curve) > 1:
            _show_curve(curve, "words" if card.task == "caption" else "pictures")
    with right:
        show_facts_table(facts)
    if command := card.command:
        commands = [*card.commands_first, command]
        st.code("\n".join(commands), language="sh", wrap_lines=True)
    if (note := card.note) and len(note) > SHORT:
        with st.expander("What else happened"):
            st.caption(plain(note))
    elif note:
        st.caption(plain(note))


def _made_of(card: Card) -> dict[str, str]:
    known = {title: getattr(card, key) for key, title in MADE_OF.items()}
    facts = {title: plain(str(value)) for title, value in known.items() if value is not None}
    if pictures := card.metrics.get("training_pictures"):
        facts["Training pictures"] = f"{pictures:,}"
    if seconds := card.metrics.get("training_seconds"):
        on = f" on {plain(card.machine)}" if card.machine is not None else ""
        facts["Training time"] = f"{seconds / 60:,.0f} minutes{on}"
    return facts


def _show_curve(curve: list[dict[str, Any]], of: str) -> None:
    columns = {f"training {of}": "accuracy", f"test {of}": "test_accuracy"}
    lines = {
        title: [(row["epoch"], row[key]) for row in curve if key in row]
        for title, key in columns.items()
    }
    show_chart(draw_once(learning_curve, lines), key="curve", config=BARE, alt="Accuracy by epoch")
    st.caption(
        "Recipes crop, mix or partly erase training pictures, so those can be the harder ones; "
        "some stop in the last epochs."
    )
