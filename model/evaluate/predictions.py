"""Run a classifier over a whole data set."""

from __future__ import annotations

import torch
from torch import Tensor

from model.datasets.split import Split
from model.nets.vit import VisionTransformer
from model.preprocessing import ChannelStatistics, prepare_batch


@torch.inference_mode()
def predict(
    net: VisionTransformer,
    split: Split,
    channels: ChannelStatistics,
    device: torch.device | str,
    batch: int = 500,
) -> Tensor:
    """Compute the logits (N, classes) of all pictures of a split, float32.

    The net is set to eval mode. `channels`: how the net's pictures are normalised.
    """
    net.eval()
    logits = []
    for images in split.images.split(batch):
        logits.append(net(prepare_batch(images.to(device), net.config, channels)).float())
    return torch.cat(logits)
