"""A file with somebody else's names computes, in our model, what their model computes.

Each reference is their library's own model where there is one, and otherwise a plain module
written here under the published names.
"""

import importlib.util
import math
import os
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils import prune

from model import zoo
from model.datasets import samples
from model.errors import ModelRejected
from model.nets.torchvision_cpu import ensure_operators
from model.nets.vit import PRESETS, VisionTransformer, build

SHARED = Path(os.environ.get("SACCADE_SHARED", Path(__file__).parents[3].parent / "shared"))
REAL = SHARED / "weights" / "vit_tiny_patch16_224_imagenet1k.fp16.safetensors"

needs_lucidrains = pytest.mark.skipif(
    not importlib.util.find_spec("vit_pytorch"), reason="no vit-pytorch"
)
needs_timm = pytest.mark.skipif(not importlib.util.find_spec("timm"), reason="no timm")
needs_hf = pytest.mark.skipif(
    not importlib.util.find_spec("transformers"), reason="no transformers"
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@torch.no_grad()
def scramble(net: nn.Module) -> nn.Module:
    """Weights of order one, norms, biases and tokens included, so that nothing can hide."""
    for parameter in net.parameters():
        spread = parameter.flatten(1).shape[1] ** -0.5 if parameter.ndim > 1 else 0.3
        parameter.normal_(std=spread)
        if parameter.ndim == 1:
            parameter.add_(0.5)
    return net.eval()


@torch.no_grad()
def check(net: nn.Module, path: Path, size, channels: int = 3, state=None, **given) -> zoo.Bundle:
    """Save the reference's weights, open them, and compare what both compute."""
    torch.save(net.state_dict() if state is None else state, path)
    bundle = zoo.load(path, **given)
    size = (size, size) if isinstance(size, int) else size
    assert bundle.image_size == size
    images = torch.randn(2, channels, *size)
    expected = net(images)
    assert expected.std() > 0.01
    assert (bundle.net(images) - expected).abs().max() < 1e-4 * expected.abs().max()
    assert bundle.prepare(samples.load("coffee")).shape == (1, channels, *size)
    assert not bundle.net.training
    return bundle


@pytest.fixture
def file(tmp_path):
    return tmp_path / "mine.pt"


# Plain modules under the published names


def multi_head(query, key, value, heads, divisor):
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    weights = (query @ key.mT / divisor).softmax(-1)
    return (weights @ value).transpose(1, 2).flatten(2)


class Parts(nn.Module):
    """Children by name, a dot in the name making a child of a child."""

    def __init__(self, **children):
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)


class Assignment(nn.Module):
    """The CS231n assignment's vision transformer."""

    def __init__(self, size=32, patch=8, dim=32, depth=2, heads=4, hidden=48, length=5000):
        super().__init__()
        self.patch, self.heads = patch, heads
        self.patch_embed = Parts(proj=nn.Linear(3 * patch * patch, dim))
        self.positional_encoding = nn.Module()
        self.positional_encoding.register_buffer("pe", self.table(length, dim)[None])
        self.transformer = Parts(
            layers=nn.ModuleList(
                Parts(
                    self_attn=Parts(
                        **{n: nn.Linear(dim, dim) for n in ("query", "key", "value", "proj")}
                    ),
                    norm_self=nn.LayerNorm(dim),
                    ffn=Parts(fc1=nn.Linear(dim, hidden), fc2=nn.Linear(hidden, dim)),
                    norm_ffn=nn.LayerNorm(dim),
                )
                for _ in range(depth)
            )
        )
        self.head = nn.Linear(dim, 10)

    def table(self, length, dim):
        angle = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, dim, 2) / dim)
        return torch.stack((angle.sin(), angle.cos()), -1).flatten(1)

    def forward(self, images):
        p = self.patch
        x = torch.stack(
            [
                images[:, :, y : y + p, x : x + p].flatten(1)
                for y in range(0, images.shape[2], p)
                for x in range(0, images.shape[3], p)
            ],
            dim=1,
        )
        x = self.patch_embed.proj(x)
        x = x + self.positional_encoding.pe[:, : x.shape[1]]
        for layer in self.transformer.layers:
            a = layer.self_attn
            mixed = multi_head(a.query(x), a.key(x), a.value(x), self.heads, self.divisor(x))
            x = layer.norm_self(x + a.proj(mixed))
            x = layer.norm_ffn(x + layer.ffn.fc2(nn.functional.gelu(layer.ffn.fc1(x))))
        return self.head(x.mean(1))

    def divisor(self, x):
        return (x.shape[-1] / self.heads) ** 0.5


class OwnTable(Assignment):
    """A student who computed the positions in another way."""

    def table(self, length, dim):
        return torch.randn(length, dim)


class Book(nn.Module):
    """Dive into Deep Learning's vision transformer."""

    def __init__(self, size=32, patch=8, dim=32, depth=2, heads=8, hidden=48, channels=1):
        super().__init__()
        self.heads = heads
        self.patch_embedding = Parts(conv=nn.Conv2d(channels, dim, patch, patch))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embedding = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, dim))
        self.blks = nn.ModuleList(
            Parts(
                ln1=nn.LayerNorm(dim),
                attention=Parts(**{f"W_{n}": nn.Linear(dim, dim, bias=False) for n in "qkvo"}),
                ln2=nn.LayerNorm(dim),
                mlp=Parts(dense1=nn.Linear(dim, hidden), dense2=nn.Linear(hidden, dim)),
            )
            for _ in range(depth)
        )
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 10))

    def forward(self, images):
        x = self.patch_embedding.conv(images).flatten(2).mT
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.pos_embedding
        for block in self.blks:
            normed, a = block.ln1(x), block.attention
            mixed = multi_head(
                a.W_q(normed),
                a.W_k(normed),
                a.W_v(normed),
                self.heads,
                (x.shape[-1] / self.heads) ** 0.5,
            )
            x = x + a.W_o(mixed)
            x = x + block.mlp.dense2(nn.functional.gelu(block.mlp.dense1(block.ln2(x))))
        return self.head(x[:, 0])


class Residual(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x):
        return x + self.fn(x)


