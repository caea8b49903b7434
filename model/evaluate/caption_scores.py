"""Score captions against the captions that people wrote for the same photos."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from model.captioning.base import CaptioningModel
from model.datasets.captions import CaptionedPhotos, plain_words


def score_captions(written: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Compute BLEU, ROUGE-L and CIDEr as the COCO caption evaluation does.

    BLEU-1 to BLEU-4: Papineni et al. 2002; ROUGE-L: Lin 2004; CIDEr: Vedantam et al. 2015.
    `distinct` counts the different captions, since one likely sentence for all photos scores, too.
    Words are compared in lower case, without punctuation.

    Args:
        written: one caption for each photo.
        references: any number of human captions for each photo.

    Raises:
        ValueError: the library pycocoevalcap is missing.
    """
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ImportError:
        raise ValueError(
            "The scores of captions need pycocoevalcap: pip install -r requirements-dev.txt"
        ) from None
    ours = {i: [_plain(text)] for i, text in enumerate(written)}
    theirs = {i: [_plain(text) for text in texts] for i, texts in enumerate(references)}
    with contextlib.redirect_stdout(io.StringIO()):  # the library prints its counts
        bleu = Bleu(4).compute_score(theirs, ours)[0]
        rouge, cider = (kind().compute_score(theirs, ours)[0] for kind in (Rouge, Cider))
    figures = {f"bleu{n + 1}": value for n, value in enumerate(bleu)}
    distinct = len({texts[0] for texts in ours.values()})
    return figures | {"rouge_l": float(rouge), "cider": float(cider), "distinct": distinct}


def commonest_caption(train: CaptionedPhotos) -> str:
    """Find the most frequent training caption."""
    counts = Counter(_plain(text) for texts in train.captions for text in texts)
    return counts.most_common(1)[0][0]


def nearest_captions(train: CaptionedPhotos, features: Tensor, queries: Tensor) -> list[str]:
    """Caption each query (B, D) like the training photo whose features (N, D) are most similar.

    Similarity is the cosine about the features' mean; the photo's first caption is taken.
    """
    mean = features.mean(0)
    similarity = F.normalize(queries - mean) @ F.normalize(features - mean).T
    return [train.captions[i][0] for i in similarity.argmax(1).tolist()]


@torch.inference_mode()
def encode_images(
    net: CaptioningModel[Any],
    images: Tensor,
    prepare: Callable[[Tensor], Tensor],
    batch: int = 50,
) -> Tensor:
    """Encode uint8 images (N, C, H, W) as memory (N, M, D), in eval mode."""
    net.eval()
    return torch.cat([net.encode_image(prepare(part)) for part in images.split(batch)])


def _plain(text: str) -> str:
    return " ".join(plain_words(text))
