"""The transformers of MONAI, small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tests.sweep.subject import Subject, images


def _makers() -> dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]:
    from monai.networks import nets
    from monai.networks.nets.diffusion_model_unet import DiffusionModelEncoder
    from monai.networks.nets.restormer import Restormer

    small: dict[str, Any] = {"hidden_size": 48, "mlp_dim": 64, "num_heads": 3}
    autoencoder: dict[str, Any] = {"channels": (8, 16), "num_res_blocks": (1, 1)}
    autoencoder |= {"attention_levels": (False, True), "norm_num_groups": 4}
    flat, volume = (1, 64, 64), (1, 32, 32, 32)
    return {
        "ViT": (
            lambda: nets.ViT(
                1, (64, 64), (16, 16), num_layers=2, classification=True, spatial_dims=2, **small
            ),
            flat,
        ),
        "ViT_3d": (
            lambda: nets.ViT(1, (32, 32, 32), (16, 16, 16), num_layers=2, **small),
            volume,
        ),
        "ViTAutoEnc": (
            lambda: nets.ViTAutoEnc(1, (64, 64), (16, 16), num_layers=2, spatial_dims=2, **small),
            flat,
        ),
        "UNETR": (
            lambda: nets.UNETR(1, 2, (32, 32, 32), feature_size=8, **small),
            volume,
        ),
        "SwinUNETR": (
            lambda: nets.SwinUNETR(1, 2, feature_size=12, spatial_dims=2, num_heads=(1, 2, 2, 4)),
            flat,
        ),
        "SwinUNETR_3d": (
            lambda: nets.SwinUNETR(
                1, 2, feature_size=12, num_heads=(1, 2, 2, 4), depths=(2, 1, 1, 1)
            ),
            (1, 64, 32, 32),
        ),
        "Restormer": (
            lambda: Restormer(
                2, 1, 1, dim=16, num_blocks=(1, 1), heads=(1, 2), num_refinement_blocks=1
            ),
            flat,
        ),
        "TransChex": (_transchex, (9, 48)),
        "MedNeXt": (lambda: nets.MedNeXt(2, 8, 1, 2), flat),
        "DiffusionModelEncoder": (
            lambda: DiffusionModelEncoder(
                2,
                1,
                2,
                channels=(8, 16),
                num_res_blocks=1,
                attention_levels=(False, True),
                norm_num_groups=4,
                num_head_channels=8,
            ),
            flat,
        ),
        "AutoencoderKL": (lambda: nets.AutoencoderKL(2, 1, 1, **autoencoder), flat),
        "AutoencoderKL_flash": (
            lambda: nets.AutoencoderKL(2, 1, 1, use_flash_attention=True, **autoencoder),
            flat,
        ),
    }


def _transchex() -> nn.Module:
    """The encoders of Transchex, which itself downloads the weights of a BERT."""
    from monai.networks.nets.transchex import MultiModal

    config = {"hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 64}
    return MultiModal(1, 1, 1, config)


def list_models() -> list[str]:
    """List the networks."""
    return list(_makers())


def build(name: str) -> Subject:
    """Build a network with random weights."""
    make, shape = _makers()[name]
    torch.manual_seed(0)
    net = make().eval()
    if name == "TransChex":
        words = torch.arange(3, 9).expand(2, 6).clone()
        return Subject(net, (words,), {"vision_feats": images(*shape)})
    if name == "DiffusionModelEncoder":
        return Subject(net, (images(*shape), torch.tensor([3, 3])))
    return Subject(net, (images(*shape),))
