"""Training by what captions are worth, not by which word comes next.

A captioner that has learnt the next word goes on with captions that it draws itself: of those drawn
for one photo, the ones that come nearer to what people wrote than the others do become likelier.
Rennie et al. 2017, "Self-critical Sequence Training for Image Captioning", with the mean of the
other captions to compare with (Luo 2020, "A Better Variant of Self-Critical Sequence Training").
"""

from __future__ import annotations

import sys
from statistics import fmean

import torch
from torch import Tensor, nn
from tqdm import tqdm

from model.captioning import decoding
from model.datasets.captions import CaptionedPhotos, plain_words
from model.datasets.vocabulary import END, PAD, SPECIAL, START, UNKNOWN
from model.evaluate import caption_glance
from model.preprocessing import prepare_batch
from model.training import captioning
from model.training.cider import Cider
from model.training.recipe import CaptionRecipe

WORDS = 0.1  # what the next word of the human captions counts beside the reward


class SelfCriticalRun(captioning.CaptionRun):
    """`recipe.drawn` captions of each photo a step. The encoder stays as it is, so each photo is
    looked at once, before the first epoch."""

    def __init__(
        self,
        net: nn.Module,
        train_data: CaptionedPhotos,
        test_data: CaptionedPhotos,
        recipe: CaptionRecipe,
        device: str,
    ) -> None:
        net.encoder.requires_grad_(False)
        super().__init__(net, train_data, test_data, recipe, device)
        self.memories = self._look(train_data.images)
        self.cider = references(train_data, net.config.vocabulary)
        self.rewards: list[float] = []

    @torch.no_grad()
    def _look(self, images: Tensor) -> Tensor:
        """What the encoder makes of each photo, (N, M, D) in half precision."""
        self.net.eval()
        bar = tqdm(images.split(50), desc="looking", disable=not sys.stderr.isatty(), leave=False)
        config = self.net.config.encoder
        prepared = (prepare_batch(x.to(self.device), config, self.recipe.data) for x in bar)
        return torch.cat([self.net.image_features(x).half() for x in prepared])

    def _freeze_encoder(self, frozen: bool) -> None:
        super()._freeze_encoder(True)

    def _record(self, *figures) -> dict:
        """With `reward`: the mean CIDEr-D of the captions drawn in this epoch."""
        row = super()._record(*figures)
        row["reward"] = round(fmean(self.rewards), 4)
        self.rewards.clear()
        return row

    def _learn(self, chosen: list[int]) -> tuple[float, float]:
        self.net.eval()  # what is drawn and what is learnt from are of the same net
        memory = self.net.bridge(self.memories[chosen].to(self.device).float())
        each = self.recipe.drawn
        rows = torch.arange(len(chosen), device=self.device).repeat_interleave(each)
        captions = draw_captions(self.net, memory.detach(), rows, self.net.config.max_words)
        worth = torch.tensor(
            [self.cider.score(chosen[i // each], c) for i, c in enumerate(captions)]
        )
        self.rewards.append(worth.mean().item())
        _, texts = self.data.batch(self.epoch, chosen)
        inputs, outputs = self._ids(texts)
        begun = self.net.begin(memory)
        human = torch.arange(len(chosen), device=self.device).repeat_interleave(self.data.each)
        logits = self.net.advance(inputs, begun.select(human))[0]
        loss = WORDS * caption_glance.word_loss(logits, outputs, self.recipe.label_smoothing)
        loss = loss + self._shift(begun.select(rows), captions, advantage(worth, each))
        self._step(loss)
        return loss.item(), caption_glance.word_accuracy(logits, outputs)

    def _shift(self, state, captions: list[tuple[int, ...]], advantage: Tensor) -> Tensor:
        """The loss whose gradient makes captions of positive advantage likelier."""
        outputs = nn.utils.rnn.pad_sequence(
            [torch.tensor(c) for c in captions], batch_first=True, padding_value=PAD
        ).to(self.device)
        start = torch.full((len(outputs), 1), START, device=self.device)
        logits = self.net.advance(torch.cat((start, outputs[:, :-1]), 1), state)[0]
        logits[..., [PAD, START, UNKNOWN]] = -torch.inf  # as when they were drawn
        chosen = logits.log_softmax(-1).gather(-1, outputs[..., None])[..., 0]
        said = outputs != PAD
        worth = advantage.to(self.device)[:, None] * chosen.masked_fill(~said, 0.0)
        return -worth.sum() / said.sum()


def references(photos: CaptionedPhotos, vocabulary: tuple[str, ...]) -> Cider:
    """The human captions as numbers of words, the end a word too: half a sentence is no caption."""
    number = {word: i for i, word in enumerate(vocabulary) if i >= len(SPECIAL)}
    return Cider(
        [
            [(*(number.get(w, UNKNOWN) for w in plain_words(text)), END) for text in texts]
            for texts in photos.captions
        ]
    )


def advantage(worth: Tensor, each: int) -> Tensor:
    """Of `each` captions of a photo, one after the other: by how much each is worth more than the
    mean of the others."""
    groups = worth.unflatten(0, (-1, each))
    others = (groups.sum(1, keepdim=True) - groups) / (each - 1)
    return (groups - others).flatten()


@torch.no_grad()
def draw_captions(
    net: nn.Module, memory: Tensor, rows: Tensor, max_words: int
) -> list[tuple[int, ...]]:
    """Sample a caption for each of `rows` of memory (B, M, D), with its `<end>` if it ends."""
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
