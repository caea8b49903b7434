"""A softmax is what it is used for: the map that multiplies values, against the module's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.errors import NothingRecorded
from model.recording.record import AttentionRecord
from model.recording.recorder import AttentionRecorder
from model.recording.rollout import explain_no_rollout

HEADS, WIDTH, TOKENS = 4, 32, 9


def heads_of(tensor: Tensor) -> Tensor:
    """(B, N, D) -> (B, H, N, d)"""
    return tensor.unflatten(-1, (HEADS, -1)).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention by hand, whose map `change` changes before it multiplies the values."""

    num_heads = HEADS

    def __init__(self, change: Callable[[Tensor], Tensor] = lambda weights: weights) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.mix = nn.Linear(HEADS, HEADS)
        self.conv = nn.Conv2d(HEADS, HEADS, 1)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = map(heads_of, self.qkv(x).chunk(3, -1))
        self.softmax = (q @ k.mT / 8**0.5).softmax(-1)
        self.acts = self.change(self.softmax)
        return (self.acts @ v).transpose(1, 2).flatten(2)


def record(net: nn.Module, images: Tensor) -> tuple[list[AttentionRecord], str | None]:
    with torch.no_grad(), AttentionRecorder(net) as recorder:
        net(images)
    return recorder.records, recorder.not_recorded


def tokens(images: int = 2) -> Tensor:
    return torch.randn(images, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))


def by_linear(weights: Tensor) -> Tensor:
    torch.manual_seed(2)
    mixed = nn.Linear(HEADS, HEADS)(weights.permute(0, 2, 3, 1))
    return mixed.permute(0, 3, 1, 2)


def by_einsum(weights: Tensor) -> Tensor:
    mix = torch.randn(HEADS, HEADS, generator=torch.Generator().manual_seed(2))
    return torch.einsum("bhij,hg->bgij", weights, mix)


def by_conv(weights: Tensor) -> Tensor:
    torch.manual_seed(2)
    return nn.Conv2d(HEADS, HEADS, 1)(weights)


CHANGES = {
    "heads mixed by a linear layer": by_linear,
    "heads mixed by an einsum": by_einsum,
    "heads mixed by a convolution": by_conv,
    "a gate": lambda weights: weights * weights.mean(1, keepdim=True).sigmoid(),
    "signed": lambda weights: weights - 0.5 * weights.roll(1, -1),
    "hard": lambda weights: (weights >= weights.amax(-1, keepdim=True)) * weights,
}


@pytest.mark.parametrize("images", [1, 2, HEADS])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_map_that_multiplies_the_values_is_recorded(change, images):
    net = nn.Sequential(Attention(change))
    (found,), nothing = record(net, tokens(images))
    torch.testing.assert_close(found.weights(), net[0].acts, rtol=0, atol=1e-7)
    torch.testing.assert_close(found.softmax(), net[0].softmax, rtol=0, atol=1e-7)
    assert nothing is None


def test_a_map_that_is_not_changed_is_its_own_softmax():
    net = nn.Sequential(Attention(lambda weights: weights.to(torch.float32).contiguous()))
    (found,), _ = record(net, tokens())
    assert found.softmax_map is None
    assert torch.equal(found.softmax(heads=[1]), net[0].softmax[:, [1]])


def test_dropout_is_left_out_and_later_changes_are_kept():
    torch.manual_seed(3)
    net = nn.Sequential(Attention(lambda weights: F.dropout(weights, 0.5)))
    (found,), _ = record(net, tokens())
    assert torch.equal(found.weights(), net[0].softmax)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_gradient_is_that_of_the_map_that_acts(change):
    torch.manual_seed(4)
    net = nn.Sequential(Attention(change))
    with AttentionRecorder(net) as recorder:
        y = net(tokens())[:, 0].sum()
    (found,) = recorder.records
    (gradient,) = torch.autograd.grad(y, [found.anchor], retain_graph=True)
    (expected,) = torch.autograd.grad(y, [net[0].acts])
    torch.testing.assert_close(found.map_gradient(gradient), expected)


def test_the_difference_of_two_softmaxes_is_one_map():
    class Differential(Attention):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = map(heads_of, self.qkv(x).chunk(3, -1))
            first, second = ((part @ part.mT).softmax(-1) for part in (q, k))
            self.acts = first - 0.3 * second
            return (self.acts @ v).transpose(1, 2).flatten(2)

    net = nn.Sequential(Differential())
    (found,), _ = record(net, tokens())
    torch.testing.assert_close(found.weights(), net[0].acts)


