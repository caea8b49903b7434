"""The recorder on every family of models, against the family's own eager attention.

    python -m tests.model.recording.test_families

prints the table of the README: family, route, largest difference, tokens understood.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from model.nets.torchvision_cpu import ensure_operators
from model.recording.recorder import AttentionRecorder
from model.tokens import TokenLayout

SDPA, MHA, SOFTMAX = "scaled_dot_product_attention", "nn.MultiheadAttention", "softmax"
Maps = list[Tensor]


@dataclass
class Case:
    family: str
    package: str
    route: str  # how the recorder sees the attention
    build: Callable[[], nn.Module]
    run: Callable[..., Any]  # run(net) -> output
    eager: Callable[[nn.Module, Callable], Maps]  # the maps that the family makes by itself
    tokens: TokenLayout | str  # what the keys of a map are
    kinds: str = "self"


# The families' own maps, each from a copy of the net.


def maps_of_mha(net: nn.Module, run: Callable) -> Maps:
    """nn.MultiheadAttention returns its maps where it is asked to."""
    maps: Maps = []

    def ask(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        return args, kwargs | {"need_weights": True, "average_attn_weights": False}

    for module in net.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.register_forward_pre_hook(ask, with_kwargs=True)
            module.register_forward_hook(lambda module, args, output: maps.append(output[1]))
    run(net)
    return maps


def maps_of_timm(net: nn.Module, run: Callable) -> Maps:
    """With fused attention off, the dropout after the softmax is given the map."""
    maps: Maps = []
    for name, module in net.named_modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
        if name.endswith("attn_drop"):
            module.register_forward_hook(lambda module, args, output: maps.append(args[0]))
    run(net)
    return maps


def maps_of_transformers(net: nn.Module, run: Callable) -> Maps:
    net.set_attn_implementation("eager")
    output = run(net, output_attentions=True)
    maps: Maps = []
    for layer, attention in enumerate(output.attentions):
        cross = output.get("cross_attentions") or ()
        maps += [attention, *cross[layer : layer + 1]]
    return maps


def maps_of_siglip(net: nn.Module, run: Callable) -> Maps:
    """Its pooling head is an nn.MultiheadAttention."""
    return maps_of_transformers(copy.deepcopy(net), run) + maps_of_mha(net, run)


def maps_of_vitdet(net: nn.Module, run: Callable) -> Maps:
    """(B · heads, N, N) as the softmax made them."""
    return [m.unflatten(0, (-1, 3)) for m in maps_of_softmax(net, run)]


def maps_of_sam(net: nn.Module, run: Callable) -> Maps:
    """The class of its attention that is eager makes the maps."""
    from transformers.models.sam import modeling_sam as sam

    for module in net.modules():
        if isinstance(module, sam.SamVisionAttention):
            module.__class__ = sam.SamVisionAttention
    return maps_of_vitdet(net, run)


def maps_of_softmax(net: nn.Module, run: Callable) -> Maps:
    """What every softmax of the net returns; F.softmax calls the tensor's."""
    maps: Maps = []

    def spy(function: Callable) -> Callable:
        return lambda *args, **kwargs: maps.append(function(*args, **kwargs)) or maps[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "softmax", spy(Tensor.softmax))
        run(net)
    return maps


def maps_of_torchvision_swin(net: nn.Module, run: Callable) -> Maps:
    """The function that makes the maps gives each to dropout."""
    maps: Maps = []
    dropout = F.dropout

    def spy(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if x.ndim == 4 and x.shape[-1] == x.shape[-2]:
            maps.append(x)
        return dropout(x, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "dropout", spy)
        run(net)
    return maps


def maps_of_lucidrains(net: nn.Module, run: Callable) -> Maps:
    maps: Maps = []
    for module in net.modules():
        if isinstance(module, nn.Softmax):
            module.register_forward_hook(lambda module, args, output: maps.append(output))
    run(net)
    return maps


def maps_of_d2l(net: nn.Module, run: Callable) -> Maps:
    run(net)
    several = [module for module in net.modules() if hasattr(module, "W_q")]
    return [m.attention.attention_weights.unflatten(0, (-1, m.num_heads)) for m in several]


# Builders: the families' own classes, small. Packages are imported where they are needed.


def timm_model(name: str, **config: Any) -> nn.Module:
    import timm

    return timm.create_model(name, **config)


def fused_timm_swin() -> nn.Module:
    """timm fuses Swin's attention only where a process-wide experimental flag is set."""
    net = timm_model("swin_tiny_patch4_window7_224", **TINY_SWIN)
    for module in net.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = True
    return net


def hf_model(model: str, config: str, **settings: Any) -> nn.Module:
    """As transformers itself builds it: with fused attention where the family has it."""
    import transformers

    built = getattr(transformers, config)(**(HF_SMALL | settings))
    return getattr(transformers, model)._from_config(built)


def torchvision_vit(heads: int) -> nn.Module:
    from torchvision.models.vision_transformer import VisionTransformer

    return VisionTransformer(64, 16, num_layers=2, num_heads=heads, hidden_dim=96, mlp_dim=96)


def torchvision_swin(version: int) -> nn.Module:
    from torchvision.models import swin_transformer as swin

    options = {
        1: {"window_size": [7, 7]},
        2: {
            "window_size": [8, 8],
            "block": swin.SwinTransformerBlockV2,
            "downsample_layer": swin.PatchMergingV2,
        },
    }[version]
    return swin.SwinTransformer([4, 4], 24, depths=[2, 2], num_heads=[2, 4], **options)


class ClipBlock(nn.Module):
    """The block of OpenAI's CLIP: nn.MultiheadAttention, tokens first, batch second."""

    def __init__(self, dim: int = 48, heads: int = 3, causal_tokens: int = 0) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, heads)
        self.ln_1, self.ln_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 96), nn.GELU(), nn.Linear(96, dim))
        mask = torch.full((causal_tokens, causal_tokens), -torch.inf).triu(1)
        self.mask = mask if causal_tokens else None

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=self.mask)[0]
        return x + self.mlp(self.ln_2(x))


