"""Decoding: greedy, sampling, or beam search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

import torch
from torch import Tensor

from model.captioning.base import AutoregressiveDecoder, State
from model.datasets.vocabulary import END, PAD, START, UNKNOWN

LENGTH_POWER = 0.7  # see `length_normalised`


@dataclass(frozen=True)
class Beam(Generic[State]):
    """A caption and its log-probability, with the decoder's state after its words."""

    words: tuple[int, ...]  # without <start> and <end>
    logprob: float  # of all words, those given too, and of the end if `finished`
    finished: bool
    state: State = field(repr=False, compare=False)
    row: int = field(default=0, repr=False, compare=False)  # of the state

    def own_state(self) -> State:
        """Select the state of this beam alone."""
        return self.state.select(torch.tensor([self.row]))

    @property
    def score(self) -> float:
        """The rank among captions of other lengths: see `length_normalised`."""
        return length_normalised(self.logprob, len(self.words) + self.finished)


def length_normalised(logprob: float, words: int) -> float:
    """Divide a log-probability by a power of the number of words, the end counted.

    Every word more makes a caption less likely, so the likeliest captions are the shortest.
    Wu et al. 2016, "Google's Neural Machine Translation System", section 7, with |Y| for 5 + |Y|.
    """
    return logprob / max(1, words) ** LENGTH_POWER


@torch.inference_mode()
def beam_search(
    net: AutoregressiveDecoder[State],
    memory: Tensor,
    beams: int,
    max_words: int,
    given: Sequence[int] = (),
    record: bool = False,
) -> list[Beam[State]]:
    """Find the captions of one image with the best scores.

    The search ends when no unfinished caption would be better if it ended now.

    Args:
        net: The captioner.
        memory: The image's memory (1, M, D).
        beams: How many captions are followed at once. With one, each word is the likeliest one
            (greedy decoding).
        max_words: A caption that did not end within so many words is returned unfinished.
        given: Words to begin with.
        record: Keep in each beam's state what attention maps need.

    Returns:
        At most `beams` captions, the best first.

    Raises:
        ValueError: There are fewer beams than one.
    """
    if beams < 1:
        raise ValueError(f"A search follows one beam or more, not {beams}.")
    logprobs, state, total = _begin(net, memory, given, record)
    live, totals = [tuple(given)], logprobs.new_tensor([total])
    finished: list[Beam[State]] = []
    while True:
        best = (totals[:, None] + logprobs).flatten().topk(min(2 * beams, logprobs.numel()))
        found = [divmod(i, logprobs.shape[1]) for i in best.indices.tolist()]
        ranked = list(zip(best.values.tolist(), found, strict=True))
        ended = [(s, row) for s, (row, word) in ranked[:beams] if word == END]
        finished += [Beam(live[row], s, True, state, row) for s, row in ended]
        finished = sorted(finished, key=_score, reverse=True)[:beams]
        going = [(s, at) for s, at in ranked if at[1] != END and s > -torch.inf][:beams]
        if len(finished) == beams and (
            beams == 1 or length_normalised(going[0][0], len(live[0]) + 2) <= finished[-1].score
        ):
            break
        if len(live[0]) >= max_words:
            break
        live = [(*live[row], word) for _, (row, word) in going]
        totals = logprobs.new_tensor([s for s, _ in going])
        rows = torch.tensor([row for _, (row, _) in going], device=memory.device)
        words = torch.tensor([[word] for _, (_, word) in going], device=memory.device)
        logits, state = net.advance(words, state.select(rows))
        logprobs = next_logprobs(logits, net.never_written)
    cut = [
        Beam(words, total, False, state, row)
        for row, (words, total) in enumerate(zip(live, totals.tolist(), strict=True))
    ]
    return (finished or sorted(cut, key=_score, reverse=True))[:beams]


@torch.inference_mode()
def sample(
    net: AutoregressiveDecoder[State],
    memory: Tensor,
    temperature: float,
    max_words: int,
    given: Sequence[int] = (),
    generator: torch.Generator | None = None,
    record: bool = False,
) -> Beam[State]:
    """Sample a caption of one image: each word from softmax(logits / temperature).

    Args:
        net: The captioner.
        memory: The image's memory (1, M, D).
        temperature: Above 0; below 1 the likely words become likelier.
        max_words: A caption that did not end within so many words is returned unfinished.
        given: Words to begin with.
        generator: Random numbers to draw from; None for torch's default generator.
        record: Keep in the state what attention maps need.
    """
    logprobs, state, total = _begin(net, memory, given, record)
    words = tuple(given)
    while len(words) < max_words:
        # Below the likeliest, so that no temperature makes all of them infinite.
        below = logprobs[0] - logprobs[0].max()
        word = int((below / temperature).softmax(-1).multinomial(1, generator=generator))
        total += float(logprobs[0, word])
        if word == END:
            return Beam(words, total, True, state)
        words = (*words, word)
        logits, state = net.advance(torch.tensor([[word]], device=memory.device), state)
        logprobs = next_logprobs(logits, net.never_written)
    return Beam(words, total, False, state)


def _begin(
    net: AutoregressiveDecoder[State], memory: Tensor, given: Sequence[int], record: bool
) -> tuple[Tensor, State, float]:
    """Decode `<start>` and the given words.

    Returns log-probabilities of the next word, the state, and the given words' log-probability.
    """
    words = torch.tensor([[START, *given]], device=memory.device)
    logits, state = net.advance(words, net.begin(memory, record))
    steps = logits[0].log_softmax(-1)
    total = sum(float(steps[i, word]) for i, word in enumerate(given))
    return next_logprobs(logits, net.never_written), state, total


def next_logprobs(logits: Tensor, never: Sequence[int] = (PAD, START, UNKNOWN)) -> Tensor:
    """Logits (B, N, V) -> log-probabilities of the next word (B, V), -inf for what never follows.

    By default, the end is the one special word that may follow.
    """
    logprobs = logits[:, -1].log_softmax(-1)
    logprobs[:, list(never)] = -torch.inf
    return logprobs


def _score(beam: Beam) -> float:
    return beam.score


@torch.inference_mode()
def greedy(
    net: AutoregressiveDecoder[State], memory: Tensor, max_words: int
) -> list[tuple[int, ...]]:
    """Decode the likeliest next word each time, for the memories (B, M, D) of many images."""
    words = torch.full((len(memory), 1), START, device=memory.device)
    state = net.begin(memory)
    written: list[Tensor] = []
    for _ in range(max_words):
        logits, state = net.advance(words, state)
        words = next_logprobs(logits, net.never_written).argmax(-1, keepdim=True)
        written.append(words)
        if all((torch.cat(written, 1) == END).any(1)):
            break
    rows = torch.cat(written, 1).tolist()
    return [tuple(row[: row.index(END)] if END in row else row) for row in rows]
