"""Train captioners on how good their own captions are (self-critical sequence training).

A captioner that has learnt the next word goes on with captions that it samples itself. Of several
captions of one photo, those closer than the others to what people wrote become likelier. Rennie et
al. 2017, "Self-critical Sequence Training for Image Captioning"; each caption is compared with the
mean of the others, as in Luo 2020, "A Better Variant of Self-Critical Sequence Training".
"""

from __future__ import annotations

import sys
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from model.captioning import decoding
from model.captioning.base import CaptioningNet, DecoderState
from model.datasets.captions import CaptionedPhotos, plain_words
from model.datasets.vocabulary import END, PAD, SPECIAL, START, UNKNOWN
from model.evaluate.caption_glance import encode_captions, word_accuracy, word_loss
from model.preprocessing import prepare_batch
from model.training.captioning import CaptionRun
from model.training.cider import Cider
from model.training.loop import CurveRow, EpochResult
from model.training.recipe import CaptionRecipe

WORDS = 0.1  # weight of the loss on the human captions' words, beside the reward


class SelfCriticalRun(CaptionRun[CaptionedPhotos]):
    """Training on rewards: each step samples `recipe.drawn` captions for each photo.

    The encoder stays as it is, so each photo is encoded once, before the first epoch.
    """

    def __init__(
        self,
        net: CaptioningNet[Any],
        train_data: CaptionedPhotos,
        test_data: CaptionedPhotos,
        recipe: CaptionRecipe,
        device: str,
    ) -> None:
        net.encoder.requires_grad_(False)
        super().__init__(net, train_data, test_data, recipe, device)
        self.features = self._encode(train_data.images)
        self.cider = make_reward(train_data, net.config.vocabulary)
        self.rewards: list[float] = []

    @torch.no_grad()
    def _encode(self, images: Tensor) -> Tensor:
        """Compute the encoder's features of all photos, (N, M, E) in half precision."""
        self.net.eval()
        bar = tqdm(images.split(50), desc="looking", disable=not sys.stderr.isatty(), leave=False)
        config = self.net.config.encoder
        prepared = (prepare_batch(x.to(self.device), config, self.recipe.data) for x in bar)
        return torch.cat([self.net.image_features(x).half() for x in prepared])

    def freeze_encoder(self, frozen: bool) -> None:
        """Keep the encoder as it is in every epoch."""
        super().freeze_encoder(True)

    def record_epoch(self, result: EpochResult, seconds: float) -> CurveRow:
        """Add `reward` to the row: the mean CIDEr-D of the captions sampled in this epoch."""
        row = super().record_epoch(result, seconds)
        row["reward"] = round(fmean(self.rewards), 4)
        self.rewards.clear()
        return row

    def learn_batch(self, chosen: list[int]) -> tuple[float, float]:
        """Take one step; return its loss, and the accuracy on the human captions' words."""
        self.net.eval()  # without dropout, so the net that samples is the net that learns
        memory = self.net.bridge(self.features[chosen].to(self.device).float())
        each = self.recipe.drawn
        rows = torch.arange(len(chosen), device=self.device).repeat_interleave(each)
        captions = sample_captions(self.net, memory.detach(), rows, self.net.config.max_words)
        rewards = torch.tensor(
            [self.cider.score(chosen[i // each], c) for i, c in enumerate(captions)]
        )
        self.rewards.append(rewards.mean().item())
        _, texts = self.data.batch(self.epoch, chosen)
        inputs, outputs = encode_captions(self.net, texts, self.device)
        begun = self.net.begin(memory)
        human = torch.arange(len(chosen), device=self.device).repeat_interleave(self.data.each)
        logits = self.net.advance(inputs, begun.select(human))[0]
        loss = WORDS * word_loss(logits, outputs, self.recipe.label_smoothing)
        advantages = compute_advantages(rewards, each)
        loss = loss + self.reward_loss(begun.select(rows), captions, advantages)
        self.take_step(loss)
        return loss.item(), word_accuracy(logits, outputs)

    def reward_loss(
        self, state: DecoderState, captions: list[tuple[int, ...]], advantages: Tensor
    ) -> Tensor:
        """Compute the loss whose gradient makes captions with a positive advantage likelier.

        `state` stands before the first word, a row for each caption.
        """
        outputs = nn.utils.rnn.pad_sequence(
            [torch.tensor(c) for c in captions], batch_first=True, padding_value=PAD
        ).to(self.device)
        start = torch.full((len(outputs), 1), START, device=self.device)
        logits = self.net.advance(torch.cat((start, outputs[:, :-1]), 1), state)[0]
        logits[..., [PAD, START, UNKNOWN]] = -torch.inf  # as in sampling
        chosen = logits.log_softmax(-1).gather(-1, outputs[..., None])[..., 0]
        counted = outputs != PAD
        gain = advantages.to(self.device)[:, None] * chosen.masked_fill(~counted, 0.0)
        return -gain.sum() / counted.sum()


def make_reward(photos: CaptionedPhotos, vocabulary: tuple[str, ...]) -> Cider:
    """Build the reward from the human captions, with words as numbers.

    The end counts as a word, so half a sentence scores less.
    """
    number = {word: i for i, word in enumerate(vocabulary) if i >= len(SPECIAL)}
    return Cider(
        [
            [(*(number.get(w, UNKNOWN) for w in plain_words(text)), END) for text in texts]
            for texts in photos.captions
        ]
    )


def compute_advantages(rewards: Tensor, each: int) -> Tensor:
    """Subtract from each reward the mean reward of the photo's other captions.

    A photo has `each` captions, one after the other.
    """
    groups = rewards.unflatten(0, (-1, each))
    others = (groups.sum(1, keepdim=True) - groups) / (each - 1)
    return (groups - others).flatten()


@torch.no_grad()
def sample_captions(
    net: CaptioningNet[Any], memory: Tensor, rows: Tensor, max_words: int
) -> list[tuple[int, ...]]:
    """Sample a caption for each of `rows` of memory (B, M, D), up to `<end>` or `max_words`."""
    words = torch.full((len(rows), 1), START, device=memory.device)
    state, written = net.begin(memory).select(rows), []
    for _ in range(max_words + 1):
        logits, state = net.advance(words, state)
        words = decoding.next_logprobs(logits).exp().multinomial(1)
        written.append(words)
        if (torch.cat(written, 1) == END).any(1).all():
            break
    drawn = torch.cat(written, 1).tolist()
    return [tuple(row[: row.index(END) + 1] if END in row else row) for row in drawn]