def torch_encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(48, 4, 96, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def torch_decoder() -> nn.Module:
    return nn.TransformerDecoder(nn.TransformerDecoderLayer(48, 4, 96, batch_first=True), 2)


def lucidrains_vit() -> nn.Module:
    from vit_pytorch import ViT

    return ViT(
        image_size=64,
        patch_size=16,
        num_classes=5,
        dim=48,
        depth=2,
        heads=3,
        mlp_dim=96,
        dim_head=16,
    )


def d2l_encoder() -> nn.Module:
    from d2l.torch import TransformerEncoder

    net = TransformerEncoder(20, 48, 96, 3, 2, 0.1).eval()
    net(WORDS, torch.tensor([5, 7]))  # its lazy layers learn their shapes
    return net


HF_SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 96,
    "image_size": 64,
    "patch_size": 16,
}
BEIT = {"use_relative_position_bias": True}
SAM = {"window_size": 3, "global_attn_indexes": [1], "mlp_dim": 96, "output_channels": 16}
VITDET = {"window_size": 3, "window_block_indices": [0]}
BLIP_TEXT = {"vocab_size": 20, "encoder_hidden_size": 48, "is_decoder": True, "sep_token_id": 2}
TINY = {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3}
TINY_SWIN = {"img_size": 112, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4)}

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
LARGER = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(4))
SEQUENCE = torch.randn(2, 7, 48, generator=torch.Generator().manual_seed(5))
MEMORY = torch.randn(2, 9, 48, generator=torch.Generator().manual_seed(6))
WORDS = torch.randint(0, 20, (2, 7), generator=torch.Generator().manual_seed(7))
PADDING = torch.arange(7) >= torch.tensor([[5], [7]])  # True: no word there
CAUSAL = nn.Transformer.generate_square_subsequent_mask(7)


def show(net: nn.Module, images: Tensor = IMAGES, **options: Any) -> Any:
    return net(images, **options)


def show_larger(net: nn.Module) -> Any:
    return net(LARGER)


def show_words(net: nn.Module, **options: Any) -> Any:
    mask = (~PADDING).long()
    return net(WORDS, attention_mask=mask, encoder_hidden_states=MEMORY, **options)


CLS, DIST = ("cls",), ("cls", "dist")
REGISTERS = ("cls", "reg0", "reg1", "reg2", "reg3")
GRID = (4, 4)
WINDOWS = "windows of {}, shifted in every other layer"
WINDOWS_AND_GLOBAL = "windows of {}, and the whole image in some layers"

