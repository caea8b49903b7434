"""Does order matter? The same model with its patches shuffled, or its code taken away."""

import streamlit as st
import torch

from model import AttentionRecorder
from model.analysis.position_codes import PositionCode, find_position_code
from model.analysis.token_order import (
    largest_difference,
    random_order,
    with_shifted_position_code,
    with_shuffled_patches,
    without_position_code,
)
from model.bundle import Bundle
from model.recorded_image import layer_maps
from viz.components.payload import photo_bytes
from viz.export.names import token_name
from viz.pages.positions_order_answer import (
    AS_IT_IS,
    BOTH,
    SHIFT,
    SHUFFLE,
    SHUFFLES,
    TITLES,
    WITHOUT,
    Answer,
    patches_in_order,
)
from viz.pages.positions_order_export import ShownOrder, describe_order
from viz.pages.shared.explained import show_explained, show_note
from viz.pages.shared.saving import show_save
from viz.pages.shared.session import Session
from viz.pages.shared.state import Positions, Shared
from viz.pages.shared.text import plain
from viz.pictures.lettering import percent
from viz.pictures.overlay import overlay
from viz.server.costs import forward_cost
from viz.server.results import computed_once

LEFT = {  # what a model without its added code still knows of places
    "rotary": "turns its queries and keys by their place",
    "relative": "adds to each score a number for the offset of the two patches",
}


def show_order(session: Session) -> None:
    """Show the tab."""
    bundle = session.bundle
    code = find_position_code(bundle.net, bundle.tokens)
    ways = [SHUFFLE, WITHOUT, BOTH, SHIFT] if code.patches is not None else [SHUFFLE]
    Positions.way.begin(ways)
    seed = Positions.seed.begin(range(1, 1000))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.segmented_control(
            "What to change",
            ways,
            key=Positions.way.name,
            required=True,
            wrap=True,
            persist_state="session",
        )
        way = Positions.way.get()
        if way in (SHUFFLE, BOTH) and st.button("Shuffle again"):
            seed += 1
            Positions.seed.set(seed)
    before = _run_model(session, code, AS_IT_IS)
    after = _run_model(session, code, way, seed if way in (SHUFFLE, BOTH) else 1)
    left, right = st.columns(2, gap="large")
    with left:
        _show_answer(session, AS_IT_IS, before)
    with right:
        _show_answer(session, TITLES[way], after, before)
    moved = _show_numbers(session, code)
    shown = ShownOrder(session, code, (before, after), moved)
    show_save(lambda: describe_order(shown))


