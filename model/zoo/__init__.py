"""Models by name: `load("cifar10")`, `load("timm/deit_tiny_patch16_224")`, `load("mine.pt")`."""

from model.bundle import Bundle
from model.captioning.caption import Caption, CaptionBundle
from model.errors import ModelNotFound, ModelRejected
from model.preprocessing import Resize
from model.zoo.catalogue import load, untrained
from model.zoo.checkpoints import names

__all__ = [
    "Bundle",
    "Caption",
    "CaptionBundle",
    "ModelNotFound",
    "ModelRejected",
    "Resize",
    "load",
    "names",
    "untrained",
]
