"""The older way to write captions: a recurrent decoder with additive attention.

Xu et al. 2015, "Show, Attend and Tell"; the attention is that of Bahdanau et al. 2015.
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
    """Between two words: hidden state and context (B, D), memory and its keys (B, M, D).

    The trail, if it is recorded, has maps (B, N, M) and logits (B, N, V).
    """

    hidden: Tensor
    context: Tensor
    memory: Tensor
    keys: Tensor
    trail: StepHistory | None = None

    def select(self, rows: Tensor) -> RecurrentState:
        """The state for these rows of the batch, in this order; a row may come twice."""
        trail = self.trail and self.trail.select(rows)
        parts = (self.hidden, self.context, self.memory, self.keys)
        return RecurrentState(*(part[rows] for part in parts), trail)


class RecurrentCaptioner(CaptioningNet):
    """A GRU that reads the last word and context, looks at the patches, and writes the next.

    The same encoder, memory and interface as `model.captioning.transformer.Captioner`. Two things
    are not as in Xu et al.: the state starts at zero instead of at the mean of the patches, so that
    all that is known of the picture has come through the attention; and the state has read the last
    word when it looks.
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        self.cell = nn.GRUCell(2 * config.dim, config.dim)
        self.attention = AdditiveAttention(config.dim)
        self.mix = nn.Linear(2 * config.dim, config.dim)

    def begin(self, memory: Tensor, record: bool = False) -> RecurrentState:
        """The state before the first word. `record` keeps what `attention_of` needs."""
        nothing = memory.new_zeros(len(memory), memory.shape[2])
        trail = StepHistory() if record else None
        return RecurrentState(nothing, nothing, memory, self.attention.key(memory), trail)

    def advance(self, words: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Logits (B, N, V) after each of `words` (B, N), and the state after them."""
        hidden, context, mixed, maps = state.hidden, state.context, [], []
        for word in self.dropout(self.embed(words)).unbind(1):
            hidden = self.cell(torch.cat((word, context), 1), hidden)
            context, weights = self.attention(hidden, state.memory, state.keys)
            mixed.append(torch.cat((hidden, context), 1))
            maps.append(weights)
        logits = self._logits(torch.stack(mixed, 1))
        trail = state.trail and state.trail.then(torch.stack(maps, 1), logits)
        return logits, RecurrentState(hidden, context, state.memory, state.keys, trail)

    def attention_of(self, state: RecurrentState) -> DecoderOutput:
        """What was answered to the words so far, and where it looked: one layer, one head.

        Raises ValueError where it was not recorded.
        """
        if state.trail is None:
            raise ValueError("Nothing was recorded: begin(memory, record=True) does.")
        maps, logits = state.trail.gather()
        return DecoderOutput(logits, [maps[:, None]], [])

    def read(self, memory: Tensor, words: Tensor) -> DecoderOutput:
        """Teacher forcing, with the attention: one layer, one head."""
        return self.attention_of(self.advance(words, self.begin(memory, record=True))[1])

    def _logits(self, mixed: Tensor) -> Tensor:
        """(B, N, 2D) -> (B, N, V)"""
        return self.head(self.dropout(torch.tanh(self.mix(mixed))))
