"""The settings of each relevance method: their widgets, and their values in the address.

A setting outlives its widget, so that a method keeps its settings while another is chosen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar

import streamlit as st

from model.attribution.baselines import BASELINES
from model.attribution.trace import Trace
from model.attribution.word_trace import WordTrace
from model.recording.rollout import FUSIONS
from viz.pages.attribution_maps import Settings
from viz.pages.attribution_texts import (
    METHODS,
    VIT_EXPLAIN,
    WORD_METHODS,
    MethodText,
    written_out,
)
from viz.pages.shared.rollout_texts import DISCARD_HELP, FUSION_HELP
from viz.pages.shared.state import Attribution, MethodSettings, Setting

COMPAT = "vit-explain"
T = TypeVar("T")
Values = dict[str, Any]
"""What is set for one method, by the names of its settings."""


WITHOUT_CLASS_TOKEN = "This model reads the class from {read}: the mean of their rows stands here."
MOVED_WITHOUT_CLASS_TOKEN = (
    "This model reads the class from {read}. What each patch keeps for itself through all the *I* "
    "is nearly the same for each, and left out."
)
HEAD_HELP = "One head, or the mean, max or min over all heads of the layer."
SKIP_HELP = (
    "How much of each token the residual connection carries past the attention. Half is the "
    "paper's choice; the model itself has no such fixed share."
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


class Size(NamedTuple):
    """How many layers a method can choose from.

    ``layers`` mix the patches. Of the ``deciding`` ones a single one is looked at, each with so
    many ``heads``: they are the same layers, or a captioner's cross-attention.
    """

    layers: int
    deciding: int
    heads: int
    words: bool = False  # the score is a word's
    class_token: bool = True  # the class is read from it alone, and not from the patches' mean
    prefix_too: bool = False  # it is read from both


def size_of(trace: Trace) -> Size:
    """Count what there is to choose in a model, from any trace of it."""
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


def _always(values: Values) -> bool:
    return True


@dataclass(frozen=True)
class Control(Generic[T]):
    """A setting with its default and its valid values in a model of some size, and its widget.

    ``acts`` tells from the method's values whether the setting makes a difference.
    """

    setting: Setting[T]
    default: Callable[[Size], T]
    valid: Callable[[T, Size], bool]
    show: Callable[[Size], object]
    acts: Callable[[Values], bool] = _always

    def value(self, size: Size) -> T:
        """Return the value that is set, or the default where that is not valid."""
        return self.setting.begin(lambda value: self.valid(value, size), self.default(size))


def _layers(size: Size) -> int:
    return size.layers


def _deciding(size: Size) -> int:
    return size.deciding


def _first(size: Size) -> int:
    return 1


def _layer(
    setting: Setting[int],
    label: str,
    default: Callable[[Size], int],
    help: str | None = None,
    count: Callable[[Size], int] = _layers,
) -> Control[int]:
    """Make the slider of a layer, counted from one here and on the page."""

    def show(size: Size) -> None:
        if count(size) > 1:
            key = setting.name
            st.slider(label, 1, count(size), key=key, help=help, persist_state="session")

    return Control(setting, default, lambda value, size: 1 <= value <= count(size), show)


def _share(setting: Setting[float], label: str, most: float, help: str) -> Control[float]:
    def show(size: Size) -> None:
        key = setting.name
        st.slider(label, 0.0, most, step=0.05, key=key, help=help, persist_state="session")

    return Control(setting, lambda _: setting.default, lambda value, _: 0 <= value <= most, show)


def _number(
    setting: Setting[int], label: str, least: int, most: int, help: str | None = None
) -> Control[int]:
    def show(size: Size) -> None:
        st.slider(label, least, most, key=setting.name, help=help, persist_state="session")

    return Control(
        setting, lambda _: setting.default, lambda value, _: least <= value <= most, show
    )


def _choice(setting: Setting[str], label: str, options: tuple[str, ...], help: str) -> Control[str]:
    def show(size: Size) -> None:
        key = setting.name
        st.segmented_control(
            label, options, key=key, required=True, help=help, persist_state="session"
        )

    return Control(setting, lambda _: setting.default, lambda value, _: value in options, show)


def _head(setting: Setting[str]) -> Control[str]:
    def options(size: Size) -> list[str]:
        return [*FUSIONS, *(str(head + 1) for head in range(size.heads))]

    def show(size: Size) -> None:
        key = setting.name
        st.selectbox("Head", options(size), key=key, help=HEAD_HELP, persist_state="session")

    return Control(
        setting, lambda _: setting.default, lambda value, size: value in options(size), show
    )


def _compat(setting: Setting[bool]) -> Control[bool]:
    """Make the switch for vit-explain, which reads the class token and knows of no words."""

    def show(size: Size) -> None:
        if not size.words:
            key, label = setting.name, "As vit-explain draws it"
            st.toggle(label, key=key, help=COMPAT_HELP, persist_state="session")

    return Control(
        setting,
        lambda _: setting.default,
        lambda value, size: isinstance(value, bool) and not (value and size.words),
        show,
    )


def _as_meant(control: Control[T]) -> Control[T]:
    """Make the control act for the method as it was meant, not as vit-explain draws it."""
    return replace(control, acts=lambda values: not values["compat"])


def _as_theirs(control: Control[T]) -> Control[T]:
    """Make the control act for the method as vit-explain draws it."""
    return replace(control, acts=lambda values: values["compat"])


_S = MethodSettings
_SKIP = "Share of the residual connection"
_WEAKEST = "Ignore the weakest links"

CONTROLS: dict[str, dict[str, Control[Any]]] = {
    "attention": {
        "layer": _layer(_S.attention_layer, "Layer", _deciding, count=_deciding),
        "head": _head(_S.attention_head),
    },
    "rollout": {
        "stop": _as_meant(_layer(_S.rollout_stop, "Grow up to layer", _layers, GROW_HELP)),
        "start": _as_meant(_layer(_S.rollout_start, "First layer", _first, FIRST_HELP)),
        "fusion": _choice(_S.rollout_fusion, "Heads fused by", FUSIONS, FUSION_HELP),
        "residual": _as_meant(_share(_S.rollout_residual, _SKIP, 0.95, SKIP_HELP)),
        "discard": _as_meant(_share(_S.rollout_discard, _WEAKEST, 0.95, DISCARD_HELP)),
        "compat": _compat(_S.rollout_compat),
        "kept": _as_theirs(_share(_S.rollout_kept, _WEAKEST, 0.95, THEIR_DISCARD_HELP)),
    },
    "gradient_rollout": {
        "start": _as_meant(_layer(_S.gradient_rollout_start, "First layer", _first, FIRST_HELP)),
        "residual": _as_meant(_share(_S.gradient_rollout_residual, _SKIP, 0.95, SKIP_HELP)),
        "compat": _compat(_S.gradient_rollout_compat),
        "kept": _as_theirs(_share(_S.gradient_rollout_kept, _WEAKEST, 0.95, THEIR_DISCARD_HELP)),
    },
    "chefer": {"start": _layer(_S.chefer_start, "First layer", _first, FIRST_HELP)},
    "attention_gradcam": {
        "layer": _layer(_S.attention_gradcam_layer, "Layer", _deciding, count=_deciding)
    },
    "legrad": {"start": _layer(_S.legrad_start, "First layer", _first, FIRST_HELP)},
    "token_gradcam": {},
    "input_gradient": {},
    "integrated_gradients": {
        "baseline": _choice(
            _S.integrated_gradients_baseline, "Empty picture", BASELINES, BASELINE_HELP
        ),
        "steps": _number(_S.integrated_gradients_steps, "Points", 2, 50, STEPS_HELP),
    },
    "random_map": {"seed": _number(_S.random_map_seed, "Seed", 0, 9)},
}


def _all_controls() -> Iterator[Control[Any]]:
    for controls in CONTROLS.values():
        yield from controls.values()


def follow_model(size: Size) -> None:
    """Let settings that nobody has changed follow the model: its last layer is another one."""
    known = Attribution.model_size.get()
    Attribution.model_size.set(size)
    if known in (None, size):
        return
    before = Size(*known)
    for control in _all_controls():
        setting = control.setting
        if setting.is_set and setting.get() == control.default(before):
            setting.set(control.default(size))


def method_values(method: str, size: Size) -> Values:
    """Return what is set for a method, each value as its widget has it."""
    return {name: control.value(size) for name, control in CONTROLS[method].items()}


IN_WORDS = {
    "start": "from layer",
    "stop": "up to layer",
    "fusion": "heads fused by",
    "residual": "residual connection",
    "discard": "weakest links ignored",
    "kept": "discarded as in vit-explain",
    "baseline": "empty picture",
}
"""Names of settings for a caption, where they are others than in Python."""


def settings_in_words(method: str, size: Size) -> list[str]:
    """Write a method's settings for a caption, as far as they make a difference."""
    values = method_values(method, size)
    return [
        f"{IN_WORDS.get(name, name)} {values[name]}"
        for name, control in CONTROLS[method].items()
        if name != "compat" and control.acts(values)
    ]