class TutorialEmbedding(nn.Module):
    def __init__(self, size, patch, dim):
        super().__init__()
        self.projection = nn.Sequential(nn.Conv2d(3, dim, patch, patch), nn.Flatten(2))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.zeros((size // patch) ** 2 + 1, dim))

    def forward(self, images):
        x = self.projection(images).mT
        return torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.positions


class TutorialAttention(nn.Module):
    def __init__(self, dim, heads, fused):
        super().__init__()
        self.heads, self.fused = heads, fused
        if fused:
            self.qkv = nn.Linear(dim, dim * 3)
        else:
            self.queries, self.keys, self.values = (nn.Linear(dim, dim) for _ in range(3))
        self.projection = nn.Linear(dim, dim)

    def forward(self, x):
        if self.fused:  # (h d qkv)
            parts = self.qkv(x).unflatten(-1, (self.heads, -1, 3)).flatten(-3, -2).unbind(-1)
        else:
            parts = self.queries(x), self.keys(x), self.values(x)
        return self.projection(multi_head(*parts, self.heads, x.shape[-1] ** 0.5))


class MeanOfAll(nn.Module):
    def forward(self, x):
        return x.mean(1)


def tutorial(size=32, patch=8, dim=48, depth=2, heads=8, fused=True):
    """The einops tutorial's nested Sequentials."""
    blocks = (
        nn.Sequential(
            Residual(
                nn.Sequential(
                    nn.LayerNorm(dim), TutorialAttention(dim, heads, fused), nn.Dropout(0.0)
                )
            ),
            Residual(
                nn.Sequential(
                    nn.LayerNorm(dim),
                    nn.Sequential(
                        nn.Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(0.0), nn.Linear(4 * dim, dim)
                    ),
                    nn.Dropout(0.0),
                )
            ),
        )
        for _ in range(depth)
    )
    ending = nn.Sequential(MeanOfAll(), nn.LayerNorm(dim), nn.Linear(dim, 7))
    return nn.Sequential(TutorialEmbedding(size, patch, dim), nn.Sequential(*blocks), ending)


class Tower(nn.Module):
    """OpenAI CLIP's image tower."""

    def __init__(self, size=32, patch=8, dim=128, depth=2, heads=2, out=20):
        super().__init__()
        self.conv1 = nn.Conv2d(3, dim, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(dim))
        self.positional_embedding = nn.Parameter(torch.zeros((size // patch) ** 2 + 1, dim))
        self.ln_pre, self.ln_post = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.transformer = Parts(
            resblocks=nn.ModuleList(
                Parts(
                    attn=nn.MultiheadAttention(dim, heads, batch_first=True),
                    ln_1=nn.LayerNorm(dim),
                    mlp=Parts(c_fc=nn.Linear(dim, 4 * dim), c_proj=nn.Linear(4 * dim, dim)),
                    ln_2=nn.LayerNorm(dim),
                )
                for _ in range(depth)
            )
        )
        self.proj = nn.Parameter(torch.zeros(dim, out))

    def forward(self, images):
        x = self.conv1(images).flatten(2).mT
        x = torch.cat((self.class_embedding.expand(len(x), 1, -1), x), 1)
        x = self.ln_pre(x + self.positional_embedding)
        for block in self.transformer.resblocks:
            normed = block.ln_1(x)
            x = x + block.attn(normed, normed, normed, need_weights=False)[0]
            hidden = block.mlp.c_fc(block.ln_2(x))
            x = x + block.mlp.c_proj(hidden * torch.sigmoid(1.702 * hidden))
        return self.ln_post(x[:, 0]) @ self.proj


# The courses and books


def test_the_assignment(file):
    bundle = check(scramble(Assignment()), file, 32)
    assert bundle.card.checkpoint_format == "the CS231n assignment's"
    assert bundle.net.config.positions == "sinusoidal"
    assert bundle.tokens.prefix == ()
    assert bundle.classes[3] == "cat"
    assert (bundle.mean, bundle.std) == ((0.5,) * 3, (0.5,) * 3)


def test_the_assignment_at_another_size_and_with_other_heads(file):
    net = scramble(Assignment(size=24, patch=4, heads=8))
    assert zoo_fails(net, file, heads=8, img_size=10)
    check(net, file, 24, heads=8, img_size=24)


def test_the_assignment_with_a_table_of_positions_of_one_s_own(file):
    bundle = check(scramble(OwnTable()), file, 32)
    assert bundle.net.config.positions == "learned"


def test_the_assignment_with_a_short_table(file):
    torch.save(scramble(Assignment(length=9)).state_dict(), file)
    with pytest.raises(ModelRejected, match="9 positions for 16 patches: say the height"):
        zoo.load(file)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_book(file, channels):
    bundle = check(scramble(Book(channels=channels)), file, 32, channels)
    assert bundle.card.checkpoint_format == "Dive into Deep Learning's"
    assert bundle.classes[9] == "Ankle boot"
    assert (bundle.mean, bundle.std) == ((0.0,) * channels, (1.0,) * channels)
    assert bundle.net.config.heads == 8


@pytest.mark.parametrize("fused", [True, False])
def test_the_tutorial(file, fused):
    bundle = check(scramble(tutorial(fused=fused)), file, 32)
    assert bundle.card.checkpoint_format == "the einops tutorial's"
    assert bundle.classes is None
    check(scramble(tutorial(heads=4)), file, 32, heads=4)


@pytest.mark.parametrize("whole", [True, False])
def test_clip_s_image_tower(file, whole):
    net = scramble(Tower())
    state = net.state_dict()
    if whole:  # beside its text tower, as in the published file
        state = {f"visual.{name}": t for name, t in state.items()}
        state["transformer.resblocks.0.attn.in_proj_weight"] = torch.ones(3, 3)
        state["token_embedding.weight"] = torch.ones(5, 3)
        state["logit_scale"] = torch.tensor(4.6)
    bundle = check(net, file, 32, state=state)
    assert bundle.card.checkpoint_format == "OpenAI CLIP's image tower"
    assert bundle.net.config.heads == 2
    assert bundle.mean[0] == pytest.approx(0.48145466)
    assert bundle.classes is None


# Libraries


def torchvision_vit(**changes):
    ensure_operators()
    from torchvision.models import VisionTransformer as Theirs

    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2}
    return Theirs(**sizes | {"hidden_dim": 128, "mlp_dim": 48, "num_classes": 1000} | changes)


def test_torchvision(file):
    bundle = check(scramble(torchvision_vit()), file, 32)
    assert bundle.card.checkpoint_format == "torchvision's"
    assert bundle.classes[:2] == ["tench", "goldfish"]
    assert bundle.mean[0] == 0.485


def test_torchvision_under_its_older_names(file):
    net = scramble(torchvision_vit(num_classes=5))
    state = {
        name.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): tensor
        for name, tensor in net.state_dict().items()
    }
    assert check(net, file, 32, state=state).classes is None


def timm_vit(kind: str = "VisionTransformer", **changes):
    ensure_operators()
    import timm.models

    module = timm.models.deit if "Distilled" in kind else timm.models.vision_transformer
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2}
    return getattr(module, kind)(**sizes | {"num_classes": 6} | changes)


@pytest.mark.hubs
@needs_timm
@pytest.mark.parametrize(
    ("changes", "prefix"),
    [
        ({}, ("cls",)),
        ({"qkv_bias": False, "mlp_ratio": 2}, ("cls",)),
        ({"init_values": 1e-5}, ("cls",)),
        ({"reg_tokens": 3}, ("cls", "reg0", "reg1", "reg2")),
        ({"global_pool": "avg"}, ("cls",)),
        ({"global_pool": "avg", "class_token": False}, ()),
        ({"global_pool": "avg", "class_token": False, "reg_tokens": 1}, ("reg0",)),
        ({"num_classes": 0}, ("cls",)),
        ({"in_chans": 1}, ("cls",)),
    ],
)
def test_timm(file, changes, prefix):
    net = scramble(timm_vit(**changes))
    bundle = check(net, file, 32, changes.get("in_chans", 3))
    assert bundle.card.checkpoint_format == "timm's"
    assert bundle.tokens.prefix == prefix


@pytest.mark.hubs
@needs_timm
def test_timm_s_variant_of_clip(file):
    net = timm_vit(pre_norm=True, norm_layer=nn.LayerNorm)
    check(scramble(net), file, 32)


@pytest.mark.hubs
@needs_timm
def test_timm_with_a_distillation_token(file):
    bundle = check(scramble(timm_vit("VisionTransformerDistilled")), file, 32)
    assert bundle.tokens.prefix == ("cls", "dist")
    assert bundle.mean[0] == 0.485
    untrained = zoo.load(file, weights="random")
    assert type(untrained.net) is type(bundle.net)


@pytest.mark.hubs
@needs_timm
@pytest.mark.parametrize("size", [(16, 40), (16, 32), (24, 40), (48, 64)])
def test_an_image_that_is_not_square_has_to_be_said(file, size):
    """The last three have as many positions as a square has patches."""
    net = scramble(timm_vit(img_size=size))
    message = zoo_fails(net, file)
    assert "img_size=(height, width)" in message and f"such as {size[0]} x {size[1]}" in message
    check(net, file, size, img_size=size)


@pytest.mark.hubs
@needs_timm
@pytest.mark.parametrize("size", [32, (24, 40)])
@pytest.mark.parametrize(
    ("changes", "prefix"),
    [
        ({"init_values": 1e-5}, ("cls",)),
        ({"reg_tokens": 4}, ("cls", "reg0", "reg1", "reg2", "reg3")),
    ],
)
def test_a_class_token_without_a_position_is_believed_where_the_size_is_said(
    file, changes, prefix, size
):
    net = scramble(timm_vit(img_size=size, no_embed_class=True, **changes))
    message = zoo_fails(net, file)
    assert ("32 x 32 if its class token has no position" in message) == (size == 32)
    assert check(net, file, size, img_size=size).tokens.prefix == prefix


@pytest.mark.hubs
@needs_timm
@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        (48, "Pictures of 48 x 48 pixels have 36 patches of 8 x 8, and its 17 positions are"),
        ((8, 40), "Pictures of 8 x 40 pixels have 5 patches"),
        (50, "multiples of 8, which 50 x 50 are not"),
    ],
)
def test_a_size_that_is_not_the_file_s_is_a_true_sentence(file, size, sentence):
    message = zoo_fails(timm_vit(), file, img_size=size)
    assert sentence in message
    assert "=" not in message  # nothing that only Python's users could follow


