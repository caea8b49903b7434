"""The Captions page, run by Streamlit's own test runner over a captioner without weights."""

import io
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from model import zoo
from tests.viz.pages.fake_captioner import MOST, SAYS, FakeCaptioner
from tests.viz.pages.shown import address_of, components, photo_of
from viz.components.caption_payload import MEMORY_OF_ONE, Objects, caption_payload
from viz.components.draw_style import DrawStyle
from viz.components.payload import unpack
from viz.pages.shared import captions_written, open_models
from viz.pages.shared.captions_written import scene_of
from viz.pages.shared.picture import Picture
from viz.server.passes import find_pass

APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")


@pytest.fixture
def captioners(monkeypatch):
    """The captioners that the page finds, by name; to be changed before it runs."""
    fakes = {"scenes-captioner": FakeCaptioner()}
    names, load = zoo.names, zoo.load

    def fake_names(task="classify"):
        return list(fakes) if task == "caption" else names()

    monkeypatch.setattr(zoo, "names", fake_names)
    monkeypatch.setattr(zoo, "load", lambda name, **how: fakes.get(name) or load(name, **how))
    captions_written.caption_of.cache.clear()
    for name in fakes:
        open_models.open_model_named.cache.pop(name, None)
    yield fakes
    for name in fakes:
        open_models.open_model_named.cache.pop(name, None)


def opened(**words: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=60).switch_page("captions.py")
    app.query_params.update(words)
    app.run()
    assert not app.exception
    return app


def shown(app: AppTest):
    return unpack(components(app)[0].proto.bytes)


def texts(app: AppTest) -> str:
    return " ".join(part.value for part in [*app.markdown, *app.caption, *app.info])


def test_without_a_captioner_the_page_says_which_command_makes_one(captioners):
    captioners.clear()
    app = opened()
    assert "No captioner is trained yet" in app.info[0].value
    assert "python -m model.training" in app.code[0].value
    assert not components(app)


def test_the_first_screen_is_a_scene_with_its_caption_and_all_its_maps(captioners):
    app = opened()
    header, arrays = shown(app)
    assert header["words"] == SAYS
    assert header["layers"] == [3, 3] and header["grid"] == [5, 4]
    assert header["view"] | {"layer": 1, "head": "mean", "word": 3} == header["view"]
    caption = captioners["scenes-captioner"].caption(None)
    for layer in range(2):
        np.testing.assert_allclose(arrays[f"cross_{layer}"], caption.cross[layer], atol=1e-3)
        np.testing.assert_allclose(arrays[f"self_{layer}"], caption.self_[layer], atol=1e-3)
    Image.open(io.BytesIO(photo_of(app, "captions"))).verify()
    assert len(header["boxes"]) == len(scene_of(1).objects)
    assert "least for" in header["summary"]


def test_a_new_scene_is_another_one_and_its_number_is_in_the_address(captioners):
    app = opened(scene="7")
    before = photo_of(app, "captions")
    assert address_of(app)["scene"] == "7"
    app.button[0].click().run()
    assert not app.exception
    assert address_of(app)["scene"] == "8"
    assert photo_of(app, "captions") != before
    app.number_input(key="scene").set_value(4711).run()
    assert address_of(app)["scene"] == "4711"
    again = opened(scene="7")
    assert photo_of(again, "captions") == before


def test_the_pointing_score_is_shown_beside_chance(captioners, monkeypatch):
    first = scene_of(1).objects[0]
    monkeypatch.setattr("tests.viz.pages.fake_captioner.SAYS", ["a", *first.words])
    app = opened(scene="1")
    header = shown(app)[0]
    assert header["names"] == [[1, 0], [2, 0], [3, 0]]
    assert header["view"]["word"] == 3, "it begins with the word that names the shape"
    assert "of 3 words that name an object" in texts(app)
    left, top, right, bottom = header["boxes"][0]
    chance = 3 * (right - left) * (bottom - top)
    assert f"would hit {chance:.1f}" in texts(app)


def test_a_photo_gets_a_caption_and_a_warning(captioners):
    app = opened(photo="coffee")
    header, _ = shown(app)
    assert "drawn scenes alone" in app.info[0].value
    assert "How sure the model is" in header["summary"]
    assert not header["boxes"]
    assert address_of(app)["photo"] == "coffee"


def test_a_photo_goes_to_a_captioner_that_knows_photos_and_a_scene_back(captioners):
    captioners["photo-captioner"] = FakeCaptioner("photo-captioner")
    app = opened()
    assert address_of(app)["captioner"] == "scenes-captioner"
    app.segmented_control(key="subject").set_value("photo").run()
    assert address_of(app)["captioner"] == "photo-captioner"
    assert "photo" in address_of(app) and not app.info
    app.segmented_control(key="subject").set_value("scene").run()
    assert address_of(app)["captioner"] == "scenes-captioner" and "scene" in address_of(app)
    app.selectbox(key="captioner").set_value("photo-captioner").run()
    app.selectbox(key="captioner").set_value("scenes-captioner").run()
    assert "drawn scenes alone" in app.info[0].value  # asked for, so shown
    app.segmented_control(key="subject").set_value("scene").run()
    assert address_of(app)["captioner"] == "scenes-captioner" and not app.exception

    assert address_of(opened(photo="coffee"))["captioner"] == "photo-captioner"
    linked = opened(photo="coffee", captioner="scenes-captioner")
    assert address_of(linked)["captioner"] == "scenes-captioner"


