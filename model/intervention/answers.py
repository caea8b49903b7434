"""Measure an answer by the logit, the probability and the log-odds of a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from model.errors import InterventionRefused

MEASURES = ("log_odds", "probability", "logit")


class AnswerMeasure(Protocol):
    """What is measured of a net's output, the same before and after a change."""

    def measure(self, output: Tensor) -> dict[str, Tensor]:
        """Compute each measure for a batch of outputs, (B, ...) -> (B,)."""


@dataclass(frozen=True)
class ClassAnswer:
    """The class that a scan speaks of, and the class that it competes with.

    For logits y: "logit" is y_t, "probability" is softmax(y)_t, and "log_odds" is
    log(p_t / p_r) = y_t - y_r against the runner-up r, which the softmax of no third class moves.

        >>> answer = ClassAnswer(target=1, runner_up=0)
        >>> measured = answer.measure(torch.tensor([[1.0, 3.0]]))
        >>> {name: round(value.item(), 2) for name, value in measured.items()}
        {'log_odds': 2.0, 'probability': 0.88, 'logit': 3.0}
    """

    target: int
    runner_up: int

    def measure(self, output: Tensor) -> dict[str, Tensor]:
        logits = output.float()
        target = logits[:, self.target]
        probability = logits.softmax(1)[:, self.target]
        log_odds = target - logits[:, self.runner_up]
        return {"log_odds": log_odds, "probability": probability, "logit": target}


@dataclass(frozen=True)
class CaptionAnswer:
    """The caption that a captioner wrote: "logprob" is the sum of log p(word | words before).

    The net's output is (B, N, V); its row i chose word i.
    """

    words: tuple[int, ...]

    def measure(self, output: Tensor) -> dict[str, Tensor]:
        chosen = torch.tensor(self.words, device=output.device)
        logprobs = output[:, : len(chosen)].float().log_softmax(-1)
        return {"logprob": logprobs[:, range(len(chosen)), chosen].sum(1)}


def class_answer(logits: Tensor, target: int | None = None) -> ClassAnswer:
    """Choose what to measure from the plain logits (V,): a class, and the likeliest other one.

    Args:
        logits: of one image.
        target: a class; None for the likeliest.

    Raises:
        InterventionRefused: where there is no such class, or only one.
    """
    if logits.ndim != 1 or len(logits) < 2:
        raise InterventionRefused(
            "This model has no classes to measure: give scan functions an answer of your own."
        )
    if target is not None and not 0 <= target < len(logits):
        raise InterventionRefused(f"There is no class {target}: there are {len(logits)}, from 0.")
    target = int(logits.argmax()) if target is None else target
    others = logits.clone()
    others[target] = -torch.inf
    return ClassAnswer(target, int(others.argmax()))


@dataclass(frozen=True)
class Effects:
    """What each of many changes does to an answer, by measure."""

    plain: dict[str, float]
    """Each measure without any change."""
    changed: dict[str, Tensor]
    """Each measure after each change; NaN where there is no such head."""
    likeliest: Tensor
    """The likeliest class after each change, -1 where there is none; all -1 for captions."""

    def effect(self, measure: str = "log_odds") -> Tensor:
        """How much a measure grows by each change; it falls where the answer needed something."""
        return self.changed[measure] - self.plain[measure]


def gather_effects(answer: AnswerMeasure, plain: Tensor, outputs: Sequence[Tensor]) -> Effects:
    """Measure the output without a change (1, ...), and the outputs (B, ...) of the changes."""
    output = torch.cat(list(outputs))
    likeliest = output.argmax(1) if output.ndim == 2 else output.new_full((len(output),), -1).long()
    before = {name: value.item() for name, value in answer.measure(plain).items()}
    return Effects(before, answer.measure(output), likeliest)