@pytest.mark.hubs
@needs_timm
@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"qk_norm": True}, "attn.q_norm.weight"),
        ({"class_token": False, "global_pool": "map"}, "attn_pool"),
        (
            {"class_token": False, "global_pool": "avg", "fc_norm": False},
            'pool="mean", for instance',
        ),
        ({"patch_size": (8, 4)}, "patches are not square"),
    ],
)
def test_what_our_model_has_no_place_for_is_named(file, changes, word):
    assert word in zoo_fails(timm_vit(**changes), file)


@pytest.mark.hubs
@needs_timm
@pytest.mark.parametrize("class_token", [True, False])
def test_a_mean_of_normed_tokens_has_to_be_said(file, class_token):
    net = timm_vit(global_pool="avg", fc_norm=False, class_token=class_token)
    bundle = check(scramble(net), file, 32, pool="mean")
    assert "pool" not in bundle.card.assumed


@pytest.mark.hubs
@needs_timm
def test_a_norm_of_the_mean_tells_the_pooling(file):
    net = timm_vit(global_pool="avg", fc_norm=True, class_token=True)
    assert "pool" not in check(scramble(net), file, 32).card.assumed


def lucidrains(kind: str, **changes):
    ensure_operators()
    import vit_pytorch
    from vit_pytorch.simple_vit import SimpleViT

    sizes = {"image_size": 32, "patch_size": 8, "dim": 128, "depth": 2, "heads": 2, "mlp_dim": 48}
    kinds = {"ViT": vit_pytorch.ViT, "SimpleViT": SimpleViT}
    return kinds[kind](**sizes | {"num_classes": 6} | changes)


