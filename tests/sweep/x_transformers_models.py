"""Vision transformers of x-transformers with each of its ways to attend."""

from __future__ import annotations

from typing import Any

import torch

from tests.sweep.subject import Subject, images

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "flash": {"attn_flash": True},
    "pre_talking_heads": {"attn_pre_talking_heads": True},
    "post_talking_heads": {"attn_post_talking_heads": True},
    "talking_heads": {"attn_pre_talking_heads": True, "attn_post_talking_heads": True},
    "gate_values": {"attn_gate_values": True},
    "gate_heads": {"attn_head_scale": True},
    "sparse_topk": {"attn_sparse_topk": 4},
    "hard": {"attn_hard": True},
    "qk_norm": {"attn_qk_norm": True},
    "qk_norm_scale": {"attn_qk_norm": True, "attn_qk_norm_dim_scale": True},
    "one_kv_head": {"attn_one_kv_head": True},
    "kv_heads": {"attn_kv_heads": 2},
    "memory_kv": {"attn_num_mem_kv": 2},
    "null_kv": {"attn_add_zero_kv": True},
    "on_attn": {"attn_on_attn": True},
    "rotary": {"rotary_pos_emb": True},
    "alibi": {"alibi_pos_bias": True},
    "relative": {"rel_pos_bias": True},
    "differential": {"attn_value_dim_head": 16},
    "value_residual": {"add_value_residual": True},
    "residual_attn": {"residual_attn": True},
    "cog_signed": {"attn_cog_signed": True},
    "sigmoid": {"attn_sigmoid": True},
    "laser": {"attn_laser": True},
    "macaron": {"macaron": True},
    "sandwich": {"sandwich_coef": 1},
}


def list_models() -> list[str]:
    """List the ways to attend."""
    return list(WAYS)


def build(name: str) -> Subject:
    """Build a small vision transformer that attends so."""
    from x_transformers import Encoder, ViTransformerWrapper

    torch.manual_seed(0)
    layers = Encoder(dim=48, depth=2, heads=4, attn_dim_head=16, **WAYS[name])
    net = ViTransformerWrapper(image_size=32, patch_size=8, attn_layers=layers, num_classes=5)
    return Subject(net.eval(), (images(3, 32, 32),))