@pytest.mark.parametrize("images", [1, 2, 3, HEADS])
@pytest.mark.parametrize("einsum", [True, False])
def test_heads_before_images(images, einsum):
    class HeadsFirst(Attention):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (t.unflatten(-1, (HEADS, -1)) for t in self.qkv(x).chunk(3, -1))
            if einsum:
                self.acts = torch.einsum("bqhd,bkhd->hbqk", q, k).softmax(-1)
                return torch.einsum("hbqk,bkhd->bqhd", self.acts, v).flatten(2)
            q, k, v = (t.permute(2, 0, 1, 3) for t in (q, k, v))
            self.acts = (q @ k.mT).softmax(-1)
            return (self.acts @ v).permute(1, 2, 0, 3).flatten(2)

    net = nn.Sequential(HeadsFirst())
    (found,), _ = record(net, tokens(images))
    assert torch.equal(found.weights(), net[0].acts.transpose(0, 1))


def channels_first(x: Tensor) -> Tensor:
    q, k, v = (part.unflatten(1, (HEADS, -1)).flatten(3) for part in x.chunk(3, 1))
    return ((q @ k.mT).softmax(-1) @ v).flatten(1, 2).unflatten(2, x.shape[2:])


def over_features(x: Tensor) -> Tensor:
    q, k, v = map(heads_of, x.chunk(3, -1))
    return (q.softmax(-1) @ (k.softmax(-2).mT @ v)).transpose(1, 2).flatten(2)


def over_features_of_keys(x: Tensor) -> Tensor:
    q, k, v = (t.mT for t in map(heads_of, x.chunk(3, -1)))
    return (k.softmax(-1) @ v.mT @ q).transpose(1, 2).flatten(2)


def sampling(x: Tensor) -> Tensor:
    offsets = x[..., : HEADS * 6].unflatten(-1, (HEADS, 6))
    return (offsets.softmax(-1)[..., None] * torch.ones(6, 8)).sum(-2).flatten(2)


def slots(x: Tensor) -> Tensor:
    q, k, v = x.chunk(3, -1)
    assigned = (q[:, :3] @ k.mT).softmax(1)
    return (assigned / assigned.sum(-1, keepdim=True)) @ v


def classes(x: Tensor) -> Tensor:
    return x.unflatten(1, (3, 3)).softmax(-1).argmax(-1)


NO_MAPS = {
    "channels of a feature map": (channels_first, nn.Conv2d(WIDTH, 3 * WIDTH, 1)),
    "features, in linear attention": (over_features, nn.Linear(WIDTH, 3 * WIDTH)),
    "tokens of each feature": (over_features_of_keys, nn.Linear(WIDTH, 3 * WIDTH)),
    "weights of sampled points": (sampling, nn.Linear(WIDTH, 3 * WIDTH)),
    "slots": (slots, nn.Linear(WIDTH, 3 * WIDTH)),
    "classes of each pixel": (classes, nn.Linear(WIDTH, 3 * WIDTH)),
}


@pytest.mark.parametrize("images", [1, 2, HEADS])
@pytest.mark.parametrize(("function", "project"), NO_MAPS.values(), ids=NO_MAPS.keys())
def test_another_softmax_is_named_and_not_recorded(function, project, images):
    class CustomAttention(nn.Module):
        num_heads = HEADS

        def __init__(self) -> None:
            super().__init__()
            self.project = project

        def forward(self, x: Tensor) -> Tensor:
            return function(self.project(x))

    given = tokens(images)
    if isinstance(project, nn.Conv2d):
        given = torch.randn(images, WIDTH, 6, 6)
    net = CustomAttention()
    with pytest.raises(NothingRecorded), torch.no_grad(), AttentionRecorder(net) as recorder:
        net(given)
    assert "seen and not recorded" in recorder.not_recorded


