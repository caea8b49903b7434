"""The two heads of A and B that agree most."""

import streamlit as st

from model.features import HeadPair, closest_heads
from viz.pages.compare_panes import Pane
from viz.pages.shared.browser import change_view
from viz.pages.shared.recorded_images import ShownImage
from viz.pages.shared.state import Compare
from viz.server.queue import Cost
from viz.server.results import computed_once

QUERIES = 32


def show_closest(a: Pane, b: Pane) -> None:
    """Show a switch; where it is on, the two heads, and a button that puts them side by side."""
    one, other = a.subject.recorded, b.subject.recorded
    Compare.closest.begin()
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.toggle(
            "Find the two heads that agree most",
            key=Compare.closest.name,
            disabled=one is None or other is None,
            help="Of all heads in all layers of A and of B.",
        )
        if not Compare.closest.get() or one is None or other is None:
            return
        try:
            pair = _closest(one, one if one.key == other.key else other)
        except ValueError as problem:
            st.caption(str(problem))
            return
        st.markdown(
            f"A: {_name(one, pair.a)}. B: {_name(other, pair.b)}. Their maps are "
            f"{pair.divergence:.2f} apart (Jensen-Shannon divergence, the mean over {QUERIES} "
            f"patches)."
        )
        st.button(
            "Show them",
            key=Compare.show_closest.name,
            on_click=_take_pair,
            args=(pair, other.numbers[pair.b[0]] + 1),
        )


def _name(shown: ShownImage, head: tuple[int, int]) -> str:
    return f"layer {shown.numbers[head[0]] + 1}, head {head[1] + 1}"


def _take_pair(pair: HeadPair, layer_of_b: int) -> None:
    change_view(layer=pair.a[0], head=pair.a[1])
    Compare.method.set("attention")
    Compare.token.set("patch")
    Compare.b_method.set("attention")
    Compare.b_token.set("patch")
    Compare.b_layer.set(layer_of_b)
    Compare.b_head.set(str(pair.b[1] + 1))


def _cost(a: ShownImage, b: ShownImage) -> Cost:
    """Estimate an entropy for each pair of heads, from each of the queries."""
    heads, patches = sum(b.head_counts), max(each.layers[0].tokens.patches for each in (a, b))
    count = heads * QUERIES * patches
    return Cost(
        4 * 8 * count,
        sum(a.head_counts) * count / 5e7,
        f"Comparing {sum(a.head_counts)} heads with {heads}",
    )


@computed_once("closest heads", key=lambda a, b: (a.key, b.key), size=lambda pair: 200, cost=_cost)
def _closest(a: ShownImage, b: ShownImage) -> HeadPair:
    return closest_heads(a, b, QUERIES)
