"""A few of the models that `python -m tests.sweep` judges, and whether it would see a fault."""

import importlib.util

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.recording.record import AttentionRecord
from tests.sweep import run_model
from tests.sweep.acting_maps import ActingMaps
from tests.sweep.judge import EXACT, LABELLED, SILENT, SKIPPED, WRONG, judge
from tests.sweep.subject import Subject, images
from tests.sweep.table import write_table

pytestmark = [pytest.mark.hubs, pytest.mark.filterwarnings("ignore")]


class Attention(nn.Module):
    """Self-attention over tokens (B, N, D), fused or written by hand, or over channels."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.num_heads = way, 2
        self.qkv = nn.Linear(16, 48)
        self.mix = nn.Parameter(torch.tensor([[0.7, 0.3], [-0.2, 1.2]]))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        if self.way == "fused":
            out = F.scaled_dot_product_attention(query, key, value)
        elif self.way == "channels":
            weights = (query.mT @ key).softmax(-1)
            out = (weights @ value.mT).mT
        elif self.way == "linear":
            out = query.softmax(-1) @ (key.softmax(-2).mT @ value)
        else:
            weights = (query @ key.mT / 8**0.5).softmax(-1)
            if self.way == "mixed":
                weights = torch.einsum("bhij,hg->bgij", weights, self.mix)
            out = weights @ value
        return out.transpose(1, 2).flatten(2)


def subject(way: str) -> Subject:
    torch.manual_seed(0)
    return Subject(nn.Sequential(nn.Linear(16, 16), Attention(way)).eval(), (images(6, 16),))


@pytest.mark.parametrize(
    ("way", "over", "maps"),
    [
        ("fused", "token", 1),
        ("by hand", "token", 1),
        ("mixed", "token", 1),
        ("channels", "feature", 0),
        ("linear", "feature", 0),
    ],
)
def test_what_acts_is_seen_from_below(way, over, maps):
    net = subject(way)
    with torch.no_grad(), ActingMaps(net.net) as truth:
        net.run()
    assert over in [use.over for use in truth.uses]
    found = [use for use in truth.uses if use.is_map_of_tokens]
    assert len(found) == maps
    if not maps:
        return
    layer = net.net[1]
    query, key, _ = layer.qkv(net.net[0](*net.args)).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
    expected = (query @ key.mT / 8**0.5).softmax(-1)
    if way == "mixed":
        expected = torch.stack(
            [sum(layer.mix[h, g] * expected[:, h] for h in range(2)) for g in range(2)], dim=1
        )
    torch.testing.assert_close(found[0].weights, expected.flatten(0, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("collects", [False, True])
def test_a_learned_query_is_told_from_features(collects):
    """Both are x W and a softmax over the tokens; in linear attention queries meet the result."""
    net = nn.Module()
    net.queries = nn.Parameter(torch.randn(4, 16))
    net.first = nn.Linear(16, 16)

    def forward(x: Tensor) -> Tensor:
        x = net.first(x)
        pooled = (net.queries @ x.mT).softmax(-1) @ x
        return net.first(x)[..., :4] @ pooled if collects else pooled

    with torch.no_grad(), ActingMaps(net) as truth:
        forward(images(6, 16))
    assert [use.is_map_of_tokens for use in truth.uses] == [not collects]


@pytest.mark.parametrize(
    ("way", "verdict"),
    [
        ("fused", EXACT),
        ("by hand", EXACT),
        ("mixed", EXACT),
        ("channels", LABELLED),
        ("linear", LABELLED),
    ],
)
def test_the_recorder_is_judged(way, verdict):
    assert judge(subject(way))[0] == verdict


def test_a_wrong_map_and_a_missing_one_are_seen(monkeypatch):
    weights = AttentionRecord.weights
    with monkeypatch.context() as patch:
        patch.setattr(AttentionRecord, "weights", lambda self, *a: weights(self, *a).mT)
        assert judge(subject("fused"))[0] == WRONG
    monkeypatch.setattr(
        "model.recording.recorder.AttentionRecorder._keep",
        lambda self, record: self._choice.see(record.name),
    )
    assert judge(subject("fused"))[0] == SILENT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "package", "names"),
    [
        ("timm", "timm", ["test_vit", "cait_xxs24_224", "swin_tiny_patch4_window7_224"]),
        ("vit_pytorch", "vit_pytorch", ["deepvit", "cait", "crossformer"]),
        ("transformers", "transformers", ["ViTModel", "CLIPModel", "LlavaModel"]),
        ("torchvision", "torchvision", ["vit_b_16"]),
    ],
)
def test_a_few_models_of_each_library(library, package, names):
    if not importlib.util.find_spec(package):
        pytest.skip(f"no {package}")
    from model.nets.torchvision_cpu import ensure_operators

    ensure_operators()
    importlib.import_module(package)
    for name in names:
        outcome = run_model.run_model(library, name)
        assert outcome.verdict == EXACT, outcome


def test_a_crash_is_a_row_and_the_table_names_it(monkeypatch, tmp_path):
    monkeypatch.setattr(run_model, "_outcome", lambda *_: __import__("os")._exit(3))
    crash = run_model.run_model("timm", "test_vit")
    monkeypatch.undo()
    skipped = run_model.run_model("x_transformers", "no such way")
    assert (crash.verdict, skipped.verdict) == ("crash", SKIPPED)
    write_table(tmp_path / "sweep.md", [crash, skipped])
    page = (tmp_path / "sweep.md").read_text("utf-8")
    assert "| timm | 0 | 0 | 0 | 0 | 0 | 0 | 1 | 0 | 1 of 1 |" in page
    assert "- test_vit (timm): the process ended" in page
