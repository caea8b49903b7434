"""The settings of each relevance method: its widgets, and their values in the address.

A setting is a widget's key in the session, ``METHOD_SETTING``; it outlives the widget, so that a
method keeps its settings while another is chosen.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from model.attribution.baselines import BASELINES
from model.attribution.trace import Trace
from model.attribution.word_trace import WordTrace
from model.recording.rollout import FUSIONS
from viz.pages.attribution_maps import Settings
from viz.pages.shared.method_texts import METHODS, VIT_EXPLAIN, WORD_METHODS, Method, written_out
from viz.pages.shared.url_params import url_param

COMPAT = "vit-explain"
KEEP = {"persist_state": "session"}


WITHOUT_CLASS_TOKEN = "This model reads the class from {read}: the mean of their rows stands here."
MOVED_WITHOUT_CLASS_TOKEN = (
    "This model reads the class from {read}. What each patch keeps for itself through all the *I* "
    "is nearly the same for each, and left out."
)


@dataclass(frozen=True)
class Size:
    """How many layers a method can choose from.

    ``layers`` are those that mix the patches; ``deciding`` ones are those from which a single one
    is looked at, each with so many ``heads``: the same ones, or a captioner's cross-attention.
    """

    layers: int
    deciding: int
    heads: int
    words: bool = False  # the score is that of a word
    class_token: bool = True  # the class is read from it alone, and not from the patches' mean
    prefix_too: bool = False  # it is read from both


def size_of(trace: Trace) -> Size:
    """What there is to choose in a model, from any trace of it."""
    if isinstance(trace, WordTrace):
        deciding = [trace.records[place] for place in trace.cross_layers]
        heads = min((record.shape[1] for record in deciding), default=1)
        return Size(max(1, trace.encoder_depth), max(1, len(deciding)), heads, words=True)
    heads = min(record.shape[1] for record in trace.records)
    readers, prefix = trace.readout_tokens, len(trace.layout.prefix)
    return Size(
        trace.depth,
        trace.depth,
        heads,
        class_token=max(readers, default=0) < prefix,
        prefix_too=min(readers, default=0) < prefix,
    )


@dataclass(frozen=True)
class Setting:
    """One setting: its usual value and its widget.

    ``when`` tells from the method's other values whether the setting acts.
    """

    usual: Callable[[Size], Any]
    valid: Callable[[Any, Size], bool]
    show: Callable[[str, Size], Any]
    when: Callable[[dict[str, Any]], bool] = lambda values: True


def _layers(size: Size) -> int:
    return size.layers


def _deciding(size: Size) -> int:
    return size.deciding


def _layer(
    label: str,
    usual: Callable[[Size], int],
    help: str = "",
    count: Callable[[Size], int] = _layers,
) -> Setting:
    """A layer, counted from one here and on the page."""

    def show(key: str, size: Size) -> None:
        if count(size) > 1:
            st.slider(label, 1, count(size), key=key, help=help or None, **KEEP)

    return Setting(usual, lambda value, size: 1 <= value <= count(size), show)


def _share(label: str, usual: float, most: float, help: str) -> Setting:
    return Setting(
        lambda _: usual,
        lambda value, _: 0 <= value <= most,
        lambda key, _: st.slider(label, 0.0, most, step=0.05, key=key, help=help, **KEEP),
    )


def _choice(label: str, usual: str, options: tuple[str, ...], help: str) -> Setting:
    return Setting(
        lambda _: usual,
        lambda value, _: value in options,
        lambda key, _: st.segmented_control(
            label, options, key=key, required=True, help=help, **KEEP
        ),
    )


def _plain(setting: Setting) -> Setting:
    """A setting of the method as it was meant, not as vit-explain has it."""
    return Setting(setting.usual, setting.valid, setting.show, lambda values: not values["compat"])


def _theirs(setting: Setting) -> Setting:
    return Setting(setting.usual, setting.valid, setting.show, lambda values: values["compat"])


def _heads() -> Setting:
    def options(size: Size) -> list[str]:
        return [*FUSIONS, *(str(head + 1) for head in range(size.heads))]

    return Setting(
        lambda _: "mean",
        lambda value, size: value in options(size),
        lambda key, size: st.selectbox("Head", options(size), key=key, help=HEAD_HELP, **KEEP),
    )


HEAD_HELP = "One head, or the mean, max or min over all heads of the layer."
FUSION_HELP = (
    "Rollout needs one map a layer. The mean is the paper's choice; max keeps what any head "
    "looks at, min only what all heads look at."
)
SKIP_HELP = (
    "How much of each token the skip connection carries past the attention. Half is the paper's "
    "choice; the model itself has no such fixed share."
)
DISCARD_HELP = (
    "Sets the smallest weights of each row to zero before multiplying. It sharpens the picture "
    "and throws information away: compare before you believe it."
)
THEIR_DISCARD_HELP = "vit-explain's share of the whole matrix that is set to zero."
GROW_HELP = "Rollout as if the answer were read after this layer: move it to see the map grow."
FIRST_HELP = "Layers before this one are left out."
COMPAT_HELP = (
    "Reproduces the pictures of that tool with its known faults, to compare with old figures."
)
BASELINE_HELP = (
    "What counts as an empty picture: zeroed is the training photos' mean colour everywhere, "
    "blurred keeps this photo's colours without its details."
)
STEPS_HELP = "Points along the way from the empty picture to the photo. Each is a pass back."

_FIRST = _layer("First layer", lambda _: 1, FIRST_HELP)
_COMPAT = Setting(  # that tool reads the class token, and knows of no words
    lambda _: False,
    lambda value, size: isinstance(value, bool) and not (value and size.words),
    lambda key, size: (
        size.words or st.toggle("As vit-explain draws it", key=key, help=COMPAT_HELP, **KEEP)
    ),
)
_DECIDING = _layer("Layer", _deciding, count=_deciding)

SETTINGS: dict[str, dict[str, Setting]] = {
    "attention": {"layer": _DECIDING, "head": _heads()},
    "rollout": {
        "stop": _plain(_layer("Grow up to layer", _layers, GROW_HELP)),
        "start": _plain(_FIRST),
        "fusion": _choice("Heads fused by", "mean", FUSIONS, FUSION_HELP),
        "residual": _plain(_share("Share of the skip connection", 0.5, 0.95, SKIP_HELP)),
        "discard": _plain(_share("Weakest attention discarded", 0.0, 0.95, DISCARD_HELP)),
        "compat": _COMPAT,
        "kept": _theirs(_share("Weakest attention discarded", 0.9, 0.95, THEIR_DISCARD_HELP)),
    },
    "gradient_rollout": {
        "start": _plain(_FIRST),
        "residual": _plain(_share("Share of the skip connection", 0.5, 0.95, SKIP_HELP)),
        "compat": _COMPAT,
        "kept": _theirs(_share("Weakest attention discarded", 0.9, 0.95, THEIR_DISCARD_HELP)),
    },
    "chefer": {"start": _FIRST},
    "attention_gradcam": {"layer": _DECIDING},
    "legrad": {"start": _FIRST},
    "token_gradcam": {},
    "input_gradient": {},
    "integrated_gradients": {
        "baseline": _choice("Empty picture", "zeroed", BASELINES, BASELINE_HELP),
        "steps": Setting(
            lambda _: 10,
            lambda value, _: 2 <= value <= 50,
            lambda key, _: st.slider("Points", 2, 50, key=key, help=STEPS_HELP, **KEEP),
        ),
    },
    "random_map": {
        "seed": Setting(
            lambda _: 0,
            lambda value, _: 0 <= value <= 9,
            lambda key, _: st.slider("Seed", 0, 9, key=key, **KEEP),
        )
    },
}


def fit(size: Size) -> None:
    """Let settings that nobody has changed follow the model: its last layer is another one."""
    before, st.session_state.settings_fit = st.session_state.get("settings_fit", size), size
    if before == size:
        return
    for method, settings in SETTINGS.items():
        for name, setting in settings.items():
            if st.session_state.get(_key(method, name)) == setting.usual(before):
                st.session_state[_key(method, name)] = setting.usual(size)


def chosen(method: str, size: Size) -> dict[str, Any]:
    """What is set for a method, each value as its widget has it."""
    return {
        name: url_param(
            _key(method, name), setting.usual(size), lambda v, s=setting: s.valid(v, size)
        )
        for name, setting in SETTINGS[method].items()
    }


def show(method: str, size: Size) -> None:
    """The widgets of a method."""
    values = chosen(method, size)
    for name, setting in SETTINGS[method].items():
        if setting.when(values):
            setting.show(_key(method, name), size)


def for_the_model(method: str, size: Size) -> Settings:
    """A method's settings as ``model.attribution.class_methods`` takes them."""
    values = chosen(method, size)
    if values.pop("compat", False):
        taken = {"compat": COMPAT, "discard": values["kept"]}
        if "fusion" in values:
            taken["fusion"] = values["fusion"]
        return tuple(sorted(taken.items()))
    values.pop("kept", None)
    for name in ("layer", "start"):
        if name in values:
            values[name] -= 1
    if "start" in values and "stop" in values:
        values["start"] = min(values["start"], values["stop"] - 1)
    if values.get("head", "mean") not in FUSIONS:
        values["head"] = int(values["head"]) - 1
    return tuple(sorted(values.items()))


