"""Read pictures with their captions, and put them in batches for training."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.datasets import flickr8k, packed, scenes
from model.datasets.vocabulary import END, PAD, SPECIAL, START, UNKNOWN
from model.errors import DataError


@dataclass(frozen=True)
class DrawnScenes:
    """Scenes with their captions, drawn on demand: picture i is scene number `first` + i."""

    count: int
    first: int = 0

    def __len__(self) -> int:
        return self.count

    def batch(self, epoch: int, chosen: Sequence[int]) -> tuple[Tensor, list[str]]:
        """Draw scenes, uint8 (B, 3, H, W), with one caption each; every epoch has new ones."""
        start = self.first + epoch * self.count
        drawn = [scenes.draw_scene(start + i) for i in chosen]
        pixels = np.stack([np.asarray(scene.image) for scene in drawn])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2), [scene.caption for scene in drawn]

    def words(self) -> list[str]:
        """List every word that a caption of a scene can hold."""
        return list(scenes.vocabulary())


@dataclass(frozen=True, eq=False)
class CaptionedPhotos:
    """Photos with several human captions each; an epoch uses `each` captions of a photo."""

    images: Tensor  # uint8 (N, 3, H, W)
    captions: list[list[str]]
    each: int = 1

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, epoch: int, chosen: Sequence[int]) -> tuple[Tensor, list[str]]:
        """Select photos, uint8 (B, 3, H, W), and `each` captions of every one, photo by photo.

        The captions change from epoch to epoch.
        """
        texts = [text for i in chosen for text in self._captions_of(i, epoch)]
        return self.images[torch.as_tensor(chosen)], texts

    def _captions_of(self, photo: int, epoch: int) -> list[str]:
        captions = self.captions[photo]
        first = photo + epoch * self.each
        return [captions[(first + k) % len(captions)] for k in range(self.each)]

    def words(self, rarest: int = 1) -> list[str]:
        """List the words that occur at least `rarest` times, the commonest first."""
        counts = Counter(word for texts in self.captions for t in texts for word in plain_words(t))
        return [word for word, count in counts.most_common() if count >= rarest]


CaptionData = DrawnScenes | CaptionedPhotos


def read_captioned_photos(
    folder: Path, split: str, limit: int | None = None, each: int = 1
) -> CaptionedPhotos:
    """Read a split of photos with captions: Flickr8k as published, or packed.

    Args:
        folder: the folder of Flickr8k, or of the packed form: SPLIT.npz with SPLIT.json, whose
            `captions` has a list for each photo.
        split: "train", "val" or "test".
        limit: how many photos to read at most; None for all.
        each: how many captions of a photo an epoch uses.

    Raises:
        DataError: for files that are missing or damaged.
    """
    published = flickr8k.read_flickr8k(folder, split, limit)
    images, captions = published or _read_packed(folder, split, limit)
    return CaptionedPhotos(images, captions, each)


def pack_captions(source: Path, target: Path) -> None:
    """Pack Flickr8k as published, in its own order. Raises DataError."""
    target.mkdir(parents=True, exist_ok=True)
    for split in flickr8k.SPLITS:
        published = flickr8k.read_flickr8k(source, split, None)
        if published is None:
            raise DataError(
                f"{source} has no {flickr8k.CAPTIONS}. Give the folder of Flickr8k as published."
            )
        images, captions = published
        packed.write_pictures(target / f"{split}.npz", images)
        text = json.dumps({"captions": captions}, ensure_ascii=False)
        (target / f"{split}.json").write_text(text, encoding="utf-8")


def _read_packed(folder: Path, split: str, limit: int | None) -> tuple[Tensor, list[list[str]]]:
    try:
        captions = json.loads((folder / f"{split}.json").read_text(encoding="utf-8"))["captions"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder} has no {flickr8k.CAPTIONS}, and no readable {split}.json with captions "
            f"({error}). Give the folder of Flickr8k with --data."
        ) from None
    pictures = packed.read_pictures(folder / f"{split}.npz", limit)
    if len(captions) < len(pictures):
        raise DataError(f"{folder} has not as many {split} captions as pictures. Pack it again.")
    return pictures, captions[: len(pictures)]


def plain_words(text: str) -> list[str]:
    """Split a text into lower-case words, without punctuation.

    >>> plain_words("A dog's ball, half-buried.")
    ['a', "dog's", 'ball', 'half-buried']
    """
    return re.findall(r"[a-z0-9]+(?:['’-][a-z0-9]+)*", text.lower())


def word_ids(
    texts: Sequence[str], vocabulary: Sequence[str], longest: int
) -> tuple[Tensor, Tensor]:
    """Number the words of captions, as inputs from `<start>` on and as targets up to `<end>`.

        >>> inputs, targets = word_ids(["a dog", "cat"], (*SPECIAL, "a", "cat", "dog"), longest=20)
        >>> inputs  # 1 is <start>, 0 is <pad>
        tensor([[1, 4, 6],
                [1, 5, 0]])
        >>> targets  # 2 is <end>
        tensor([[4, 6, 2],
                [5, 2, 0]])

    Captions are cut to `longest` words and filled up with `<pad>`. Both results are int64 (B, N).
    """
    number = {word: i for i, word in enumerate(vocabulary) if i >= len(SPECIAL)}
    rows = [[number.get(word, UNKNOWN) for word in plain_words(text)[:longest]] for text in texts]
    width = max(map(len, rows)) + 1
    inputs = [[START, *row] + [PAD] * (width - 1 - len(row)) for row in rows]
    outputs = [[*row, END] + [PAD] * (width - 1 - len(row)) for row in rows]
    return torch.tensor(inputs), torch.tensor(outputs)
