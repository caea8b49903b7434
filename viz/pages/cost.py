"""Cost: what does a vision transformer cost, and what if something is doubled?"""

from dataclasses import replace

import streamlit as st

from model.analysis.cost import SECONDS, Cost, Timing, cost_of, doubled_configs
from model.bundle import Bundle
from model.nets.vit import PRESETS, ViTConfig
from viz.charts.bars import cost_bars
from viz.pages.cost_measured import measure_variants, timings
from viz.pages.shared import address, state
from viz.pages.shared.browser import write_address
from viz.pages.shared.explained import show_heading
from viz.pages.shared.figures import draw_once
from viz.pages.shared.session import begin_session, open_or_replace, show_model_choice

BARE = {"displayModeBar": False}
OWN = "This model"
SIZES = {
    "ViT-Ti/16": replace(PRESETS["vit"], dim=192, heads=3),
    "ViT-S/16": replace(PRESETS["vit"], dim=384, heads=6),
    "ViT-B/16": PRESETS["vit"],
    "ViT-B/32": replace(PRESETS["vit"], patch_size=32),
    "CS231n": PRESETS["cs231n"],
    "D2L": PRESETS["d2l"],
}
MOST_OPERATIONS = 300e9
"""What one run may cost to be measured here: about ten seconds on a slow machine."""
MOST_PARAMETERS = 400e6
"""What a model that is built to be measured may hold: 1.6 GB."""

UNSTEADY = 0.25
"""From this share of the median between its quartiles on, a time is not to be relied on."""

NO_PATCH = " The patch cannot be doubled here: a stem, or an image that it would not tile."


def page() -> None:
    """Show the whole page, top to bottom."""
    notes = begin_session(plain_net=True)
    show_heading(
        "What does a vision transformer cost, and what if something is doubled?",
        "Choose a model, read what doubling does to the operations of its layers, then measure it "
        "on this machine. What the photo shows makes no difference.",
    )
    bases = _bases(_choose_model(notes))
    config = _choose_base(bases)
    variants = {
        "as it is": config,
        **{f"{name} doubled": c for name, c in doubled_configs(config).items()},
    }
    costs = {name: cost_of(variant) for name, variant in variants.items()}
    _show_operations(costs)
    _show_times(variants, costs)
    _show_memory(costs)
    _show_formulae(config)
    write_address(
        address.MODEL.write(state.Shared.model.get())
        | state.Cost.base.url_params(default=next(iter(bases)))
    )


def _choose_model(notes: list[str]) -> Bundle:
    with st.container(width=420):
        bundle = open_or_replace(show_model_choice())
    if notes:
        st.caption(" ".join(notes))
    return bundle


def _bases(bundle: Bundle) -> dict[str, ViTConfig]:
    """List the configurations to begin from, the default first."""
    own = getattr(bundle.net, "config", None)
    # DeiT may have two heads
    if isinstance(own, ViTConfig) and not hasattr(bundle.net, "head_dist"):
        return {OWN: own} | SIZES
    return SIZES


def _choose_base(bases: dict[str, ViTConfig]) -> ViTConfig:
    state.Cost.base.begin(bases, default=next(iter(bases)))
    st.segmented_control("Begin from", list(bases), key=state.Cost.base.name, required=True)
    config = bases[state.Cost.base.get()]
    height, width = config.tokens.image_size
    st.caption(
        f"{width} × {height} pixels, patches of {config.patch_size}: {config.tokens.tokens} "
        f"tokens of width {config.dim}; {config.depth} layers of {config.heads} heads, MLP of "
        f"{config.hidden_dim}."
    )
    return config


# -- counted ------------------------------------------------------------------------------------