def show_settings(method: str, size: Size) -> None:
    """Show the widgets of a method."""
    values = method_values(method, size)
    for control in CONTROLS[method].values():
        if control.acts(values):
            control.show(size)


def model_settings(method: str, size: Size) -> Settings:
    """Return a method's settings as ``model.attribution.registry.explain`` takes them."""
    values = method_values(method, size)
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


def describe_method(method: str, size: Size) -> tuple[MethodText, str]:
    """Describe a method in words, and by its formula with its settings written in."""
    values = method_values(method, size)
    if values.get("compat"):
        share = f"{100 - 100 * values['kept']:.0f}\\%"
        return VIT_EXPLAIN, written_out(VIT_EXPLAIN.formula, {"kept": share})
    written = {name: str(value) for name, value in values.items()}
    written |= {"first": written.get("start", ""), "last": written.get("stop", "")}
    if "stop" in values:
        written["first"] = str(min(values["start"], values["stop"]))
    if "residual" in values:
        written |= {"skip": f"{values['residual']:.2g}", "rest": f"{1 - values['residual']:.2g}"}
    if "discard" in values:
        share = rf",\ \text{{less the weakest }}{100 * values['discard']:.0f}\%"
        written["discarded"] = share if values["discard"] else ""
    if "head" in values:
        fused = values["head"] in FUSIONS
        written["head"] = rf"\text{{{'' if fused else 'head '}{values['head']}}}"
    if "baseline" in values:
        written["baseline"] = rf"\text{{{values['baseline']}}}"
    meant = method_texts(size)[method]
    formula = meant.formula
    if not size.class_token:
        formula, more = _of_patches(method, formula, size)
        meant = replace(meant, text=f"{meant.text} {more}".rstrip())
    return meant, written_out(formula, written)