def test_channels_between_layers_of_tokens_are_counted():
    class Channels(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            grid = torch.cat([x] * 3, -1).mT.unflatten(2, (3, 3))
            return channels_first(grid).flatten(2).mT

    net = nn.Sequential(Attention(), Channels(), Attention())
    records, others = record(net, tokens())
    assert [found.name for found in records] == ["0", "2"]
    assert others == "1 softmax was seen and not recorded: 1 (it weighs channels)."


def test_a_softmax_beside_the_attention_of_a_module_is_no_second_record():
    class Twice(Attention):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = map(heads_of, self.qkv(x).chunk(3, -1))
            (q @ k.mT).softmax(-1).to(q.dtype)
            mixed = F.scaled_dot_product_attention(q, k, v)
            return mixed.transpose(1, 2).flatten(2)

    records, others = record(nn.Sequential(Twice()), tokens())
    assert [found.query is None for found in records] == [False]
    assert "another map" in others


def test_rollout_takes_no_signed_map():
    net = nn.Sequential(Attention(CHANGES["signed"]))
    (found,), _ = record(net, tokens())
    assert "negative" in explain_no_rollout([found])


def test_pictures_of_different_lengths_have_rows_of_their_own():
    class Nested(nn.Module):
        num_heads = HEADS

        def forward(self, x: Tensor) -> Tensor:
            q = x.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            return F.scaled_dot_product_attention(q, q, q).transpose(1, 2).flatten(2)

    pictures = [tokens(1)[0, :length] for length in (TOKENS, 4)]
    net = nn.Sequential(Nested())
    with torch.no_grad(), AttentionRecorder(net) as recorder:
        net(torch.nested.nested_tensor(pictures, layout=torch.jagged))
    (found,) = recorder.records
    for number, picture in enumerate(pictures):
        q = heads_of(picture[None])[0].double()
        expected = torch.zeros(HEADS, TOKENS, TOKENS, dtype=torch.float64)
        length = len(picture)
        expected[:, :length, :length] = (q @ q.mT / 8**0.5).softmax(-1)
        torch.testing.assert_close(found.weights()[number].double(), expected, rtol=0, atol=1e-6)


PRODUCTS = {
    "bmm with a keyword": lambda weights, v: torch.bmm(weights, mat2=v),
    "matmul with keywords": lambda weights, v: torch.matmul(input=weights, other=v),
    "transposed": lambda weights, v: (v.mT @ weights.transpose(dim0=1, dim1=2)).mT,
    "a vector": lambda weights, v: weights[0] @ v[0, :, 0],
    "a row by einsum": lambda weights, v: torch.einsum("k,kd->d", weights[0, 0], v[0]),
    "three operands": lambda weights, v: torch.einsum("bqk,bkd,bq->bqd", weights, v, v[..., 0]),
    "an ellipsis": lambda weights, v: torch.einsum("...qk,...kd->...qd", weights, v),
    "numbers instead of letters": lambda w, v: torch.einsum(w, [0, 1, 2], v, [0, 2, 3], [0, 1, 3]),
}


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS.keys())
def test_any_way_to_multiply_runs_and_keeps_the_map(product):
    class OneHeadAttention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.weights = (x @ x.mT).softmax(-1)
            return product(self.weights, x)

    net = nn.Sequential(OneHeadAttention())
    (found,), _ = record(net, tokens())
    assert torch.equal(found.weights()[:, 0], net[0].weights)


def test_records_of_layers_that_were_not_chosen_are_let_go():
    net = nn.Sequential(Attention(), Attention(), Attention())
    with torch.no_grad(), AttentionRecorder(net, layers=[0]) as recorder:
        net(tokens())
        tap = recorder._tap
        assert all(softmax.record is None for softmax in tap.uses.softmaxes)
    assert [found.name for found in recorder.records] == ["0"]


# Softmaxes that look different.


def written_out(scores: Tensor) -> Tensor:
    powers = scores.exp()
    return powers / powers.sum(-1, keepdim=True)


def less_the_largest(scores: Tensor) -> Tensor:
    powers = torch.exp(scores - scores.max(-1, keepdim=True).values)
    return powers / (powers.sum(dim=-1, keepdim=True) + 1e-9)


def in_place(scores: Tensor) -> Tensor:
    scores -= scores.amax(-1, keepdim=True)
    powers = scores.exp_()
    powers /= powers.sum(-1)[..., None]
    return powers


