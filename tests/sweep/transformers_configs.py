"""Tiny configurations of transformers, shrunk by the names of their fields.

There are three forms. *Small*: few layers, narrow. *Hierarchical*: narrow stages of growing width,
for a picture that holds several windows. *Shallow*: as wide as published, with few layers, for nets
whose parts must agree on widths that no field names; their language model is narrow all the same.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WIDTH, HEADS, LAYERS, SIDE, PATCH = 64, 4, 2, 32, 8
WORDS, IMAGE_TOKEN = 1000, 990
_CHAMELEON = {f"IMGIMG{chr(65 + i // 10)}{chr(65 + i % 10)}Z": 900 + i for i in range(20)}
_EMU3 = {f"<|visual token {i:06d}|>": 900 + i for i in range(20)}
SMALL, HIERARCHICAL, SHALLOW = "small", "hierarchical", "shallow"
_WIDTHS = {
    **dict.fromkeys(("hidden_size", "d_model", "embed_dim", "dim", "width", "n_embd"), WIDTH),
    **dict.fromkeys(
        ("projection_dim", "out_hidden_size", "text_embed_dim", "vision_embed_dim"), WIDTH
    ),
    **dict.fromkeys(("mm_hidden_size", "decoder_hidden_size", "vision_output_dim"), WIDTH),
    **dict.fromkeys(("hidden_dim", "conv_hidden_dim", "qformer_hidden_size", "proj_dim"), WIDTH),
    **dict.fromkeys(("text_hidden_size", "encoder_hidden_size"), WIDTH),
    **dict.fromkeys(("reassemble_hidden_size", "adapter_in_dim", "adapter_out_dim"), WIDTH),
    **dict.fromkeys(("adapter_input_size", "codebook_dim", "mit_hidden_size"), WIDTH),
    **{"output_channels": WIDTH, "fpn_hidden_size": WIDTH, "num_pos_feats": WIDTH // 2},
    **{
        "projection_hidden_size": WIDTH,
        "mit_intermediate_size": 48,
        "mit_num_attention_heads": HEADS,
    },
    **dict.fromkeys(("intermediate_size", "ffn_dim", "mlp_dim", "decoder_intermediate_size"), 48),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "moe_intermediate_size"), 48),
    **dict.fromkeys(("num_attention_heads", "num_heads", "n_head", "attention_heads"), HEADS),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads", "nhead"), HEADS),
    **dict.fromkeys(("decoder_num_attention_heads", "num_mask_heads"), HEADS),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("head_dim", "attention_head_dim", "kv_channels"), WIDTH // HEADS),
    **{"qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16, "d_latents": 32},
    **{"q_lora_rank": 32, "kv_lora_rank": 16},
    "patch_size": PATCH,
}
_COUNTS = {
    **dict.fromkeys(
        ("num_hidden_layers", "num_layers", "encoder_layers", "decoder_layers"), LAYERS
    ),
    **dict.fromkeys(
        ("depth", "n_layer", "decoder_num_hidden_layers", "num_decoder_layers"), LAYERS
    ),
    **dict.fromkeys(
        ("mit_num_hidden_layers", "prompt_num_hidden_layers", "encoder_hidden_layers"), LAYERS
    ),
    **dict.fromkeys(("num_frames", "frames_per_clip", "tubelet_size"), 2),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace"), 1),
    "num_experts_per_tok": 2,
    "num_kv_shared_layers": 0,
    "num_blocks": 1,
    "mm_tokens_per_image": 4,
    "vocab_size": WORDS,
    "num_queries": 5,
    "num_query_tokens": 4,
    "num_latents": 6,
    "latent_query_num": 4,
    "max_position_embeddings": 128,
}
_TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_IMAGE_TOKENS = {
    **dict.fromkeys(("image_token_id", "image_token_index", "image_patch_id"), IMAGE_TOKEN),
    **dict.fromkeys(("video_token_id", "video_token_index"), IMAGE_TOKEN + 1),
    "boi_token_id": IMAGE_TOKEN + 2,
}
_STAGES = {
    **dict.fromkeys(("num_heads", "num_attention_heads"), lambda n: [2] * n),
    **dict.fromkeys(
        ("hidden_sizes", "embed_dims", "neck_hidden_sizes", "encoder_hidden_sizes"),
        lambda n: [16 * 2**i for i in range(n)],
    ),
}
_SPECIAL: dict[str, dict[str, Any]] = {  # by the type of a model, what no name of a field tells
    "aria": {"projector_patch_to_query_dict": {16: 8}},
    "chameleon": {"vocabulary_map": {"<image>": IMAGE_TOKEN, **_CHAMELEON}},
    "chameleon_vqgan": {"num_embeddings": 20, "base_channels": 32},
    "cohere_compass_text": {
        "rope_parameters": {
            "full_attention": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [3, 3, 2],
            }
        }
    },
    "deepseek_ocr2_text": {"mlp_layer_types": ["dense", "sparse"]},
    "deepseek_ocr2_sam_vision_model": {"downsample_channels": [32, WIDTH]},
    "unlimited_ocr_sam_vision_model": {"downsample_channels": [32, WIDTH]},
    "diffusion_gemma_text": {"num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 32},
    "hunyuan_vl_text": {
        "head_dim": WIDTH // HEADS,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [3, 3, 2]},
    },
    "mllama_vision_model": {"vision_output_dim": 6 * WIDTH},
    "muse_glimmer": {"out_hidden_size": 4 * WIDTH, "projector_hidden_size": WIDTH},
    "muse_spark": {"out_hidden_size": 4 * WIDTH, "projector_hidden_size": WIDTH},
    "shieldgemma2": {"yes_token_index": 5, "no_token_index": 6},
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 8,
        "indexer_compress_ratio": 2,
    },
    "sam_prompt_encoder": {"image_embedding_size": SIDE // PATCH},
    "sam_hq_prompt_encoder": {"image_embedding_size": SIDE // PATCH},
    "sam_hq_mask_decoder": {"vit_dim": WIDTH},
    "sam3_vision_model": {"backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]},
    "edgetam_vision_model": {
        "backbone_channel_list": [1024, 512, 256, 64],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    },
    "seggpt": {
        "image_size": [2 * SIDE, SIDE],
        "merge_index": 0,
        "num_hidden_layers": 4,
        "intermediate_hidden_state_indices": [0, 1, 2, 3],
    },
    "vitdet": {"patch_size": 16, "image_size": 64},
    "step3p5": {"sliding_window": 16},
    "tvp": {"max_img_size": 64, "visual_prompt_size": 16, "max_grid_col_position_embeddings": 8},
    "vitmatte": {"fusion_hidden_sizes": [32, 32, 32, 32], "hidden_size": WIDTH},
    "vitpose_backbone": {"part_features": 16},
    "depth_pro": {"patch_size": SIDE, "intermediate_hook_ids": [1, 0]},
    "emu3": {"vocabulary_map": {"<image>": IMAGE_TOKEN, **_EMU3}},
    "emu3_vqgan": {"codebook_size": 20, "base_channels": 32},
    "gemma3n_vision": {"hidden_size": 2048},
    "glm5_next_text": {"qk_rope_head_dim": 0},
    "glm_image_vqmodel": {"latent_channels": WIDTH, "num_embeddings": 500},
    "molmo2_vision": {"num_position_embeddings": 16},
    "granite4_vision": {
        "deepstack_layer_map": [[-1, 0]],
        "spatial_target_layers": [0, 1, 0, 1],
        "downsample_rate": "1/2",
    },
    "levit": {"image_size": 64, "patch_size": 16},
    "llama4_vision_model": {
        "intermediate_size": 4 * WIDTH,
        "projector_input_dim": WIDTH,
        "projector_output_dim": WIDTH,
        "vision_output_dim": WIDTH,
    },
    "lw_detr": {"image_size": 64},
    "lw_detr_vit": {"image_size": 64},
    "mobilevitv2": {"patch_size": 2, "image_size": 64},
    "omdet-turbo": {"text_projection_in_dim": WIDTH},
    "swin2sr": {"image_size": 32, "patch_size": 1, "window_size": 4},
}
_LAYER_NUMBERS = re.compile(r"index|indices|_layers?$|layer_ids")
_SECTIONS = re.compile(r"\bmrope_section\b")
_TEXT = re.compile(r"text|llm|language|qformer|decoder_config|audio|dit|action")


def configurations(kind: Any) -> Iterator[tuple[str, Any]]:
    """Make a tiny configuration of a class in each form, or the error that came of it."""
    for form in (SMALL, HIERARCHICAL, SHALLOW):
        try:
            yield form, tiny(kind, form)
        except Exception as error:  # a class checks what its fields have to do with each other
            yield form, error


def tiny(kind: Any, form: str = SMALL) -> Any:
    """Make a tiny configuration of a class."""
    return kind(**_shrunk(kind(), form, is_text=False))


def _shrunk(config: Any, form: str, is_text: bool) -> dict[str, Any]:
    values = config.to_dict()
    shallow = form == SHALLOW and not is_text
    sizes = _COUNTS if shallow else _WIDTHS | _COUNTS
    layers = _layers(values)
    small: dict[str, Any] = {}
    for key, value in values.items():
        own = _own(config, key)
        if hasattr(own, "to_dict"):
            small[key] = _part(own, form, is_text or bool(_TEXT.search(key)))
        elif key in _IMAGE_TOKENS:
            small[key] = _IMAGE_TOKENS[key]
        elif key == "vision_config" and value is None:
            small[key] = _part(_optional(config, key), form, is_text)
        elif isinstance(value, bool) or value is None:
            continue
        elif key in _TOKENS and isinstance(value, int):
            small[key] = _TOKENS[key]
        elif isinstance(value, int):
            if key in sizes:
                small[key] = sizes[key]
            elif key.endswith(("_id", "token_index")) and value >= WORDS:
                small[key] = WORDS - 20 + len(key) % 8
        elif key == "image_grid_pinpoints":
            small[key] = [[SIDE, SIDE]]
        elif isinstance(value, list | tuple):
            if (items := _items(key, value, values, layers, shallow)) is not None:
                small[key] = items
        elif key == "per_layer_config":
            kept = {layers.index(int(old)): new for old, new in value.items() if int(old) in layers}
            small[key] = kept
        elif key in ("rope_parameters", "rope_scaling") and not shallow:
            small[key] = _rope(value, values, _reads_sections(config))
    small |= _sizes_of_pictures(values, small, form)
    for key in ("num_hidden_layers", "num_layers"):
        if values.get("depths"):
            small.pop(key, None)  # they count stages
        elif key in small:
            small[key] = len(layers)
    heads = values.get("num_attention_heads")
    if "num_key_value_heads" in small and heads == values["num_key_value_heads"]:
        small["num_key_value_heads"] = small.get("num_attention_heads", HEADS)
    if form == HIERARCHICAL and isinstance(small.get("embed_dim"), int):
        small["embed_dim"] = 16
    return small | _SPECIAL.get(getattr(config, "model_type", ""), {}) if form == SMALL else small


def _own(config: Any, key: str) -> Any:
    try:
        return getattr(config, key, None)
    except Exception:  # a field that has no one value for all layers
        return None


def _optional(config: Any, key: str) -> Any:
    """Make the part of a configuration that is left out where nobody asks for it."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    spec = type(config).sub_configs_defaults[key]
    kind = CONFIG_MAPPING[spec.model_type] if spec.model_type else spec.config_class
    return kind()


