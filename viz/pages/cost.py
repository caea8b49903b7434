"""Cost: what does a vision transformer cost, and what if something is doubled?"""

from dataclasses import replace

import streamlit as st

from model.analysis.cost import SECONDS, Cost, Timing, cost_of, doubled_configs
from model.bundle import Bundle
from model.nets.vit import PRESETS, ViTConfig
from viz.charts.bars import cost_bars
from viz.charts.heatmap import BARE
from viz.pages.cost_export import describe_cost
from viz.pages.cost_measured import measure_variants, timings
from viz.pages.shared import address, state
from viz.pages.shared.browser import write_address
from viz.pages.shared.explained import show_heading, show_note
from viz.pages.shared.figures import draw_once, show_chart, show_table
from viz.pages.shared.saving import show_save
from viz.pages.shared.session import begin_session, open_or_replace, show_model_choice
from viz.pictures.lettering import percent

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

TIMES = [
    "Milliseconds",
    "Everything else",
    "softmax(Q Kᵀ) V",
    "Together",
    "Middle half of the runs",
]

NO_PATCH = (
    "The patch side cannot be doubled here: the model begins with convolutions, or its image "
    "cannot be divided into patches of twice the side."
)


def page() -> None:
    """Show the whole page, top to bottom."""
    notes = begin_session(plain_net=True)
    show_heading(
        "What does a vision transformer cost, and what if something is doubled?",
        "Choose a model, read what doubling does to the operations of its layers, then measure it "
        "on this machine. The cost is the same for every photo of one size.",
    )
    bases = _bases(_choose_model(notes))
    config = _choose_base(bases)
    variants = {
        "as it is": config,
        **{f"{name} doubled": c for name, c in doubled_configs(config).items()},
    }
    costs = {name: cost_of(variant) for name, variant in variants.items()}
    _show_operations(config, costs)
    _show_times(variants, costs)
    _show_memory(costs)
    _show_formulae(config)
    show_save(lambda: describe_cost(config, costs))
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
    show_note(
        f"{width} × {height} pixels, patches of {config.patch_size}: {config.tokens.tokens} "
        f"tokens of width {config.dim}; {config.depth} layers of {config.heads} heads, MLP of "
        f"{config.hidden_dim}.",
        state.Shared.note("base").name,
    )
    return config


# -- counted ------------------------------------------------------------------------------------


def _show_operations(config: ViTConfig, costs: dict[str, Cost]) -> None:
    st.subheader("Operations of one photo, counted")
    base = costs["as it is"]
    rows = {
        name.capitalize(): [f"{cost.tokens:,}"]
        + [
            _with_factor(_count(getattr(cost, part)), getattr(cost, part), getattr(base, part))
            for part in ("linear", "quadratic", "operations")
        ]
        for name, cost in costs.items()
    }
    _show_table(["", "Tokens", "Linear", "Quadratic", "Together"], rows)
    show_note(
        "*Linear* is what each token costs by itself, *quadratic* what each pair of tokens costs. "
        "In brackets: how many times as much.",
        state.Shared.note("operations").name,
    )
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("\n".join(f"- {line}" for line in _say_what_doubles(config, costs)))
    with right:
        show_chart(
            draw_once(
                cost_bars,
                {name.capitalize(): cost.linear / 1e9 for name, cost in costs.items()},
                {name.capitalize(): cost.quadratic / 1e9 for name, cost in costs.items()},
                "Operations (G = 10⁹)",
            ),
            key="bars",
            config=BARE,
            alt="Linear and quadratic operations of each variant",
        )


def _say_what_doubles(config: ViTConfig, costs: dict[str, Cost]) -> list[str]:
    """Say by which rule each part grows, with this model's own factors."""
    base = costs["as it is"]
    height, width = config.tokens.image_size
    factor = {name: _factor(cost.operations / base.operations) for name, cost in costs.items()}
    lines = [
        f"**Twice the image side** ({2 * width} × {2 * height} pixels) is 4 times the patches: "
        "the linear part costs 4 times as much, the quadratic part 4² = 16 times; this model "
        f"{factor['image side doubled']} times.",
        "**“16 times”** is right for the quadratic part alone. The model as a whole lies between 4 "
        "and 16 times, nearer to 16 the larger its quadratic part: here that is "
        f"{percent(base.quadratic / base.operations, 0)} of the operations.",
        "**Twice the width** makes every matrix twice as tall and twice as wide: the linear part "
        "(N · D²) costs 4 times as much, the quadratic part (N² · D) twice; this model "
        f"{factor['width doubled']} times. Its heads are then twice as many, as wide as before.",
        "**Twice the layers** cost twice as much, in both parts.",
    ]
    if "patch side doubled" in costs:
        return [
            *lines,
            "**Twice the patch side** is a quarter of the patches: a quarter of the linear part, "
            "a sixteenth of the quadratic part.",
        ]
    return [*lines, NO_PATCH]


