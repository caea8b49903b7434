"""What `show` and `compare` make of a net, of records and of captions, and what they refuse."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from model import zoo
from model.datasets import samples
from model.recorded_image import record_image
from model.recording.recorder import AttentionRecorder
from model.tokens import TokenLayout
from model.vit import build
from viz.notebook import CannotShow, compare, show, shown
from viz.notebook.shown import STILL_BYTES, StillShown, small_png
from viz.standalone import FigureTooLarge


@pytest.fixture(scope="module")
def bundle():
    return zoo.load("cs231n-cifar10")


def weights_of(bundle, picture, layer: int, head: int, query: int) -> np.ndarray:
    """One row, computed from the layer's whole map."""
    with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:
        bundle.net(bundle.prepare(picture))
    record = recorder.records[layer]
    scores = record.query[0, head] @ record.key[0, head].T * record.scale
    return scores.softmax(-1)[query].numpy()


def test_the_row_is_the_attention_that_layer_head_and_query_name(bundle):
    cat = samples.load("chelsea")
    figure = show(bundle, cat, layer=2, head=1, query=5)
    np.testing.assert_allclose(figure.row, weights_of(bundle, cat, 2, 1, 5), atol=1e-6)
    figure.layer, figure.head, figure.query = 0, 3, 7
    np.testing.assert_allclose(figure.row, weights_of(bundle, cat, 0, 3, 7), atol=1e-6)


def test_the_mean_of_the_heads_is_their_mean(bundle):
    cat = samples.load("chelsea")
    rows = [weights_of(bundle, cat, 1, head, 3) for head in range(4)]
    figure = show(bundle, cat, layer=1, query=3)
    np.testing.assert_allclose(figure.row, np.mean(rows, axis=0), atol=1e-6)


def test_a_net_of_ones_own_needs_no_more_than_its_preprocessing():
    net = build("vit", img_size=32, dim=48, depth=2, heads=3)
    images = torch.rand(1, 3, 32, 32)
    net.train()
    figure = show(net, samples.load("chelsea").resize((32, 32)), prepare=lambda _: images, query=0)
    assert net.training, "the net is as it was"
    net.eval()
    with torch.no_grad(), AttentionRecorder(net) as recorder:
        net(images)
    rows = recorder.records[-1].weights(queries=[0])[0, :, 0].mean(0)
    np.testing.assert_allclose(figure.row, rows, atol=1e-6)


def test_records_that_were_kept_are_shown(bundle):
    cat = samples.load("chelsea")
    with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:
        bundle.net(bundle.prepare(cat))
    figure = show(recorder.records, bundle.frame(cat), bundle.tokens, layer=0, head=0, query=0)
    np.testing.assert_allclose(figure.row, weights_of(bundle, cat, 0, 0, 0), atol=1e-6)


def test_a_captions_row_is_the_cross_attention_of_its_word():
    captioner = zoo.load("scenes-captioner")
    caption = captioner.caption(samples.load("chelsea"))
    figure = show(caption, layer=0, head=2, query=1)
    np.testing.assert_array_equal(figure.row, caption.cross[0][2, 1])


def test_compare_shows_both_sides(bundle):
    figure = compare((bundle, samples.load("chelsea")), (bundle, samples.load("coffee")))
    layers = len(record_image(bundle, samples.load("coffee")).records)
    assert len([name for name in figure.figure.answers if "/layer/" in name]) == 2 * layers


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (lambda net, _: (net, samples.load("coffee")), "prepare="),
        (lambda net, _: (net, torch.rand(2, 3, 32, 32)), r"images\[:1\]"),
        (lambda net, _: (net, torch.rand(32, 32)), r"\(1, C, H, W\)"),
        (lambda _, records: (records,), r"open_image\(path\)"),
        (lambda _, records: (records, samples.load("coffee")), r"TokenLayout\(grid=\(4, 4\)"),
        (lambda _net, _records: ("photos", samples.load("coffee")), "A str cannot be shown"),
    ],
)
def test_what_cannot_be_shown_is_answered_with_what_to_pass(bundle, arguments, sentence):
    with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:
        bundle.net(bundle.prepare(samples.load("coffee")))
    with pytest.raises(CannotShow, match=sentence) as caught:
        show(*arguments(bundle.net, recorder.records))
    assert caught.value._render_traceback_() == [str(caught.value)], "a sentence in the cell"


def test_a_layout_of_another_size_is_refused_with_a_sentence(bundle):
    with torch.no_grad(), AttentionRecorder(bundle.net) as recorder:
        bundle.net(bundle.prepare(samples.load("coffee")))
    with pytest.raises(CannotShow, match=r"among 16 tokens, and `tokens` has 25.*grid=\(4, 4\)"):
        show(recorder.records, samples.load("coffee"), TokenLayout(grid=(5, 5), patch=(8, 8)))


def test_too_large_a_figure_says_how_to_choose_layers(bundle, monkeypatch):
    monkeypatch.setattr("viz.notebook.layers.LARGEST", 1000)
    with pytest.raises(FigureTooLarge, match=r"layers=\[0, "):
        show(bundle, samples.load("coffee"))


def test_layers_that_are_chosen_keep_their_numbers(bundle):
    figure = show(bundle, samples.load("coffee"), layers=[1, 4])
    assert figure.layer == 1
    assert len([name for name in figure.figure.answers if "/layer/" in name]) == 2


def test_without_anywidget_the_figure_is_a_still_that_says_what_to_install(bundle, monkeypatch):
    def missing():
        raise ImportError("No module named 'anywidget'")

    monkeypatch.setattr(shown, "_widget_class", missing)
    figure = show(bundle, samples.load("chelsea"), layer=0, head=0, query=1)
    assert isinstance(figure, StillShown)
    made = figure._repr_mimebundle_()
    assert "pip install anywidget" in made["text/plain"]
    assert Image.open(io.BytesIO(made["image/png"])).format == "PNG"
    assert figure.row.shape == (16,)


def test_a_still_of_noise_is_kept_small():
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    assert len(small_png(Image.fromarray(noise))) <= STILL_BYTES


def test_the_still_of_a_comparison_shows_both_sides(bundle):
    pair = [(bundle, samples.load(name)) for name in ("chelsea", "coffee")]
    both = compare(*pair, layer=0, head=1, query=3, titles=("cat", "cup"))
    whole = both._still(0, 1, 3)
    halves = [show(*each, layer=0, head=1, query=3)._still(0, 1, 3) for each in pair]
    assert whole.width == sum(half.width for half in halves)
    left, right = (np.asarray(half)[:600] for half in halves)
    np.testing.assert_array_equal(np.asarray(whole)[:600, : left.shape[1]], left)
    np.testing.assert_array_equal(np.asarray(whole)[:600, left.shape[1] :], right)