def _of_patches(method: str, formula: str, size: Size) -> tuple[str, str]:
    """Adapt the formula to a class that is read from the patches, and say what that means."""
    read = "CLS and all its patches" if size.prefix_too else "the mean of its patches"
    if r"\mathrm{cls}" in formula:
        formula = formula.replace(r"\mathrm{cls}", r"\overline{\text{patch}}")
        return formula, WITHOUT_CLASS_TOKEN.format(read=read)
    if method == "gradient_rollout":
        return formula, MOVED_WITHOUT_CLASS_TOKEN.format(read=read)
    return formula, ""


def method_texts(size: Size) -> dict[str, MethodText]:
    """Return what the page says about each method, for classes or for words."""
    return WORD_METHODS if size.words else METHODS


def method_title(method: str, size: Size) -> str:
    """Name a method as the page does, and say so where a setting is not the default."""
    values, name = method_values(method, size), method_texts(size)[method].title
    if values.get("compat"):
        return f"{name} (vit-explain)"
    changed = any(
        values[key] != control.default(size)
        for key, control in CONTROLS[method].items()
        if control.acts(values)
    )
    return f"{name} (changed)" if changed else name


def settings_url_params(size: Size) -> dict[str, str]:
    """Write every method's settings into the parameters of an address."""
    url_params: dict[str, str] = {}
    for control in _all_controls():
        url_params |= control.setting.url_params(control.default(size))
    return url_params
