"""Attribution methods for a word of a caption: `class_methods`, extended to captioners.

The score y is the logit of the word, given the words before it. A layer is one of three kinds:
self-attention among the image's tokens, self-attention among the words so far, and
cross-attention from the words to the memory, which is the encoder's tokens. The map is read
at the last word's position, where the word is chosen.

    relevance = word_chefer(trace_word(bundle.net, bundle.prepare(image), layout, word))
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from model.attribution import generic_relevance
from model.attribution.block_exits import mean_exit_gradient
from model.attribution.word_trace import WordTrace
from model.recording.rollout import fuse, without_smallest


def word_attention(trace: WordTrace, layer: int = -1, head: int | str = "mean") -> Tensor:
    """Show the cross-attention of one decoder layer, at the position where the word is chosen.

    One head of it (a number), or "mean", "max" or "min" over its heads. A recurrent decoder has
    one layer with one head.
    """
    cross = trace.cross_layers
    rows = trace.weights(cross[layer], -1) if cross else _recurrent_attention(trace)
    rows = rows[:, head] if isinstance(head, int) else fuse(rows, head)
    return trace.patch_map(rows[:, 0])


def word_rollout(
    trace: WordTrace,
    fusion: str = "mean",
    residual: float = 0.5,
    discard: float = 0.0,
    start: int = 0,
    stop: int | None = None,
) -> Tensor:
    """Multiply Ahat_L ... Ahat_1 through the decoder and then through the encoder.

    Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers". Self-attention mixes a
    word from words and cross-attention mixes it from patches, each beside the skip connection.
    What arrives at the patches goes on through the encoder's layers `start` to before `stop`.
    With a recurrent decoder it begins at the patches that the word attended to. It takes
    the settings of `model.rollout`.
    """

    def fused(layer: int) -> Tensor:
        return trace.fused_weights(
            layer, lambda weights: without_smallest(fuse(weights, fusion), discard)
        )

    return _roll_out(trace, fused, residual, start, stop)


def word_gradient_rollout(trace: WordTrace, residual: float = 0.5, start: int = 0) -> Tensor:
    """Roll out relu(mean_H(A ⊙ G)): only attention that raises the word's logit counts.

    Gildenblat 2020, "Exploring Explainability for Vision Transformers", over words and patches
    as in `word_rollout`.
    """

    def fused(layer: int) -> Tensor:
        return trace.fused(layer, lambda a, g: (a * g).mean(1).relu())

    return _roll_out(trace, fused, residual, start, None)


def word_chefer(trace: WordTrace, start: int = 0) -> Tensor:
    """Compute the word's row of R_qi, from the encoder's layer `start` on.

    `model.attribution.generic_relevance` has the rules.

    Chefer, Gur & Wolf 2021, "Generic Attention-model Explainability for Interpreting Bi-Modal
    and Encoder-Decoder Transformers" (ICCV).
    """
    _, over_image = generic_relevance.word_relevance(trace, start)
    return trace.patch_map(over_image[:, -1])


def word_attention_gradcam(trace: WordTrace, layer: int = -1) -> Tensor:
    """Compute relu(mean_H(w A)) of one layer's cross-attention; w is the mean of G over patches.

    Grad-CAM (Selvaraju et al. 2017) with heads for channels, as in Chefer, Gur & Wolf 2021,
    "Transformer Interpretability Beyond Attention Visualization" (CVPR).
    """
    cross = trace.cross_layers[layer]
    weights, gradient = trace.weights(cross, -1)[:, :, 0], trace.gradient(cross, -1)[:, :, 0]
    importance = gradient[..., -trace.layout.patches :].mean(-1, keepdim=True)
    return trace.patch_map((importance * weights).mean(1).relu())


def word_legrad(trace: WordTrace, start: int = 0) -> Tensor:
    """Average relu(∂s_l/∂A_l) over the encoder's layers l, heads and queries.

    Bousselham et al. 2024, "LeGrad: An Explainability Method for Vision Transformers via
    Feature Formation Sensitivity". s_l is the word's logit as if the encoder ended after block
    l; the decoder stands where a classifier has its head.
    """
    layers = [record.name for record in trace.records[: trace.encoder_depth]]
    return trace.patch_map(mean_exit_gradient(trace, layers, start))


def _roll_out(
    trace: WordTrace,
    fused: Callable[[int], Tensor],
    residual: float,
    start: int,
    stop: int | None,
) -> Tensor:
    """Compute the word's row of Ahat_L ... Ahat_1 as a map; `fused(layer)` is (B, Q, K)."""
    words = trace.readout_weights
    memory = trace.tokens.shape[1]
    tokens = trace.records[0].shape[2] if trace.encoder_depth else memory
    image = torch.zeros(len(words), tokens, device=words.device)
    for layer in reversed(range(trace.encoder_depth, trace.depth)):
        words, moved = _through_layer(words, fused(layer), residual)
        if layer in trace.cross_layers:
            image[:, -memory:] += moved
        else:
            words = words + moved
    if not trace.cross_layers:
        image[:, -memory:] += _recurrent_attention(trace)[:, 0, 0]
    for layer in reversed(range(trace.encoder_depth)[start:stop]):
        kept, moved = _through_layer(image, fused(layer), residual)
        image = kept + moved
    return trace.patch_map(image)


@torch.no_grad()
def _recurrent_attention(trace: WordTrace) -> Tensor:
    """Read the last word's attention (B, 1, 1, M) from a decoder that the recorder cannot see."""
    words = trace.net.words.expand(len(trace.tokens), -1)
    return trace.net.captioner.decoder_output(trace.tokens, words).cross[-1][:, :, -1:]


def _through_layer(row: Tensor, fused: Tensor, residual: float) -> tuple[Tensor, Tensor]:
    """Split a row (B, Q) into the part that the skip connection keeps, (B, Q), and the part that
    attention moves, (B, K)."""
    total = residual + (1 - residual) * fused.sum(-1)
    lost = total == 0  # a token that looks nowhere keeps itself
    share = row / total.masked_fill(lost, 1.0)
    moved = ((1 - residual) * share[:, None] @ fused)[:, 0]
    return torch.where(lost, row, residual * share), moved
