"""The checkpoint formats that Saccade knows, and which of them a file is in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.errors import ModelRejected
from model.nets.vit import PRESETS
from model.zoo.checkpoint_format import IMAGENET, CheckpointFormat, Tensors
from model.zoo.class_names import CIFAR10, FASHION_MNIST
from model.zoo.heads_after_encoder import attach_head, is_inside
from model.zoo.networks_in_file import AS_TRAINED, is_called

HALF = ((0.5,) * 3, (0.5,) * 3)
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
AS_IT_IS = ((0.0,) * 3, (1.0,) * 3)


def sincos_2d(rows: int, columns: int, dim: int) -> Tensor:
    """Compute vit-pytorch's table of positions for SimpleViT, (rows · columns, dim).

    Sine and cosine of x and of y take a quarter of the width each; Beyer et al. 2022, "Better
    plain ViT baselines for ImageNet-1k". Raises ValueError for a width without such quarters.
    """
    if dim % 4 or dim < 8:
        raise ValueError(f"Its positions want a width that 4 divides, from 8 on, not {dim}.")
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    rates = 10_000.0 ** -(torch.arange(dim // 4) / (dim // 4 - 1))
    x, y = (place.flatten()[:, None] * rates for place in (x, y))
    return torch.cat((x.sin(), x.cos(), y.sin(), y.cos()), dim=1)


@dataclass(frozen=True)
class RecognisedTensors:
    """A file's tensors under our names, and the format that they were in."""

    format: CheckpointFormat
    tensors: Tensors
    left_out: list[str]  # names of what lay beside the model and is no part of it
    others: list[str]  # prefixes of further networks


def recognise_tensors(
    file: str, tensors: Tensors, beside: Tensors | None = None, network: str | None = None
) -> RecognisedTensors:
    """Find the format that has most of a file's names, and rename the tensors.

    A prefix that the names of the encoder share comes off. What comes after the encoder never
    blocks it: a head that is one Linear is kept, the rest is left out.

    Args:
        file: The file's name, for messages.
        tensors: The tensors of the model.
        beside: Tensors that lay beside them; only a head of theirs belongs to the model.
        network: Of several networks, the one whose prefix has this part, such as "student".

    Raises:
        ModelRejected: No format fits (the message has some names, and the nearest format), or
            weights are whole numbers.
    """
    if any(map(_ADAPTER.search, tensors)):
        raise ModelRejected(
            f"{file} holds LoRA adapters that are not merged here. Merge them into their base "
            "(model.merge_and_unload() of peft), and save that model's state_dict()."
        )
    if quantised := [name for name in tensors if _QUANTISED.search(name)]:
        raise ModelRejected(f"{file} holds quantised weights, with {some(quantised)}. {AS_TRAINED}")
    # DINOv2's training code cuts its blocks into chunks: "blocks.1.7" is the block of number 7.
    tensors = {_CHUNK.sub(r"\1\2", name): tensor for name, tensor in tensors.items()}
    nearest, others = _nearest(tensors, network)
    renamed, unknown = nearest.rename(tensors)
    in_parts = [n for n in tensors if _IN_PARTS.search(n) and is_inside(nearest, n)]
    missing = [name for name in _ESSENTIAL if f"{name}.weight" not in renamed]
    if in_parts:
        raise ModelRejected(
            f"{file} holds weights in parts, with {some(in_parts)}. Join them before you save: "
            "remove_parametrizations of torch.nn.utils.parametrize, prune.remove, or "
            "remove_weight_norm."
        )
    if missing:
        starred = [name.replace(".0.", ".*.") for name in missing]
        wanted = [theirs for theirs, ours in nearest.names.items() if ours in starred]
        raise ModelRejected(
            f"{file} fits no layout that Saccade knows. It holds {some(list(tensors))}; nearest "
            f"is {nearest.title}, which also has {some(wanted).replace('*', '0')}."
        )
    if inside := [name for name in unknown if is_inside(nearest, name)]:
        raise ModelRejected(
            f"{file} has {nearest.title} layout, with parts for which Saccade's model has no "
            f"place: {some(inside)}. Where a hub has this model, open it by its name there."
        )
    outside = {n: t for n, t in tensors.items() if not n.startswith(nearest.only)}
    if nearest in FORMATS:
        outside = {}  # the text tower of a model of images and text
    renamed, left_out = attach_head(nearest, tensors, renamed, unknown, outside | (beside or {}))
    for ours, tensor in renamed.items():
        if not (tensor.is_floating_point() or ours.endswith("num_batches_tracked")):
            raise ModelRejected(
                f"{file} holds whole numbers for weights, in {nearest.their_name(ours, tensors)}: "
                f"what they were before they were quantised cannot be read off. {AS_TRAINED}"
            )
    left_out = [name for name in left_out if not name.startswith(tuple(others))]
    return RecognisedTensors(nearest, renamed, left_out, [each.rstrip(".") for each in others])


