"""One vision transformer, with the published variants as presets of its config.

    >>> net = build("cs231n", img_size=64, patch_size=4)
    >>> net(torch.randn(2, 3, 64, 64)).shape  # images (B, C, H, W) -> logits (B, classes)
    torch.Size([2, 10])

Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.nets import mimetic_init
from model.nets.attention import SCALES, MultiHeadAttention, check_heads
from model.nets.patch_embedding import ConvPatches, LinearPatches, StemPatches, stem_strides
from model.nets.position_embedding import POSITIONS, LearnedPositions, make_positions
from model.nets.uninitialised import are_weights_given
from model.tokens import TokenLayout, grid_of, pair


def quick_gelu(x: Tensor) -> Tensor:
    """Approximate GELU by x · sigmoid(1.702 x), as CLIP was trained."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "quick_gelu": quick_gelu,
    "relu": F.relu,
}

CHOICES: dict[str, tuple[str, ...]] = {
    "embed": ("linear", "conv", "stem"),
    "norm": ("pre", "post"),
    "activation": tuple(ACTIVATIONS),
    "positions": POSITIONS,
    "pool": ("cls", "mean", "mean_all", "cls_and_mean"),
    "scale_by": SCALES,
    "init": ("trunc_normal", "normal", "mimetic"),
}