def _part(config: Any, form: str, is_text: bool) -> Any:
    """Shrink a part of a configuration, and keep what its whole has set in it."""
    if config.model_type in ("timm_wrapper", "timm_backbone"):
        return config  # timm knows its sizes by a name
    small = _shrunk(config, form, is_text)
    try:
        told = config.to_diff_dict()
    except Exception:  # some cannot tell how they differ from the usual
        told = {}
    told = {k: v for k, v in told.items() if k not in ("model_type", "transformers_version")}
    return type(config)(**(told | small))


def _layers(values: dict[str, Any]) -> list[int]:
    """Choose layers: the first of each type, two at least, and as many as maps are taken from."""
    types = values.get("layer_types") or []
    first = [types.index(kind) for kind in dict.fromkeys(types)]
    rest = [number for number in range(64) if number not in first]
    taken = values.get("out_features") if not values.get("depths") else None
    least = max(LAYERS, len(taken or []))
    return sorted((*first, *rest[: max(0, least - len(first))]))


def _items(
    key: str, value: Any, values: dict[str, Any], layers: list[int], shallow: bool
) -> list[Any] | None:
    """Shrink a list: of layers, of the numbers of layers, or of stages."""
    count = values.get("num_hidden_layers") or values.get("num_layers") or values.get("depth")
    numbers = all(isinstance(each, int) for each in value)
    if not value or key in ("out_features", "out_indices", "stage_names"):
        if key == "out_indices" and value and not values.get("depths"):
            return list(range(1, len(value) + 1))
        if key == "out_features" and value and str(value[0]).startswith("stage"):
            return None if values.get("depths") else [f"stage{n + 1}" for n in range(len(value))]
        return None
    if key == "depths":
        return [2] * len(value)
    if len(value) == count and not values.get("depths") and len(value) > len(layers):
        return [value[number] for number in layers]
    if numbers and _LAYER_NUMBERS.search(key) and "image" not in key:
        return [min(max(each, -LAYERS), LAYERS - 1) for each in value]
    if key in _STAGES and not shallow:
        return _STAGES[key](len(value))
    return None