def _show_operations(costs: dict[str, Cost]) -> None:
    st.subheader("Operations of one photo, counted")
    st.caption(
        "*Linear* is what every token pays by itself: projections, MLP, patch step and head. "
        "*Quadratic* is what every pair of tokens pays: the scores Q Kᵀ and the sum A V. "
        "How much more does a photo of twice the side cost? It has four times the tokens, and "
        "often the answer is 4² = 16 times. That holds for the quadratic part only; the linear "
        "part costs 4 times as much."
    )
    left, right = st.columns([3, 2], gap="large")
    base = costs["as it is"]
    lines = ["| | Tokens | Linear | Quadratic | Together |", "|:--|--:|--:|--:|--:|"]
    for name, cost in costs.items():
        parts = [
            _with_factor(_count(getattr(cost, part)), getattr(cost, part), getattr(base, part))
            for part in ("linear", "quadratic", "operations")
        ]
        lines.append(f"| {name.capitalize()} | {cost.tokens:,} | {' | '.join(parts)} |")
    with left:
        st.markdown("\n".join(lines))
        st.caption(
            "A multiplication and an addition are two operations; in brackets, how many times "
            "more. With the width the number of heads is doubled, so each stays as wide."
            + ("" if "patch side doubled" in costs else NO_PATCH)
        )
    with right:
        st.plotly_chart(
            draw_once(
                cost_bars,
                {name.capitalize(): cost.linear / 1e9 for name, cost in costs.items()},
                {name.capitalize(): cost.quadratic / 1e9 for name, cost in costs.items()},
                "Operations in thousand millions",
            ),
            key="bars",
            config=BARE,
            alt="Linear and quadratic operations of each variant",
        )


def _with_factor(text: str, value: float, base: float) -> str:
    factor = value / base if base else 1.0
    return text if abs(factor - 1) < 0.005 else f"{text} (×{_factor(factor)})"