def test_words_by_chance(captioners):
    app = opened(photo="cat")
    asked = captioners["scenes-captioner"].asked
    app.segmented_control(key="beams").set_value(0).run()
    assert not app.exception
    assert asked[-1] == ("caption", 1, (), 1.0, 0)
    app.select_slider(key="temperature").set_value(0.5).run()
    assert asked[-1] == ("caption", 1, (), 0.5, 0)
    next(button for button in app.button if button.label == "Draw again").click().run()
    assert asked[-1] == ("caption", 1, (), 0.5, 1)
    assert address_of(app)["temperature"] == "0.5" and address_of(app)["draw"] == "1"
    app.segmented_control(key="beams").set_value(1).run()
    assert "temperature" not in address_of(app)
    assert not app.table
    before = len(asked)
    app.segmented_control(key="beams").set_value(3).run()
    assert list(app.table[0].value["Decoding"]) == ["Greedy", "Beam 3"]
    assert list(app.table[0].value["Caption"]) == 2 * [" ".join(SAYS)]
    assert len(asked) == before + 1  # the caption of the other decoding was kept


def test_beams_are_shown_and_one_can_be_chosen(captioners):
    app = opened(beams="3")
    header, _ = shown(app)
    assert len(header["beams"]) == 3 and header["beam"] == 0
    app.session_state["beam"] = (header["id"], 2)
    app.run()
    chosen, _ = shown(app)
    assert chosen["beam"] == 2 and chosen["beams"] == header["beams"]
    assert " ".join(chosen["words"]) == header["beams"][2][0]
    assert captioners["scenes-captioner"].asked[-1] == ("score", header["beams"][2][0])


def test_a_caption_goes_on_from_a_chosen_word(captioners):
    app = opened()
    app.session_state["given"] = ["a", "large"]
    app.run()
    header, _ = shown(app)
    assert header["words"][:2] == ["a", "large"] and header["given"] == 2
    assert header["view"]["word"] == 1
    assert address_of(app)["given"] == "a large"
    app.button[0].click().run()
    assert shown(app)[0]["given"] == 0, "a new scene gets the model's own caption"


def test_a_typed_caption_is_judged_word_by_word(captioners):
    app = opened()
    app.text_input(key="typed").set_value("a red dragon").run()
    header, _ = shown(app)
    assert header["words"] == ["a", "red", "dragon"] and header["unknown"] == [2]
    assert "log-probability" in header["summary"] and "“dragon”" in header["summary"]
    assert address_of(app)["text"] == "a red dragon"
    assert not header["beams"]
    next(button for button in app.button if button.label == "Clear").click().run()
    assert shown(app)[0]["words"] == SAYS


@pytest.mark.parametrize(
    "text",
    [
        "   ",
        "word " * 500,
        "\N{DOG FACE} \N{FAMILY}",
        "שלום עולם",
        "<img src=x onerror=alert(1)> **bold** $x$",
        "x" * 5000,
    ],
    ids=["blank", "500 words", "emoji", "right to left", "markup", "one long word"],
)
def test_odd_captions_are_shown_safely(captioners, text):
    app = opened()
    app.text_input(key="typed").set_value(text).run()
    assert not app.exception and not app.error
    header, _ = shown(app)
    assert 0 < len(header["words"]) <= MOST
    assert text.strip() == "" or text.strip() not in texts(app), "typed text is never Markdown"
    if len(text) > 2000:
        assert "The caption was cut" in header["summary"]
    assert opened(text=text)


def test_a_memory_of_one_vector_has_no_maps_and_the_page_says_why(captioners):
    captioners.clear()
    captioners["cs231n-captioner"] = FakeCaptioner("cs231n-captioner", memory_of_one=True)
    header, arrays = shown(opened())
    assert header["memoryOfOne"] and header["noMaps"] == MEMORY_OF_ONE
    assert not header["aboutMemory"], "there is no row of weights to explain"
    assert header["words"] == SAYS and "self_0" in arrays


def test_a_recurrent_decoder_has_no_attention_among_words(captioners):
    captioners["scenes-recurrent"] = FakeCaptioner("scenes-recurrent", recurrent=True)
    header, arrays = shown(opened(captioner="scenes-recurrent"))
    assert header["layers"] == [1] and "self_0" not in arrays
    assert "one row of 20 weights" in header["aboutMemory"] and "query" not in header["aboutMemory"]
    assert "recurrent" in header["noSelf"]


def test_a_broken_captioner_is_a_sentence(captioners, monkeypatch):
    def refuse(name, **how):
        raise zoo.ModelRejected("The file is damaged. Train it again.")

    monkeypatch.setattr(zoo, "load", refuse)
    monkeypatch.setattr(zoo, "names", lambda task="classify": ["broken"])
    app = opened()
    assert [error.value for error in app.error] == ["The file is damaged. Train it again."]