def _nearest(tensors: Tensors, network: str | None) -> tuple[CheckpointFormat, list[str]]:
    """Find the format, with the prefix before its names, that has most of a file's names.

    Returns it, and the prefixes of further networks of as many names.
    """
    placed = [
        replace(each, only=prefix + each.only) if prefix else each
        for each in FORMATS
        for prefix in _prefixes(each, tensors)
    ]
    called = [each for each in placed if is_called(each.only, network)]
    few = dict(list(tensors.items())[:2000])  # no format fits, and the nearest one is only named
    held = tensors if placed else few
    counts = [len(each.rename(held)[0]) for each in placed]
    most = dict(zip(map(id, placed), counts, strict=True))
    if not placed:
        return max(FORMATS, key=lambda each: len(each.rename(held)[0])), []
    best = max(called or placed, key=lambda each: most[id(each)])
    others = [
        each.only
        for each in placed
        if each.title == best.title and most[id(each)] == most[id(best)] and each.only != best.only
    ]
    return best, sorted({each for each in others if not each.startswith(best.only)})


def _prefixes(source: CheckpointFormat, names: Iterable[str]) -> list[str]:
    """List prefixes before a format's name for the embedding of patches, shorter ones first.

    Of two models in one file the teacher comes first, or the average over the training.
    """
    found: dict[str, None] = {}
    for theirs, ours in source.names.items():
        end = f"{theirs}.weight"
        for name in names if ours == "embed.proj" else ():
            if name == end or name.endswith(f".{end}"):
                whole = name[: len(name) - len(end)]
                # The format's own prefix is a part of its names.
                found |= {whole.removesuffix(own): None for own in (source.only, source.prefix, "")}
    every = [prefix for prefix in found if not prefix or prefix.endswith(".")][:MOST_PREFIXES]
    order = list(names)
    first = {
        prefix: next(i for i, n in enumerate(order) if n.startswith(prefix)) for prefix in every
    }
    return sorted(every, key=lambda p: (not re.search("teacher|ema", p), p.count("."), first[p]))


MOST_PREFIXES = 8  # networks in one file that are compared
_CHUNK = re.compile(r"(^blocks\.|\.blocks\.)\d+\.(\d+\.)")
_ADAPTER = re.compile(r"[._]lora_|\.linear_[ab]_[qkv]\.")
# Weights that are put together from parts whenever the layer runs.
_IN_PARTS = re.compile(r"\.parametrizations\.|\.weight_(orig|mask|g|u)$")
# What GPTQ, AWQ, bitsandbytes, compressed-tensors and others keep beside quantised weights.
_QUANTISED = re.compile(
    r"\.(qweight|qzeros|g_idx|SCB|absmax|quant_map|quant_state\..*|weight_packed|weight_scale(_inv)?"
    r"|weight_zero_point|zero_point|_packed_params.*|W_q|weight\._(data|scale)|weight_quantizer\..*)$"
)
_ESSENTIAL = ("embed.proj", "blocks.0.mlp.fc1")


