"""The attribution methods by name: the only list of them, and the models that each one suits.

    trace = trace_class(bundle.net, bundle.prepare(image), bundle.tokens, 281)
    relevance = explain(trace, "chefer")

To add a method, write it in `class_methods` and `word_methods` (or once in `gradients`, if it needs
no attention) and enter it below. `why_unsuitable` says which models it cannot explain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from model.attribution import class_methods, gradients, word_methods
from model.attribution.trace import Trace
from model.attribution.word_trace import WordTrace
from model.errors import MethodUnsuitable
from model.recording.rollout import explain_no_rollout

_WITHOUT_ATTENTION: dict[str, Callable[..., Tensor]] = {
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
    **_WITHOUT_ATTENTION,
}
"""Methods for a class, by name: from plain to elaborate, then the ones that need no attention."""

WORD_METHODS: dict[str, Callable[..., Tensor]] = {
    "attention": word_methods.word_attention,
    "rollout": word_methods.word_rollout,
    "gradient_rollout": word_methods.word_gradient_rollout,
    "chefer": word_methods.word_chefer,
    "attention_gradcam": word_methods.word_attention_gradcam,
    "legrad": word_methods.word_legrad,
    **_WITHOUT_ATTENTION,
}
"""Methods for a word of a caption: the same names in the same order."""

WITHOUT_ATTENTION = tuple(_WITHOUT_ATTENTION)
"""Methods that need no attention, and are the same for a class and for a word."""

MULTIPLYING_LAYERS = ("rollout", "gradient_rollout", "chefer")
"""Methods that multiply the maps of several layers."""

WITHOUT_PATCHES = ("input_gradient", "integrated_gradients", "random_map")
"""Methods that suit a captioner whose words cannot tell patches apart."""

CROSS_ATTENTION_ONLY = ("attention", "attention_gradcam")
"""Methods that read one decoder layer and no map of the encoder."""

ONE_VECTOR = (
    "The encoder hands this captioner one single vector of the whole picture, so nothing between "
    "its words and the patches could be followed back to one of them."
)
RECURRENT = (
    "This decoder writes its words with a recurrent network, and looks at the patches once a word. "
    "It has no layers of attention among words and patches, which the method needs."
)
OTHERS = "Choose a method of the input's gradient: it needs no maps."
WINDOWED = (
    "This captioner's encoder attends inside windows, so its layers' maps cannot be multiplied."
)
NO_ENCODER = "The encoder of this captioner does not attend, so it has no maps to ask about."


def explain(trace: Trace, method: str, **settings: Any) -> Tensor:
    """Make the map of a method, given by name.

    Args:
        trace: of a class (`trace_class`), or of a word of a caption (`trace_word`).
        method: one of `METHODS`.
        settings: keyword arguments of the method, for example `layer=0`.

    Returns:
        float32 (B, rows, columns) over the patches, nothing below zero.

    Raises:
        MethodUnsuitable: the method cannot explain this model; the message says why.

    >>> import torch
    >>> from model.attribution.trace import trace_class
    >>> from model.vit import build
    >>> net = build("vit", img_size=32, patch_size=8, dim=12, depth=2, heads=3, num_classes=5)
    >>> trace = trace_class(net.eval(), torch.rand(1, 3, 32, 32), net.tokens, target=4)
    >>> explain(trace, "rollout", residual=0.5).shape
    torch.Size([1, 4, 4])
    """
    if reason := why_unsuitable(trace, method):
        raise MethodUnsuitable(reason)
    methods = WORD_METHODS if isinstance(trace, WordTrace) else METHODS
    return methods[method](trace, **settings)


def why_unsuitable(trace: Trace, method: str) -> str | None:
    """Say in a sentence why a method cannot explain this model; None where it can."""
    if isinstance(trace, WordTrace):
        return _why_unsuitable_for_word(trace, method)
    if method in WITHOUT_ATTENTION:
        return None
    tokens = trace.layout.tokens
    for record in trace.records:
        if record.windows is not None:
            return (
                f"{record.name} attends inside windows, so its map does not span the photo, and "
                f"the layers' maps cannot be multiplied. {OTHERS}"
            )
        if record.kind != "self" or record.shape[2:] != (tokens, tokens):
            return (
                f"The map of {record.name} is {record.shape[2]} x {record.shape[3]}; the method "
                f"needs self-attention among all {tokens:,} tokens in every layer. {OTHERS}"
            )
    return explain_no_rollout(trace.records) if method in MULTIPLYING_LAYERS else None


def _why_unsuitable_for_word(trace: WordTrace, method: str) -> str | None:
    if method in WITHOUT_PATCHES:
        return None
    if method == "legrad":
        return _why_no_encoder_maps(trace) if trace.encoder_depth else NO_ENCODER
    if trace.tokens.shape[1] < trace.layout.patches:
        return ONE_VECTOR
    if method == "token_gradcam":
        return None
    if not trace.cross_layers and method not in ("attention", "rollout"):
        return RECURRENT
    return None if method in CROSS_ATTENTION_ONLY else _why_no_encoder_maps(trace)


def _why_no_encoder_maps(trace: WordTrace) -> str | None:
    """Say why the encoder's maps cannot be multiplied; None where they can."""
    records = trace.records[: trace.encoder_depth]
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
