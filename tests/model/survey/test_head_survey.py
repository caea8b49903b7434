import pytest
import torch
from PIL import Image

from model.analysis.head_measures import MEASURES, measure_layers
from model.bundle import Bundle
from model.datasets import samples
from model.nets.vit import build
from model.preprocessing import Resize
from model.recording.recorder import AttentionRecorder
from model.survey.head_survey import survey_heads


@pytest.fixture(scope="module")
def bundle():
    net = build("vit", img_size=32, patch_size=8, dim=32, depth=3, heads=2, num_classes=3).eval()
    return Bundle("small", net, net.tokens, (0.5,) * 3, (0.5,) * 3, Resize((32, 32)))


@pytest.mark.parametrize(("tokens", "steps"), [(1, [1, 2, 3, 4]), (3 * 17, [3, 4]), (1024, [4])])
def test_the_last_mean_is_that_of_every_photo(bundle, monkeypatch, tokens, steps):
    monkeypatch.setattr("model.survey.head_survey.TOKENS", tokens)
    photos = [samples.load(name) for name in samples.names()[:4]]
    means = [mean.count for mean in survey_heads(bundle, iter(photos))]
    assert means == steps
    *_, last = survey_heads(bundle, photos)
    tables = []
    for photo in photos:
        with torch.inference_mode(), AttentionRecorder(bundle.net) as recorder:
            bundle.net(bundle.prepare(photo))
        tables.append(measure_layers(recorder.records, bundle.tokens))
    for name in MEASURES:
        expected = torch.stack([table[name] for table in tables]).mean(0)
        torch.testing.assert_close(last.mean()[name], expected)


def test_layers_can_be_chosen(bundle):
    *_, last = survey_heads(bundle, [Image.new("RGB", (50, 40))], layers=[0, -1])
    assert last.mean()["entropy"].shape == (2, 2)
