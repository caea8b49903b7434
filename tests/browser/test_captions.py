"""The Captions page in a browser: from word to patches, from patch to words, by mouse and keys."""

import re
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from model import zoo
from model.datasets import samples, scenes
from model.zoo.checkpoints import DIRECTORY
from tests.browser.conftest import count_messages, go_to, wait_until_idle
from viz.pages.shared.captions_written import scene_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (DIRECTORY / "scenes-captioner.safetensors").is_file(), reason="none is trained"
    ),
]
STRENGTHS = "nodes => nodes.map(node => Number(node.style.getPropertyValue('--strength')))"


@pytest.fixture
def open_captions(visit):
    def open_(query: str = "?scene=5", **look):
        page = visit(f"captions{query}", **look)
        settle(page)
        return page

    return open_


def settle(page) -> None:
    """Wait until there is a caption and the script has ended."""
    page.locator(".captions .word").first.wait_for()
    wait_until_idle(page)
    page.wait_for_timeout(250)


def photo(page):
    return page.locator(".captions canvas.photo")


def pixels(page) -> str:
    page.wait_for_timeout(120)
    return photo(page).evaluate("canvas => canvas.toDataURL()")


def words(page) -> list[str]:
    return page.locator(".word .text").all_inner_texts()


def now(page) -> int:
    pressed = page.locator(".word").evaluate_all(
        "nodes => nodes.map(node => node.getAttribute('aria-pressed'))"
    )
    assert pressed.count("true") == 1
    return pressed.index("true")


def arrives_at(page, word: int) -> bool:
    """Whether the page comes to show this word; it does so with the next frame."""
    for _ in range(40):
        if now(page) == word:
            return True
        page.wait_for_timeout(50)
    return False


def type_caption(page, text: str) -> None:
    box = page.get_by_label("Your own caption")
    if not box.is_visible():
        page.get_by_text("a caption of your own").click()
    box.fill(text)
    box.press("Enter")


def test_stepping_through_the_words_changes_the_map_and_asks_nobody(open_captions):
    page = open_captions()
    caption = words(page)
    assert len(caption) >= 4
    page.locator(".word").first.click()
    page.wait_for_timeout(600)
    count_messages(page)
    seen = [pixels(page)]
    for i in range(1, len(caption)):
        page.locator(".word").nth(i).hover()
        seen.append(pixels(page))
    assert page.evaluate("window.sentToServer") == 0, "hovering asks nobody"
    page.mouse.move(5, 5)
    for i in range(1, len(caption)):
        page.keyboard.press("ArrowRight")
        assert arrives_at(page, i)
        assert caption[i] in page.locator(".which").inner_text()
        assert pixels(page) == seen[i], "the keyboard shows what the mouse showed"
    assert all(one != other for one, other in pairwise(seen)), "each word has a map of its own"
    page.keyboard.press("ArrowRight")
    assert arrives_at(page, len(caption) - 1)
    page.keyboard.press("Home")
    assert arrives_at(page, 0)
    page.keyboard.press("End")
    page.wait_for_function(f"location.search.includes('word={len(caption)}')")


def test_the_numbers_are_the_models(open_captions):
    bundle = zoo.load("scenes-captioner")
    caption = bundle.caption(scene_of(5).image)
    page = open_captions("?scene=5&layer=1&head=2&word=3")
    assert words(page) == caption.words
    row = caption.cross[0][1, 2][bundle.tokens.patch_slice]
    best = divmod(int(row.argmax()), bundle.tokens.grid[1])
    said = page.locator(".readout").inner_text()
    assert f"row {best[0] + 1}, column {best[1] + 1}" in said
    shown = re.search(r"column \d+: ([\d.]+) %", said)
    assert float(shown[1]) == pytest.approx(100 * row.max(), rel=0.01, abs=0.06)
    alternatives = page.locator(".alternatives .name").all_inner_texts()
    assert [word for word, _ in caption.alternatives[2]] == alternatives[:5]
    hits = [
        hit for *_, hit in scenes.score_pointing_game(caption, scene_of(5), bundle.tokens, 0, 1)
    ]
    if hits:
        score = page.locator(".score").inner_text()
        assert f"{sum(hits)} of {len(hits)}" in score


