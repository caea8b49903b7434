"""How a captioner finds its words: the likeliest each time, by chance, or several ways at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from model.datasets.vocabulary import END, PAD, START, UNKNOWN

LENGTH_POWER = 0.7  # see Beam.score


@dataclass(frozen=True)
class Beam:
    """`words` without <start> and <end>; `logprob` of all of them, and of the end if `finished`.

    Words that were given count as well. Row `row` of `state` is the net's state after these words.
    """

    words: tuple[int, ...]
    logprob: float
    finished: bool
    state: Any = field(repr=False, compare=False)
    row: int = field(default=0, repr=False, compare=False)

    def kept(self) -> Any:
        """The state of this beam alone."""
        return self.state.select(torch.tensor([self.row]))

    @property
    def score(self) -> float:
        """The rank among captions of other lengths: see `score`."""
        return score(self.logprob, len(self.words) + self.finished)


def score(logprob: float, words: int) -> float:
    """Log-probability over a power of the number of words, the end counted.

    Every word more makes a caption less likely, so that the likeliest of all are the shortest.
    Wu et al. 2016, "Google's Neural Machine Translation System", section 7, with |Y| for 5 + |Y|.
    """
    return logprob / max(1, words) ** LENGTH_POWER


@torch.inference_mode()
def beam_search(
    net: nn.Module,
    memory: Tensor,
    beams: int,
    max_words: int,
    given: Sequence[int] = (),
    record: bool = False,
) -> list[Beam]:
    """The captions of one image with the best scores, the best first, at most `beams` of them.

    `memory` (1, M, D). `given` are words to begin with. With one beam, each word is the likeliest
    one (greedy decoding). The search ends when no caption that goes on would be better if it
    ended now. Captions that did not end within `max_words` are returned unfinished.
    `record`: keep in each beam's state where the net looked. Raises ValueError for no beams.
    """
    if beams < 1:
        raise ValueError(f"A search follows one beam or more, not {beams}.")
    logprobs, state, total = _begin(net, memory, given, record)
    live, totals, finished = [tuple(given)], logprobs.new_tensor([total]), []
    while True:
        best = (totals[:, None] + logprobs).flatten().topk(min(2 * beams, logprobs.numel()))
        found = [divmod(i, logprobs.shape[1]) for i in best.indices.tolist()]
        ranked = list(zip(best.values.tolist(), found, strict=True))
        ended = [(s, row) for s, (row, word) in ranked[:beams] if word == END]
        finished += [Beam(live[row], s, True, state, row) for s, row in ended]
        finished = sorted(finished, key=_score, reverse=True)[:beams]
        going = [(s, at) for s, at in ranked if at[1] != END and s > -torch.inf][:beams]
        enough = len(finished) == beams
        if enough and (beams == 1 or score(going[0][0], len(live[0]) + 2) <= finished[-1].score):
            break
        if len(live[0]) >= max_words:
            break
        live = [(*live[row], word) for _, (row, word) in going]
        totals = logprobs.new_tensor([s for s, _ in going])
        rows = torch.tensor([row for _, (row, _) in going], device=memory.device)
        words = torch.tensor([[word] for _, (_, word) in going], device=memory.device)
        logits, state = net.advance(words, state.select(rows))
        logprobs = writable(logits[:, -1])
    cut = [
        Beam(words, total, False, state, row)
        for row, (words, total) in enumerate(zip(live, totals.tolist(), strict=True))
    ]
    return (finished or sorted(cut, key=_score, reverse=True))[:beams]


@torch.inference_mode()
def sample(
    net: nn.Module,
    memory: Tensor,
    temperature: float,
    max_words: int,
    given: Sequence[int] = (),
    chance: torch.Generator | None = None,
    record: bool = False,
) -> Beam:
    """A caption whose words are drawn by chance, from softmax(logits / temperature)."""
    logprobs, state, total = _begin(net, memory, given, record)
    words = tuple(given)
    while len(words) < max_words:
        # Below the likeliest, so that no temperature makes all of them infinite.
        below = logprobs[0] - logprobs[0].max()
        word = int((below / temperature).softmax(-1).multinomial(1, generator=chance))
        total += float(logprobs[0, word])
        if word == END:
            return Beam(words, total, True, state)
        words = (*words, word)
        logits, state = net.advance(torch.tensor([[word]], device=memory.device), state)
        logprobs = writable(logits[:, -1])
    return Beam(words, total, False, state)


def _begin(net: nn.Module, memory: Tensor, given: Sequence[int], record: bool):
    """Log-probabilities of the word after those given, the state, and what those given have."""
    words = torch.tensor([[START, *given]], device=memory.device)
    logits, state = net.advance(words, net.begin(memory, record))
    steps = logits[0].log_softmax(-1)
    total = sum(float(steps[i, word]) for i, word in enumerate(given))
    return writable(logits[:, -1]), state, total


def writable(logits: Tensor) -> Tensor:
    """Log-probabilities (B, V), -inf for what is no word to write."""
    logprobs = logits.log_softmax(-1)
    logprobs[:, [PAD, START, UNKNOWN]] = -torch.inf
    return logprobs


def _score(beam: Beam) -> float:
    return beam.score


@torch.inference_mode()
def greedy(net: nn.Module, memory: Tensor, max_words: int) -> list[tuple[int, ...]]:
    """The likeliest next word each time, for many images (B, M, D) at once."""
    words = torch.full((len(memory), 1), START, device=memory.device)
    state, written = net.begin(memory), []
    for _ in range(max_words):
        logits, state = net.advance(words, state)
        words = writable(logits[:, -1]).argmax(-1, keepdim=True)
        written.append(words)
        if all((torch.cat(written, 1) == END).any(1)):
            break
    rows = torch.cat(written, 1).tolist()
    return [tuple(row[: row.index(END)] if END in row else row) for row in rows]