WRITTEN_OUT = {
    "exp and sum": written_out,
    "less the largest": less_the_largest,
    "in place": in_place,
    "logsumexp": lambda scores: (scores - scores.logsumexp(-1, keepdim=True)).exp(),
    "log_softmax": lambda scores: F.log_softmax(scores, dim=-1).exp(),
    "normalize": lambda scores: F.normalize(scores.exp(), p=1, dim=-1),
    "over the other dimension": lambda scores: scores.mT.softmax(-2).mT,
    "over the other dimension, moved": lambda scores: (
        scores.permute(0, 3, 1, 2).softmax(1).permute(0, 2, 3, 1)
    ),
}


@pytest.mark.parametrize("images", [1, 2, HEADS])
@pytest.mark.parametrize("softmax", WRITTEN_OUT.values(), ids=WRITTEN_OUT.keys())
def test_a_softmax_may_be_written_in_many_ways(softmax, images):
    class Own(Attention):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = map(heads_of, self.qkv(x).chunk(3, -1))
            self.acts = softmax(q @ k.mT / 8**0.5)
            return (self.acts @ v).transpose(1, 2).flatten(2)

    net = nn.Sequential(Own())
    (found,), nothing = record(net, tokens(images))
    assert found.shape == (images, HEADS, TOKENS, TOKENS)
    assert torch.equal(found.weights(), net[0].acts)
    assert torch.equal(found.softmax(), net[0].acts)
    assert nothing is None


def test_weights_that_are_divided_after_they_met_the_values_are_named():
    class Deferred(Attention):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = map(heads_of, self.qkv(x).chunk(3, -1))
            powers = (q @ k.mT / 8**0.5).exp()
            return ((powers @ v) / powers.sum(-1, keepdim=True)).transpose(1, 2).flatten(2)

    records, others = record(nn.Sequential(Attention(), Deferred()), tokens())
    assert [found.name for found in records] == ["0"]
    assert others.startswith("1 softmax was seen and not recorded: 1 (")
    assert "divided after" in others


class OnePicture(nn.Module):
    """Tokens (N, D) of one picture, one head."""

    def forward(self, x: Tensor) -> Tensor:
        self.acts = (x[0] @ x[0].T).softmax(-1)
        return (self.acts @ x[0])[None]


class Pooled(nn.Module):
    """Tokens merged by queries that are learned, as in PatchMerger."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(
            torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(5))
        )

    def forward(self, x: Tensor) -> Tensor:
        self.acts = torch.matmul(self.queries, x.mT).softmax(-1)
        return torch.matmul(self.acts, x)


class SequencePooled(nn.Module):
    """One vector from all tokens, as in CCT."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.acts = self.score(x).softmax(1).mT
        return self.acts @ x


@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("build", [Pooled, SequencePooled])
def test_pooling_by_attention_is_recorded(build, images):
    net = nn.Sequential(Attention(), build())
    (_, found), nothing = record(net, tokens(images))
    assert (found.name, found.kind) == ("1", "cross")
    assert torch.equal(found.weights()[:, 0], net[1].acts)
    assert nothing is None


def test_a_map_of_two_dimensions_is_recorded_by_its_use():
    net = nn.Sequential(OnePicture())
    (found,), nothing = record(net, tokens(1))
    assert found.shape == (1, 1, TOKENS, TOKENS)
    assert torch.equal(found.weights()[0, 0], net[0].acts)
    assert nothing is None


@pytest.mark.parametrize("images", [1, 2, HEADS])
def test_blocks_stay_apart_from_heads(images):
    """HaloNet's maps are (B · H, blocks, queries, keys)."""

    class Blocks(Attention):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (heads_of(t).flatten(0, 1) for t in self.qkv(x).chunk(3, -1))
            q, k, v = (t.unflatten(1, (3, 3)) for t in (q, k, v))  # (B · H, blocks, n, d)
            self.acts = (q @ k.mT).softmax(-1)
            return (
                (self.acts @ v).flatten(1, 2).unflatten(0, (-1, HEADS)).transpose(1, 2).flatten(2)
            )

    net = nn.Sequential(Blocks())
    (found,), _ = record(net, tokens(images))
    acts = net[0].acts.unflatten(0, (images, HEADS)).transpose(1, 2).flatten(0, 1)
    assert found.shape == (images * 3, HEADS, 3, 3)
    assert torch.equal(found.weights(), acts)


