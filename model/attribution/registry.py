"""The attribution methods by name: the one list of them, and when one makes no sense.

relevance = explain(trace_class(bundle.net, bundle.prepare(image), bundle.tokens, 281), "chefer")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from model.attribution import class_methods, gradients, word_methods
from model.attribution.trace import Trace
from model.attribution.word_trace import WordTrace
from model.errors import MethodUnsuitable
from model.recording import rollout

_BY_GRADIENT: dict[str, Callable[..., Tensor]] = {
    "token_gradcam": gradients.token_gradcam,
    "input_gradient": gradients.input_gradient,
    "integrated_gradients": gradients.integrated_gradients,
    "random_map": gradients.random_map,
}

METHODS: dict[str, Callable[..., Tensor]] = {
    "attention": class_methods.class_attention,
    "rollout": class_methods.class_rollout,
    "gradient_rollout": class_methods.class_gradient_rollout,
    "chefer": class_methods.class_chefer,
    "attention_gradcam": class_methods.class_attention_gradcam,
    "legrad": class_methods.class_legrad,
    **_BY_GRADIENT,
}
"""Every method by name, from plain to elaborate, the ones without attention last."""

WORD_METHODS: dict[str, Callable[..., Tensor]] = {
    "attention": word_methods.word_attention,
    "rollout": word_methods.word_rollout,
    "gradient_rollout": word_methods.word_gradient_rollout,
    "chefer": word_methods.word_chefer,
    "attention_gradcam": word_methods.word_attention_gradcam,
    "legrad": word_methods.word_legrad,
    **_BY_GRADIENT,
}
"""The same names, in the same order, for a word of a caption."""

ANYWHERE = tuple(_BY_GRADIENT)
"""Methods that do not read attention, the same for a class and for a word."""

THROUGH_LAYERS = ("rollout", "gradient_rollout", "chefer")
"""Methods that multiply the layers' maps."""

PIXELS = ("input_gradient", "integrated_gradients", "random_map")
CROSS = ("attention", "attention_gradcam")


ONE_VECTOR = (
    "The encoder hands this captioner one single vector of the whole picture, so nothing between "
    "its words and the patches could be followed back to one of them."
)
RECURRENT = (
    "This decoder writes its words with a recurrent network, and looks at the patches once a word. "
    "It has no layers of attention among words and patches, which the method needs."
)
WINDOWED = (
    "This captioner's encoder attends inside small windows and merges patches between its "
    "layers, so its layers' maps cannot be multiplied."
)
NO_ENCODER = "The encoder of this captioner does not attend, so it has no maps to ask about."


def explain(trace: Trace, method: str, **settings: Any) -> Tensor:
    """The map of a method by name. Raises MethodUnsuitable where it makes no sense here.

    `trace` is of a class, or of a word of a caption (see `model.attribution.word_methods`).
    """
    if reason := why_unsuitable(trace, method):
        raise MethodUnsuitable(reason)
    methods = WORD_METHODS if isinstance(trace, WordTrace) else METHODS
    return methods[method](trace, **settings)


def why_unsuitable(trace: Trace, method: str) -> str | None:
    """Why a method makes no sense on this model, in a sentence; None where it does."""
    if isinstance(trace, WordTrace):
        return _why_not_word(trace, method)
    if method in ANYWHERE:
        return None
    tokens = trace.layout.tokens
    for record in trace.records:
        if record.windows is not None:
            return (
                "This model attends inside small windows and merges patches between its layers, "
                "so no layer's map spans the photo and the layers' maps cannot be multiplied."
            )
        if record.kind != "self" or record.shape[2:] != (tokens, tokens):
            return (
                f"The map of {record.name} is {record.shape[2]} x {record.shape[3]}; the method "
                f"needs self-attention among all {tokens} tokens in every layer."
            )
    return rollout.explain_no_rollout(trace.records) if method in THROUGH_LAYERS else None


def _why_not_word(trace: WordTrace, method: str) -> str | None:
    """Why a method makes no sense for a word of this captioner; None where it does."""
    if method in PIXELS:
        return None
    if method == "legrad":
        return _encoder_trouble(trace) if trace.decoder else NO_ENCODER
    if trace.tokens.shape[1] < trace.layout.patches:
        return ONE_VECTOR
    if method == "token_gradcam":
        return None
    if not trace.crossings and method not in ("attention", "rollout"):
        return RECURRENT
    return None if method in CROSS else _encoder_trouble(trace)


def _encoder_trouble(trace: WordTrace) -> str | None:
    """What keeps the encoder's maps from being multiplied; None where nothing does."""
    records = trace.records[: trace.decoder]
    if any(record.windows is not None for record in records):
        return WINDOWED
    for record in records:
        queries, keys = record.shape[2:]
        if (queries, keys) != records[0].shape[2:] or not trace.layout.patches <= queries == keys:
            return (
                f"The map of {record.name} is {queries} x {keys}; the method needs "
                "self-attention among the same tokens in every layer of the encoder."
            )
    return None