def test_the_address_opens_the_same_view(captioners):
    header, _ = shown(opened(scene="2", layer="1", head="3", word="4"))
    assert header["view"] | {"layer": 0, "head": 2, "word": 3} == header["view"]


def test_a_wrong_link_opens_the_nearest_view(captioners):
    words = {"captioner": "gpt", "scene": "-1", "layer": "99", "head": "x", "word": "99"}
    app = opened(**words, beams="4", photo="dog")
    header, _ = shown(app)
    assert header["view"] | {"layer": 1, "head": "mean", "word": 8} == header["view"]
    assert "head" in texts(app)


def test_nothing_is_sent_again_while_one_steps_through(captioners):
    app = opened()
    before, (header, _) = components(app)[0].proto.bytes, shown(app)
    view = header["view"] | {"revision": header["revision"], "word": 5, "colors": "magma"}
    find_pass(header["key"]).report("captions", view)
    app.run()
    assert components(app)[0].proto.bytes == before
    assert address_of(app)["word"] == "6"
    assert app.session_state["caption_view"].colors == "magma"
    find_pass(header["key"]).report("captions", view | {"revision": "another", "word": 1})
    app.run()
    assert address_of(app)["word"] == "6", "that was about another caption"


def test_captions_are_told_once_for_everybody(captioners):
    for _ in range(2):
        opened()
    assert len(captioners["scenes-captioner"].asked) == 1


def test_many_askers_at_once_get_their_own_answers(captioners):
    fake, picture = FakeCaptioner(), type("Shown", (), {"image": None})()
    questions = [captions_written.Question("fake", "p", given=("a",) * (i % 4)) for i in range(12)]
    found = {}

    def ask(i):
        found[i] = captions_written.caption_of(fake, picture, questions[i])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(12):
        assert found[i].words[: i % 4] == ["a"] * (i % 4)


def test_chance_is_the_area_of_the_boxes():
    objects = Objects([(0, 0, 0.5, 0.5), (0, 0, 1, 0.1)], ["a", "b"], [(1, 0), (2, 0), (4, 1)])
    assert objects.chance == pytest.approx(0.25 + 0.25 + 0.1)


def test_an_impossible_word_can_be_sent():
    """JSON has no minus infinity."""
    caption = FakeCaptioner().score(None, "a red dragon")
    caption.logprobs = np.array([-0.1, -np.inf, -2.0])
    header, _ = unpack(caption_payload(caption, b"", (5, 4), {}, DrawStyle()))
    assert header["probabilities"][1] == 0 and header["logprobs"][1] == -999


def test_the_page_is_one_of_the_app(captioners):
    app = AppTest.from_file(APP, default_timeout=60)
    app.switch_page("captions.py").run()
    assert not app.exception
    assert shown(app)[0]["words"] == SAYS


def test_the_card_tells_how_well_it_writes_and_what_it_is_bad_at(captioners):
    captioners["scenes-captioner"].told |= {
        "recipe": "flickr8k-captioner",
        "data": "Flickr8k",
        "weak_at": "Numbers *of* things.",
        "command": "python -m model.training flickr8k-captioner",
        "metrics": {"test_photos": 1000, "bleu4": 0.125, "bleu4_beam3": 0.25, "distinct": 1234},
        "curve": [{"epoch": i, "accuracy": 0.1 * i, "test_accuracy": 0.1} for i in (1, 2)],
    }
    app = opened()
    assert r"Numbers \*of\* things." in texts(app)
    rows = app.table[0].value
    assert list(rows["BLEU-4"]) == ["0.125", "0.250"]
    assert list(rows["Different captions"]) == ["1,234", ""]
    assert len(app.get("plotly_chart")) == 1
    assert any("flickr8k-captioner" in block.value for block in app.code)


def test_figures_on_scenes_are_shares(captioners):
    captioners["scenes-captioner"].told |= {
        "recipe": "scenes-captioner",
        "metrics": {"test_scenes": 1000, "captions_right": 0.999, "pointing_shape": 0.75},
    }
    app = opened()
    assert "99.9 %" in app.table[0].value.to_string() and "75.0 %" in app.table[0].value.to_string()


def test_a_caption_goes_on_after_many_words_that_were_chosen():
    bundle, most = FakeCaptioner(), []
    told = bundle.caption(None)

    def caption(image, **how):
        most.append(how["max_words"])
        return told

    bundle.caption = caption
    picture = Picture("a photo", Image.new("RGB", (8, 8)))
    for given in ((), ("a",) * 26):
        captions_written.caption_of(
            bundle, picture, captions_written.Question("many", "a photo", given=given)
        )
    assert most[0] == 24 and most[1] > 26


def test_another_captioner_begins_at_its_own_last_layer(captioners):
    captioners["another"] = FakeCaptioner()
    app = opened(captioner="scenes-captioner", scene="1", layer="1")
    assert shown(app)[0]["view"]["layer"] == 0
    app.selectbox(key="captioner").select("another").run()
    assert not app.exception
    header = shown(app)[0]
    assert header["view"]["layer"] == len(header["layers"]) - 1