# fmt: off
CASES = [
    Case("torchvision vit_b_16", "torchvision", MHA, lambda: torchvision_vit(12), show,
         maps_of_mha, TokenLayout(GRID, CLS)),
    Case("torchvision vit_l_16", "torchvision", MHA, lambda: torchvision_vit(16), show,
         maps_of_mha, TokenLayout(GRID, CLS)),
    Case("torchvision swin_t", "torchvision", SOFTMAX, lambda: torchvision_swin(1), show_larger,
         maps_of_torchvision_swin, WINDOWS.format("7 x 7")),
    Case("torchvision swin_v2_t", "torchvision", SOFTMAX, lambda: torchvision_swin(2),
         show_larger, maps_of_torchvision_swin, WINDOWS.format("8 x 8")),
    Case("timm vit", "timm", SDPA, lambda: timm_model("vit_tiny_patch16_224", **TINY), show,
         maps_of_timm, TokenLayout(GRID, CLS)),
    Case("timm deit distilled", "timm", SDPA,
         lambda: timm_model("deit_tiny_distilled_patch16_224", **TINY), show,
         maps_of_timm, TokenLayout(GRID, DIST)),
    Case("timm beit", "timm", SDPA, lambda: timm_model("beit_base_patch16_224", **TINY), show,
         maps_of_timm, TokenLayout(GRID, CLS)),
    Case("timm vit reg4 dinov2", "timm", SDPA,
         lambda: timm_model("vit_small_patch14_reg4_dinov2", **TINY | {"img_size": 56}),
         lambda net: net(IMAGES[..., :56, :56]),
         maps_of_timm, TokenLayout(GRID, REGISTERS, (14, 14))),
    Case("timm eva02", "timm", SDPA,
         lambda: timm_model("eva02_tiny_patch14_224", **TINY | {"img_size": 56}),
         lambda net: net(IMAGES[..., :56, :56]),
         maps_of_timm, TokenLayout(GRID, CLS, (14, 14))),
    Case("timm vit rope (mixed)", "timm", SDPA,
         lambda: timm_model("vit_small_patch16_rope_mixed_224", **TINY), show,
         maps_of_timm, TokenLayout(GRID, CLS)),
    Case("timm dinov3", "timm", SDPA,
         lambda: timm_model("vit_small_patch16_dinov3", **TINY), show,
         maps_of_timm, TokenLayout(GRID, REGISTERS)),
    Case("timm swin", "timm", SOFTMAX,
         lambda: timm_model("swin_tiny_patch4_window7_224", **TINY_SWIN), show_larger,
         maps_of_timm, WINDOWS.format("7 x 7")),
    Case("timm swin, fused", "timm", SDPA, fused_timm_swin, show_larger,
         maps_of_timm, WINDOWS.format("7 x 7")),
    Case("timm swinv2", "timm", SOFTMAX,
         lambda: timm_model("swinv2_tiny_window8_256", **TINY_SWIN | {"window_size": 7}),
         show_larger, maps_of_timm, WINDOWS.format("7 x 7")),
    Case("Hugging Face ViT", "transformers", SDPA, lambda: hf_model("ViTModel", "ViTConfig"), show,
         maps_of_transformers, TokenLayout(GRID, CLS)),
    Case("Hugging Face DeiT", "transformers", SDPA, lambda: hf_model("DeiTModel", "DeiTConfig"),
         show, maps_of_transformers, TokenLayout(GRID, DIST)),
    Case("Hugging Face BEiT", "transformers", SDPA,
         lambda: hf_model("BeitModel", "BeitConfig", **BEIT), show,
         maps_of_transformers, TokenLayout(GRID, CLS)),
    Case("Hugging Face DINOv2 with registers", "transformers", SDPA,
         lambda: hf_model("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig"), show,
         maps_of_transformers, TokenLayout(GRID, REGISTERS)),
    Case("Hugging Face CLIP vision", "transformers", SDPA,
         lambda: hf_model("CLIPVisionModel", "CLIPVisionConfig"), show,
         maps_of_transformers, TokenLayout(GRID, CLS)),
    Case("Hugging Face SigLIP vision", "transformers", f"{SDPA}, {MHA}",
         lambda: hf_model("SiglipVisionModel", "SiglipVisionConfig"), show,
         maps_of_siglip, TokenLayout(GRID), "self, cross"),
    Case("Hugging Face BLIP vision", "transformers", SOFTMAX,
         lambda: hf_model("BlipVisionModel", "BlipVisionConfig"), show,
         maps_of_transformers, TokenLayout(GRID, CLS)),
    Case("Hugging Face SAM vision", "transformers", SDPA,
         lambda: hf_model("SamVisionModel", "SamVisionConfig", **SAM), show,
         maps_of_sam, WINDOWS_AND_GLOBAL.format("3 x 3")),
    Case("Hugging Face ViTDet", "transformers", SOFTMAX,
         lambda: hf_model("VitDetModel", "VitDetConfig", **VITDET), show,
         maps_of_vitdet, WINDOWS_AND_GLOBAL.format("3 x 3")),
    Case("Hugging Face BLIP text decoder", "transformers", SOFTMAX,
         lambda: hf_model("BlipTextModel", "BlipTextConfig", **BLIP_TEXT), show_words,
         maps_of_transformers, "words, and image tokens", "self, cross"),
    Case("OpenAI CLIP image tower", "torch", MHA,
         lambda: nn.Sequential(ClipBlock(), ClipBlock()),
         lambda net: net(SEQUENCE.transpose(0, 1)),
         maps_of_mha, "tokens"),
    Case("OpenAI CLIP text tower", "torch", MHA,
         lambda: nn.Sequential(ClipBlock(causal_tokens=7), ClipBlock(causal_tokens=7)),
         lambda net: net(SEQUENCE.transpose(0, 1)), maps_of_mha, "words, causal"),
    Case("nn.TransformerEncoder", "torch", MHA, torch_encoder,
         lambda net: net(SEQUENCE), maps_of_mha, "tokens"),
    Case("nn.TransformerDecoder", "torch", MHA, torch_decoder,
         lambda net: net(SEQUENCE, MEMORY, tgt_is_causal=True, tgt_mask=CAUSAL), maps_of_mha,
         "words, and memory tokens", "self, cross"),
    Case("lucidrains vit-pytorch", "vit_pytorch", SOFTMAX, lucidrains_vit, show,
         maps_of_lucidrains, TokenLayout(GRID, CLS)),
    Case("D2L encoder", "d2l", SOFTMAX, d2l_encoder,
         lambda net: net(WORDS, torch.tensor([5, 7])), maps_of_d2l, "words, padded"),
]
# fmt: on