def some(names: list[str]) -> str:
    """List the first few names, short and plain, and how many more there are."""
    shown = ["".join(c for c in name if c.isprintable())[:50] for name in names[:4]]
    return ", ".join(shown) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _blocks(theirs: str, **parts: str) -> dict[str, str]:
    """Name the parts of every block: `parts` are ours = theirs."""
    return {f"{theirs}.{name}": f"blocks.*.{_PARTS[part]}" for part, name in parts.items()}


_PARTS = {
    "norm1": "norm_attention",
    "qkv": "attention.qkv",
    "qkv_weight": "attention.qkv.weight",
    "qkv_bias": "attention.qkv.bias",
    "query": "attention.query",
    "key": "attention.key",
    "value": "attention.value",
    "proj": "attention.proj",
    "scale1": "attention.gamma",
    "norm2": "norm_mlp",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "scale2": "mlp.gamma",
}
_PLAIN = PRESETS["vit"]

_LUCIDRAINS_CONFIG = replace(_PLAIN, norm_eps=1e-5)
# The norms around the patches' Linear came later, so these tables overlap. Of formats that have
# the same number of a file's names the first counts: the one without them.
_LUCIDRAINS_PATCHES = (
    {"to_patch_embedding.1": "embed.proj", "patch_to_embedding": "embed.proj"},
    {
        "to_patch_embedding.1": "embed.norm_pixels",
        "to_patch_embedding.2": "embed.proj",
        "to_patch_embedding.3": "embed.norm_tokens",
    },
)
_LUCIDRAINS = (
    {"transformer.norm": "norm"}
    | _blocks(
        "transformer.layers.*",
        norm1="0.norm",
        qkv="0.to_qkv",
        proj="0.to_out.0",
        norm2="1.net.0",
        fc1="1.net.1",
        fc2="1.net.4",
    )
    | _blocks("transformer.layers.*", proj="0.to_out", fc2="1.net.3")  # SimpleViT
    | _blocks(  # before 2023
        "transformer.layers.*",
        qkv="0.fn.to_qkv",
        proj="0.fn.to_out.0",
        norm2="1.norm",
        fc1="1.fn.net.0",
        fc2="1.fn.net.3",
    )
)

_OURS = (
    *("embed.proj", "embed.stages.*.*", "embed.stages.*.*.*"),
    *("embed.norm_pixels", "embed.norm_tokens"),
    *("cls_token", "registers", "positions.code"),
    *("norm_embedding", "projection", "head"),
    *(f"blocks.*.attention.{part}" for part in ("query", "key", "value", "proj")),
    *(f"blocks.*.{part}" for part in ("norm_attention", "norm_mlp", "mlp.fc1", "mlp.fc2")),
)

