"""Links that the pages have written: each opens the view that it says, whatever was changed since.

A page writes an entry only where it differs from the default, so a link that comes back whole was
understood whole.
"""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.viz.pages.shown import address_of
from viz.pages.shared import address, state
from viz.pages.shared.address import Param
from viz.pages.shared.state import Setting

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")

VIEW = {
    "photo": "coffee",
    "model": "cifar10",
    "layer": "2",
    "head": "3",
    "from": "r2c3",
    "opacity": "0.5",
    "discard": "0.3",
    "colors": "magma",
    "scaling": "layer",
    "fusion": "max",
    "held": "yes",
    "lines": "no",
    "smooth": "yes",
}
SETTINGS = {
    "attention_layer": "2",
    "attention_head": "3",
    "rollout_stop": "3",
    "rollout_start": "2",
    "rollout_fusion": "min",
    "rollout_residual": "0.3",
    "rollout_discard": "0.2",
    "rollout_compat": "True",
    "rollout_kept": "0.8",
    "gradient_rollout_start": "2",
    "gradient_rollout_residual": "0.25",
    "gradient_rollout_compat": "True",
    "gradient_rollout_kept": "0.7",
    "chefer_start": "3",
    "attention_gradcam_layer": "3",
    "legrad_start": "2",
    "integrated_gradients_baseline": "blurred",
    "integrated_gradients_steps": "5",
    "random_map_seed": "4",
}
CLASS = {
    "class": "ship",
    "method": "rollout",
    "compare": "True",
    "box": "10-20-40-80",
    "background": "zeroed",
    "scale": "logarithm",
}
WORD = {
    "scene": "2",
    "model": "scenes-captioner",
    "word": "2",
    "colors": "magma",
    "opacity": "0.5",
    "smooth": "yes",
    "method": "legrad",
    "background": "zeroed",
    "word_scale": "probability",
    "attention_head": "2",
    "rollout_stop": "1",
}
BY_CHANCE = {
    "captioner": "scenes-captioner",
    "scene": "2",
    "layer": "1",
    "head": "3",
    "word": "4",
    "beams": "0",
    "temperature": "0.5",
    "draw": "3",
    "given": "a small",
}
TYPED = {
    "captioner": "flickr8k-captioner",
    "photo": "coffee",
    "layer": "1",
    "head": "mean",
    "word": "2",
    "beams": "3",
    "text": "a cup of coffee",
}
WAVES = {"length": "20", "width": "32", "base": "1000.0", "first": "3", "second": "7"}
VECTORS = {"part": "keys", "block": "2", "part_head": "2", "beside": "chelsea", "together": "True"}
DECODER = {
    "scene": "2",
    "captioner": "scenes-captioner",
    "decoder_layer": "2",
    "decoder_head": "2",
    "decoder_word": "3",
}
BESIDE = {
    "a_method": "rollout",
    "a_token": "cls",
    "a_code": "False",
    "b_photo": "chelsea",
    "b_model": "cifar10-plain",
    "b_epoch": "0.25",
    "b_method": "legrad",
    "b_layer": "2",
    "b_head": "3",
    "b_token": "mean",
    "b_code": "False",
    "closest": "True",
}
TRIED = {
    "photo": "coffee",
    "layer": "2",
    "head": "3",
    "from": "r2c3",
    "off": "2.1",
    "hidden": "17-18",
    "hide": "after2",
    "heads_by": "photo",
    "other": "chelsea",
}
TRIED_IN_WORDS = {
    "of": "captioner",
    "captioner": "scenes-captioner",
    "scene": "3",
    "off": "2.1",
    "heads_by": "mean",
    "hidden": "17-18",
    "hide": "remove",
}
SURVEYED = {"survey": "photos", "of": "3.2", "ranking": "far"}
LINKS = [
    ("explore", VIEW),
    ("explore", VIEW | {"head": "min", "from": "cls"}),
    ("attribution", VIEW | CLASS | SETTINGS),
    ("attribution", WORD),
    ("captions", BY_CHANCE),
    ("captions", TYPED),
    ("positions", VIEW | WAVES | {"tab": "Waves", "position": "5"}),
    ("positions", VIEW | {"tab": "This model's code", "likeness": "Dot product"}),
    ("positions", VIEW | {"tab": "Rotation", "turned": "64", "turn_base": "1000.0"}),
    ("positions", VIEW | {"way": "Both", "seed": "7"}),
    ("features", VIEW | {"show": "Components", "foreground": "True"} | VECTORS),
    ("features", VIEW | {"show": "Groups", "groups": "5"}),
    ("features", VIEW | {"show": "Object", "object_by": "First component"}),
    ("inside_head", VIEW | {"step": "softmax", "to": "r2c4"}),
    ("inside_head", {"inside": "captioner"} | DECODER),
    ("what_if", {"model": "cifar10", "scan_heads": "True", "scan_patches": "True"} | TRIED),
    ("compare", VIEW | BESIDE),
    ("video", VIEW | {"source": "own", "frame": "3", "map": "rollout"}),
    ("what_if", TRIED_IN_WORDS),
    ("heads", VIEW | {"measure": "entropy", "over": "The samples"}),
    ("heads", VIEW | SURVEYED | {"measure": "object", "over": "A survey", "model": "photos"}),
    ("patches", VIEW | {"filters": "Raw filters"}),
    ("cost", {"model": "cifar10", "base": "D2L"}),
    ("lessons", {"about": "several-heads", "projector": "yes"}),
    ("models", {"lesson": "several-heads.2", "photo": "coffee", "model": "cifar10"}),
]


def opened(page: str, link: dict[str, str]) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=120)
    app.query_params.update(link)
    app.switch_page(f"{page}.py").run()
    assert not app.exception
    return app


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[page for page, _ in LINKS])
def test_a_link_opens_what_it_says(page, link):
    assert address_of(opened(page, link)) == link


def test_a_link_to_a_patch_names_the_token_that_asks():
    """Where every layer has a token for each patch, one entry says it for all pages."""
    there = address_of(opened("patches", {"model": "cifar10", "patch": "20"}))
    assert there.items() >= {"from": "r3c5", "held": "yes"}.items() and "patch" not in there


def test_every_parameter_of_the_address_has_a_link_here():
    pages = [page for page in vars(state).values() if isinstance(page, type)]
    listed = {param.name for param in vars(address).values() if isinstance(param, Param)}
    for page in pages:
        settings = [entry for entry in vars(page).values() if isinstance(entry, Setting)]
        listed |= {setting.param.name for setting in settings}
    # `epoch` is of models with snapshots alone, see test_course; an experiment is read as a whole.
    here = {name for _, link in LINKS for name in link} - {"off", "hidden", "hide", "heads_by"}
    assert listed == here | {"patch", "epoch"}
