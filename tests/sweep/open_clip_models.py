"""The image and text towers of OpenCLIP: one configuration of each class of towers, made small."""

from __future__ import annotations

import copy
import tempfile
from typing import Any

import torch
from torch import nn

from tests.sweep.subject import Subject, images

NAMES = (
    "ViT-B-32",
    "ViT-B-32-quickgelu",
    "RN50",
    "coca_ViT-B-32",
    "ViT-B-16-SigLIP",
    "ViT-B-16-SigLIP2",
    "EVA02-B-16",
    "ViTamin-S",
    "nllb-clip-base",
    "roberta-ViT-B-32",
    "MobileCLIP-S1",
    "ViT-H-14-CLIPA",
    "PE-Core-T-16-384",
    "convnext_base",
    "coca_base",
)
_EYE = {"width": 48, "layers": 2, "head_width": 16}
_TEXT = {"width": 48, "heads": 3, "layers": 2}


def list_models() -> list[str]:
    """List the configurations."""
    import open_clip

    return [name for name in NAMES if name in open_clip.list_models()]


def _own_config(name: str) -> str:
    """Write a small configuration of a text tower that OpenCLIP takes from the hub."""
    import transformers

    sizes: dict[str, Any] = {"vocab_size": 200, "max_position_embeddings": 128}
    if "nllb" in name:
        sizes |= {"d_model": 48, "encoder_layers": 2, "decoder_layers": 1, "encoder_ffn_dim": 64}
        sizes |= {"encoder_attention_heads": 3, "decoder_attention_heads": 3}
        config: Any = transformers.M2M100Config(**sizes)
    else:
        sizes |= {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3}
        config = transformers.RobertaConfig(**sizes, intermediate_size=64)
    folder = tempfile.mkdtemp()
    config.save_pretrained(folder)
    return folder


def build(name: str) -> Subject:
    """Build both towers of a configuration, small where the configuration says how."""
    import open_clip

    torch.manual_seed(0)
    config: dict[str, Any] = copy.deepcopy(open_clip.get_model_config(name))
    eye, text = config["vision_cfg"], config["text_cfg"]
    if isinstance(eye.get("layers"), int):
        eye.update(_EYE)
    if "layers" in text or "width" in text:
        text.update(_TEXT)
    if "multimodal_cfg" in config:
        config["multimodal_cfg"].update(_TEXT)
    if "timm_model_name" in eye:
        eye["timm_model_pretrained"] = False
    if config["vision_cfg"].get("attentional_pool") and "multimodal_cfg" in config:
        config["embed_dim"] = 48  # the width in which words meet the picture
    if "hf_model_name" in text:
        text.update(hf_model_name=_own_config(text["hf_model_name"]), hf_model_pretrained=False)
    side = 64 if isinstance(eye.get("layers"), int) else eye.get("image_size", 224)
    eye["image_size"] = side
    custom = (
        config.pop("custom_text", False) or "multimodal_cfg" in config or "hf_model_name" in text
    )
    kind: Any = open_clip.model.CustomTextCLIP if custom else open_clip.model.CLIP
    if "multimodal_cfg" in config:
        kind = open_clip.CoCa
    known = {
        k: v
        for k, v in config.items()
        if k
        in (
            "embed_dim",
            "vision_cfg",
            "text_cfg",
            "quick_gelu",
            "multimodal_cfg",
            "init_logit_bias",
        )
    }
    net: nn.Module = kind(**known).eval()
    words = torch.arange(3, 3 + text.get("context_length", 77)).expand(2, -1).clone()
    return Subject(net, (images(3, side, side), words))