def _show_table(header: list[str], rows: dict[str, list[str]]) -> None:
    """Show a table as wide as the page, which scrolls by itself where it does not fit."""
    columns = zip(
        header, zip(*((name, *row) for name, row in rows.items()), strict=True), strict=True
    )
    show_table({title: list(cells) for title, cells in columns})


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
                "Runs each variant at least five times, with random weights: a few seconds for "
                f"small models, {SECONDS:.0f} at most."
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
    rows = {}
    for name, cost in costs.items():
        if name not in timings:
            why = "would take too long now" if _is_small(cost) else "too large to measure here"
            rows[name.capitalize()] = [why, "", "", ""]
            continue
        timing = timings[name]
        parts = [
            _with_factor(
                _milliseconds(getattr(timing, part)), getattr(timing, part), getattr(base, part)
            )
            for part in ("rest", "attention", "whole")
        ]
        rows[name.capitalize()] = [*parts, " to ".join(map(_milliseconds, timing.quartiles))]
    _show_table(TIMES, rows)
    unsteady = [name for name, timing in timings.items() if timing.spread > UNSTEADY]
    if unsteady:
        worst = max(timings[name].spread for name in unsteady)
        st.warning(
            "Something else kept the machine busy: even the middle half of the runs of one variant "
            f"lie up to {percent(worst, 0)} of their median apart ({', '.join(unsteady)}). So the "
            "factors in brackets mean little. Measure again when the machine is quiet.",
            icon=":material/timer_off:",
        )
    st.caption(
        f"Medians of {base.runs} runs of one photo. Time follows the count only roughly: small "
        "products leave the processor waiting."
    )


# -- memory and formulae ------------------------------------------------------------------------


def _show_memory(costs: dict[str, Cost]) -> None:
    st.subheader("Numbers and bytes")
    base = costs["as it is"]
    rows = {}
    for name, cost in costs.items():
        parts = [_with_factor(_count(cost.parameters), cost.parameters, base.parameters)]
        for part in ("map_bytes", "qk_bytes", "token_bytes"):
            value = getattr(cost, part)
            parts.append(_with_factor(_bytes(value), value, getattr(base, part)))
        rows[name.capitalize()] = parts
    header = ["", "Parameters", "All attention maps", "All queries and keys", "Tokens of a layer"]
    _show_table(header, rows)
    st.caption(
        "For one photo, in float32. Saccade keeps queries and keys: they grow in step with the "
        "tokens, maps with their square."
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
    with st.expander("The formulas"):
        st.markdown(
            "With $N$ tokens ($P$ of them patches) of width $D$, $H$ heads, $L$ layers, an MLP of "
            "$M$, patches of $p$ pixels, $C$ channels and $K$ classes:"
        )
        embed = "as its convolutions cost" if config.embed == "stem" else "$2 P\\, C p^2 D$"
        _show_table(
            ["Part", "Operations", "Grows with N"],
            {
                "Patch step": [embed, "linearly"],
                "Queries, keys, values, output": ["$L \\cdot 8 N D^2$", "linearly"],
                "MLP": ["$L \\cdot 4 N D M$", "linearly"],
                "Scores $Q K^\\top$": ["$L \\cdot 2 N^2 D$", "quadratically"],
                "Sum $A V$": ["$L \\cdot 2 N^2 D$", "quadratically"],
                "Classification head": [_head_formula(config), "not at all"],
                "All attention maps, bytes": ["$4 L H N^2$", "quadratically"],
                "All queries and keys, bytes": ["$8 L N D$", "linearly"],
            },
        )
        st.markdown(
            "A multiplication and an addition are two operations; the softmax is not counted. k, "
            "M, G and T stand for 10³, 10⁶, 10⁹ and 10¹². No count of operations depends on the "
            "number of heads: more heads are narrower. Only the maps' bytes grow with H. The "
            "quadratic part overtakes the layers' linear part at "
            f"N = 2 D + M tokens, here {2 * config.dim + config.hidden_dim:,}."
        )


page()