@pytest.mark.parametrize("images", [1, 2, HEADS])
def test_windows_of_one_head_are_no_heads(images):
    """EfficientViT computes head after head on a feature map of each window."""

    class Cascade(nn.Module):
        num_heads = HEADS

        def forward(self, windows: Tensor) -> Tensor:
            made, self.acts = [], []
            for part in windows.chunk(HEADS, 1):
                rows = part.flatten(2)
                self.acts.append((rows.mT @ rows).softmax(-1))
                made.append((rows @ self.acts[-1].mT).view(part.shape))
            return torch.cat(made, 1)

    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = Cascade()

        def forward(self, image: Tensor) -> Tensor:
            rows = image.unflatten(3, (2, 3)).unflatten(2, (2, 3)).permute(0, 2, 4, 1, 3, 5)
            return self.attention(rows.flatten(0, 2))

    net = nn.Sequential(Cut())
    given = torch.randn(images, WIDTH, 6, 6, generator=torch.Generator().manual_seed(6))
    (found,), _ = record(net, given)
    assert found.shape == (images * 4, HEADS, 9, 9)
    assert torch.equal(found.weights(), torch.stack(net[0].attention.acts, 1))


def test_a_softmax_that_nothing_uses_is_no_record():
    class Unused(Attention):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = map(heads_of, self.qkv(x).chunk(3, -1))
            (q @ k.mT).softmax(-1).to(q.dtype)
            return v.transpose(1, 2).flatten(2)

    records, others = record(nn.Sequential(Attention(), Unused()), tokens())
    assert [found.name for found in records] == ["0"]
    assert others == "1 softmax was seen and not recorded: 1 (nothing was seen to use it)."


def test_groups_are_named():
    class Assigned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            groups = x[:, :3]
            assigned = F.gumbel_softmax(groups @ x.mT, dim=-2)
            return (assigned / assigned.sum(-1, keepdim=True)) @ x

    records, others = record(nn.Sequential(Attention(), Assigned()), tokens())
    assert [found.name for found in records] == ["0"]
    assert "another dimension" in others


def test_pooling_by_einsum_has_one_query():
    class Summed(SequencePooled):
        def forward(self, x: Tensor) -> Tensor:
            self.acts = self.score(x)[..., 0].softmax(dim=1)
            return torch.einsum("bn,bnd->bd", self.acts, x)[:, None]

    net = nn.Sequential(Attention(), Summed())
    (_, found), nothing = record(net, tokens())
    assert found.shape == (2, 1, 1, TOKENS)
    assert torch.equal(found.weights()[:, 0, 0], net[1].acts)
    assert nothing is None


