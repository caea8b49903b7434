"""The Python that comes with a picture is run, and makes the picture's numbers again."""

import io
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from model.datasets import samples
from tests.viz.pages.test_export import exports_of, session_of
from viz.components.draw_style import DrawStyle
from viz.export.attribution import (
    ExplainedAnswer,
    attribution_exports,
    trace_class_code,
    trace_word_code,
)
from viz.export.captions import Written, caption_export
from viz.pages.attribution_maps import map_of
from viz.pages.shared import open_models, saving
from viz.pages.shared.captions_written import Question, caption_of, scene_of, write_call
from viz.pages.shared.opening import opening_of
from viz.pages.shared.picture import Picture, sample_picture
from viz.standalone.file import write_page

STYLE = DrawStyle()
APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")


def run_again(export) -> dict[str, np.ndarray]:
    """Run an export's program; return the arrays of its NPZ file that the program makes, too."""
    saved = dict(np.load(io.BytesIO(export.write("npz"))))
    made: dict[str, object] = {}
    exec(compile(export.program, "program", "exec"), made)
    remade = {name: made[name] for name in saved if isinstance(made.get(name), np.ndarray)}
    for name, array in remade.items():
        np.testing.assert_allclose(array, saved[name], rtol=1e-4, atol=1e-6, err_msg=name)
    return remade


def test_attention_is_computed_again():
    view = {"layer": 2, "head": 1, "query": 5, "fusion": "max", "discard": 0.2}
    this, heads, rollout = exports_of(session_of("d2l-fashion-mnist", "coffee", **view))
    assert set(run_again(this)) == {"patches"}
    assert set(run_again(heads)) == {"maps", "weights"}
    assert set(run_again(rollout)) == {"patches", "row"}
    fused = session_of("cs231n-cifar10", layer=2, head="max", query=5)
    run_again(exports_of(fused)[0])


@pytest.mark.parametrize(
    "question",
    [
        {"beams": 3, "given": ("a", "large")},
        {"temperature": 1.3, "draw": 4},
        {"typed": "a small red circle"},
    ],
)
def test_a_caption_is_written_again(question):
    bundle = open_models.open_captioner("scenes-captioner")
    picture = Picture("scene 3", scene_of(3).image)
    asked = Question(bundle.name, picture.key, **question)
    caption = caption_of(bundle, picture, asked)
    opening = opening_of(bundle.name, picture)
    frame = bundle.frame(picture.image)
    made = write_call(asked)
    written = Written(caption, frame, bundle.tokens, "A", "Scene", "so", opening, made)
    export = caption_export(written, 0, 1, STYLE)
    assert set(run_again(export)) == {"maps", "logprobs"}
    assert export.write("csv").decode().splitlines()[0] == "word,row,column,maps"


@pytest.mark.parametrize("of", ["class", "word"])
def test_attribution_is_computed_again(of):
    if of == "class":
        bundle, picture = open_models.open_model_named("cs231n-cifar10"), sample_picture("chelsea")
        target, code = 3, trace_class_code(3, "cat\n")
    else:
        bundle = open_models.open_captioner("scenes-captioner")
        picture = Picture("scene 3", scene_of(3).image)
        words = caption_of(bundle, picture, Question(bundle.name, picture.key)).words
        target = bundle.word(words, 2)
        code = trace_word_code(target)
    settings = {"chefer": {"start": 1}, "rollout": {"fusion": "max", "residual": 0.3}}
    maps = {
        name: map_of(bundle, picture.key, picture.image, target, name, tuple(given.items()))
        for name, given in settings.items()
    }
    explained = ExplainedAnswer(
        maps,
        {"chefer": "Chefer", "rollout": "Rollout"},
        settings,
        bundle.frame(picture.image),
        "A",
        "Cat",
        "cat",
        opening_of(bundle.name, picture) + code,
        {"chefer": [], "rollout": ["heads fused by max", "residual 0.3"]},
    )
    one, every = attribution_exports(explained, "rollout")
    assert run_again(one)["maps"].shape[0] == 1
    assert run_again(every)["maps"].shape[0] == 2
    assert "Rollout: heads fused by max, residual 0.3" in every.account.facts["Settings"]


@pytest.mark.slow
def test_variants_of_models_are_opened_again():
    for name in ("d2l-fashion-mnist (random weights)", "cifar10-plain, after 0.25 epoch"):
        made: dict[str, object] = {}
        opening = opening_of(name, sample_picture(samples.names()[0]))
        exec("\n".join([*opening.imports, *opening.lines]), made)
        assert made["bundle"].net is not None and made["image"].size


