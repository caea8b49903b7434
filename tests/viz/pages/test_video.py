"""The Video page, run by Streamlit's own test runner."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from model import zoo
from model.datasets import samples
from model.recorded_image import record_image
from model.recording.rollout import rollout
from model.video import open_clip
from model.video.pan import pan
from tests.model.video.clips import animated, moving_frames
from tests.viz.pages.shown import address_of, answered, payloads
from viz.pages import video_clip, video_recorded
from viz.pages.shared.state import Video
from viz.server.class_mode import MODE, MODES

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")


@pytest.fixture
def app():
    app = AppTest.from_file(APP, default_timeout=60)
    app.query_params["model"] = "cs231n-cifar10"
    return app.switch_page("video.py")


def test_the_first_visit_shows_a_clip_whose_maps_are_the_frames_own(app):
    app.query_params["from"] = "r2c2"
    app.query_params["frame"] = "4"
    app.run()
    assert not app.exception
    header, arrays = payloads(app)["video"]
    assert (header["frames"], header["view"]["frame"]) == (24, 3)
    assert len(header["seconds"]) == 24 and header["asking"] == 5
    assert arrays["shares"].shape == (3, 24)
    bundle = zoo.load("cs231n-cifar10")
    names = video_clip.samples_beside(bundle)[:2]
    frame = pan([samples.load(name) for name in names], 24).frames[3]
    recorded = record_image(bundle, frame)
    _, layer = answered(app, "video", "layer/2")
    expected = recorded.maps(0, 5)[2].reshape(4, 16).astype(np.float16)
    assert np.array_equal(layer["maps"][3], expected)
    _, whole = answered(app, "video", "rollout")
    row = rollout(recorded.records, query=5)[0].numpy()
    assert np.allclose(whole["maps"][3, 0], row, atol=1e-3)
    best = header["classes"][int(arrays["shares"][:, 3].argmax())]
    assert best == recorded.guesses[0][0]
    sizes, photos = answered(app, "video", "photos")
    assert sum(sizes["sizes"]) == len(photos["photos"]) and len(sizes["sizes"]) == 24
    assert address_of(app)["frame"] == "4" and address_of(app)["from"] == "r2c2"


@pytest.mark.slow
def test_the_map_over_time_is_saved_as_an_animation_and_numbers(app, monkeypatch):
    files = {}

    def save(gather):
        this, rollout = gather().exports
        files["png"] = this.write("png")
        files["csv"] = this.write("csv").decode().splitlines()
        files["webp"] = this.animations[0].write("webp")
        files["title"] = rollout.title

    monkeypatch.setattr("viz.pages.shared.saving.show_save", save)
    app.query_params["source"] = "own"
    app.query_params["layer"] = "2"
    app.query_params["head"] = "1"
    app.run()
    clip = animated(moving_frames(3))
    app.file_uploader(key="clip_upload").upload("a.gif", clip, "image/gif").run()
    assert not app.exception
    bundle = zoo.load("cs231n-cifar10")
    last = record_image(bundle, open_clip(clip).frames[2]).layer_maps(1, 10)[0]
    assert files["csv"][0] == "frame,row,column,maps" and len(files["csv"]) == 1 + 3 * 16
    assert float(files["csv"][-1].split(",")[-1]) == pytest.approx(last[3, 3], abs=1e-3)
    with Image.open(io.BytesIO(files["webp"])) as moving:
        assert moving.n_frames == 3 and moving.info["loop"] == 0
    assert files["png"].startswith(b"\x89PNG") and files["title"] == "Rollout"


def test_ones_own_clip_is_opened_refused_and_stopped(app):
    app.query_params["source"] = "own"
    app.run()
    clip = animated(moving_frames(6))
    app.file_uploader(key="clip_upload").upload("a.gif", clip, "image/gif").run()
    assert not app.exception
    header, _ = payloads(app)["video"]
    assert header["frames"] == 6 and header["seconds"][1] == 0.1
    app.number_input(key="clip_every").set_value(2).run()
    assert payloads(app)["video"][0]["frames"] == 3
    app.session_state[Video.stopped.name] = True
    app.selectbox(key="model_choice").set_value("cs231n-challenge").run()
    assert "Stopped: 0 of 3" in " ".join(text.value for text in app.markdown)
    assert "video" not in payloads(app)
    next(button for button in app.button if button.label == "Go on").click().run()
    assert payloads(app)["video"][0]["frames"] == 3
    app.file_uploader(key="clip_upload").upload("c.gif", b"GIF89a" + bytes(40), "image/gif").run()
    assert "was not taken" in app.error[0].value and "damaged" in app.error[0].value
    assert payloads(app)["video"][0]["frames"] == 3, "the clip before stays"


def test_frames_that_are_recorded_are_kept_when_the_rest_is_stopped(monkeypatch):
    bundle = zoo.load("cs231n-cifar10")
    clip = open_clip(animated(moving_frames(5, (72, 48))))
    shown = video_clip.ShownClip(clip.key, clip, "")
    question = video_recorded.ClipQuestion(bundle, shown.key, 5, None)
    for number in range(2):
        video_recorded.frame_attention(question, shown, number)
    assert video_recorded.frames_done(question, shown) == 2
    calls = []
    record = video_recorded.record_frame

    def count(*given, **options):
        calls.append(given)
        return record(*given, **options)

    monkeypatch.setattr(video_recorded, "record_frame", count)
    video_recorded.record_frames(question, shown)
    assert len(calls) == 3 and video_recorded.frames_done(question, shown) == 5


def test_a_teacher_may_refuse_clips_and_the_camera(app, monkeypatch):
    app.query_params["source"] = "own"
    closed = MODE.model_copy(update={"video": False, "camera": False})
    monkeypatch.setattr(video_clip, "MODE", closed)
    monkeypatch.setattr("viz.pages.video_camera.MODE", closed)
    app.run()
    assert "takes no clips" in app.info[0].value and not app.get("file_uploader")
    app.segmented_control(key="source").set_value("camera").run()
    assert "takes no photos" in app.info[0].value and not app.exception
    assert not MODES["class"].video and MODES["class"].camera


def test_the_camera_s_photo_is_chosen_on_every_page(app):
    app.query_params["source"] = "camera"
    app.run()
    assert not app.exception and app.get("camera_input")