@needs_lucidrains
@pytest.mark.parametrize(
    ("changes", "size", "channels"),
    [
        ({}, 32, 3),
        ({"channels": 1}, 32, 1),
        ({"image_size": (16, 40)}, (16, 40), 3),
        ({"dim": 48, "heads": 3, "dim_head": 16}, 32, 3),
    ],
)
def test_lucidrains(file, changes, size, channels):
    net = scramble(lucidrains("ViT", **changes))
    given = {} if size == 32 else {"img_size": size}
    heads = {"heads": 3} if "heads" in changes else {}
    bundle = check(net, file, size, channels, **given, **heads)
    assert bundle.card.checkpoint_format == "vit-pytorch's"
    assert bundle.net.config.heads == len(net.transformer.layers[0][0].to_qkv.weight) // 3 // (
        changes.get("dim_head", 64)
    )
    assert bundle.tokens.prefix == ("cls",)
    assert bundle.classes is None


@needs_lucidrains
def test_lucidrains_mean(file):
    net = lucidrains("ViT", pool="mean")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(std=0.2)  # its class tokens are none: `scramble` has no spread
    bundle = check(net.eval(), file, 32)
    assert bundle.tokens.prefix == ()


@needs_lucidrains
@pytest.mark.parametrize("size", [32, (16, 40)])
def test_lucidrains_simple(file, size):
    net = scramble(lucidrains("SimpleViT", image_size=size))
    assert "computed from the size of its pictures" in zoo_fails(net, file)
    bundle = check(net, file, size, img_size=size)
    assert bundle.card.checkpoint_format == "vit-pytorch's SimpleViT"


@needs_lucidrains
@pytest.mark.parametrize("kind", ["ViT", "SimpleViT"])
def test_lucidrains_with_heads_of_another_width_together_is_refused(file, kind):
    net = lucidrains(kind, dim=64)
    assert "heads are together 128 wide and its tokens 64" in zoo_fails(net, file, img_size=32)


@needs_lucidrains
def test_a_table_of_positions_is_not_computed_for_pictures_too_large(file):
    net = lucidrains("SimpleViT")
    assert "at most 10,000 can be computed" in zoo_fails(net, file, img_size=99_968)


class PreNorm(nn.Module):
    def __init__(self, dim, fn):
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(dim), fn


class Lucidrains2021(nn.Module):
    """vit-pytorch's ViT as it was copied for years: its patches not normed, a norm in its head."""

    def __init__(self, dim=128, depth=2, heads=2, pool="cls", older=False):
        super().__init__()
        self.heads, self.pool = heads, pool
        first = nn.Linear(8 * 8 * 3, dim)
        if older:
            self.patch_to_embedding = first
        else:
            self.to_patch_embedding = nn.Sequential(nn.Identity(), first)
        self.first = [first]
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embedding = nn.Parameter(torch.zeros(1, 17, dim))
        self.transformer = Parts(
            layers=nn.ModuleList(
                nn.ModuleList(
                    (
                        PreNorm(
                            dim,
                            Parts(
                                to_qkv=nn.Linear(dim, 3 * dim, bias=False),
                                to_out=nn.Sequential(nn.Linear(dim, dim), nn.Dropout(0.0)),
                            ),
                        ),
                        PreNorm(
                            dim,
                            Parts(
                                net=nn.Sequential(
                                    nn.Linear(dim, 48),
                                    nn.GELU(),
                                    nn.Dropout(0.0),
                                    nn.Linear(48, dim),
                                )
                            ),
                        ),
                    )
                )
                for _ in range(depth)
            )
        )
        self.mlp_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 6))

    def forward(self, images):
        rows = images.unflatten(3, (-1, 8)).unflatten(2, (-1, 8))  # b c h p1 w p2
        patches = rows.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # b (h w) (p1 p2 c)
        x = self.first[0](patches)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.pos_embedding
        for attention, mlp in self.transformer.layers:
            parts = attention.fn.to_qkv(attention.norm(x)).chunk(3, -1)
            width = (x.shape[-1] / self.heads) ** 0.5
            x = x + attention.fn.to_out(multi_head(*parts, self.heads, width))
            x = x + mlp.fn.net(mlp.norm(x))
        return self.mlp_head(x[:, 0] if self.pool == "cls" else x.mean(1))


@pytest.mark.parametrize("older", [True, False])
def test_lucidrains_as_it_was_in_2021(file, older):
    bundle = check(scramble(Lucidrains2021(older=older)), file, 32)
    assert bundle.card.checkpoint_format == "vit-pytorch's"
    assert "pool" in bundle.card.assumed
    check(scramble(Lucidrains2021(pool="mean")), file, 32, pool="mean_all")


def hf_vit(kind: str, family: str, **changes):
    import transformers

    sizes = {"image_size": 32, "patch_size": 8, "hidden_size": 128, "num_attention_heads": 2}
    sizes |= {"num_hidden_layers": 2, "intermediate_size": 48, "num_labels": 4}
    config = getattr(transformers, f"{family}Config")(**sizes | changes)
    return getattr(transformers, kind)(config)


