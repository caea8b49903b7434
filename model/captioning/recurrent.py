"""Captions before transformers: a recurrent decoder with additive attention.

Xu et al. 2015, "Show, Attend and Tell"; the additive attention is from Bahdanau et al. 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.captioning.base import CaptionerConfig, CaptioningNet, DecoderOutput
from model.captioning.step_history import StepHistory


class AdditiveAttention(nn.Module):
    """softmax over the patches of v · tanh(W hidden + U patch)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)
        self.score = nn.Linear(dim, 1, bias=False)

    def forward(self, hidden: Tensor, memory: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden state (B, D), memory and its keys (B, M, D) -> context (B, D), map (B, M)."""
        scores = self.score(torch.tanh(self.query(hidden)[:, None] + keys)).squeeze(-1)
        weights = scores.softmax(-1)
        return (weights[:, None] @ memory).squeeze(1), weights


@dataclass
class RecurrentState:
    """The decoder's state between two words.

    The history, if it is recorded, has maps (B, N, M) and logits (B, N, V).
    """

    hidden: Tensor  # (B, D)
    context: Tensor  # (B, D), the patches mixed by attention
    memory: Tensor  # (B, M, D)
    keys: Tensor  # (B, M, D), of the memory
    history: StepHistory | None = None

    def select(self, rows: Tensor) -> RecurrentState:
        """Keep these rows of the batch, in this order; a row may come twice."""
        return RecurrentState(
            self.hidden[rows],
            self.context[rows],
            self.memory[rows],
            self.keys[rows],
            self.history and self.history.select(rows),
        )


class RecurrentCaptioner(CaptioningNet[RecurrentState]):
    """A GRU that takes the last word and context, attends to the patches, and writes a word.

    The same encoder, memory and interface as `model.captioning.transformer.Captioner`. Two things
    differ from Xu et al.: the state starts at zero instead of at the mean of the patches, so
    everything known about the picture has come through the attention; and the state has taken in
    the last word before it attends.
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        self.cell = nn.GRUCell(2 * config.dim, config.dim)
        self.attention = AdditiveAttention(config.dim)
        self.mix = nn.Linear(2 * config.dim, config.dim)

    def begin(self, memory: Tensor, record: bool = False) -> RecurrentState:
        """Return the state before the first word. `record` keeps what `attention_of` needs."""
        nothing = memory.new_zeros(len(memory), memory.shape[2])
        history = StepHistory() if record else None
        return RecurrentState(nothing, nothing, memory, self.attention.key(memory), history)

    def advance(self, words: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Return logits (B, N, V) after each of `words` (B, N), and the state after them."""
        hidden, context, mixed, maps = state.hidden, state.context, [], []
        for word in self.dropout(self.embed(words)).unbind(1):
            hidden = self.cell(torch.cat((word, context), 1), hidden)
            context, weights = self.attention(hidden, state.memory, state.keys)
            mixed.append(torch.cat((hidden, context), 1))
            maps.append(weights)
        logits = self._logits(torch.stack(mixed, 1))
        history = state.history and state.history.append(torch.stack(maps, 1), logits)
        return logits, RecurrentState(hidden, context, state.memory, state.keys, history)

    def attention_of(self, state: RecurrentState) -> DecoderOutput:
        """Compute the output for the words so far, and its maps: one layer, one head.

        Raises ValueError where the state was not recorded.
        """
        if state.history is None:
            raise ValueError("Nothing was recorded: begin(memory, record=True) does.")
        maps, logits = state.history.gather()
        return DecoderOutput(logits, [maps[:, None]], [])

    def _logits(self, mixed: Tensor) -> Tensor:
        """(B, N, 2D) -> (B, N, V)"""
        return self.head(self.dropout(torch.tanh(self.mix(mixed))))