def explained(method: str, size: Size) -> tuple[Method, str]:
    """The method in words, and its formula with its settings written in."""
    values = chosen(method, size)
    if values.get("compat"):
        share = f"{100 - 100 * values['kept']:.0f}\\%"
        return VIT_EXPLAIN, written_out(VIT_EXPLAIN.formula, {"kept": share})
    told = {name: str(value) for name, value in values.items()}
    told |= {"first": told.get("start", ""), "last": told.get("stop", "")}
    if "stop" in values:
        told["first"] = str(min(values["start"], values["stop"]))
    if "residual" in values:
        told |= {"skip": f"{values['residual']:.2g}", "rest": f"{1 - values['residual']:.2g}"}
    if "discard" in values:
        share = rf",\ \text{{less the weakest }}{100 * values['discard']:.0f}\%"
        told["discarded"] = share if values["discard"] else ""
    if "head" in values:
        fused = values["head"] in FUSIONS
        told["head"] = rf"\text{{{'' if fused else 'head '}{values['head']}}}"
    if "baseline" in values:
        told["baseline"] = rf"\text{{{values['baseline']}}}"
    meant = methods_of(size)[method]
    formula = meant.formula
    if not size.class_token:
        formula, more = _of_patches(method, formula, size)
        meant = replace(meant, words=f"{meant.words} {more}".rstrip())
    return meant, written_out(formula, told)


