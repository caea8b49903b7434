"""The Heads page over a survey, run by Streamlit's own test runner."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.runtime.uploaded_file_manager import UploadedFile, UploadedFileRec
from streamlit.testing.v1 import AppTest

from model import zoo
from model.images import open_image
from model.recorded_image import record_image
from model.survey.results import RESULTS
from model.survey.run import survey_data
from tests.model.survey.conftest import MODEL, crops
from viz.pages import heads_packed, heads_surveys
from viz.pages.shared import saving

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")
SHIPPED = heads_surveys.SHIPPED / "photos.json"


def open_survey(**params: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=120).switch_page("heads.py")
    app.query_params.update({"over": "A survey"} | params)
    return app.run()


def said(app: AppTest) -> str:
    return " ".join(each.value for each in (*app.caption, *app.info, *app.error, *app.text))


def figure(app: AppTest, number: int) -> dict:
    return json.loads(app.get("plotly_chart")[number].proto.spec)


@pytest.fixture(scope="module")
def shipped() -> dict:
    return json.loads(SHIPPED.read_bytes())


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """A survey of 12 photos, and the photos beside it."""
    room = tmp_path_factory.mktemp("own")
    for number, crop in enumerate(crops(12)):
        place = room / "photos" / ("cats", "dogs")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        crop.save(place / f"{number:03}.png")
    threads = torch.get_num_threads()
    survey_data(MODEL, room / "photos", room / "found", workers=0, block=6, batch=4, sample=2)
    torch.set_num_threads(threads)
    return room


@pytest.fixture
def served(own, monkeypatch):
    """The server was started with this survey."""
    heads_surveys.server_surveys.cache_clear()
    monkeypatch.setenv("SACCADE_SURVEYS", str(own / "found"))
    yield own
    heads_surveys.server_surveys.cache_clear()


def upload(data: bytes, **params: str) -> AppTest:
    app = open_survey(**params)
    app.file_uploader(key="survey_file").set_value(("survey.json", data, "application/json"))
    return app.run()


def test_the_shipped_survey_shows_every_head_with_its_spread(shipped):
    app = open_survey(measure="entropy")
    assert not app.exception and "Every head over 5,000 pictures" in said(app)
    shown = {
        tuple(place): (y, bar)
        for trace in figure(app, 0)["data"]
        if "customdata" in trace
        for place, y, bar in zip(
            trace["customdata"], trace["y"], trace["error_y"]["array"], strict=True
        )
    }
    for layer, heads in enumerate(shipped["heads"]):
        for head in range(heads):
            expected = [shipped[part]["entropy"][layer][head] for part in ("mean", "deviation")]
            assert shown.pop((layer + 1, head + 1)) == pytest.approx(expected)
    assert not shown
    on_map = [place for trace in figure(app, 1)["data"] for place in trace.get("customdata", ())]
    assert len(on_map) == sum(shipped["heads"])


def test_the_address_names_a_head_and_its_page_tells_of_it(shipped):
    app = open_survey(of="3.2", measure="cls")
    assert "Layer 3, head 2" in [each.value for each in app.subheader]
    measures, classes = (each.value for each in app.dataframe)
    row = measures.set_index("Measure").loc["To CLS"]
    assert row["Mean"] == pytest.approx(shipped["mean"]["cls"][2][1])
    found = {n: c["mean"]["cls"][2][1] for n, c in shipped["classes"].items()}
    assert list(classes["To CLS"][:5]) == sorted(found.values(), reverse=True)[:5]
    assert list(classes["To CLS"][-5:]) == sorted(found.values(), reverse=True)[-5:]
    assert app.metric[0].value == f"{shipped['effects']['log_odds']['mean'][2][1]:+.2f}"


def test_pictures_that_are_not_here_are_named(shipped):
    app = open_survey(of="3.2")
    assert "16 of 16 are missing" in said(app)
    assert shipped["top"]["narrow"][2 * shipped["heads"][0] + 1][0][0] in said(app)


def test_top_pictures_are_what_the_survey_says_and_open_in_explore(served):
    app = open_survey(model=MODEL, of="2.1", ranking="narrow")
    assert not app.exception and "are missing" not in said(app)
    buttons = [each for each in app.button if each.label == "Explore"]
    held = json.loads((served / "found" / RESULTS).read_bytes())
    ranked = held["top"]["narrow"][held["heads"][0]]
    assert len(buttons) == len(ranked) == 12
    name, query, value = ranked[0]
    assert f"{value:.2f} nats" in said(app)
    photo = open_image(next((served / "photos").rglob(Path(name).name)).read_bytes())
    bundle = zoo.load(MODEL)
    recorded = record_image(bundle, photo, [1])
    weights = recorded.records[0].weights(heads=[0], queries=[query]).double().flatten()
    assert float(-(weights * weights.log()).sum()) == pytest.approx(value, rel=1e-3)
    buttons[0].click().run()
    assert not app.exception and app.title[0].value == "Where does this patch look?"
    view = app.session_state["view"]
    assert (view.layer, view.head, view.query, view.held) == (1, 0, query, True)
    assert app.session_state["photo"] == "own"


@pytest.mark.slow
def test_the_survey_and_the_pictures_of_a_head_are_saved(served, monkeypatch):
    kept = []
    monkeypatch.setattr(saving, "_show_saved", kept.append)
    app = open_survey(model=MODEL, of="2.1", ranking="narrow")
    app.button(key="save").click().run()
    assert not app.exception
    table, alike, pictures = kept.pop().exports
    monkeypatch.chdir(served / "photos")
    (served / "photos" / "survey.json").write_bytes((served / "found" / RESULTS).read_bytes())
    for export, name in ((table, "values"), (alike, "values"), (pictures, "maps")):
        made: dict[str, np.ndarray] = {}
        exec(export.program, made)
        saved = np.load(io.BytesIO(export.write("npz")))[name]
        np.testing.assert_allclose(made[name], saved, rtol=1e-4, atol=1e-6)
    assert len(saved) == 12


def test_uploaded_pictures_stand_in_for_the_ones_that_are_not_here(own):
    data = json.loads((own / "found" / RESULTS).read_bytes())
    app = upload(json.dumps(data).encode(), model=MODEL)
    assert "12 of 12 are missing" in said(app)
    name = data["top"]["narrow"][0][3][0]
    photo = next((own / "photos").rglob(Path(name).name))
    app.file_uploader(key="survey_photos").set_value((photo.name, photo.read_bytes(), "image/png"))
    app.run()
    assert "11 of 12 are missing" in said(app)
    assert len([each for each in app.button if each.label == "Explore"]) == 1


def test_an_uploaded_packed_file_holds_the_top_pictures(own):
    names = [path.relative_to(own / "photos") for path in sorted((own / "photos").rglob("*.png"))]
    text = (own / "found" / RESULTS).read_text()
    for number, name in enumerate(names):
        text = text.replace(name.as_posix(), f"mine.npz#{number}")
    app = upload(text.encode(), model=MODEL)
    assert "12 of 12 are missing" in said(app)
    files = [(own / "photos" / name).read_bytes() for name in names]
    packed = packed_file(offsets=np.cumsum([0, *map(len, files)]), blob=b"".join(files))
    app.file_uploader(key="survey_photos").set_value(("mine.npz", packed, "application/zip"))
    app.run()
    assert not app.exception and "are missing" not in said(app)
    assert len([each for each in app.button if each.label == "Explore"]) == 12


def packed_file(**arrays) -> bytes:
    """Write a packed file; bytes become an array."""
    raw = {n: np.frombuffer(a, np.uint8) if type(a) is bytes else a for n, a in arrays.items()}
    file = io.BytesIO()
    np.savez_compressed(file, **raw)
    return file.getvalue()


def open_packed(data: bytes, *names: str) -> dict:
    file = UploadedFileRec("id", "mine.npz", "application/zip", data)
    return heads_packed.packed_pictures.compute(UploadedFile(file, None), names)


def test_pictures_of_a_packed_upload_are_its_pixels(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), np.uint8)
    packed = packed_file(images=images)
    found = open_packed(packed, "mine.npz#2", "mine.npz#3", "other.npz#0", "mine.npz#x")
    assert list(found) == ["mine.npz#2"]
    np.testing.assert_array_equal(np.asarray(found["mine.npz#2"]), images[2])
    monkeypatch.setattr(heads_packed, "UNPACKED", images.size)
    assert not open_packed(packed, "mine.npz#2"), "larger than a page may unpack"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x05\x06" + bytes(18),
        packed_file(labels=np.zeros(3)),
        packed_file(images=np.zeros((2, 2000, 1), np.uint8)),
        packed_file(images=np.zeros(7, np.uint8)),
        packed_file(images=np.zeros((3, 4, 4, 3), np.float32)),
        packed_file(offsets=np.array([0, -9, 5]), blob=b"no picture"),
        packed_file(offsets=np.array([0, 1 << 60]), blob=b"no picture"),
        packed_file(offsets=np.array([[0.5, 2]]), blob=b"no picture"),
    ],
)
def test_a_damaged_packed_upload_gives_no_picture(data):
    assert not open_packed(data, "mine.npz#0", "mine.npz#1")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"\xff\xd8", b"[" * 100_000, SHIPPED.read_bytes()[:-9]]
)
def test_what_is_no_survey_gets_a_sentence(data):
    app = upload(data)
    assert not app.exception and "Give the survey.json" in said(app)
    assert "Every head over 5,000 pictures" in said(app), "the shipped one stays"


def test_a_survey_of_another_model_says_which(own):
    app = upload((own / "found" / RESULTS).read_bytes())
    assert not app.exception and f"This survey is of {MODEL}" in said(app)
    assert not app.get("plotly_chart")


@pytest.mark.parametrize("part", ["numbers", "query", "table", "huge"])
def test_a_survey_that_does_not_fit_its_model_is_told_so(shipped, part):
    held = json.loads(SHIPPED.read_bytes())
    if part == "numbers":
        held["numbers"][0] = 99
    elif part == "query":
        held["top"]["narrow"][0][0][1] = 10**6
    elif part == "table":
        held["mean"]["entropy"] = held["mean"]["entropy"][1:]
    else:
        held["heads"][0] = 10**9
    app = upload(json.dumps(held).encode())
    assert not app.exception
    assert ("is damaged" if part in ("numbers", "query") else "Give the survey.json") in said(app)


def test_a_measure_that_a_survey_lacks_is_told(served):
    app = open_survey(model=MODEL, measure="object")
    assert not app.exception and "have no boxes around objects" in said(app)
    assert np.isnan(heads_surveys.server_surveys()["found"].results.mean["object"]).all()


def test_a_model_without_a_survey_says_how_to_make_one():
    app = open_survey(model="cifar10")
    assert not app.exception and "There is no survey of this model here" in said(app)
    assert app.code[0].value == "python -m model.survey cifar10 --data SOURCE --out DIR"


def test_an_unknown_head_in_the_address_shows_the_first():
    app = open_survey(of="99.1")
    assert not app.exception and "Layer 1, head 1" in [each.value for each in app.subheader]
