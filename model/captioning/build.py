"""Build a captioner from its config."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from model.captioning.base import CaptionerConfig, CaptioningNet
from model.captioning.recurrent import RecurrentCaptioner
from model.captioning.transformer import Captioner


def build_captioner(config: CaptionerConfig | dict[str, Any]) -> CaptioningNet[Any]:
    """Build the captioner that a config describes, with fresh weights.

    Args:
        config: The config, or its fields as `config_as_dict` writes them.

    Raises:
        TypeError: A field is unknown or has a wrong type.
        ValueError: The fields make no captioner.
    """
    if isinstance(config, dict):
        config = CaptionerConfig(**config)
    if config.decoder == "recurrent":
        return RecurrentCaptioner(config)
    return Captioner(config)


def config_as_dict(config: CaptionerConfig) -> dict[str, Any]:
    """Return the config for a card."""
    return asdict(config)