@dataclass(frozen=True)
class ViTConfig:
    """Configuration of a vision transformer: every choice in which published ones differ.

        >>> config = ViTConfig(img_size=32, patch_size=8, dim=48, heads=3, registers=2)
        >>> config.tokens
        TokenLayout(grid=(4, 4), prefix=('cls', 'reg0', 'reg1'), patch=(8, 8), units=None)
        >>> import json
        >>> from dataclasses import asdict
        >>> ViTConfig(**json.loads(json.dumps(asdict(config)))) == config  # JSON keeps it whole
        True

    Raises:
        ValueError: in a sentence, for values that make no model.
    """

    img_size: int | tuple[int, int] = 224  # pixels, or (height, width)
    patch_size: int = 16  # pixels
    in_channels: int = 3
    num_classes: int = 1000  # 0: no head, the output is the pooled vector
    dim: int = 768
    depth: int = 12
    heads: int = 12
    mlp_dim: int = 0  # 0: four times dim
    embed: str = "conv"  # "linear": flattened patches; "stem": small convolutions
    stem: tuple[int, ...] = ()  # channels of the stem's stages
    stem_depth: int = 1  # convolutions of each stage; those after the first add to it
    stem_centred: bool = True  # tokens see around the middle of their patch, not its corner
    patch_bias: bool = True
    patch_norms: bool = False  # LayerNorms before and after a "linear" embedding
    norm: str = "pre"  # before each sublayer, or "post": after its residual
    norm_embedding: bool = False  # a LayerNorm between the embedding and the first block
    final_norm: bool = True  # a LayerNorm on the pooled vector
    norm_before_pool: bool = False  # that LayerNorm on every token instead
    norm_eps: float = 1e-6
    activation: str = "gelu"
    positions: str = "learned"
    cls_token: bool = True
    registers: int = 0  # tokens that stand for nothing; Darcet et al. 2024
    pool: str = "cls"  # or "mean" of the patches, "mean_all" tokens, "cls_and_mean" side by side
    qkv_bias: bool = True
    out_bias: bool = True
    scale_by: str = "head"  # see MultiHeadAttention
    dropout: float = 0.0  # in the MLP (twice), and after the attention's projection
    proj_dropout: bool = True  # False: none after the attention's projection
    embed_dropout: float = 0.0  # after the positions are added
    attention_dropout: float = 0.0  # on the attention map
    drop_path: float = 0.0  # of the last block; rises from 0 in the first
    patch_drop: float = 0.0  # share of the patches that a training step leaves out
    projection: int = 0  # width of a last projection without bias; 0: none
    init: str = "trunc_normal"  # N(0, 0.02) cut at two deviations; "normal": not cut; or "mimetic"

    def __post_init__(self) -> None:
        self._check_types()
        # JSON has no tuples.
        object.__setattr__(self, "stem", tuple(self.stem))
        if not isinstance(self.img_size, int):
            object.__setattr__(self, "img_size", pair(self.img_size))
        self._check_values()

    def _check_types(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), type(field.default)
            kinds = {int: (int,), float: (int, float), tuple: (list, tuple)}.get(kind, (kind,))
            if field.name != "img_size" and type(value) not in kinds:
                raise ValueError(
                    f"{field.name} is of type {kind.__name__}, such as {field.default!r}; "
                    f"{value!r} is not."
                )

    def _check_values(self) -> None:
        for name, valid in CHOICES.items():
            if getattr(self, name) not in valid:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is unknown: choose {', '.join(valid)}."
                )
        for name in ("in_channels", "depth", "stem_depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, not {getattr(self, name)}.")
        for name in ("num_classes", "mlp_dim", "registers", "projection"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is 0 or more, not {getattr(self, name)}.")
        for name in ("dropout", "embed_dropout", "attention_dropout", "drop_path", "patch_drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} is a probability from 0 to below 1, not {getattr(self, name)}."
                )
        if not 0 <= self.norm_eps <= 1:  # a NaN is not, either
            raise ValueError(f"norm_eps is a small number from 0 to 1, not {self.norm_eps}.")
        grid_of(self.img_size, self.patch_size)
        check_heads(self.dim, self.heads)
        if self.embed == "stem":
            stem_strides(self.patch_size, self.stem)
        elif self.stem:
            raise ValueError("stem lists the stages of embed='stem': give both or neither.")
        if self.patch_norms and self.embed != "linear":
            raise ValueError("patch_norms stand around embed='linear': give both or neither.")
        if self.pool in ("cls", "cls_and_mean") and not self.cls_token:
            raise ValueError(
                f"pool='{self.pool}' reads the class token, which cls_token=False leaves out: "
                "choose pool='mean'."
            )
        if self.pool == "cls_and_mean" and self.final_norm and not self.norm_before_pool:
            raise ValueError(
                "pool='cls_and_mean' lays two vectors side by side, and their LayerNorm comes "
                "before: give norm_before_pool=True too, or final_norm=False."
            )

    @property
    def hidden_dim(self) -> int:
        """Width between the two layers of the MLP."""
        return self.mlp_dim or 4 * self.dim

    @property
    def pooled_dim(self) -> int:
        """Width of the pooled vector."""
        return 2 * self.dim if self.pool == "cls_and_mean" else self.dim

    @property
    def tokens(self) -> TokenLayout:
        """Layout of the tokens: class token, registers, then patches row by row."""
        prefix = ("cls",) * self.cls_token + tuple(f"reg{i}" for i in range(self.registers))
        grid = grid_of(self.img_size, self.patch_size)
        return TokenLayout(grid, prefix, pair(self.patch_size))


def make_dropout(probability: float) -> nn.Module:
    """Make a dropout layer; one that drops nothing is no layer, and takes no time."""
    return nn.Dropout(probability) if probability else nn.Identity()


class MLP(nn.Module):
    """Apply two linear layers to each token by itself: (B, N, D) -> (B, N, D)."""

    def __init__(self, dim: int, hidden: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.activation = ACTIVATIONS[activation]
        self.dropout = make_dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.dropout(self.activation(self.fc1(tokens)))
        return self.dropout(self.fc2(hidden))


class DropPath(nn.Module):
    """Leave a residual branch out for some images of the batch, in training only.

    The others are scaled up so that the mean stays. Huang et al. 2016, "Deep Networks with
    Stochastic Depth".
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return branch
        keep = 1 - self.probability
        mask = branch.new_empty(branch.shape[0], 1, 1).bernoulli_(keep)
        return branch * (mask / keep)


class PatchDropout(nn.Module):
    """Leave out a share of the patches, in training only: (B, N, D) -> (B, M, D).

    Each image loses other patches, the rest keep their order, and the blocks cost less. The first
    `prefix` tokens always stay.
    Liu et al. 2023, "PatchDropout: Economizing Vision Transformers Using Patch Dropout".
    """

    def __init__(self, share: float, prefix: int) -> None:
        super().__init__()
        self.share, self.prefix = share, prefix

    def forward(self, tokens: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return tokens
        prefix, patches = tokens.tensor_split([self.prefix], dim=1)
        batch, count, dim = patches.shape
        kept = max(1, round(count * (1 - self.share)))
        chosen = torch.rand(batch, count, device=tokens.device).topk(kept).indices.sort().values
        patches = patches.gather(1, chosen[..., None].expand(-1, -1, dim))
        return torch.cat((prefix, patches), dim=1)


class Block(nn.Module):
    """Apply attention, then an MLP, each with its residual: (B, N, D) -> (B, N, D).

    The LayerNorms stand before the sublayers ("pre") or after their residuals ("post").
    """

    def __init__(self, config: ViTConfig, drop_path: float = 0.0) -> None:
        super().__init__()
        self.pre_norm = config.norm == "pre"
        self.norm_attention = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.attention = MultiHeadAttention(
            config.dim,
            config.heads,
            qkv_bias=config.qkv_bias,
            out_bias=config.out_bias,
            scale_by=config.scale_by,
            dropout=config.attention_dropout,
        )
        self.dropout = make_dropout(config.dropout if config.proj_dropout else 0.0)
        self.norm_mlp = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.mlp = MLP(config.dim, config.hidden_dim, config.activation, config.dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        if self.pre_norm:
            tokens = tokens + self._attend(self.norm_attention(tokens))
            return tokens + self.drop_path(self.mlp(self.norm_mlp(tokens)))
        tokens = self.norm_attention(tokens + self._attend(tokens))
        return self.norm_mlp(tokens + self.drop_path(self.mlp(tokens)))

    def _attend(self, tokens: Tensor) -> Tensor:
        return self.drop_path(self.dropout(self.attention(tokens)))


class VisionTransformer(nn.Module):
    """Classify images (B, C, H, W) -> logits (B, classes), by attention among patches.

        >>> net = VisionTransformer(ViTConfig(img_size=32, dim=48, depth=2, heads=3)).eval()
        >>> images = torch.randn(2, 3, 32, 32)
        >>> net(images).shape
        torch.Size([2, 1000])
        >>> net.encode(images).shape  # the class token and 2 x 2 patches
        torch.Size([2, 5, 48])

    With `num_classes=0` the output is the pooled (and projected) vector, (B, D), or (B, 2 D) where
    two vectors are pooled. `build` makes the published variants.

    Args:
        config: sizes and choices of the net.

    Raises:
        ValueError: in `forward` and `encode`, for images of another size than the config's.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = config.tokens
        dim, positioned = config.dim, self.tokens.patches + config.cls_token
        self.embed = make_embedding(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if config.cls_token else None
        # Registers stand nowhere, so no position is added to them.
        shape = (1, config.registers, dim)
        self.registers = nn.Parameter(torch.zeros(shape)) if config.registers else None
        self.positions = make_positions(config.positions, positioned, dim)
        self.patch_dropout = PatchDropout(config.patch_drop, len(self.tokens.prefix))
        self.embed_dropout = make_dropout(config.embed_dropout)
        self.norm_embedding = self._norm(config.norm_embedding)
        step = config.drop_path / max(config.depth - 1, 1)
        self.blocks = nn.ModuleList(Block(config, i * step) for i in range(config.depth))
        self.norm = self._norm(config.final_norm)
        self.projection = (
            nn.Linear(config.pooled_dim, config.projection, bias=False)
            if config.projection
            else nn.Identity()
        )
        width = config.projection or config.pooled_dim
        self.head = nn.Linear(width, config.num_classes) if config.num_classes else nn.Identity()
        is_sketch = next(self.parameters()).is_meta
        if not (is_sketch or are_weights_given()):
            self._initialise()

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.encode(images)
        if self.config.norm_before_pool:
            pooled = self._pool(self.norm(tokens))
        else:
            pooled = self.norm(self._pool(tokens))
        return self.head(self.projection(pooled))

    def encode(self, images: Tensor) -> Tensor:
        """Compute every token after the last block: (B, C, H, W) -> (B, N, D).

        The tokens stand in the order of `self.tokens`. Raises ValueError for images of another
        size than the config's, since the position codes belong to that size.
        """
        self._check(images)
        tokens = self.embed(images)
        batch = len(tokens)
        if self.cls_token is not None:
            tokens = torch.cat((self.cls_token.expand(batch, -1, -1), tokens), dim=1)
        tokens = self.positions(tokens)
        if self.registers is not None:
            cls, patches = tokens.tensor_split([int(self.config.cls_token)], dim=1)
            tokens = torch.cat((cls, self.registers.expand(batch, -1, -1), patches), dim=1)
        tokens = self.norm_embedding(self.embed_dropout(self.patch_dropout(tokens)))
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def _pool(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, D), or (B, 2 D) for "cls_and_mean"."""
        if self.config.pool == "cls":
            return tokens[:, 0]
        if self.config.pool == "mean_all":
            return tokens.mean(dim=1)
        mean = tokens[:, self.tokens.patch_slice].mean(dim=1)
        return mean if self.config.pool == "mean" else torch.cat((tokens[:, 0], mean), dim=1)

    def _check(self, images: Tensor) -> None:
        wanted = (self.config.in_channels, *self.tokens.image_size)
        if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
            channels, height, width = wanted
            raise ValueError(
                f"This model takes images of shape (batch, {channels}, {height}, {width}), because "
                f"it knows the positions of {height} x {width} pixels alone. It was given "
                f"{tuple(images.shape)}. Resize the images, or build a model of their size."
            )

    def _norm(self, wanted: bool) -> nn.Module:
        config = self.config
        return nn.LayerNorm(config.dim, eps=config.norm_eps) if wanted else nn.Identity()

    def _initialise(self) -> None:
        draw = nn.init.normal_ if self.config.init == "normal" else _truncated_normal_
        for module in self.modules():
            if isinstance(module, nn.Linear) or (
                isinstance(module, nn.Conv2d) and module is self.embed.proj
            ):
                draw(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for token in (self.cls_token, self.registers):
            if token is not None:
                draw(token, std=0.02)
        if self.config.init == "mimetic":
            for module in self.modules():
                if isinstance(module, MultiHeadAttention):
                    mimetic_init.init_attention(module)
            if isinstance(self.positions, LearnedPositions):
                mimetic_init.init_positions(self.positions, self.tokens)


def _truncated_normal_(weight: Tensor, std: float) -> None:
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def make_embedding(config: ViTConfig) -> LinearPatches | ConvPatches | StemPatches:
    """Make the module that turns images into patch tokens, (B, C, H, W) -> (B, N, D)."""
    patch, channels, dim = config.patch_size, config.in_channels, config.dim
    if config.embed == "stem":
        return StemPatches(
            patch,
            channels,
            dim,
            config.stem,
            bias=config.patch_bias,
            centred=config.stem_centred,
            depth=config.stem_depth,
        )
    if config.embed == "linear":
        eps = config.norm_eps if config.patch_norms else None
        return LinearPatches(patch, channels, dim, bias=config.patch_bias, norm_eps=eps)
    return ConvPatches(patch, channels, dim, bias=config.patch_bias)


PRESETS: dict[str, ViTConfig] = {
    "vit": ViTConfig(),
    "cs231n": ViTConfig(
        img_size=32,
        patch_size=8,
        num_classes=10,
        dim=128,
        depth=6,
        heads=4,
        mlp_dim=256,
        embed="linear",
        norm="post",
        final_norm=False,
        norm_eps=1e-5,
        positions="sinusoidal",
        cls_token=False,
        pool="mean",
        dropout=0.1,
        embed_dropout=0.1,
        attention_dropout=0.1,
        init="normal",
    ),
    "d2l": ViTConfig(
        img_size=96,
        patch_size=16,
        num_classes=10,
        dim=512,
        depth=2,
        heads=8,
        mlp_dim=2048,
        norm_eps=1e-5,
        qkv_bias=False,
        out_bias=False,
        dropout=0.1,
        proj_dropout=False,
        embed_dropout=0.1,
        attention_dropout=0.1,
    ),
    "einops_b16": ViTConfig(heads=8, norm_eps=1e-5, pool="mean_all", scale_by="width"),
    "clip_b32": ViTConfig(
        patch_size=32,
        num_classes=0,
        patch_bias=False,
        norm_embedding=True,
        norm_eps=1e-5,
        activation="quick_gelu",
        projection=512,
    ),
}


def build(preset: str, **overrides: Any) -> VisionTransformer:
    """Build a vision transformer with fresh weights, from a preset's config with overrides.

        >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3, num_classes=10).eval()
        >>> net(torch.randn(1, 3, 32, 32)).shape
        torch.Size([1, 10])

    In eval mode each published variant computes what its published code computes, oddities
    included:

    - "vit": the plain model of Dosovitskiy et al. 2021; without overrides, ViT-B/16.
    - "cs231n": the model of Stanford's CS231n assignment. LayerNorms stand after the
      sublayers and none before the head; there is no class token, the mean of the patches is
      classified; one sinusoidal code runs along the flattened grid; the MLP uses GELU where
      the assignment's docstring says ReLU.
    - "d2l": "Transformers for Vision" in Dive into Deep Learning, Zhang et al. 2023. The
      attention's four projections have no bias, and no dropout follows the last of them; the
      final LayerNorm is stored as part of the head.
    - "einops_b16": the einops tutorial "Implementing ViT in PyTorch", Zuppichini 2021. Eight
      heads where ViT-B has twelve; scores divided by sqrt(768), the whole width, where a
      head has 96; the mean of *all* tokens, then a LayerNorm. Its file stores queries, keys
      and values interleaved, "(h d 3)": row 3 (96 h + d) + i of `qkv` is row 96 h + d of the
      query (i = 0), key (1) or value (2). The tutorial's own listing divides after the
      softmax; `scale_by="after_softmax"` is that model.
    - "clip_b32": the image tower of CLIP ViT-B/32, Radford et al. 2021. QuickGELU; patches
      without bias; a LayerNorm before the first block; it ends in a projection to the space
      it shares with text, not in classes.

    Args:
        preset: one of `PRESETS`.
        overrides: fields of `ViTConfig` that replace the preset's.

    Raises:
        ValueError: for an unknown preset or override, and for values that make no model.
    """
    if preset not in PRESETS:
        raise ValueError(f"There is no preset {preset!r}: choose one of {', '.join(PRESETS)}.")
    known = [field.name for field in fields(ViTConfig)]
    unknown = [name for name in overrides if name not in known]
    if unknown:
        raise ValueError(
            f"A vision transformer has no setting {', '.join(map(repr, unknown))}: choose from "
            f"{', '.join(known)}."
        )
    return VisionTransformer(replace(PRESETS[preset], **overrides))