class Logits(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        return self.net(images).logits


@pytest.mark.hubs
@needs_hf
@pytest.mark.parametrize(
    ("kind", "family", "prefix", "mean"),
    [
        ("ViTForImageClassification", "ViT", ("cls",), 0.5),
        ("DeiTForImageClassification", "DeiT", ("cls", "dist"), 0.485),
        ("DeiTForImageClassificationWithTeacher", "DeiT", ("cls", "dist"), 0.485),
    ],
)
@pytest.mark.parametrize("saved", ["file", "memory"])
@pytest.mark.filterwarnings("ignore")
def test_hugging_face(tmp_path, file, kind, family, prefix, mean, saved):
    """transformers 5 names its tensors differently in memory and on disk."""
    net = scramble(hf_vit(kind, family))
    if saved == "file":
        net.save_pretrained(tmp_path / "theirs")
        state = load_file(tmp_path / "theirs/model.safetensors")
    else:
        state = net.state_dict()
    bundle = check(Logits(net), file, 32, state=state)
    assert bundle.card.checkpoint_format == "Hugging Face's"
    assert bundle.tokens.prefix == prefix
    assert bundle.mean[0] == mean


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_hugging_face_without_a_head(file):
    import transformers

    net = scramble(hf_vit("ViTModel", "ViT"))
    assert isinstance(net, transformers.ViTModel)

    class ClassToken(nn.Module):
        def forward(self, images):
            return net(images).last_hidden_state[:, 0]

    check(ClassToken(), file, 32, state=net.state_dict())


def saved_by_transformers(net, folder: Path, saved: str) -> dict[str, torch.Tensor]:
    """Its tensors as `save_pretrained` names them, or as it does in memory."""
    if saved == "memory":
        return net.state_dict()
    net.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


class Output(nn.Module):
    """One of the things that a model of transformers answers."""

    def __init__(self, net, name: str):
        super().__init__()
        self.net, self.name = net, name

    def forward(self, images):
        return getattr(self.net(pixel_values=images), self.name)


@pytest.mark.hubs
@needs_hf
@pytest.mark.parametrize("saved", ["file", "memory"])
@pytest.mark.parametrize(
    ("kind", "family", "output", "prefix"),
    [
        ("Dinov2ForImageClassification", "Dinov2", "logits", ("cls",)),
        ("Dinov2Model", "Dinov2", "pooler_output", ("cls",)),
        *(
            (kind, "Dinov2WithRegisters", output, ("cls", "reg0", "reg1", "reg2", "reg3"))
            for kind, output in (
                ("Dinov2WithRegistersModel", "pooler_output"),
                ("Dinov2WithRegistersForImageClassification", "logits"),
            )
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_dinov2_of_hugging_face(tmp_path, file, kind, family, output, prefix, saved):
    net = scramble(hf_vit(kind, family))
    state = saved_by_transformers(net, tmp_path, saved)
    bundle = check(Output(net, output), file, 32, state=state)
    assert bundle.card.checkpoint_format == "Hugging Face's DINOv2"
    assert bundle.tokens.prefix == prefix
    assert bundle.mean[0] == 0.485
    assert bundle.net.config.num_classes == (4 if output == "logits" else 0)


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_a_gated_mlp_is_refused(file):
    assert "mlp.fc1" in zoo_fails(hf_vit("Dinov2Model", "Dinov2", use_swiglu_ffn=True), file)


@pytest.mark.hubs
@needs_hf
@pytest.mark.parametrize("saved", ["file", "memory"])
@pytest.mark.parametrize(
    ("kind", "output"),
    [
        ("CLIPVisionModel", "pooler_output"),
        ("CLIPVisionModelWithProjection", "image_embeds"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_clip_of_hugging_face(tmp_path, file, kind, output, saved):
    net = scramble(hf_vit(kind, "CLIPVision", projection_dim=20))
    state = saved_by_transformers(net, tmp_path, saved)
    bundle = check(Output(net, output), file, 32, state=state)
    assert bundle.card.checkpoint_format == "Hugging Face's CLIP"
    assert bundle.mean[0] == pytest.approx(0.48145466)
    assert bundle.net.config.activation == "quick_gelu" and "activation" in bundle.card.assumed


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_clip_of_hugging_face_beside_its_text_tower(tmp_path, file):
    import transformers

    text = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}
    vision = hf_vit("CLIPVisionModel", "CLIPVision").config.to_dict()
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=20)
    net = scramble(transformers.CLIPModel(config))

    class ImageFeatures(nn.Module):
        def forward(self, images):
            return net.visual_projection(net.vision_model(images).pooler_output)

    state = saved_by_transformers(net, tmp_path, "file")
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]  # as older files
    check(ImageFeatures(), file, 32, state=state)


@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_a_classifier_upon_clip_is_left_out(file):
    """It reads the mean of the patches before the last norm, which ours does not."""
    import transformers

    text = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}
    vision = hf_vit("CLIPVisionModel", "CLIPVision").config.to_dict()
    config = transformers.CLIPConfig(text_config=text, vision_config=vision)
    torch.save(transformers.CLIPForImageClassification(config).state_dict(), file)
    bundle = zoo.load(file)
    assert bundle.net.config.num_classes == 0
    assert bundle.card.left_out == "classifier.weight, classifier.bias"


# Prefixes, and what comes after the encoder


@pytest.mark.parametrize(
    "prefix",
    [
        *("vit.", "encoder.", "base_model.model.", "student_backbone.", "visual.trunk.", "a.b.c."),
        *("_fsdp_wrapped_module.", "model._orig_mod.module.", "momentum_encoder."),
    ],
)
def test_whatever_prefix_all_names_share_comes_off(file, prefix):
    net = scramble(torchvision_vit(num_classes=5))
    state = {f"{prefix}{name}": tensor for name, tensor in net.state_dict().items()}
    assert not check(net, file, 32, state=state).card.left_out
    check(net, file, 32, state={"epoch": 3, "my_weights": {"inner": state}})


@pytest.mark.parametrize("prefixes", [("student.", "teacher."), ("online.a.", "ema.a.")])
def test_of_two_models_side_by_side_the_teacher_is_taken(file, prefixes):
    nets = [scramble(torchvision_vit(num_classes=5)) for _ in prefixes]
    state = {
        f"{prefix}{name}": tensor
        for prefix, net in zip(prefixes, nets, strict=True)
        for name, tensor in net.state_dict().items()
    }
    card = check(nets[1], file, 32, state=state).card
    assert card.other_networks == [prefixes[0].rstrip(".")] and not card.left_out
    check(nets[0], file, 32, state=state, network=prefixes[0].partition(".")[0])
    with pytest.raises(ModelRejected, match=f"no network “tutor”. It holds {prefixes[0][:5]}"):
        zoo.load(file, network="tutor")


@pytest.mark.hubs
@needs_timm
@pytest.mark.parametrize("prefix", ["", "teacher.backbone."])
def test_blocks_in_chunks_are_numbered_through(file, prefix):
    """As the training code of DINOv2 saves them."""
    net = scramble(timm_vit(depth=4))
    state = {}
    for name, tensor in net.state_dict().items():
        first, *rest = name.split(".")
        chunk = [first, str(int(rest[0]) // 2)] if first == "blocks" else [first]
        state[prefix + ".".join([*chunk, *rest])] = tensor
    assert "1.3." in "".join(state)
    assert len(check(net, file, 32, state=state).net.blocks) == 4


def test_an_error_names_the_tensor_with_its_prefix(file):
    state = {f"vit.x.{name}": tensor for name, tensor in Book().state_dict().items()}
    del state["vit.x.blks.1.ln2.bias"]
    torch.save(state, file)
    with pytest.raises(ModelRejected, match=r"its vit\.x\.blks\.1\.ln2\.bias is missing where"):
        zoo.load(file)


@pytest.mark.parametrize(
    "head",
    [
        lambda width: nn.Linear(width, 3),
        lambda width: nn.Sequential(nn.Linear(width, 3)),
        lambda width: nn.Sequential(nn.Dropout(), nn.Linear(width, 3, bias=False)),
        lambda width: Parts(head=nn.Sequential(nn.Dropout(), nn.Linear(width, 3))),
    ],
)
def test_a_replaced_head_that_is_one_linear_is_kept(file, head):
    net = torchvision_vit()
    net.heads = head(128)
    if isinstance(net.heads, Parts):
        net.heads.forward = net.heads.head.forward
    bundle = check(scramble(net), file, 32)
    assert bundle.net.config.num_classes == 3 and not bundle.card.left_out


@pytest.mark.parametrize("name", ["fc", "classifier.1", "my_head", "probe", "regressor", "1"])
def test_a_linear_beside_a_backbone_is_its_head(file, name):
    backbone, head = torchvision_vit(num_classes=0), nn.Linear(128, 3)
    backbone.heads = nn.Identity()
    net = scramble(nn.Sequential(backbone, head))
    state = {f"backbone.{n}": t for n, t in backbone.state_dict().items()}
    state |= {f"{name}.{n}": t for n, t in head.state_dict().items()}
    card = check(net, file, 32, state=state | {"loss.weight": torch.ones(3)}).card
    assert card.left_out == "loss.weight"
    # In "classifier.1" something without weights comes first: dropout, or a ReLU.
    assert ("head" in card.assumed) == ("1" in name)


@pytest.mark.parametrize(
    "others",
    [
        {"heads.0": nn.Linear(128, 8), "heads.2": nn.Linear(8, 3)},
        {"heads.a": nn.Linear(128, 8), "heads.b": nn.Linear(128, 3)},
        {"heads.head": nn.Linear(128, 8), "heads.pre_logits": nn.Linear(128, 128)},
        {"heads.head": nn.Linear(5 * 128, 8)},
        {"neck": nn.Conv2d(128, 8, 1), "fc": nn.Linear(128, 3)},
        {"decoder_blocks.0.attn.qkv": nn.Linear(16, 48), "decoder_embed": nn.Linear(128, 16)},
        {"fc.1": nn.BatchNorm1d(128), "fc.2": nn.Linear(128, 3)},
        {"heads.head": nn.utils.parametrizations.weight_norm(nn.Linear(128, 3))},
        {"heads.head": nn.Linear(64, 8)},
        {"heads.head": nn.Conv2d(128, 8, 1)},
        {"heads": nn.LSTM(128, 8)},
    ],
)
def test_what_is_not_understood_after_the_encoder_is_left_out_and_listed(file, others):
    net = torchvision_vit()
    net.heads = nn.Identity()
    state = scramble(net).state_dict()
    more = {f"{at}.{n}": t for at, part in others.items() for n, t in part.state_dict().items()}
    bundle = check(net, file, 32, state=state | more)
    assert bundle.net.config.num_classes == 0
    assert next(iter(more)) in bundle.card.left_out


def test_only_what_the_model_uses_has_to_be_finite(file):
    """The best loss of a run may be infinite; a weight may not."""
    state = scramble(torchvision_vit()).state_dict()
    torch.save(state | {"best_loss": torch.tensor(math.inf)}, file)
    assert zoo.load(file).card.left_out == "best_loss"
    torch.save(state | {"heads.head.bias": torch.full((5,), math.nan)}, file)
    with pytest.raises(ModelRejected, match=r"not finite, in heads\.head\.bias"):
        zoo.load(file)


def test_weights_in_parts_are_named(file):
    net = torchvision_vit()
    for layer in net.encoder.layers:
        prune.random_unstructured(layer.mlp[0], "weight", 0.5)
    torch.save(net.state_dict(), file)
    with pytest.raises(ModelRejected, match=r"weights in parts, .* prune\.remove"):
        zoo.load(file)


def test_a_linear_upon_class_token_and_mean(file):
    """As the linear probes on DINOv2."""
    backbone = scramble(torchvision_vit(num_classes=0))
    head = nn.Linear(256, 3)

    class Probed(nn.Module):
        def forward(self, images):
            x = backbone._process_input(images)
            x = torch.cat((backbone.class_token.expand(len(x), -1, -1), x), 1)
            x = backbone.encoder(x)
            return head(torch.cat((x[:, 0], x[:, 1:].mean(1)), 1))

    state = {f"backbone.{n}": t for n, t in backbone.state_dict().items() if "heads" not in n}
    state |= {f"linear_head.{n}": t for n, t in head.state_dict().items()}
    assert check(Probed(), file, 32, state=state).net.config.pool == "cls_and_mean"


@pytest.mark.parametrize(
    "name", ["encoder.layers.encoder_layer_0.gate.weight", "pos_bias.table", "prompt_tokens"]
)
def test_what_acts_on_the_tokens_still_blocks(file, name):
    torch.save(torchvision_vit().state_dict() | {name: torch.ones(128)}, file)
    with pytest.raises(ModelRejected, match=f"no place: {name}"):
        zoo.load(file)


def test_lora_adapters_are_named(file):
    torch.save({"base_model.blocks.0.attn.qkv.lora_A.weight": torch.ones(2, 3)}, file)
    with pytest.raises(ModelRejected, match="LoRA adapters"):
        zoo.load(file)


# Wrapped


def test_a_backbone_with_a_loss_and_a_head_of_its_own(file):
    """A head under the format's name belongs to the model; a loss is left out, and is named."""
    net = scramble(Tower())
    state = {f"model.backbone.{name}": t for name, t in net.state_dict().items()}
    bundle = check(net, file, 32, state=state | {"criterion.weight": torch.ones(3)})
    assert bundle.card.left_out == "criterion.weight"

    net = scramble(Book(channels=3))
    state = {f"backbone.{n}": t for n, t in net.state_dict().items() if not n.startswith("head.1")}
    state |= {name: t for name, t in net.state_dict().items() if name.startswith("head.1")}
    bundle = check(net, file, 32, state=state)
    assert bundle.net.config.num_classes == 10 and not bundle.card.left_out


@pytest.mark.parametrize("key", ["model_ema", "ema", "teacher", "student"])
def test_a_model_among_others(file, key):
    net = scramble(Book(channels=3))
    check(net, file, 32, state={key: net.state_dict(), "epoch": 3})
    other = scramble(Book(channels=3))
    both = {"teacher": net.state_dict(), "student": other.state_dict()}
    assert check(net, file, 32, state=both).card.other_networks == ["student"]
    assert check(other, file, 32, state=both, network="student").card.other_networks == ["teacher"]
    with pytest.raises(ModelRejected, match=r"no network “tutor”\. It holds student"):
        zoo.load(file, network="tutor")


# Ours


@torch.no_grad()
def test_ours_with_normed_patches(file):
    sizes = {"img_size": 32, "patch_size": 8, "dim": 128, "depth": 2, "heads": 2}
    net = scramble(build("vit", embed="linear", patch_norms=True, **sizes))
    assert check(net, file, 32).net.config.patch_norms


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("vit", {"dim": 128, "depth": 2, "heads": 2}),
        ("vit", {"dim": 128, "depth": 2, "heads": 2, "registers": 2, "qkv_bias": True}),
        ("vit", {"dim": 128, "depth": 2, "heads": 2, "cls_token": False, "pool": "mean"}),
        ("cs231n", {}),
        ("d2l", {"dim": 512}),
        ("clip_b32", {"dim": 128, "depth": 2, "heads": 2}),
    ],
)
def test_ours_without_a_card(file, preset, changes):
    size = {"img_size": 32, "patch_size": 8}
    net = scramble(build(preset, **size | changes))
    heads = {"cs231n": 4, "d2l": 8}.get(preset)
    bundle = check(net, file, 32, heads=heads)
    assert bundle.card.checkpoint_format == "Saccade's own"
    assert bundle.tokens == net.tokens


@pytest.mark.parametrize("depth", [1, 3])
def test_ours_with_a_stem_asks_for_its_patch(file, depth):
    stem = {"embed": "stem", "stem": (8, 16, 24), "stem_depth": depth}
    net = build("vit", img_size=32, patch_size=4, dim=64, depth=1, heads=1, **stem)
    assert "say patch_size=" in zoo_fails(scramble(net), file)
    check(net, file, 32, patch_size=4)


@pytest.mark.parametrize("preset", ["cs231n", "d2l"])
def test_heads_are_those_of_the_preset_of_this_width(file, preset):
    torch.save(scramble(build(preset, num_classes=3)).state_dict(), file)
    assert zoo.load(file).net.config.heads == PRESETS[preset].heads


# What is asked for, and what is refused


@pytest.mark.parametrize("channels", [2, 4])
def test_pictures_of_other_channels_are_refused(file, channels):
    net = build("vit", img_size=32, patch_size=8, dim=64, depth=1, heads=1, in_channels=channels)
    assert f"pictures of {channels} channels" in zoo_fails(net, file)


def test_a_norm_without_bias_is_a_sentence(file):
    ensure_operators()
    timm = pytest.importorskip("timm")
    weights = timm.create_model("test_vit", pretrained=False, global_pool="avg").state_dict()
    del weights["fc_norm.bias"]
    torch.save(weights, file)
    with pytest.raises(ModelRejected, match=r"makes no model. Its fc_norm.bias is missing"):
        zoo.load(file)


@pytest.mark.parametrize("saved", ["file", "memory"])
@pytest.mark.hubs
@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_of_two_names_for_one_tensor_the_file_s_is_said(tmp_path, file, saved):
    state = saved_by_transformers(hf_vit("ViTModel", "ViT"), tmp_path, saved)
    gone = {"file": "encoder.layer.1.intermediate.dense.bias", "memory": "layers.1.mlp.fc1.bias"}
    torch.save({name: t for name, t in state.items() if name != gone[saved]}, file)
    with pytest.raises(ModelRejected, match=f"its {gone[saved]} is missing"):
        zoo.load(file)


def test_the_attention_of_a_block_missing(file):
    state = {n: t for n, t in Book().state_dict().items() if not n.startswith("blks.0.attention")}
    torch.save(state, file)
    with pytest.raises(ModelRejected, match=r"Its blks\.0\.attention\.W_q\.weight is missing"):
        zoo.load(file)


def test_of_queries_keys_and_values_in_one_the_one_is_named(file):
    state = Tower().state_dict()
    del state["transformer.resblocks.1.attn.in_proj_bias"]
    torch.save({f"visual.{name}": tensor for name, tensor in state.items()}, file)
    with pytest.raises(ModelRejected, match=r"visual\.transformer\.resblocks\.1\.attn\.in_proj_b"):
        zoo.load(file)


def test_whole_numbers_are_no_weights(file):
    torch.save({name: (9 * t).to(torch.int8) for name, t in Book().state_dict().items()}, file)
    with pytest.raises(ModelRejected, match=r"whole numbers for weights, in .*quantised"):
        zoo.load(file)


def test_what_was_assumed_is_on_the_card(file):
    net = scramble(Assignment())
    everything = ["heads", "mean", "std", "activation", "norm_eps", "pool", "scale_by", "img_size"]
    assert check(net, file, 32).card.assumed == [*everything, "classes"]
    given = {"heads": 4, "std": 0.5, "img_size": 32, "activation": "gelu", "norm_eps": 1e-5}
    assert check(net, file, 32, **given).card.assumed == ["mean", "pool", "scale_by", "classes"]


@pytest.mark.parametrize(
    ("size", "given", "assumed"),
    [
        (32, {}, True),  # 4 x 4 patches are as many as 2 x 8
        (32, {"img_size": 32}, False),
        (24, {}, False),  # 3 x 3 are as many as 1 x 9, which is no picture
    ],
)
def test_a_square_is_assumed_where_another_rectangle_has_as_many_patches(
    file, size, given, assumed
):
    card = check(scramble(Book(channels=3, size=size)), file, size, **given).card
    assert ("img_size" in card.assumed) == assumed


@torch.no_grad()
def test_a_file_that_is_written_over_changes_no_open_model(tmp_path):
    path = tmp_path / "mine.safetensors"
    save_file(torchvision_vit().state_dict(), path)
    images = torch.randn(1, 3, 32, 32)
    bundle = zoo.load(path)
    before = bundle.net(images)
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(bundle.net(images), before)


def test_shards_open_together_and_none_alone(tmp_path):
    net = scramble(torchvision_vit(num_classes=5))
    state = net.state_dict()
    cut = [n for n in state if "encoder_layer_1" in n or n.startswith(("heads", "encoder.ln"))]
    first, second = (tmp_path / f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
    save_file({n: t for n, t in state.items() if n not in cut}, first)
    for path in (first, str(first)):
        with pytest.raises(ModelRejected, match="1 of the 2 parts of a model"):
            zoo.load(path)
    save_file({n: state[n] for n in cut}, second)
    for path in (first, second):
        images = torch.randn(2, 3, 32, 32)
        assert (zoo.load(path).net(images) - net(images)).abs().max() < 1e-4


def zoo_fails(net: nn.Module, path: Path, **given) -> str:
    torch.save(net.state_dict(), path)
    with pytest.raises(ModelRejected) as caught:
        zoo.load(path, **given)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def test_what_is_said_wins(file):
    net = scramble(torchvision_vit(num_classes=3, num_heads=4))
    names = ["a", "b", "c"]
    bundle = check(net, file, 32, heads=4, mean=0.1, std=[0.2, 0.3, 0.4], classes=names)
    assert bundle.net.config.heads == 4
    assert (bundle.mean, bundle.std) == ((0.1,) * 3, (0.2, 0.3, 0.4))
    assert bundle.classes == names
    changed = zoo.load(file, activation="quick_gelu")
    assert changed.net.config.activation == "quick_gelu"


def test_what_a_safetensors_file_notes_is_the_default(tmp_path):
    path = tmp_path / "noted.safetensors"
    notes = {"mean": "0.1,0.2,0.3", "std": "0.4,0.5,0.6"}
    save_file(torchvision_vit().state_dict(), path, metadata=notes)
    bundle = zoo.load(path)
    assert (bundle.mean, bundle.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert zoo.load(path, mean=0.5).mean == (0.5,) * 3


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"heads": 3}, "3 equal heads"),
        ({"heads": 0}, "heads"),
        ({"mean": [0.5, 0.5]}, "3 channels"),
        ({"std": 0.0}, "standard deviation"),
        ({"mean": "half"}, "lists of numbers"),
        ({"classes": ["a"]}, "10 classes apart, not 1"),
        ({"wings": 2}, "no setting wings"),
        ({"activation": "swish"}, "swish"),
        ({"img_size": 30}, "30"),
        ({"depth": 9}, "expected"),
        ({"pool": "cls"}, "no class token that could be classified"),
        ({"img_size": 99_968}, "at most 10,000 can be computed"),
    ],
)
def test_settings_given_wrongly(file, given, word):
    assert word in zoo_fails(Assignment(), file, **given)


def test_a_file_of_another_kind_of_model(file):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    message = zoo_fails(net, file)
    assert "0.weight, 0.bias, 1.weight, 1.bias and 5 more" in message
    assert "nearest is" in message
    assert "which also has" in message


def test_a_file_that_is_nearly_one(file):
    net = Book()
    net.patch_embedding = nn.Module()
    message = zoo_fails(net, file)
    assert "nearest is Dive into Deep Learning's" in message
    assert "patch_embedding.conv" in message


def test_a_file_with_a_block_missing(file):
    state = {k: t for k, t in Book(depth=3).state_dict().items() if not k.startswith("blks.1.")}
    torch.save(state, file)
    with pytest.raises(ModelRejected, match="Of its blocks 0 to 2, only 2 are there"):
        zoo.load(file)


def test_a_file_with_a_tensor_missing_or_of_another_shape(file):
    state = Book().state_dict()
    del state["blks.1.ln2.bias"]
    torch.save(state, file)
    with pytest.raises(ModelRejected, match=r"its blks\.1\.ln2\.bias is missing where"):
        zoo.load(file)
    state = Book().state_dict()
    state["blks.1.mlp.dense1.weight"] = torch.ones(3, 3)
    torch.save(state, file)
    with pytest.raises(ModelRejected, match=r"blks\.1\.mlp\.dense1\.weight is \(3, 3\) where"):
        zoo.load(file)


@pytest.mark.parametrize(
    "shape", [(3,), (3, 3, 3), (32, 5), (32, 0), (32, 3, 0, 0), (2, 2, 2, 2, 2)]
)
@pytest.mark.parametrize("given", [{}, {"img_size": 32}])
def test_patches_of_no_known_shape(file, shape, given):
    state = Assignment().state_dict()
    state["patch_embed.proj.weight"] = torch.ones(shape)
    torch.save(state, file)
    with pytest.raises(ModelRejected):
        zoo.load(file, **given)


def test_random_shapes_are_refused_with_sentences(file):
    """Whatever shapes the tensors of a known layout have."""
    generator = torch.Generator().manual_seed(0)
    for net in (Assignment(depth=1), Book(depth=1), Tower(depth=1)):
        for name in net.state_dict():
            state = net.state_dict()
            dims = int(torch.randint(0, 4, (), generator=generator))
            state[name] = torch.ones(torch.randint(0, 7, (dims,), generator=generator).tolist())
            torch.save(state, file)
            with suppress(ModelRejected):  # a head never blocks the encoder
                assert name in zoo.load(file).card.left_out and "head" in name


# Real weights


@pytest.mark.hubs
@needs_timm
@pytest.mark.skipif(not REAL.exists(), reason="no shared weights")
@torch.no_grad()
def test_real_weights_compute_what_timm_computes():
    ensure_operators()
    import timm

    bundle = zoo.load(REAL, mean=0.5, std=0.5)
    theirs = timm.create_model("vit_tiny_patch16_224").eval()
    theirs.load_state_dict({name: t.float() for name, t in load_file(REAL).items()})
    for name, right in [("chelsea", "Egyptian cat"), ("coffee", "espresso"), ("rocket", "missile")]:
        image = bundle.prepare(samples.load(name))
        logits = bundle.net(image)
        assert (logits - theirs(image)).abs().max() < 1e-4
        assert right in [bundle.classes[i] for i in logits[0].topk(5).indices]
    assert isinstance(bundle.net, VisionTransformer)
    assert bundle.net.config.heads == 3
