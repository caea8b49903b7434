"""Build a captioner from its config."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import nn

from model.captioning.base import CaptionerConfig
from model.captioning.recurrent import RecurrentCaptioner
from model.captioning.transformer import Captioner


def build_captioner(config: CaptionerConfig | dict[str, Any]) -> nn.Module:
    """The captioner of that config, with fresh weights. Raises ValueError, TypeError."""
    if isinstance(config, dict):
        config = CaptionerConfig(**config)
    if config.decoder == "recurrent":
        return RecurrentCaptioner(config)
    return Captioner(config)


def config_as_dict(config: CaptionerConfig) -> dict[str, Any]:
    """The config for a card."""
    return asdict(config)