def test_a_patch_makes_the_words_that_looked_there_stand_out(open_captions):
    page = open_captions()
    bundle = zoo.load("scenes-captioner")
    caption = bundle.caption(scene_of(5).image)
    weights = caption.attention()[:, bundle.tokens.patch_slice]
    word, patch = np.unravel_index(weights.argmax(), weights.shape)
    rows, columns = bundle.tokens.grid
    box = photo(page).bounding_box()
    x = box["x"] + (patch % columns + 0.5) * box["width"] / columns
    y = box["y"] + (patch // columns + 0.5) * box["height"] / rows
    page.mouse.move(x, y)
    page.wait_for_timeout(150)
    strengths = page.locator(".word").evaluate_all(STRENGTHS)
    assert strengths[word] == max(strengths) == 1
    assert f"“{caption.words[word]}”" in page.locator(".readout").inner_text()
    page.mouse.click(x, y)
    page.mouse.move(5, 5)
    page.wait_for_timeout(150)
    assert "(held)" in page.locator(".readout").inner_text()
    page.keyboard.press("Escape")
    photo(page).focus()
    page.keyboard.press("Escape")
    page.wait_for_timeout(150)
    assert "(held)" not in page.locator(".readout").inner_text()
    assert set(page.locator(".word").evaluate_all(STRENGTHS)) == {0}


def test_a_caption_goes_on_from_another_word(open_captions):
    page = open_captions()
    page.locator(".word").nth(1).click()
    before = words(page)
    other = page.locator(".alternatives button:enabled").first
    word = other.locator(".name").inner_text()
    other.click()
    page.locator(".word.given").nth(1).wait_for()
    settle(page)
    assert words(page)[:2] == [before[0], word]
    assert arrives_at(page, 1)
    assert "given=" in page.url
    page.get_by_role("button", name="Clear").click()
    page.locator(".word.given").first.wait_for(state="detached")
    settle(page)
    assert words(page) == before


def test_a_typed_caption_is_shown_safely(open_captions):
    page = open_captions()
    type_caption(page, "a small <img src=x onerror=alert(1)> שלום circle")
    page.locator(".word.unknown").first.wait_for()
    settle(page)
    assert any("img" in word or "src" in word for word in words(page))
    assert page.locator(".captions img").count() == 0
    assert "log-probability" in page.locator(".summary").inner_text()
    type_caption(page, "word " * 500)
    page.locator(".summary", has_text="was cut").wait_for()
    settle(page)
    assert 0 < len(words(page)) < 100


def test_ones_own_photo_gets_a_caption(open_captions, tmp_path):
    path = tmp_path / "breakfast.jpg"
    samples.load("coffee").save(path)
    page = open_captions()
    before = pixels(page)
    page.get_by_text("A photo", exact=True).click()
    page.locator('[data-testid="stFileUploader"] input[type=file]').wait_for(state="attached")
    page.set_input_files('[data-testid="stFileUploader"] input[type=file]', path)
    page.get_by_text("Your photo").wait_for()
    settle(page)
    assert pixels(page) != before
    assert "How sure the model is" in page.locator(".summary").inner_text()
    page.locator(".word").first.click()
    first = pixels(page)
    page.keyboard.press("ArrowRight")
    assert arrives_at(page, 1) and pixels(page) != first


def test_beams_play_and_trace(open_captions):
    page = open_captions("?scene=5&beams=3")
    beams = page.locator(".beams button")
    assert beams.count() >= 2
    text = beams.nth(1).locator(".name").inner_text()
    beams.nth(1).click()
    page.wait_for_function(
        """text => [...document.querySelectorAll('*')].some(host => host.shadowRoot
            && [...host.shadowRoot.querySelectorAll('.word .text')]
                .map(node => node.innerText).join(' ') === text)""",
        arg=text,
    )
    settle(page)
    assert beams.nth(1).get_attribute("aria-pressed") == "true"
    row = page.locator(".triangle .name[data-row='3']")
    row.hover()
    page.wait_for_timeout(150)
    assert "To choose" in page.locator(".trace").inner_text()
    assert max(page.locator(".word").evaluate_all(STRENGTHS)) > 0
    page.locator(".play").click()
    page.wait_for_timeout(2200)
    page.locator(".play").click()
    stopped = now(page)
    assert stopped >= 1
    page.wait_for_timeout(1200)
    assert now(page) == stopped


def test_the_words_are_traced_with_the_keyboard(open_captions):
    page = open_captions("?scene=5&word=2")
    triangle, told = page.locator(".triangle"), page.locator(".trace")
    words = page.locator(".word .text").all_inner_texts()
    at = now(page)
    triangle.focus()
    page.keyboard.press("ArrowDown")
    assert told.inner_text().startswith(f"To choose “{words[at]}”, most attention went to ")
    page.keyboard.press("ArrowDown")
    assert told.inner_text().startswith(f"To choose “{words[at + 1]}”, most attention went to ")
    page.keyboard.press("ArrowRight")
    assert f"To choose “{words[at + 1]}”, attention went to the start: " in told.inner_text()
    page.keyboard.press("ArrowRight")
    assert f"attention went to “{words[0]}”: " in told.inner_text()
    page.keyboard.press("ArrowUp")
    assert f"To choose “{words[at]}”, attention went to “{words[0]}”: " in told.inner_text()
    page.locator(".triangle .name[data-row='4']").hover()
    assert told.inner_text().startswith(f"To choose “{words[4]}”, most attention went to ")
    page.mouse.move(5, 5)
    assert f"To choose “{words[at]}”, attention went to “{words[0]}”: " in told.inner_text()
    page.keyboard.press("Escape")
    assert "Each row sums to one" in told.inner_text()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_timeout(150)
    assert now(page) == at - 1


def test_what_is_traced_is_of_the_head_that_is_shown(open_captions):
    page = open_captions("?scene=5&head=mean")
    page.locator(".triangle").focus()
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    said = set()
    for _ in range(4):
        page.keyboard.press(".")
        page.wait_for_timeout(150)
        said.add(page.locator(".trace").inner_text())
    assert len(said) > 1 and all("attention went to" in text for text in said)


def test_a_decoder_without_self_attention_has_no_triangle_to_step_in(open_captions):
    page = open_captions("?captioner=scenes-recurrent&scene=5")
    assert not page.locator(".triangle").is_visible()
    assert page.locator(".trace").inner_text()


@pytest.mark.slow
def test_the_caption_can_be_saved(open_captions):
    page = open_captions("?scene=5&word=2")
    page.get_by_role("button", name="Save", exact=True).click()
    for kind in ("PNG", "GIF", "WEBP"):
        with page.expect_download() as download:
            page.get_by_role("dialog").get_by_role("button", name=kind, exact=True).click()
        picture = Image.open(download.value.path())
        assert picture.format == kind
        assert getattr(picture, "n_frames", 1) == (1 if kind == "PNG" else len(words(page)))


@pytest.mark.slow
def test_the_view_is_still_there_after_a_visit_to_another_page(open_captions):
    page = open_captions()
    page.locator(".word").nth(2).click()
    page.locator(".cell").nth(1).click()
    page.wait_for_function("location.search.includes('word=3')")
    settle(page)
    page.mouse.move(5, 5)
    before = pixels(page)
    go_to(page, "Learn", "Models")
    page.get_by_text("Which model is looking").wait_for()
    go_to(page, "See", "Captions")
    settle(page)
    assert arrives_at(page, 2)
    assert pixels(page) == before


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_in_any_light(open_captions, scheme):
    page = open_captions(scheme=scheme)
    for width in (1440, 800):
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_timeout(300)
        overflow = page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0
        for selector in (".captions", ".captions .photo", ".words", ".strip", ".triangle"):
            box = page.locator(selector).first.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width
