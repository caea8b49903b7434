"""Windows against the image that the model itself makes of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from model.nets.torchvision_cpu import ensure_operators
from model.recording.record import attention_in_image, row_by_row
from model.recording.recorder import AttentionRecord, AttentionRecorder
from model.recording.windows import Windows

sides = st.integers(1, 9)


@settings(deadline=None)
@given(
    rows=sides,
    columns=sides,
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    padded_last=st.booleans(),
    data=st.data(),
)
def test_join_puts_every_token_where_locate_found_it(
    rows, columns, height, width, padded_last, data
):
    shift = data.draw(st.tuples(st.integers(0, height - 1), st.integers(0, width - 1)))
    windows = Windows((rows, columns), (height, width), shift, padded_last)
    numbered = torch.arange(windows.count * windows.area).reshape(windows.count, windows.area)
    joined = windows.join(numbered)
    assert joined.shape == (rows, columns)
    for row in range(rows):
        for column in range(columns):
            window, place = windows.locate(row, column)
            assert joined[row, column] == numbered[window, place]


@pytest.mark.parametrize("shift", [[0, 0], [2, 1]])
@pytest.mark.parametrize("grid", [(8, 9), (7, 5), (4, 3)], ids=str)
def test_a_tokens_map_over_the_image_makes_its_output(shift, grid):
    """Values in image space, weighted by the map in image space: what Swin's layer returns."""
    ensure_operators()
    from torchvision.models.swin_transformer import ShiftedWindowAttention

    torch.manual_seed(0)
    layer = ShiftedWindowAttention(8, [4, 3], shift, num_heads=2).eval()
    layer.relative_position_bias_table.data.normal_()
    layer.qkv.weight.data.normal_()
    layer.qkv.bias.data.zero_()  # so that padding has no value
    layer.proj.weight.data, layer.proj.bias.data = torch.eye(8), torch.zeros(8)
    tokens = torch.randn(2, *grid, 8)
    with torch.no_grad(), AttentionRecorder(layer) as recorder:
        output = layer(tokens)
        values = layer.qkv(tokens)[..., 16:].unflatten(-1, (2, 4))  # (B, rows, columns, H, d)
    record = recorder.records[0]
    for row in range(grid[0]):
        for column in range(grid[1]):
            weights = attention_in_image(record, row, column)
            mixed = torch.einsum("bhrc,brchd->bhd", weights, values).flatten(1)
            assert torch.allclose(mixed, output[:, row, column], atol=1e-5)


class WindowAttention(nn.Module):
    """Windows (B · windows, n, D), as in Microsoft's Swin."""

    def __init__(self, dim: int = 8, window_size: int = 3, num_heads: int = 2) -> None:
        super().__init__()
        self.window_size, self.num_heads = (window_size, window_size), num_heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, windows: Tensor, mask: Tensor | None = None) -> Tensor:
        query, key, value = self.qkv(windows).unflatten(-1, (3, self.num_heads, -1)).unbind(2)
        weights = torch.einsum("bqhd,bkhd->bhqk", query, key).softmax(-1)
        return self.proj(torch.einsum("bhqk,bkhd->bqhd", weights, value).flatten(2))


class MicrosoftBlock(nn.Module):
    """(B, N, D), the grid known beforehand; without the mask, as that only leaves places out."""

    def __init__(self, grid: tuple[int, int] = (6, 9), shift: int = 1) -> None:
        super().__init__()
        self.input_resolution, self.window_size, self.shift_size = grid, 3, shift
        self.attn = WindowAttention()

    def forward(self, tokens: Tensor) -> Tensor:
        grid = tokens.unflatten(1, self.input_resolution).roll((-self.shift_size,) * 2, (1, 2))
        windows, back = cut(grid, 3)
        grid = back(self.attn(windows)).roll((self.shift_size,) * 2, (1, 2))
        return tokens + grid.flatten(1, 2)


class Shift(nn.Module):
    """berniwal's swin-transformer-pytorch moves the grid in a module of its own."""

    def __init__(self, by: int) -> None:
        super().__init__()
        self.by = by

    def forward(self, grid: Tensor) -> Tensor:
        return torch.roll(grid, shifts=(self.by, self.by), dims=(1, 2))