@dataclass
class Outcome:
    map_difference: float
    output_difference: float  # relative to the largest value of the output, where that exceeds 1
    recorder: AttentionRecorder


def conform(case: Case) -> Outcome:
    """Run the case plain, recorded and eager, and compare."""
    torch.manual_seed(0)
    net = with_sharp_attention(case.build().eval())
    with torch.no_grad():
        plain = case.run(net)
        with AttentionRecorder(net) as recorder:
            recorded = case.run(net)
        maps = case.eager(copy.deepcopy(net), case.run)
        assert [r.shape for r in recorder.records] == [tuple(m.shape) for m in maps]
        return Outcome(
            max(largest(r.weights() - m) for r, m in zip(recorder.records, maps, strict=True)),
            max(
                largest(a - b) / max(1.0, largest(a))
                for a, b in zip(tensors(plain), tensors(recorded), strict=True)
            ),
            recorder,
        )


def with_sharp_attention(net: nn.Module) -> nn.Module:
    """Larger random weights: fresh ones attend evenly, which hides mistakes."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim >= 2 or not parameter.any():
                parameter.normal_(std=0.2)
    return net


def tensors(output: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def largest(difference: Tensor) -> float:
    return difference.abs().max().item()


@pytest.mark.hubs
@pytest.mark.parametrize("case", [pytest.param(c, id=c.family.replace(" ", "-")) for c in CASES])
def test_records_equal_the_familys_own_maps(case: Case) -> None:
    ensure_operators()
    pytest.importorskip(case.package)
    outcome = conform(case)
    records = outcome.recorder.records
    assert outcome.map_difference <= 1e-5
    assert outcome.output_difference <= (1e-6 if MHA in case.route else 0.0)
    assert set(case.kinds.split(", ")) == {record.kind for record in records}
    if isinstance(case.tokens, TokenLayout):
        assert {record.shape[3] for record in records} == {case.tokens.tokens}
    if SDPA in case.route:
        assert any(record.key is not None for record in records)
    else:
        assert all((record.map is not None) == (case.route == SOFTMAX) for record in records)


class Whole(nn.Module):
    """A net and its input, called without arguments."""

    def __init__(self, net: nn.Module, run: Callable) -> None:
        super().__init__()
        self.net, self.run = net, run

    def forward(self) -> Any:
        return self.run(self.net)


@pytest.mark.hubs
@pytest.mark.parametrize(
    "family", ["torchvision vit_b_16", "timm beit", "timm swin, fused", "Hugging Face BLIP vision"]
)
@torch.no_grad()
def test_memory_is_known_before_the_net_runs(family: str) -> None:
    ensure_operators()
    (case,) = (case for case in CASES if case.family == family)
    pytest.importorskip(case.package)
    net = Whole(case.build().eval(), case.run)
    with AttentionRecorder(net) as recorder:
        net()
    assert AttentionRecorder.estimate(net) == recorder.nbytes


def table() -> str:
    """The conformance table, as Markdown; without families whose package is not installed."""
    rows = [
        "| family | seen at | largest difference from its eager maps | output | tokens |",
        "|---|---|---|---|---|",
    ]
    for case in CASES:
        try:
            outcome = conform(case)
        except ImportError as missing:
            print(f"{case.family} is left out: {missing}", file=sys.stderr)
            continue
        same = outcome.output_difference
        tokens = case.tokens
        if isinstance(tokens, TokenLayout):
            tokens = ", ".join([*tokens.prefix, "{} x {} patches".format(*tokens.grid)])
        rows.append(
            f"| {case.family} | {case.route} | {outcome.map_difference:.0e} "
            f"| {'same to the bit' if same == 0 else f'{same:.0e}'} | {tokens} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    ensure_operators()
    print(table())