# The key of what was recorded stands for its model, its picture and the layers that are recorded.
@computed_once(
    "other order",
    key=lambda session, code, way, seed=1: (
        session.recorded.key,
        session.view.layer,
        session.view.query,
        way,
        seed,
    ),
    size=lambda answer: 100_000,
    cost=lambda session, *rest: forward_cost(session.bundle),
)
def _run_model(session: Session, code: PositionCode, way: str, seed: int = 1) -> Answer:
    """Run the model once; the answer is kept for everybody who asks the same."""
    bundle, view, recorded = session.bundle, session.view, session.recorded
    layout = bundle.tokens
    net, order = bundle.net, torch.arange(layout.patches)
    images = bundle.prepare(session.picture.image)
    if way in (WITHOUT, BOTH):
        net = without_position_code(net, code)
    if way == SHIFT:
        grid = code.table_grid or layout.grid  # that of the table, which the model may stretch
        net = with_shifted_position_code(net, code, grid, grid[0] // 2, grid[1] // 2)
    if way in (SHUFFLE, BOTH):
        order = random_order(layout.patches, seed)
        net, images = with_shuffled_patches(net, images, layout, order)
    with torch.inference_mode(), AttentionRecorder(net) as recorder:
        logits = net(images)[0].float()
    name, tokens = recorded.records[view.layer].name, recorded.layers[view.layer].tokens
    record = next(record for record in recorder.records if record.name == name)
    query, first = view.query, len(tokens.prefix)
    if query >= first and tokens == layout:  # the same patch, wherever it is now
        query = first + int((order == query - first).nonzero()[0])
    return Answer((way, seed), order, logits, query, layer_maps(record, tokens, query))


def _show_answer(
    session: Session, title: str, answer: Answer, before: Answer | None = None
) -> None:
    bundle, view = session.bundle, session.view
    st.subheader(title)
    photo, attention = _draw_answer(session, answer)
    with st.container(key=Positions.side_by_side(int(before is not None)).name):
        left, right = st.columns(2)
    with left:
        st.image(photo, width="stretch", alt=f"The patches: {title}")
    with right:
        st.image(attention, width="stretch", alt=f"Attention: {title}")
    tokens = session.recorded.layers[view.layer].tokens
    own = token_name(view.query, tokens)
    same = "patch" if tokens == bundle.tokens else "place"  # windows of a coarser grid stay
    head = f"head {view.head + 1}" if isinstance(view.head, int) else "the mean of the heads"
    place = "" if view.query < len(tokens.prefix) else f" (the same {same} in both pictures)"
    number = session.recorded.numbers[view.layer] + 1
    st.caption(f"Right: attention from {own}{place}, layer {number}, {head}.")
    _show_classes(bundle, answer, before)


@computed_once(
    "other order drawn",
    key=lambda session, answer: (
        session.recorded.key,
        session.view.layer,
        session.view.query,
        session.view.head,
        session.view.colors,
        answer.run,
    ),
    size=lambda drawn: sum(map(len, drawn)),
)
def _draw_answer(session: Session, answer: Answer) -> tuple[bytes, bytes]:
    """Draw the patches in their order, and attention over them, as JPEG."""
    view = session.view
    photo = patches_in_order(session.recorded.frame, session.bundle.tokens.grid, answer.order)
    painted = overlay(photo, answer.map_of(view.head), view.colors, 0.75)
    return photo_bytes(photo), photo_bytes(painted)


def _show_classes(bundle: Bundle, answer: Answer, before: Answer | None) -> None:
    if bundle.classes is None or len(bundle.classes) != answer.logits.numel():
        return
    chances = answer.logits.softmax(-1)
    lines = ["| Class | Probability |", "|:--|--:|"]
    if before is not None:
        unchanged = before.logits.softmax(-1)
        lines = ["| Class | Probability | As it is |", "|:--|--:|--:|"]
    for index in answer.likeliest():
        name = plain(bundle.classes[index])
        line = f"| {name} | {percent(float(chances[index]))} |"
        lines.append(line if before is None else f"{line} {percent(float(unchanged[index]))} |")
    st.markdown("\n".join(lines))


def _show_numbers(session: Session, code: PositionCode) -> dict[str, float]:
    """Show how far shuffles move a score; return it with the added code, and without."""
    st.subheader("How much the order changes the answer")
    with_it = _measure_shuffles(session, code, True)
    if code.patches is None:
        change = _format_change(with_it)
        st.markdown(
            f"In {SHUFFLES} shuffles, the score of a class (its logit) moves by **{change}** at "
            f"most."
        )
        return {"With its patches shuffled": with_it}
    without = _measure_shuffles(session, code, False)
    left, right = st.columns(2, gap="large")
    moved = {"With the added code": with_it, "Without the added code": without}
    for column, (title, most) in zip((left, right), moved.items(), strict=True):
        column.metric(title, _format_change(most))
    show_note(
        f"How far the score of a class (its logit) moves at most, in {SHUFFLES} shuffles of the "
        "patches.",
        Shared.note("shuffles").name,
    )
    show_explained(
        f"{_explain_pooling(session.bundle)}{_explain_without_code(code)}",
        Shared.note("order").name,
    )
    return moved


def _format_change(difference: float) -> str:
    """Write a change of logits, whose rounding in float32 is about a millionth."""
    return f"{difference:.2g}" if difference >= 1e-4 else "below 0.0001"


def _explain_without_code(code: PositionCode) -> str:
    """Say what the order still changes when the added code is taken away."""
    if not code.other_kinds:
        return (
            "Without the code the answer is the same for every order, up to the rounding of "
            "float32; with it, it is not."
        )
    left = " and ".join(LEFT[kind] for kind in code.other_kinds)
    return (
        f"Without the added code this model still knows something of places, because it also "
        f"{left}: its answer can change with the order either way."
    )


def _explain_pooling(bundle: Bundle) -> str:
    pool = getattr(getattr(bundle.net, "config", None), "pool", None)
    return {
        "mean": "The answer is read from the mean of the patches, which has no order. ",
        "mean_all": "The answer is read from the mean of the tokens, which has no order. ",
        "cls": "The answer is read from CLS, which sees the patches as a set. ",
    }.get(pool or "", "")


@computed_once(
    "shuffles",
    key=lambda session, code, keep: (session.recorded.key, keep),
    size=lambda change: 200,
    cost=lambda session, *rest: forward_cost(session.bundle, SHUFFLES),
)
def _measure_shuffles(session: Session, code: PositionCode, keep: bool) -> float:
    """Measure the largest change of any logit over the shuffles, with the added code or without."""
    bundle, layout, outputs = session.bundle, session.bundle.tokens, []
    net = bundle.net if keep else without_position_code(bundle.net, code)
    images = bundle.prepare(session.picture.image)
    with torch.inference_mode():
        reference = net(images)
        for seed in range(SHUFFLES):
            changed, moved = with_shuffled_patches(
                net, images, layout, random_order(layout.patches, seed)
            )
            outputs.append(changed(moved))
    return largest_difference(outputs, reference)
