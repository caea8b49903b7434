"""How near written captions come to those that people wrote of the same photos."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from model.datasets.captions import CaptionedPhotos, plain_words


def caption_scores(written: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """BLEU-1 to BLEU-4 (Papineni et al. 2002), ROUGE-L (Lin 2004) and CIDEr (Vedantam et al.
    2015) as the COCO caption evaluation counts them, and `distinct`, how many of the captions
    differ: a model that says one likely sentence for all photos scores too.

    One caption a photo, any number of references. Words are compared in lower case, without
    punctuation. Raises ValueError where the library is missing.
    """
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ImportError:
        raise ValueError(
            "The scores of captions need pycocoevalcap: pip install -r requirements-dev.txt"
        ) from None
    said = {i: [_normal(text)] for i, text in enumerate(written)}
    meant = {i: [_normal(text) for text in texts] for i, texts in enumerate(references)}
    with contextlib.redirect_stdout(io.StringIO()):  # the library prints its counts
        bleu = Bleu(4).compute_score(meant, said)[0]
        rouge, cider = (kind().compute_score(meant, said)[0] for kind in (Rouge, Cider))
    figures = {f"bleu{n + 1}": value for n, value in enumerate(bleu)}
    distinct = len({texts[0] for texts in said.values()})
    return figures | {"rouge_l": float(rouge), "cider": float(cider), "distinct": distinct}


def commonest(train: CaptionedPhotos) -> str:
    """The caption that most training photos have."""
    counts = Counter(_normal(text) for texts in train.captions for text in texts)
    return counts.most_common(1)[0][0]


def nearest(train: CaptionedPhotos, features: Tensor, asked: Tensor) -> list[str]:
    """For each of `asked` (B, D), the first caption of the training photo whose `features` (N, D)
    have the largest cosine with it."""
    middle = features.mean(0)
    similarity = F.normalize(asked - middle) @ F.normalize(features - middle).T
    return [train.captions[i][0] for i in similarity.argmax(1).tolist()]


@torch.inference_mode()
def memories(net, images: Tensor, prepare, batch: int = 50) -> Tensor:
    """uint8 images (N, C, H, W) -> what a captioner looks at, (N, M, D)."""
    net.eval()
    return torch.cat([net.encode_image(prepare(part)) for part in images.split(batch)])


def _normal(text: str) -> str:
    return " ".join(plain_words(text))