def _factor(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _count(operations: float) -> str:
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if operations >= size:
            return f"{operations / size:.3g} {unit}"
    return f"{operations:.0f}"


# -- measured -----------------------------------------------------------------------------------


def _is_small(cost: Cost) -> bool:
    return cost.operations <= MOST_OPERATIONS and cost.parameters <= MOST_PARAMETERS


def _show_times(variants: dict[str, ViTConfig], costs: dict[str, Cost]) -> None:
    st.subheader("Measured on this machine")
    times = timings.get(variants["as it is"])
    place = st.empty()
    if st.button("Measure again" if times else "Measure", icon=":material/timer:"):
        times = _measure(variants, costs)
    with place.container():
        if times is None:
            st.caption(
                "Builds each variant with random weights and runs one photo through all of them "
                "in turn, at least five times: a few seconds for small models, "
                f"{SECONDS:.0f} seconds at most."
            )
        elif "as it is" not in times:
            st.warning(
                "This machine is too busy or too slow: the model could not be run often enough "
                f"within {SECONDS:.0f} seconds. Measure again later, or a smaller model.",
                icon=":material/timer_off:",
            )
        else:
            _show_time_table(costs, times)


def _milliseconds(time: float) -> str:
    return f"{time:,.1f}" if time >= 10 else f"{time:.2f}"


def _measure(variants: dict[str, ViTConfig], costs: dict[str, Cost]) -> dict[str, Timing]:
    """Measure what is small enough, and show the progress."""
    small = {name: config for name, config in variants.items() if _is_small(costs[name])}
    needed = sum(4 * costs[name].parameters for name in small)
    bar = st.progress(0.0, "Measuring")
    try:
        return measure_variants(small, variants["as it is"], needed, bar.progress)
    finally:
        bar.empty()


def _show_time_table(costs: dict[str, Cost], timings: dict[str, Timing]) -> None:
    """Show a line for each variant, also for those that were not measured."""
    base = timings["as it is"]
    lines = [
        "| Milliseconds | Everything else | softmax(Q Kᵀ) V | Together | Middle half of the runs |",
        "|:--|--:|--:|--:|:-:|",
    ]
    for name, cost in costs.items():
        if name not in timings:
            why = "would take too long now" if _is_small(cost) else "too large to measure here"
            lines.append(f"| {name.capitalize()} | {why} | | | |")
            continue
        timing = timings[name]
        parts = [
            _with_factor(
                _milliseconds(getattr(timing, part)), getattr(timing, part), getattr(base, part)
            )
            for part in ("rest", "attention", "whole")
        ]
        parts.append(" to ".join(map(_milliseconds, timing.quartiles)))
        lines.append(f"| {name.capitalize()} | {' | '.join(parts)} |")
    st.markdown("\n".join(lines))
    unsteady = [name for name, timing in timings.items() if timing.spread > UNSTEADY]
    if unsteady:
        worst = max(timings[name].spread for name in unsteady)
        st.warning(
            "Something else kept the machine busy: runs of the same variant lie up to "
            f"{worst:.0%} of their median apart, even the middle half of them "
            f"({', '.join(unsteady)}). So the factors in brackets mean little; measure again when "
            "it is quiet.",
            icon=":material/timer_off:",
        )
    st.caption(
        f"Medians of {base.runs} rounds, in each of which every variant ran once with one photo; "
        "they need not add up. Half of the runs took between the two times in the last column. "
        "Time follows the count only roughly: small products leave the processor waiting, and the "
        "softmax is not counted."
    )


# -- memory and formulae ------------------------------------------------------------------------


def _show_memory(costs: dict[str, Cost]) -> None:
    st.subheader("Numbers and bytes")
    base = costs["as it is"]
    lines = [
        "| | Parameters | Every attention map | Every query and key | Tokens of one layer |",
        "|:--|--:|--:|--:|--:|",
    ]
    for name, cost in costs.items():
        parts = [_with_factor(_count(cost.parameters), cost.parameters, base.parameters)]
        for part in ("map_bytes", "qk_bytes", "token_bytes"):
            value = getattr(cost, part)
            parts.append(_with_factor(_bytes(value), value, getattr(base, part)))
        lines.append(f"| {name.capitalize()} | {' | '.join(parts)} |")
    st.markdown("\n".join(lines))
    st.caption(
        "In float32, for one photo. Maps grow with the square of the tokens; queries and keys do "
        "not, which is why Saccade keeps those and computes a map's row where somebody looks."
    )


def _bytes(value: float) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


def _head_formula(config: ViTConfig) -> str:
    """Write the operations after the layers: a projection to E numbers, and the classes."""
    projected = config.projection
    twice = 2 * config.pooled_dim // config.dim  # two vectors may be pooled
    parts = [f"{twice} D E"] if projected else []
    if config.num_classes:
        parts.append("2 E K" if projected else f"{twice} D K")
    meaning = f" with $E$ = {projected}, the projection's width" if projected else ""
    return f"${' + '.join(parts)}${meaning}" if parts else "none here"


def _show_formulae(config: ViTConfig) -> None:
    st.subheader("The formulae")
    st.markdown(
        "With $N$ tokens ($P$ of them patches) of width $D$, $H$ heads, $L$ layers, an MLP of "
        "$M$, patches of $p$ pixels, $C$ channels and $K$ classes:"
    )
    embed = "as its convolutions cost" if config.embed == "stem" else "$2 P\\, C p^2 D$"
    st.markdown(
        "\n".join(
            [
                "| Part | Operations | Grows with N |",
                "|:--|:--|:--|",
                f"| Patch step | {embed} | linearly |",
                "| Queries, keys, values, output | $L \\cdot 8 N D^2$ | linearly |",
                "| MLP | $L \\cdot 4 N D M$ | linearly |",
                "| Scores $Q K^\\top$ | $L \\cdot 2 N^2 D$ | quadratically |",
                "| Sum $A V$ | $L \\cdot 2 N^2 D$ | quadratically |",
                f"| Classification head | {_head_formula(config)} | not at all |",
                "| Every map, bytes | $4 L H N^2$ | quadratically |",
                "| Every query and key, bytes | $8 L N D$ | linearly |",
            ]
        )
    )
    st.caption(
        "The number of heads is in no count of operations: more heads are narrower ones. The "
        "quadratic part overtakes the layers' linear part at N = 2 D + M tokens, here "
        f"{2 * config.dim + config.hidden_dim:,}."
    )


page()