def test_slots_by_einsum_are_named():
    class Slots(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assigned = torch.einsum("btd,bsd->bts", x, x[:, :3]).softmax(-1)
            return torch.einsum("bts,btd->bsd", assigned, x)

    records, others = record(nn.Sequential(Attention(), Slots()), tokens())
    assert [found.name for found in records] == ["0"]
    assert "along another dimension" in others


def test_a_softmax_of_features_before_any_product_is_named():
    """LambdaNetworks (Bello 2021) normalise keys over the tokens, without queries."""

    class Lambda(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            keys = x[..., :5].mT.softmax(-1)
            return x[..., :5] @ (keys @ x)

    records, others = record(nn.Sequential(Attention(), Lambda()), tokens())
    assert [found.name for found in records] == ["0"]
    assert others == (
        "1 softmax was seen and not recorded: 1 (its scores are no product of queries and keys)."
    )


@pytest.mark.parametrize("images", [1, 2])
def test_queries_that_are_learned_can_be_read_after_inference_mode(images):
    class Asked(nn.Module):
        num_heads = HEADS

        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Parameter(tokens(1)[:, :1])

        def forward(self, x: Tensor) -> Tensor:
            query = heads_of(self.query.expand(len(x), -1, -1))
            return F.scaled_dot_product_attention(query, heads_of(x), heads_of(x))

    net = Asked()
    with torch.inference_mode(), AttentionRecorder(net) as recorder:
        net(tokens(images))
    (found,) = recorder.records
    scores = heads_of(net.query.detach()).double() @ heads_of(tokens(images)).double().mT / 8**0.5
    assert (found.weights() - scores.softmax(-1)).abs().max() < 1e-6


@pytest.mark.filterwarnings("ignore")
def test_flex_attention_is_named():
    from torch.nn.attention import flex_attention as flex

    class Flexible(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            heads = torch.cat([x, x], -1).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            mixed = flex.flex_attention(heads, heads, heads)
            return mixed.transpose(1, 2).flatten(2)[..., :WIDTH]

    records, others = record(nn.Sequential(Attention(), Flexible(), Flexible()), tokens())
    assert [found.name for found in records] == ["0"]
    assert others.startswith("2 softmaxes were seen and not recorded: 1 (flex_attention")


@pytest.mark.parametrize("images", [1, 2, HEADS])
def test_fewer_keys_than_tokens_are_self_attention_on_a_coarser_grid(images):
    """PVT (Wang et al. 2021) reduces the keys by a convolution."""

    class Reduced(Attention):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = map(heads_of, self.qkv(x).chunk(3, -1))
            k, v = (t.unflatten(2, (3, 3)).mean(3) for t in (k, v))
            self.acts = (q @ k.mT / 8**0.5).softmax(-1)
            return (self.acts @ v).transpose(1, 2).flatten(2)

    net = nn.Sequential(Reduced())
    (found,), _ = record(net, tokens(images))
    assert (found.kind, found.shape) == ("self", (images, HEADS, TOKENS, 3))
    assert torch.equal(found.weights(), net[0].acts)


@pytest.mark.parametrize("learned", [False, True])
def test_fewer_queries_than_tokens_are_self_attention_unless_learned(learned):
    """LeViT, MViT and Hiera pool the queries; an attention pooling learns them."""

    class Pooled(Attention):
        def __init__(self) -> None:
            super().__init__()
            if learned:
                self.latents = nn.Parameter(torch.randn(1, 3, WIDTH))
            self.biases = nn.Parameter(torch.zeros(3, TOKENS))

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(x).chunk(3, -1)
            q = self.latents.expand(len(x), 3, WIDTH) if learned else q[:, :3]
            return F.scaled_dot_product_attention(*map(heads_of, (q, k, v)))

    (found,), _ = record(nn.Sequential(Pooled()), tokens())
    assert found.kind == ("cross" if learned else "self")


def test_a_list_of_pictures_is_a_batch_of_as_many():
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = Attention()

        def forward(self, pictures: list[Tensor]) -> Tensor:
            return self.attention(torch.stack(pictures).flatten(2).mT @ torch.ones(3, WIDTH))

    net = Listed()
    with torch.no_grad(), AttentionRecorder(net) as recorder:
        net([torch.randn(3, 4, 4) for _ in range(5)])
    (found,) = recorder.records
    assert found.origin.batches == (5,)
    assert found.shape == (5, HEADS, 16, 16)


@pytest.mark.parametrize("images", [1, 2, HEADS])
@pytest.mark.parametrize("count", [8, 9])  # a head has 8 channels
def test_channels_are_known_where_there_are_as_many_tokens(images, count):
    class Channels(nn.Module):
        num_heads = HEADS

        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (heads_of(t).mT for t in self.qkv(x).chunk(3, -1))  # (B, H, d, N)
            return ((q @ k.mT).softmax(-1) @ v).mT.transpose(1, 2).flatten(2)

    x = torch.randn(images, count, WIDTH, generator=torch.Generator().manual_seed(7))
    records, others = record(nn.Sequential(Attention(), Channels()), x)
    assert [found.name for found in records] == ["0"]
    assert others == "1 softmax was seen and not recorded: 1 (it weighs channels)."


@pytest.mark.parametrize("images", [1, 2, HEADS])
def test_channels_of_a_grid_are_known_where_as_many_tokens_make_the_width(images):
    side, width = 3, HEADS * 3 * 3  # of the tokens; a head has 16 channels

    class Channels(nn.Module):
        num_heads = HEADS

        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(width, 3 * HEADS * 16)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (heads_of(t).mT for t in self.qkv(x).flatten(1, 2).chunk(3, -1))
            sums = torch.einsum("bhij,bhjn->bhin", (q @ k.mT).softmax(-1), v)
            return sums.mT.transpose(1, 2).flatten(2)

    x = torch.randn(images, side, side, width, generator=torch.Generator().manual_seed(8))
    with pytest.raises(NothingRecorded, match="it weighs something else than tokens"):
        record(Channels(), x)


@pytest.mark.parametrize("images", [1, 2])
def test_attention_of_each_token_over_the_layers_before_is_no_map_of_tokens(images):
    class OverDepth(nn.Module):
        num_heads = HEADS

        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Parameter(torch.randn(WIDTH))
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

        def forward(self, layers: list[Tensor]) -> Tensor:
            context = torch.stack(layers, 2).flatten(0, 1)  # (B·N, layers, D)
            q = heads_of(self.query.expand(len(context), 1, -1))
            _, k, v = map(heads_of, self.qkv(context).chunk(3, -1))
            pooled = ((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(1)
            return pooled.unflatten(0, layers[0].shape[:2])

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Attention(), Attention()
            self.depth = OverDepth()

        def forward(self, x: Tensor) -> Tensor:
            layers = [x, self.first(x), x]
            return self.second(self.depth(layers))

    net = Net()
    for _ in range(2):  # the second run has seen the first's tokens, which changes nothing
        records, others = record(net, tokens(images))
        assert [found.name for found in records] == ["first", "second"]
        assert others == (
            "1 softmax was seen and not recorded: depth (it weighs something else than tokens)."
        )


def test_pooling_of_windows_into_coarser_tokens_is_recorded_in_every_pass():
    class Pool(nn.Module):
        num_heads = HEADS

        def __init__(self) -> None:
            super().__init__()
            self.kv = nn.Linear(WIDTH, 2 * WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            windows = x.unflatten(1, (-1, 4)).flatten(0, 1)  # (B·windows, 4, D)
            k, v = map(heads_of, self.kv(windows).chunk(2, -1))
            q = heads_of(windows.mean(1, keepdim=True))
            pooled = ((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(1)
            return pooled.unflatten(0, (len(x), -1))

    net = nn.Sequential(Attention(), Pool(), Attention())
    x = torch.randn(2, 16, WIDTH, generator=torch.Generator().manual_seed(9))
    with torch.no_grad(), AttentionRecorder(net) as recorder:
        net(x)
        net(x)
    assert [found.name for found in recorder.records] == ["0", "1", "2"] * 2


@pytest.mark.parametrize("images", [1, 2, HEADS])
@pytest.mark.parametrize("count", [8, 9])  # a head has 8 channels
def test_a_fused_call_over_channels_is_no_map_of_tokens(images, count):
    class Channels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (heads_of(t).mT for t in self.qkv(x).chunk(3, -1))  # (B, H, d, N)
            return F.scaled_dot_product_attention(q, k, v).mT.transpose(1, 2).flatten(2)

    class Tokens(Channels):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = map(heads_of, self.qkv(x).chunk(3, -1))
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    x = torch.randn(images, count, WIDTH, generator=torch.Generator().manual_seed(7))
    records, others = record(nn.Sequential(Tokens(), Channels()), x)
    assert [found.name for found in records] == ["0"]
    assert others == "1 softmax was seen and not recorded: 1 (it weighs channels)."


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("way", ["windows", "coarser keys"])
def test_a_head_may_have_as_many_features_as_there_are_tokens(way, images):
    """Windows (B·windows·heads, K, K), and keys of every other token, on a grid (B, D, H, W)."""
    side, features = 8, 64

    class Grid(nn.Module):
        num_heads = HEADS

        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Conv2d(WIDTH, 3 * HEADS * features, 1)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(x).flatten(2).mT.chunk(3, -1)
            if way == "windows":
                q, k, v = (t.unflatten(1, (-1, 16)).flatten(0, 1) for t in (q, k, v))
            else:
                k, v = k[:, ::4], v[:, ::4]
            q, k, v = (t.unflatten(-1, (HEADS, features)) for t in (q, k, v))
            q, k, v = (t.transpose(1, 2).flatten(0, 1).contiguous() for t in (q, k, v))
            return (q @ k.mT).softmax(-1) @ v

    x = torch.randn(images, WIDTH, side, side, generator=torch.Generator().manual_seed(7))
    (found,), others = record(Grid(), x)
    assert others is None
    batch = images * (4 if way == "windows" else 1)
    assert found.shape == (batch, HEADS, 16 if way == "windows" else 64, 16)


class WithSinks(nn.Module):
    """A column of learned scores before the softmax, cut off again after it, as in gpt-oss."""

    num_heads = HEADS

    def __init__(self, in_front: bool = False) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.sinks, self.in_front = nn.Parameter(torch.randn(HEADS, 1, 1)), in_front

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = map(heads_of, self.qkv(x).chunk(3, -1))
        scores, sinks = q @ k.mT / 8**0.5, self.sinks.expand(len(x), -1, TOKENS, 1)
        scores = torch.cat([sinks, scores] if self.in_front else [scores, sinks], -1)
        weights = (scores - scores.amax(-1, keepdim=True)).softmax(-1)
        weights = weights[..., 1:] if self.in_front else weights[..., :-1]
        return (F.dropout(weights, 0.5, self.training) @ v).transpose(1, 2).flatten(2)

    def closed_form(self, x: Tensor) -> Tensor:
        """exp(s) / (exp(sink) + the sum of exp(s)), in float64."""
        weight, bias = self.qkv.weight.double(), self.qkv.bias.double()
        q, k, _ = map(heads_of, (x.double() @ weight.mT + bias).chunk(3, -1))
        scores = (q @ k.mT / 8**0.5).exp()
        return scores / (scores.sum(-1, keepdim=True) + self.sinks.double().exp())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("in_front", [False, True])
def test_a_sink_takes_its_share_and_multiplies_no_values(in_front, training):
    torch.manual_seed(5)
    net = nn.Sequential(WithSinks(in_front)).train(training)
    (found,), nothing = record(net, tokens())
    expected = net[0].closed_form(tokens())
    torch.testing.assert_close(found.weights().double(), expected, rtol=0, atol=1e-6)
    assert (found.kind, found.sinks, found.shape[-1], nothing) == ("self", 1, TOKENS, None)
    column = found.softmax()[..., 0 if in_front else -1].double()
    torch.testing.assert_close(1 - expected.sum(-1), column, rtol=0, atol=1e-6)


def test_a_map_whose_columns_weigh_two_sets_of_values_is_named():
    class TwoSets(Attention):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = map(heads_of, self.qkv(x).chunk(3, -1))
            weights = torch.cat([q @ k.mT, q @ v.mT], -1).softmax(-1)
            near, far = weights.split(TOKENS, -1)
            return (near @ v + far @ k).transpose(1, 2).flatten(2)

    with pytest.raises(NothingRecorded, match="its columns multiply several sets of values"):
        record(nn.Sequential(TwoSets()), tokens())


class EntryByEntry(nn.Module):
    """Weights (B, 1, P, N) of each pixel's patches, as in MobileViTv2."""

    def forward(self, x: Tensor) -> Tensor:
        scores, values = x[:, :1], x[:, 1:]
        self.softmax = scores.softmax(-1)
        return (values * self.softmax).sum(-1, keepdim=True)


@pytest.mark.parametrize("images", [1, 2])
def test_weights_that_are_multiplied_entry_by_entry_are_a_map(images):
    net = nn.Sequential(EntryByEntry())
    (found,), nothing = record(net, torch.randn(images, 8, 4, TOKENS))
    assert (found.shape, nothing) == ((images * 4, 1, 1, TOKENS), None)
    assert torch.equal(found.weights()[:, 0, 0], net[0].softmax.reshape(-1, TOKENS))


def test_points_that_each_query_samples_for_itself_are_named():
    class Deformable(nn.Module):
        """Weights (B, 1, Q, P) of as many points as there are queries, so no size tells."""

        def __init__(self):
            super().__init__()
            self.num_heads = 1
            self.scores = nn.Linear(WIDTH, TOKENS)

        def forward(self, x: Tensor) -> Tensor:
            weights = self.scores(x).softmax(-1)[:, None]
            sampled = torch.randn(len(x), WIDTH, TOKENS, TOKENS)
            return (sampled * weights).sum(-1).mT

    with pytest.raises(NothingRecorded, match="each query weighs values of its own"):
        record(nn.Sequential(Deformable()), tokens())


def test_weights_over_a_learned_table_or_over_images_are_named():
    class Words(Attention):
        def forward(self, x: Tensor) -> Tensor:
            return (x @ x.mT).softmax(-1) @ self.table

    class Images(Attention):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = x[:, 0, 0], x[:, 1, 0], x[:, 2, 0]
            return (q @ k.mT).softmax(-1) @ v

    words = Words()
    words.table = nn.Parameter(torch.randn(TOKENS, WIDTH))
    with pytest.raises(NothingRecorded, match="it weighs the rows of a learned table"):
        record(nn.Sequential(words), tokens())
    with pytest.raises(NothingRecorded, match="it weighs the images of a batch"):
        record(nn.Sequential(Images()), torch.randn(2, 3, 4, 4))