CAPTIONER = {"captioner": "scenes-captioner", "scene": "77"}
QUICK = [
    ("features", {"beside": "coffee", "part": "keys", "part_head": "2", "block": "2"}, "are alike"),
    ("compare", {"b_model": "cs231n-cifar10", "b_token": "mean"}, "Both maps"),
    ("what_if", {"off": "2.1,3.1", "hidden": "3-5"}, "The answer"),
    ("what_if", {**CAPTIONER, "of": "captioner", "off": "2.1", "hidden": "3-5"}, "The caption"),
    ("features", {"tab": "Lens"}, "Every layer"),
    ("positions", {"seed": "3"}, "Attention"),
    ("positions", {"tab": "Waves", "length": "20", "width": "8", "position": "3"}, "Waves"),
    ("positions", {"tab": "Rotation", "turned": "16"}, "Angles"),
]
LONG = [
    ("features", {"show": "Components", "foreground": "1", "beside": "coffee"}, "components"),
    ("features", {"show": "Components", "together": "1", "beside": "coffee"}, "components"),
    ("features", {"tab": "Lens", "model": "photos"}, "Every layer"),
    ("features", {"show": "Length"}, "How long"),
    ("features", {"show": "Groups", "groups": "3"}, "Groups"),
    *(
        ("features", {"show": "Object", "object_by": by}, "object")
        for by in ("TokenCut", "DINO's attention", "First component")
    ),
    ("compare", {"a_method": "chefer", "b_method": "attention", "b_head": "2"}, "Both maps"),
    ("compare", {"b_code": "0", "b_method": "attention", "b_layer": "2"}, "Both maps"),
    ("what_if", {"off": "2.1", "heads_by": "mean"}, "The answer"),
    ("what_if", {"hidden": "3-5", "hide": "after2", "other": "coffee", "off": "1.2"}, "The answer"),
    ("what_if", {"hidden": "3-5", "hide": "photo", "other": "coffee"}, "The answer"),
    ("what_if", {"hidden": "3-5", "hide": "remove"}, "The answer"),
    ("heads", {"measure": "entropy"}, "Heads entropy"),
    ("heads", {"over": "The samples"}, "Heads distance"),
    ("cost", {}, "Cost"),
    ("positions", {"tab": "This model's code"}, "Position codes"),
    ("positions", {"tab": "Waves", "width": "6", "first": "2", "second": "2"}, "Waves"),
    ("positions", {"tab": "Rotation", "model": "photos", "turn_base": "1000.0"}, "Angles"),
    *(("positions", {"way": way, "head": "2"}, "Attention") for way in ("Both", "Shift the code")),
    ("positions", {"way": "Take the code away", "model": "photos-plain"}, "Attention"),
    ("inside_head", {"layer": "2", "head": "3"}, "One head"),
    ("patches", {"patch": "9"}, "Patches"),
    *(
        ("what_if", {**CAPTIONER, "of": "captioner", **way}, "The caption")
        for way in ({"off": "1.2", "heads_by": "mean"}, {"hidden": "3-5", "hide": "remove"})
    ),
    *(
        ("inside_head", {**CAPTIONER, "inside": "captioner", "decoder_layer": layer}, "One head")
        for layer in "12"
    ),
    ("heads", {"over": "A survey", "model": "photos"}, "Heads distance"),
    ("attribution", {"compare": "yes"}, "This method"),
    ("video", {"layer": "2", "head": "1"}, "This map"),
    ("explore", {"layer": "2", "smooth": "yes"}, "This map"),
    ("captions", CAPTIONER, "Every word"),
]


@pytest.fixture
def saved_of(monkeypatch):
    """Call it with a page and what its link says besides to get what the page saves."""
    kept = []
    monkeypatch.setattr(saving, "_show_saved", kept.append)

    def press(page, link):
        app = AppTest.from_file(APP, default_timeout=120).switch_page(f"{page}.py")
        app.query_params.update({"model": "cifar10-plain", "from": "r3c4"} | link)
        app.run()
        app.button(key="save").click().run()
        assert not app.exception
        return kept.pop()

    return press


@pytest.mark.parametrize(
    ("page", "link", "title"),
    [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in LONG)],
)
def test_what_a_page_saves_is_computed_again(page, link, title, saved_of):
    saved = saved_of(page, link)
    assert title in saved.exports[0].title
    for export in saved.exports:
        assert run_again(export)
        assert export.write("svg", 400).startswith(b"<svg")
    assert write_page(saved.file.make()).startswith(b"<!doctype html>")