def _sizes_of_pictures(values: dict[str, Any], small: dict[str, Any], form: str) -> dict[str, Any]:
    patch = values.get("patch_size")
    side = {SMALL: SIDE, HIERARCHICAL: 64, SHALLOW: 64}[form]
    if form == SHALLOW and isinstance(patch, int) and 4 < patch < 64:
        side = 4 * patch
    found: dict[str, Any] = {}
    if isinstance(values.get("window_size"), int) and values["window_size"] and form != SHALLOW:
        merged = values.get("spatial_merge_size")  # then windows are measured in pixels
        found["window_size"] = 2 * PATCH * merged if merged else 4
        if form == HIERARCHICAL:
            side = 128  # four windows at the last of four scales
    for key in ("image_size", "img_size"):
        if isinstance(values.get(key), int):
            found[key] = side
        elif isinstance(values.get(key), list | tuple):
            found[key] = [side] * len(values[key])
    if form == HIERARCHICAL and "patch_size" in small and "embed_dim" in small:
        found["patch_size"] = 4
    return found


def _reads_sections(config: Any) -> bool:
    """Whether the model rotates places in time, height and width apart."""
    module = type(config).__module__.replace(".configuration_", ".modeling_")
    spec = importlib.util.find_spec(module)
    return bool(spec and spec.origin and _SECTIONS.search(Path(spec.origin).read_text("utf-8")))


def _rope(value: dict[str, Any], values: dict[str, Any], sections: bool) -> dict[str, Any]:
    """Rotate the small heads: sections are parts of half of what is rotated."""
    small = {
        key: _rope(each, values, False) if isinstance(each, dict) else each
        for key, each in value.items()
    }
    if "mrope_section" in value or (sections and "rope_theta" in value):
        rotated = WIDTH // HEADS * value.get("partial_rotary_factor", 1)
        if "qk_rope_head_dim" in values:
            rotated = _WIDTHS["qk_rope_head_dim"]
        half = int(rotated // 2)
        count = len(value.get("mrope_section", (0, 0, 0)))
        parts = [half // count + (place < half % count) for place in range(count)]
        small["mrope_section"] = parts
    return small
