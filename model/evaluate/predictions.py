"""Answers of a classifier to a whole data set."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.datasets.pictures import Split
from model.preprocessing import normalise, resize_batch


@torch.inference_mode()
def predict(net: nn.Module, split: Split, data, device, batch: int = 500) -> Tensor:
    """Logits (N, classes), float32, of a whole split in eval mode. `data` has mean and std."""
    net.eval()
    logits = []
    for images in split.images.split(batch):
        prepared = normalise(resize_batch(images.to(device), net.config), data.mean, data.std)
        logits.append(net(prepared).float())
    return torch.cat(logits)
