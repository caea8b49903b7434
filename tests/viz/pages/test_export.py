"""What the pages give to save: file names, captions, numbers, and programs that make them again."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from model.datasets import samples
from model.nets import torchvision_cpu
from viz.export.attention import attention_exports
from viz.export.drawing import Rectangle
from viz.pages.shared import open_models
from viz.pages.shared.picture import Picture
from viz.pages.shared.recorded_images import recorded_image
from viz.pages.shared.seen import chosen_of, seen_of
from viz.pages.shared.session import Session
from viz.pages.shared.view import View, fit_view


def session_of(model: str, sample: str = "coffee", **view: object) -> Session:
    image, bundle = samples.load(sample), open_models.open_model_named(model)
    recorded = recorded_image(bundle, f"export {sample}", image, None)
    asked = View(**{"layer": 99, "query": -1} | view)  # the last layer, and the default token
    fitted = fit_view(asked, recorded.layers)
    return Session(Picture(sample, image, sample), bundle, recorded, fitted)


def exports_of(session: Session):
    """What Explore saves of a session: the map, the sheet, and rollout."""
    return attention_exports(seen_of(session), chosen_of(session.view))


def arrays_of(export) -> dict[str, np.ndarray]:
    return dict(np.load(io.BytesIO(export.write("npz"))))


def outlined(export) -> int:
    """How many patches are outlined: each with a line outside and one inside."""
    marks = [mark for mark in export.draw().marks if isinstance(mark, Rectangle)]
    return sum(mark.color == (255, 255, 255) for mark in marks)


def test_where_cls_takes_most_a_map_says_so():
    session = session_of("cifar10", "chelsea", layer=3, head=7, query=0)
    row = session.recorded.records[3].weights(queries=[0])[0, 7, 0]
    assert row.argmax() == 0
    reading, _ = exports_of(session)[0].account.notes
    assert reading.startswith("From CLS, of the patches, most goes to row ")


def test_a_map_says_what_it_is_and_frames_the_patch_that_asks():
    session = session_of("photos", layer=4, head=2, query=1 + 6 * 16 + 4)
    export = exports_of(session)[0]
    maps = session.recorded.layer_maps(4, session.view.query)[2]
    row, column = np.unravel_index(maps.argmax(), maps.shape)
    assert export.account.title == "Attention of head 3 in layer 5"
    assert export.account.facts["From"] == "row 7, column 5"
    reading, shares = export.account.notes
    share = f"{100 * maps.max():.{2 if maps.max() < 0.01 else 1}f} %"
    assert f"most goes to row {row + 1}, column {column + 1}: {share}, " in reading
    assert reading.endswith(f", {maps.max() * 257:.1f} times the average.")
    cls, patches = (float(part) for part in re.findall(r"([\d.]+) %", shares))
    assert shares.startswith("CLS gets ") and cls + patches == pytest.approx(100, abs=0.2)
    np.testing.assert_allclose(arrays_of(export)["patches"], maps)
    assert outlined(export) == 1


def test_from_cls_nothing_is_framed():
    session = session_of("d2l-fashion-mnist", head="mean", query=0, lines=False)
    for export in exports_of(session):
        assert outlined(export) == 0 and export.account.facts["From"] == "CLS"


def test_a_fused_row_that_does_not_sum_to_one_is_not_summed():
    session = session_of("d2l-fashion-mnist", head="max", query=3)
    account = exports_of(session)[0].account
    assert account.facts["Head"] == "max of the heads"
    assert account.notes[1].startswith("CLS gets") and "together" not in account.notes[1]


def test_an_even_map_is_called_even(monkeypatch):
    session = session_of("cs231n-cifar10", layer=0, head=1, query=0)
    even = torch.full((1, 4, 1, 16), 1 / 16)
    record = type(session.recorded.records[0])
    monkeypatch.setattr(record, "weights", lambda self, heads=None, queries=None: even)
    (reading,) = exports_of(session)[0].account.notes
    assert "spread almost evenly, most goes to row 1, column 1: 6.2 %, 1.0 times the" in reading


@pytest.mark.parametrize(
    ("view", "at", "expected"),
    [
        ({"layer": 6, "head": 2, "query": 101}, 0, "layer-7-head-3-r7c5"),
        ({"layer": 0, "head": "mean", "query": 0}, 0, "layer-1-mean-cls"),
        ({"query": 101}, 1, "heads-r7c5"),
    ],
)
def test_names_of_files_tell_what_is_in_them(view, at, expected):
    session = session_of("photos", "chelsea", **view)
    assert exports_of(session)[at].name == f"saccade-cat-photos-{expected}"


@pytest.mark.parametrize(
    "name",
    ["hf/Facebook/DINO_vits8:main", "your ../../Übung \n1.pt 0123456789abcdef0123", "x" * 100],
)
def test_whatever_the_model_is_called_names_are_safe_and_programs_are_python(name):
    session = session_of("photos")
    bundle = replace(session.bundle, name=name)
    session = replace(session, picture=replace(session.picture, sample=None), bundle=bundle)
    for export in exports_of(session):
        assert re.fullmatch(r"saccade-your-photo-[a-z0-9]+(-[a-z0-9]+)*", export.name)
        assert len(export.name) < 120
        compile(export.program, "program", "exec")
        assert "open_picture('photo.jpg', max_side=1024)" in export.program


@pytest.mark.hubs
@pytest.mark.filterwarnings("ignore")
def test_a_model_of_windows_has_its_pictures_too():
    torchvision_cpu.ensure_operators()
    name = "torchvision/swin_t" + open_models.RANDOM
    try:
        session = session_of(name, layer=3, head=1, query=28 * 3 + 5)
    finally:
        open_models.open_model_named.cache.pop(name, None)
    this, heads = exports_of(session)
    assert this.write("svg", 400) and outlined(this) == 1
    assert outlined(heads) == sum(session.recorded.head_counts)


def test_the_button_offers_everything_once_it_is_open():
    def script():
        from viz.pages.explore_export import show_export
        from viz.pages.shared.session import begin_page

        show_export(begin_page("A question?", "A lead."))

    app = AppTest.from_function(script, default_timeout=60).run()
    assert not app.exception and not app.get("download_button"), "none before somebody asks"
    app.button(key="save").click().run()
    assert not app.exception
    labels = [button.proto.label for button in app.get("download_button")]
    assert labels[:6] == ["PNG", "SVG", "NPZ", "CSV", "WEBP", "GIF"]
    assert labels[6].startswith("Save as one HTML file")
    assert [code.language for code in app.code] == ["markdown", "latex", "python"]
