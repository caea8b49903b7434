"""Position codes against the formula, and as they are found in models."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.analysis.position_codes import code_similarity, find_position_code, random_code
from model.analysis.rotary_codes import rotary_score
from model.analysis.token_order import without_position_code
from model.nets.position_embedding import sinusoidal_code
from model.nets.sinusoids import frequencies, wave_code, wave_code_2d
from model.nets.vit import build
from model.tokens import TokenLayout

lengths = st.integers(1, 50)
widths = st.integers(1, 32).map(lambda half: 2 * half)
bases = st.floats(1, 1e6)


@settings(deadline=None, max_examples=40)
@given(lengths, widths, bases)
def test_the_wave_code_is_the_formula(length, width, base):
    code = wave_code(length, width, base)
    assert code.shape == (length, width) and code.dtype == torch.float64
    for i in range(length):
        for j in range(width // 2):
            angle = i / base ** (2 * j / width)
            assert code[i, 2 * j].item() == pytest.approx(math.sin(angle), abs=1e-11)
            assert code[i, 2 * j + 1].item() == pytest.approx(math.cos(angle), abs=1e-11)


@settings(deadline=None, max_examples=20)
@given(lengths, widths)
def test_it_is_the_code_that_models_run(length, width):
    torch.testing.assert_close(
        wave_code(length, width), sinusoidal_code(length, width), atol=1e-12, rtol=0
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 50), widths, bases)
def test_the_dot_product_depends_on_the_distance_only(length, width, base):
    dots = code_similarity(wave_code(length, width, base), cosine=False)
    for step in range(length):
        diagonal = dots.diagonal(step)
        expected = frequencies(width, base).mul(step).cos().sum()
        assert (diagonal - expected).abs().max() < 1e-9
    assert torch.allclose(dots, dots.T)


def test_a_wavelength_is_one_turn():
    wavelength = 2 * math.pi / frequencies(8, 100.0)
    for pair in range(4):
        assert wavelength[pair] * 100.0 ** (-2 * pair / 8) == pytest.approx(2 * math.pi)


@pytest.mark.parametrize(
    ("length", "width", "base", "sentence"),
    [
        (4, 7, 100, "7 is not, 8 would be"),
        (4, 0, 100, "0 is not, 2 would be"),
        (0, 8, 100, "1 to 4096 positions: 0 is not"),
        (10**9, 8, 100, "1000000000 is not"),
        (4, 10**9, 100, "too large"),
        (4, 8, 0, "The base"),
        (4, 8, math.inf, "The base"),
        (4, 8, math.nan, "The base"),
    ],
)
def test_impossible_sizes_are_sentences(length, width, base, sentence):
    with pytest.raises(ValueError, match=sentence):
        wave_code(length, width, base)


def test_on_a_grid_rows_and_columns_count_alike():
    grid = (3, 5)
    code = wave_code_2d(grid, 16).reshape(3, 5, 16)
    for row in range(3):
        for column in range(5):
            torch.testing.assert_close(code[row, column, :8], wave_code(3, 8)[row])
            torch.testing.assert_close(code[row, column, 8:], wave_code(5, 8)[column])
    with pytest.raises(ValueError, match="16 would be"):
        wave_code_2d(grid, 14)


def test_cosines_and_dots():
    code = torch.tensor([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    assert code_similarity(code).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert code_similarity(code, cosine=False).diagonal().tolist() == [9, 4, 0]
    assert torch.equal(random_code(3, 4), random_code(3, 4))


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "none"])
@pytest.mark.parametrize("registers", [0, 2])
def test_our_own_models_codes(positions, registers):
    net = build("vit", img_size=(16, 24), patch_size=8, dim=16, depth=1, heads=2,
                registers=registers, positions=positions)  # fmt: skip
    code = find_position_code(net, net.tokens)
    assert code.kind == positions
    if positions == "none":
        assert code.patches is None
        return
    assert torch.equal(code.patches, net.positions.code[1:])
    assert list(code.prefix) == ["cls"]
    assert torch.equal(code.prefix["cls"], net.positions.code[0])


@pytest.mark.hubs
@pytest.mark.parametrize(
    ("name", "prefix", "kind", "also", "named"),
    [
        ("vit_tiny_patch16_224", ["cls"], "learned", (), ["cls"]),
        ("deit_tiny_distilled_patch16_224", ["cls", "dist"], "learned", (), ["cls", "dist"]),
        ("eva02_tiny_patch14_224", ["cls"], "learned", ("rotary",), ["cls"]),
        ("vit_small_patch16_rope_224", ["cls"], "rotary", (), []),
        ("vit_small_patch16_dinov3", ["cls", "reg0", "reg1", "reg2", "reg3"], "rotary", (), []),
        ("swin_tiny_patch4_window7_224", [], "relative", (), []),
    ],
)
def test_the_codes_of_timms_models(name, prefix, kind, also, named):
    timm = _timm()
    net = timm.create_model(name, pretrained=False)
    patch = 14 if "14" in name else 16
    layout = TokenLayout((224 // patch, 224 // patch), tuple(prefix), (patch, patch))
    code = find_position_code(net, layout)
    assert (code.kind, code.other_kinds, list(code.prefix)) == (kind, also, named)
    if kind == "rotary":
        assert code.angles.shape[0] == layout.patches
        middle = layout.patches // 2 + 7
        table = net.rope.get_embed(shape=list(layout.grid)).reshape(layout.patches, -1)
        sin, cos = table.chunk(2, dim=-1)
        turned = sin @ sin[middle] + cos @ cos[middle]
        torch.testing.assert_close(
            rotary_score(code.angles, middle), turned / sin.shape[1], atol=1e-5, rtol=0
        )


def _timm():
    from model.nets import torchvision_cpu

    torchvision_cpu.ensure_operators()
    return pytest.importorskip("timm", reason="timm is not installed")


# -- transformers' models ---------------------------------------------------------------------

HF_SIZE = {"patch_size": 14, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def _transformers():
    from model.nets import torchvision_cpu

    torchvision_cpu.ensure_operators()
    return pytest.importorskip("transformers", reason="transformers is not installed")


def _small_hf(kind: str, **config):
    transformers = _transformers()
    torch.manual_seed(0)
    settings = getattr(transformers, f"{kind}Config")(**HF_SIZE | config)
    return getattr(transformers, f"{kind}Model")(settings).eval()


@pytest.mark.hubs
@pytest.mark.parametrize(
    ("kind", "registers", "smooth"),
    [("Dinov2", 0, False), ("Dinov2WithRegisters", 4, True)],
)
@pytest.mark.parametrize("grid", [(2, 2), (3, 5), (6, 6)])
def test_a_table_of_another_grid_is_what_the_model_adds(kind, registers, smooth, grid):
    net = _small_hf(kind, image_size=56)
    prefix = ("cls", *(f"reg{i}" for i in range(registers)))
    layout = TokenLayout(grid, prefix, (14, 14))
    code = find_position_code(net, layout)
    assert (code.kind, code.name) == ("learned", "embeddings.position_embeddings")
    assert code.table_grid == (4, 4) and list(code.prefix) == ["cls"]

    table = net.embeddings.position_embeddings.detach()[0]
    square = table[1:].unflatten(0, (4, 4)).movedim(-1, 0)[None]
    by_hand = torch.nn.functional.interpolate(square, grid, mode="bicubic", antialias=smooth)
    torch.testing.assert_close(code.patches, by_hand[0].flatten(1).T)
    assert torch.equal(code.prefix["cls"], table[0])

    images = torch.randn(1, 3, *layout.image_size)
    with torch.no_grad():
        added = net.embeddings(images) - without_position_code(net, code).embeddings(images)
    torch.testing.assert_close(added[0, layout.patch_slice], code.patches, atol=1e-5, rtol=0)


@pytest.mark.hubs
def test_a_table_of_the_same_grid_is_read_as_it_is():
    net = _small_hf("Dinov2", image_size=56)
    code = find_position_code(net, TokenLayout((4, 4), ("cls",), (14, 14)))
    assert code.table_grid is None
    assert torch.equal(code.patches, net.embeddings.position_embeddings[0, 1:])


def test_a_table_of_another_grid_that_is_never_stretched_is_none_of_these_patches():
    net = build("vit", img_size=16, patch_size=4, dim=16, depth=1, heads=2)
    assert find_position_code(net, TokenLayout((2, 2), ("cls",), (4, 4))).kind == "none"


@pytest.mark.hubs
@pytest.mark.parametrize("grid", [(4, 4), (2, 5)])
def test_the_angles_of_transformers_dinov3(grid):
    net = _small_hf("DINOv3ViT", image_size=56, num_register_tokens=2)
    layout = TokenLayout(grid, ("cls", "reg0", "reg1"), (14, 14))
    code = find_position_code(net, layout)
    assert code.kind == "rotary" and code.angles.shape == (layout.patches, 8)
    cos, sin = net.rope_embeddings(torch.zeros(1, 3, *layout.image_size))
    torch.testing.assert_close(code.angles.cos(), cos[:, :8], atol=1e-5, rtol=0)
    torch.testing.assert_close(code.angles.sin(), sin[:, :8], atol=1e-5, rtol=0)

    from transformers.models.dinov3_vit.modeling_dinov3_vit import apply_rotary_pos_emb

    ones = torch.ones(1, 1, layout.patches, 16)
    query, key = apply_rotary_pos_emb(ones, ones, cos, sin)
    scores = (query[0, 0, 3] * key[0, 0]).sum(-1) / 16
    torch.testing.assert_close(rotary_score(code.angles, 3), scores, atol=1e-5, rtol=0)