FORMATS = (
    CheckpointFormat(
        "Saccade's own",
        {name: name for name in _OURS} | {"norm": "norm_of_pooled"},
        config=None,
        normalisation=HALF,
        classes=list,
    ),
    CheckpointFormat(
        "the CS231n assignment's",
        {
            "patch_embed.proj": "embed.proj",
            "positional_encoding.pe": "positions.fixed",
            "head": "head",
        }
        | _blocks(
            "transformer.layers.*",
            **{p: f"self_attn.{p}" for p in ("query", "key", "value", "proj")},
            norm1="norm_self",
            norm2="norm_ffn",
            fc1="ffn.fc1",
            fc2="ffn.fc2",
        ),
        PRESETS["cs231n"],
        heads=4,
        normalisation=HALF,
        classes=CIFAR10.copy,
    ),
    CheckpointFormat(
        "Dive into Deep Learning's",
        {
            "patch_embedding.conv": "embed.proj",
            "cls_token": "cls_token",
            "pos_embedding": "positions.code",
            "head.0": "norm",
            "head.1": "head",
        }
        | _blocks(
            "blks.*",
            query="attention.W_q",
            key="attention.W_k",
            value="attention.W_v",
            proj="attention.W_o",
            norm1="ln1",
            norm2="ln2",
            fc1="mlp.dense1",
            fc2="mlp.dense2",
        ),
        PRESETS["d2l"],
        heads=8,
        normalisation=AS_IT_IS,
        classes=FASHION_MNIST.copy,
    ),
    CheckpointFormat(
        "the einops tutorial's",
        {
            "0.projection.0": "embed.proj",
            "0.cls_token": "cls_token",
            "0.positions": "positions.code",
            "2.1": "norm_of_pooled",
            "2.2": "head",
        }
        | _blocks(
            "1.*",
            norm1="0.fn.0",
            qkv="0.fn.1.qkv",
            query="0.fn.1.queries",
            key="0.fn.1.keys",
            value="0.fn.1.values",
            proj="0.fn.1.projection",
            norm2="1.fn.0",
            fc1="1.fn.1.0",
            fc2="1.fn.1.3",
        ),
        PRESETS["einops_b16"],
        heads=8,
        interleaved=True,
    ),
    *(
        CheckpointFormat(
            "vit-pytorch's",
            {
                "cls_token": "cls_token",
                "pos_embedding": "positions.code",
                "mlp_head": "head",
                "mlp_head.0": "norm_of_pooled",
                "mlp_head.1": "head",
            }
            | patches
            | _LUCIDRAINS,
            _LUCIDRAINS_CONFIG,
            normalisation=HALF,
            channel_last=True,
        )
        for patches in _LUCIDRAINS_PATCHES
    ),
    *(
        CheckpointFormat(
            "vit-pytorch's SimpleViT",
            {
                "linear_head": "head",
                "linear_head.0": "norm_of_pooled",
                "linear_head.1": "head",
            }
            | patches
            | _LUCIDRAINS,
            replace(_LUCIDRAINS_CONFIG, cls_token=False, pool="mean"),
            normalisation=HALF,
            channel_last=True,
            computed=sincos_2d,
        )
        for patches in _LUCIDRAINS_PATCHES
    ),
    *(
        CheckpointFormat(
            "OpenAI CLIP's image tower",
            {
                "conv1": "embed.proj",
                "class_embedding": "cls_token",
                "positional_embedding": "positions.code",
                "ln_pre": "norm_embedding",
                "ln_post": "norm",
                "proj": "projection.transposed",
            }
            | _blocks(
                "transformer.resblocks.*",
                qkv_weight="attn.in_proj_weight",
                qkv_bias="attn.in_proj_bias",
                proj="attn.out_proj",
                norm1="ln_1",
                norm2="ln_2",
                fc1="mlp.c_fc",
                fc2="mlp.c_proj",
            ),
            PRESETS["clip_b32"],
            normalisation=CLIP,
            only=only,
        )
        for only in ("visual.", "")
    ),
    CheckpointFormat(
        "Hugging Face's CLIP",
        {
            "embeddings.patch_embedding": "embed.proj",
            "embeddings.class_embedding": "cls_token",
            "embeddings.position_embedding.weight": "positions.code",
            "pre_layrnorm": "norm_embedding",
            "post_layernorm": "norm",
            "visual_projection": "projection",
        }
        | _blocks(
            "encoder.layers.*",
            query="self_attn.q_proj",
            key="self_attn.k_proj",
            value="self_attn.v_proj",
            proj="self_attn.out_proj",
            norm1="layer_norm1",
            norm2="layer_norm2",
            fc1="mlp.fc1",
            fc2="mlp.fc2",
        ),
        PRESETS["clip_b32"],
        normalisation=CLIP,
        prefix="vision_model.",
        ignored=r"text_model\.|text_projection\.|logit_scale$|embeddings\.position_ids$",
    ),
    CheckpointFormat(
        "torchvision's",
        {
            "conv_proj": "embed.proj",
            "class_token": "cls_token",
            "encoder.pos_embedding": "positions.code",
            "encoder.ln": "norm",
            "heads.head": "head",
        }
        | _blocks(
            "encoder.layers.encoder_layer_*",
            norm1="ln_1",
            qkv_weight="self_attention.in_proj_weight",
            qkv_bias="self_attention.in_proj_bias",
            proj="self_attention.out_proj",
            norm2="ln_2",
            fc1="mlp.0",
            fc2="mlp.3",
        )
        | _blocks("encoder.layers.encoder_layer_*", fc1="mlp.linear_1", fc2="mlp.linear_2"),
        _PLAIN,
    ),
    CheckpointFormat(
        "timm's",
        {
            "patch_embed.proj": "embed.proj",
            "cls_token": "cls_token",
            "dist_token": "dist_token",
            "reg_token": "registers",
            "register_tokens": "registers",
            "pos_embed": "positions.code",
            "norm_pre": "norm_embedding",
            "norm": "norm",
            "fc_norm": "norm_of_mean",
            "head": "head",
            "head_dist": "head_dist",
        }
        | _blocks(
            "blocks.*",
            norm1="norm1",
            qkv="attn.qkv",
            proj="attn.proj",
            scale1="ls1.gamma",
            norm2="norm2",
            fc1="mlp.fc1",
            fc2="mlp.fc2",
            scale2="ls2.gamma",
        ),
        _PLAIN,
        normalisation=HALF,
        ignored=r"mask_token$",
    ),
    *(
        CheckpointFormat(
            "Hugging Face's",
            {
                "embeddings.patch_embeddings.projection": "embed.proj",
                "embeddings.cls_token": "cls_token",
                "embeddings.distillation_token": "dist_token",
                "embeddings.position_embeddings": "positions.code",
                "layernorm": "norm",
                "classifier": "head",
                "cls_classifier": "head",
                "distillation_classifier": "head_dist",
            }
            | _blocks(
                "encoder.layer.*",
                **{p: f"attention.attention.{p}" for p in ("query", "key", "value")},
                proj="attention.output.dense",
                norm1="layernorm_before",
                norm2="layernorm_after",
                fc1="intermediate.dense",
                fc2="output.dense",
            )
            | _blocks(  # transformers 5 names them so in memory
                "layers.*",
                query="attention.q_proj",
                key="attention.k_proj",
                value="attention.v_proj",
                proj="attention.o_proj",
                norm1="layernorm_before",
                norm2="layernorm_after",
                fc1="mlp.fc1",
                fc2="mlp.fc2",
            ),
            replace(_PLAIN, norm_eps=1e-12),
            normalisation=HALF if family == "vit." else IMAGENET,
            prefix=family,
            ignored=r"pooler\.|embeddings\.mask_token$",
        )
        for family in ("vit.", "deit.")
    ),
    *(
        CheckpointFormat(
            "Hugging Face's DINOv2",
            {
                "embeddings.patch_embeddings.projection": "embed.proj",
                "embeddings.cls_token": "cls_token",
                "embeddings.register_tokens": "registers",
                "embeddings.position_embeddings": "positions.code",
                "layernorm": "norm",
                "classifier": "head",
            }
            | _blocks(
                "encoder.layer.*",
                **{p: f"attention.attention.{p}" for p in ("query", "key", "value")},
                proj="attention.output.dense",
                norm1="norm1",
                scale1="layer_scale1.lambda1",
                norm2="norm2",
                fc1="mlp.fc1",
                fc2="mlp.fc2",
                scale2="layer_scale2.lambda1",
            )
            | _blocks(  # transformers 5 names them so in memory
                "encoder.layer.*",
                query="attention.q_proj",
                key="attention.k_proj",
                value="attention.v_proj",
                proj="attention.o_proj",
            ),
            replace(_PLAIN, pool="cls_and_mean", norm_before_pool=True),
            prefix=family,
            ignored=r"embeddings\.mask_token$",
        )
        for family in ("dinov2.", "dinov2_with_registers.")
    ),
)
