"""Small captioners with random weights for the tests."""

import torch

from model.captioning.base import CaptionerConfig
from model.captioning.build import build_captioner
from model.datasets.vocabulary import SPECIAL

WORDS = ("a", "red", "blue", "circle", "square", "above", "left", "of")
ENCODER = {
    "img_size": 32,
    "patch_size": 8,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "num_classes": 0,
    "cls_token": False,
    "pool": "mean",
}


def captioner(seed: int = 0, sure: float = 3.0, **changes):
    """A captioner in eval mode; `sure` scales its logits, so that its words differ."""
    torch.manual_seed(seed)
    settings = {"dim": 24, "layers": 2, "heads": 3, "mlp_dim": 32, "max_words": 16}
    settings["vocabulary"] = (*SPECIAL, *WORDS)
    encoder = ENCODER | changes.pop("encoder", {})
    net = build_captioner(CaptionerConfig(encoder=encoder, **settings | changes))
    with torch.no_grad():
        net.head.weight *= sure
        for parameter in net.encoder.parameters():
            if parameter.ndim > 1:
                parameter *= 5  # the small weights of initialisation would make all photos alike
    return net.eval()


def images(count: int = 1, seed: int = 0):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