def _of_patches(method: str, formula: str, size: Size) -> tuple[str, str]:
    """The formula where a class is read from the patches, and what there is to say of that."""
    read = "its class token and all its patches" if size.prefix_too else "the mean of its patches"
    if r"\mathrm{cls}" in formula:
        formula = formula.replace(r"\mathrm{cls}", r"\overline{\text{patch}}")
        return formula, WITHOUT_CLASS_TOKEN.format(read=read)
    if method == "gradient_rollout":
        return formula, MOVED_WITHOUT_CLASS_TOKEN.format(read=read)
    return formula, ""


def methods_of(size: Size) -> dict[str, Method]:
    """The methods in words, as they are meant for the model."""
    return WORD_METHODS if size.words else METHODS


def title(method: str, size: Size) -> str:
    """What the page calls a method: it says so where that is not set as usual."""
    values, name = chosen(method, size), methods_of(size)[method].title
    if values.get("compat"):
        return f"{name} (vit-explain)"
    acting = {key: s for key, s in SETTINGS[method].items() if s.when(values)}
    changed = any(values[key] != setting.usual(size) for key, setting in acting.items())
    return f"{name} (changed)" if changed else name


def words(size: Size) -> dict[str, tuple[Any, Any]]:
    """What the address should say of every method's settings: (value, usual one) by key."""
    return {
        _key(method, name): (st.session_state.get(_key(method, name)), setting.usual(size))
        for method, settings in SETTINGS.items()
        for name, setting in settings.items()
    }


def _key(method: str, name: str) -> str:
    return f"{method}_{name}"
