"""The older way to write captions: a recurrent decoder with additive attention.

Xu et al. 2015, "Show, Attend and Tell"; the attention is that of Bahdanau et al. 2015.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from model.captioner import CaptionerConfig, Reading, WritingNet


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
class State:
    """Between two words: hidden state and context (B, D), memory and its keys (B, M, D)."""

    hidden: Tensor
    context: Tensor
    memory: Tensor
    keys: Tensor

    def select(self, rows: Tensor) -> State:
        """The state for these rows of the batch, in this order; a row may come twice."""
        return State(*(part[rows] for part in vars(self).values()))


class RecurrentCaptioner(WritingNet):
    """A GRU that reads the last word and context, looks at the patches, and writes the next.

    The same encoder, memory and interface as `model.captioner.Captioner`. Two things are not as in
    Xu et al.: the state starts at zero instead of at the mean of the patches, so that all that is
    known of the picture has come through the attention; and the state has read the last word
    when it looks.
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        self.cell = nn.GRUCell(2 * config.dim, config.dim)
        self.attention = AdditiveAttention(config.dim)
        self.mix = nn.Linear(2 * config.dim, config.dim)

    def begin(self, memory: Tensor) -> State:
        """The state before the first word."""
        nothing = memory.new_zeros(len(memory), memory.shape[2])
        return State(nothing, nothing, memory, self.attention.key(memory))

    def advance(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (B, N, V) after each of `words` (B, N), and the state after them."""
        logits, _, state = self._run(words, state)
        return logits, state

    def read(self, memory: Tensor, words: Tensor) -> Reading:
        """Teacher forcing, with the attention: one layer, one head."""
        logits, maps, _ = self._run(words, self.begin(memory))
        return Reading(logits, [maps[:, None]], [])

    def _run(self, words: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Logits (B, N, V), maps (B, N, M) and the last state."""
        mixed, maps = [], []
        for word in self.dropout(self.embed(words)).unbind(1):
            hidden = self.cell(torch.cat((word, state.context), 1), state.hidden)
            context, weights = self.attention(hidden, state.memory, state.keys)
            state = replace(state, hidden=hidden, context=context)
            mixed.append(torch.cat((hidden, context), 1))
            maps.append(weights)
        logits = self.head(self.dropout(torch.tanh(self.mix(torch.stack(mixed, 1)))))
        return logits, torch.stack(maps, 1), state