class HeadsBeforeWindows(nn.Module):
    """berniwal's: maps (B, heads, windows, n, n), and no shift_size."""

    def __init__(self, dim: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.window_size, self.heads = 3, heads
        self.shift, self.back = Shift(-1), Shift(1)
        self.to_qkv = nn.Linear(dim, 3 * dim)

    def forward(self, grid: Tensor) -> Tensor:
        windows, back = cut(self.shift(grid), 3)
        qkv = self.to_qkv(windows).unflatten(0, (len(grid), -1)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(3, 0, 4, 1, 2, 5)  # each (B, heads, windows, n, d)
        self.map = (query @ key.mT).softmax(-1)
        mixed = (self.map @ value).permute(0, 2, 3, 1, 4).flatten(3).flatten(0, 1)
        return self.back(back(mixed))


class ChannelsFirst(nn.Module):
    """(B, D, rows, columns), as in ViTDet."""

    def __init__(self) -> None:
        super().__init__()
        self.window_size, self.attn = 3, WindowAttention()
        self.attn.window_size = None

    def forward(self, image: Tensor) -> Tensor:
        windows, back = cut(image.permute(0, 2, 3, 1), 3)
        return image + back(self.attn(windows)).permute(0, 3, 1, 2)


def cut(grid: Tensor, size: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """(B, rows, columns, D) -> windows (B · windows, n, D), and the way back."""
    batch, rows, columns, _ = grid.shape
    parts = grid.unflatten(2, (-1, size)).unflatten(1, (-1, size)).transpose(2, 3)

    def back(windows: Tensor) -> Tensor:
        parts = windows.reshape(batch, rows // size, columns // size, size, size, -1)
        return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    return parts.flatten(3, 4).flatten(0, 2), back


def timm_block(kind: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        ensure_operators()
        pytest.importorskip("timm")
        from timm.models import swin_transformer, swin_transformer_v2

        module = {"1": swin_transformer, "2": swin_transformer_v2}[kind]
        name = {"1": "SwinTransformerBlock", "2": "SwinTransformerV2Block"}[kind]
        return getattr(module, name)(8, (10, 11), 2, window_size=4, shift_size=2)

    return build


def hugging_face_block() -> nn.Module:
    from transformers import SwinConfig
    from transformers.models.swin.modeling_swin import SwinLayer

    config = SwinConfig(window_size=4, attn_implementation="eager")
    layer = SwinLayer(config, 8, (10, 11), 2, shift_size=2)
    layer.forward = lambda grid, run=layer.forward: run(grid.flatten(1, 2), (10, 11))[0]
    return layer


def hugging_face_vitdet() -> nn.Module:
    from transformers import VitDetConfig
    from transformers.models.vitdet.modeling_vitdet import VitDetLayer

    config = VitDetConfig(hidden_size=8, num_attention_heads=2, image_size=64, patch_size=4)
    layer = VitDetLayer(config, window_size=4)
    layer.forward = lambda image, run=layer.forward: first(run(image))
    return layer


def hugging_face_sam() -> nn.Module:
    from transformers import SamVisionConfig
    from transformers.models.sam.modeling_sam import SamVisionLayer

    config = SamVisionConfig(hidden_size=8, num_attention_heads=2, mlp_dim=16)
    config._attn_implementation = "eager"
    layer = SamVisionLayer(config, window_size=4)
    layer.forward = lambda grid, run=layer.forward: first(run(grid))
    return layer


def timm_twins() -> nn.Module:
    ensure_operators()
    from timm.models.twins import LocallyGroupedAttn

    layer = LocallyGroupedAttn(8, num_heads=2, ws=4)
    layer.forward = lambda grid, run=layer.forward: run(grid.flatten(1, 2), (10, 11))
    return layer


def timm_maxvit(partition: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        ensure_operators()
        from timm.models.maxxvit import MaxxVitTransformerCfg, PartitionAttentionCl

        config = MaxxVitTransformerCfg(dim_head=4, window_size=(3, 3), grid_size=(3, 3))
        return PartitionAttentionCl(8, partition, config)

    return build


def timm_parallel_maxvit() -> nn.Module:
    from timm.models.maxxvit import MaxxVitTransformerCfg, ParallelPartitionAttention

    config = MaxxVitTransformerCfg(dim_head=4, window_size=(3, 3), grid_size=(3, 3))
    block = ParallelPartitionAttention(8, config)
    block.attn_block.forward = lambda x: torch.zeros_like(x[..., :4])  # which goes over to the grid
    return block


def timm_mobilevit() -> nn.Module:
    """Without the convolutions, through which neighbours see each other."""
    from timm.models.mobilevit import MobileVitBlock

    block = MobileVitBlock(8, transformer_depth=1, patch_size=2, num_heads=2, no_fusion=True)
    block.conv_kxk, block.conv_proj = nn.Identity(), nn.Identity()
    return block


def torchvision_maxvit() -> nn.Module:
    from torchvision.models.maxvit import PartitionAttentionLayer

    return PartitionAttentionLayer(8, 4, 3, "grid", (6, 6), 2, nn.GELU, nn.LayerNorm, 0.0, 0.0, 0.0)


def crossformer() -> nn.Module:
    from vit_pytorch.crossformer import Attention

    return Attention(8, "long", 3, dim_head=4)


def local_attention() -> nn.Module:
    from vit_pytorch.twins_svt import LocalAttention

    return LocalAttention(8, heads=2, dim_head=4, patch_size=3)


def timm_nest() -> nn.Module:
    ensure_operators()
    from timm.models.nest import NestLevel

    return NestLevel(
        4, 3, 9, 2, 1, 8, 8, drop_path=[0.0], norm_layer=nn.LayerNorm, act_layer=nn.GELU
    )


def first(output: Tensor | tuple) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


BLOCKS = {  # builder, shape of the input, and its grid
    "Microsoft": (MicrosoftBlock, (1, 54, 8), (6, 9)),
    "heads before windows": (HeadsBeforeWindows, (1, 6, 9, 8), (6, 9)),
    "channels first": (ChannelsFirst, (1, 8, 6, 12), (6, 12)),
    "timm Swin, padded": (timm_block("1"), (1, 10, 11, 8), (10, 11)),
    "timm SwinV2, padded": (timm_block("2"), (1, 10, 11, 8), (10, 11)),
    "timm Twins, padded": (timm_twins, (1, 10, 11, 8), (10, 11)),
    "timm MaxViT": (timm_maxvit("block"), (1, 6, 9, 8), (6, 9)),
    "timm MaxViT, apart": (timm_maxvit("grid"), (1, 6, 9, 8), (6, 9)),
    "timm MaxViT, side by side, apart": (timm_parallel_maxvit, (1, 6, 9, 8), (6, 9)),
    "timm MobileViT": (timm_mobilevit, (1, 8, 6, 10), (6, 10)),
    "torchvision MaxViT, apart": (torchvision_maxvit, (1, 8, 6, 6), (6, 6)),
    "vit-pytorch CrossFormer, apart": (crossformer, (1, 8, 6, 9), (6, 9)),
    "vit-pytorch Twins": (local_attention, (1, 8, 6, 9), (6, 9)),
    "Hugging Face Swin, padded": (hugging_face_block, (1, 10, 11, 8), (10, 11)),
    "Hugging Face ViTDet": (hugging_face_vitdet, (1, 8, 10, 11), (10, 11)),
    "Hugging Face SAM": (hugging_face_sam, (1, 10, 11, 8), (10, 11)),
}


@pytest.mark.hubs
@pytest.mark.parametrize(("build", "shape", "grid"), BLOCKS.values(), ids=BLOCKS.keys())
def test_a_tokens_map_covers_what_its_output_depends_on(build, shape, grid):
    torch.manual_seed(0)
    block = build().eval()
    with torch.no_grad():
        for parameter in block.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2)
    given = torch.randn(shape, requires_grad=True)
    with AttentionRecorder(block) as recorder:
        output = block(given)
    for row in range(grid[0]):
        for column in range(0, grid[1], 2):
            token = on_grid(output, grid)[row, column]
            weighed = (token * torch.arange(8).cos()).sum()
            (gradient,) = torch.autograd.grad(weighed, given, retain_graph=True)
            needed = on_grid(gradient, grid).abs().amax(-1) > 1e-9
            shown = attention_in_image(recorder.records[0], row, column)[0].amax(0) > 1e-9
            shown[row, column] = needed[row, column] = True  # the residual
            assert torch.equal(needed, shown)


@pytest.mark.hubs
def test_a_level_that_pools_first_has_the_windows_of_the_coarser_grid():
    level = timm_nest().eval()
    with torch.no_grad(), AttentionRecorder(level) as recorder:
        level(torch.randn(2, 8, 12, 12))
    (record,) = recorder.records
    assert record.windows == Windows((6, 6), (3, 3))
    assert record.shape == (2 * 4, 2, 9, 9)


@pytest.mark.hubs
def test_mask_units_are_those_that_the_model_unrolls():
    """The numbers of the tokens, through Hiera's own order and its cut into units."""
    from timm.models.hiera import Hiera

    net = Hiera(img_size=(64, 128), stages=(2, 2, 2, 2), embed_dim=8, num_heads=1)
    with torch.no_grad(), AttentionRecorder(net.eval()) as recorder:
        net(torch.randn(2, 3, 64, 128))
    records = {record.name: record for record in recorder.records}
    for block, grid in (("0", (16, 32)), ("3", (8, 16)), ("5", (4, 8))):
        record = records[f"blocks.{block}.attn"]
        strides, size = net.reroll.schedule[int(block)]
        numbers = torch.arange(grid[0] * grid[1]).view(1, -1, 1)
        net.unroll.size, net.unroll.schedule = list(grid), strides
        unrolled = net.unroll(numbers).flatten()
        windows = record.shape[0] // 2
        slots = unrolled.view(-1, windows).T if record.name != "blocks.5.attn" else unrolled[None]
        assert (record.windows.grid, tuple(size)) == (grid, grid)
        assert torch.equal(record.windows.join(slots).flatten(), numbers.flatten())
        rows = row_by_row(record)
        for row, column in ((0, 0), (3, 5), (2, 6)):
            image = attention_in_image(record, row, column)
            if rows.windows:
                same = attention_in_image(rows, row, column)
            else:
                same = rows.weights(queries=row * grid[1] + column)[:, :, 0].unflatten(-1, grid)
            torch.testing.assert_close(same, image, rtol=0, atol=1e-7)
    assert not (records["blocks.4.attn"].ordered or records["blocks.6.attn"].ordered)
    assert records["blocks.7.attn"].ordered


@pytest.mark.hubs
def test_the_pixels_of_a_patch_are_a_window():
    from timm.models.tnt import TNT

    class Numbers(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.arange(8.0 * 12).view(1, 1, 8, 12).expand(2, 4, -1, -1)

    net = TNT((32, 48), 16, embed_dim=8, inner_dim=4, num_heads_inner=1, num_heads_outer=1,
              depth=1, num_classes=2, legacy=True).eval()  # fmt: skip
    with torch.no_grad(), AttentionRecorder(net) as recorder:
        net(torch.randn(2, 3, 32, 48))
        net.pixel_embed.proj = Numbers()
        numbers = net.pixel_embed(torch.randn(2, 3, 32, 48), torch.zeros(1, 4, 4, 4))
    inner = recorder.records[0]
    assert inner.parts == inner.windows.count == 6
    slots = numbers[:6, :, 0] if numbers.ndim == 3 else numbers[:6, 0].flatten(1)
    assert torch.equal(inner.windows.join(slots), torch.arange(8.0 * 12).view(8, 12))


def on_grid(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """A batch of one, in whichever of the three shapes -> (rows, columns, D)"""
    if tokens.ndim == 4 and tokens.shape[1:3] != grid:
        tokens = tokens.permute(0, 2, 3, 1)
    return tokens.reshape(*grid, -1)


def test_heads_before_windows_keep_their_maps_and_gradients():
    torch.manual_seed(0)
    block, given = HeadsBeforeWindows(), torch.randn(2, 6, 9, 8)
    with AttentionRecorder(block) as recorder:
        output = block(given).square().sum()
    record, made = recorder.records[0], block.map
    gradient, expected = (torch.autograd.grad(output, [t], retain_graph=True)[0]
                          for t in (record.anchor, made))  # fmt: skip
    assert record.shape == (2 * 6, 2, 9, 9)
    for image, head, window in ((0, 1, 4), (1, 0, 5)):
        at = image * 6 + window
        assert torch.equal(record.weights()[at, head], made[image, head, window])
        found = record.map_gradient(gradient)[at, head]
        assert torch.equal(found, expected[image, head, window])


def test_a_size_of_zero_is_a_layer_without_windows():
    block = ChannelsFirst()
    block.window_size, block.forward = 0, lambda grid: block.attn(grid.flatten(1, 2))
    with AttentionRecorder(block) as recorder:
        block(torch.randn(2, 4, 5, 8))
    assert recorder.records[0].windows is None
    assert recorder.records[0].shape == (2, 2, 20, 20)


def test_what_has_no_windows_or_no_such_token_is_a_sentence():
    with pytest.raises(ValueError, match="no windows"):
        attention_in_image(AttentionRecord("layer", "self", (1, 1, 4, 4)), 0, 0)
    with pytest.raises(IndexError, match="2 x 3"):
        Windows((2, 3), (2, 2)).locate(2, 0)
