"""What only a browser shows of Inside a head: every step drawn, keys, touch, links, no reruns."""

import math
import re

import pytest
import torch

from model import zoo
from model.datasets import samples
from model.intervention import inside_head
from tests.browser.conftest import count_messages, wait_until_idle

pytestmark = pytest.mark.browser

QUERY = "inside_head?photo=coffee&layer=3&head=2&from=r6c6&to=r9c4"
STEPS = {
    "The token's vector": "with and without position codes",
    "LayerNorm": "differs from the model's own by",
    "Query, key and value": "32 numbers",
    "Query times key": "q · k",
    "Divided by √d": "largest weight",
    "The softmax": "weights sum to 100.0 %",
    "Weighted values": "sum",
    "The heads side by side": "head 6",
    "The output projection": "the attention's own output by",
    "The residual connection": "Rollout counts 50 %",
    "The MLP": "hidden numbers lie above",
    "Out of the block": "the block's own output by",
}
INK = """canvas => {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    return data.some((byte, i) => i % 4 === 3 && byte > 0);
}"""
PIXELS = "canvas => canvas.toDataURL()"


@pytest.fixture
def open_inside(visit):
    """Call it with an address to get the page, drawn."""

    def open_(address: str = QUERY, **look):
        page = visit(address, **look)
        page.locator(".inside .count", has_text="Step").wait_for()
        wait_until_idle(page)
        page.wait_for_timeout(300)
        return page

    return open_


def title(page) -> str:
    return page.locator(".inside .title").inner_text()


def wait_for_title(page, text: str) -> None:
    page.locator(".inside .title", has_text=text).wait_for()


def figures(page) -> str:
    page.wait_for_timeout(120)
    return page.locator(".inside .figures").inner_text()


def numbers_under(page, label: str) -> list[float]:
    """The numbers under the strip with a label, all of them."""
    vector = page.locator(".inside .vector").filter(has=page.get_by_text(label, exact=True))
    text = vector.locator(".numbers").text_content().split("…")[0].replace("−", "-")
    return [float(number) for number in text.split()]


@pytest.fixture(scope="module")
def truth():
    bundle = zoo.load("photos")
    images, tokens = bundle.prepare(samples.load("coffee")), bundle.tokens
    place = {"query": tokens.index_of(5, 5), "key": tokens.index_of(8, 3)}
    return inside_head(bundle.net, images, 2, 1, **place)


def test_each_step_is_drawn_and_the_arrow_keys_go_on(open_inside):
    page = open_inside()
    for number, (name, fact) in enumerate(STEPS.items(), start=1):
        page.locator(".inside .title", has_text=re.compile(f"^{re.escape(name)}$")).wait_for()
        assert f"Step {number} of {len(STEPS)}" in page.locator(".inside .count").inner_text()
        assert fact in figures(page)
        for canvas in page.locator(".inside .figures canvas").all():
            assert canvas.evaluate(INK), f"{name}: a figure is empty"
        assert page.locator(".inside .part.now").count() >= 1
        page.keyboard.press("ArrowRight")
    wait_for_title(page, "Out of the block")
    assert page.locator(".inside .next").is_disabled()
    page.keyboard.press("ArrowLeft")
    page.locator(".inside .title", has_text="The MLP").wait_for()
    page.keyboard.press("Home")
    page.locator(".inside .title", has_text="The token's vector").wait_for()


def test_the_numbers_are_the_models_own(open_inside, truth):
    page = open_inside(f"{QUERY}&step=products")
    for label, step in (("q", "query"), ("k", "key"), ("q × k", "products")):
        expected = truth[step].tolist()
        assert numbers_under(page, label) == pytest.approx(expected, abs=0.0051)
    total = truth["product"].item()
    assert f"{abs(total):.2f}" in page.locator(".inside .sum strong").inner_text()
    page.keyboard.press("End")
    page.locator(".inside .title", has_text="Out of the block").wait_for()
    shown = numbers_under(page, "it leaves as")
    assert shown == pytest.approx(truth["leaving"].tolist(), abs=0.0051)
    verdict = page.locator(".inside .verdict").inner_text()
    digit, power = re.search(r"by (\d) · 10⁻(.) at most", verdict).groups()
    assert int(digit) * 10.0 ** -"⁰¹²³⁴⁵⁶⁷⁸⁹".index(power) < 1e-5


def test_the_softmax_lists_the_ten_largest_and_the_rest(open_inside, truth):
    page = open_inside(f"{QUERY}&step=softmax")
    values = page.locator(".inside .shares .value").all_inner_texts()
    weights = 100 * truth["softmax"]
    largest = torch.topk(weights, 10).values.tolist()
    shown = [float(value.removesuffix(" %")) for value in values]
    assert shown[:10] == pytest.approx(largest, abs=0.06)
    assert shown[10] == pytest.approx(100 - sum(largest), abs=0.06)
    names = page.locator(".inside .shares .name").all_inner_texts()
    assert names[10] == "the other 247"
    way = page.locator(".inside .sum").inner_text().replace("−", "-")
    score, own, total, share = map(float, re.findall(r"-?\d+(?:\.\d+)?", way)[:4])
    chosen = 100 * truth["softmax"][1 + 8 * 16 + 3].item()  # CLS, then 16 patches a row
    assert share == pytest.approx(chosen, abs=0.0051)
    assert 100 * own / total == pytest.approx(chosen, abs=0.01)
    assert own == pytest.approx(math.exp(score), abs=0.02)


def test_a_look_asks_the_server_nothing_and_a_choice_little(open_inside):
    page = open_inside(f"{QUERY}&step=softmax")
    count_messages(page)
    photo = page.locator(".inside canvas.photo")
    box = photo.bounding_box()
    page.locator(".inside .roles .chip", has_text="query").click()
    seen = {photo.evaluate(PIXELS)}
    for x in (0.1, 0.5, 0.9):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + 0.3 * box["height"])
        page.wait_for_timeout(80)
        seen.add(photo.evaluate(PIXELS))
    assert len(seen) == 4, "each patch under the mouse asks"
    assert page.evaluate("window.sentToServer") == 0
    received: list[int] = []
    network = page.context.new_cdp_session(page)
    network.on(
        "Network.webSocketFrameReceived",
        lambda event: received.append(len(event["response"]["payloadData"])),
    )
    network.send("Network.enable")
    counts = []
    for head in (5, 6):
        received.clear()
        page.locator(".inside .heads .chip", has_text=str(head)).click()
        page.wait_for_url(re.compile(rf"[?&]head={head}(&|$)"))
        wait_until_idle(page)
        counts.append(sum(received))
    assert max(counts) < 400_000, "the layer's numbers, two megabytes, did not come again"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    for layer, wanted in ((2, ["numbers"]), (3, []), (2, [])):
        asked.clear()
        page.locator(".inside .layers .chip", has_text=str(layer)).click()
        page.wait_for_url(re.compile(rf"[?&]layer={layer}(&|$)"))
        wait_until_idle(page)
        page.wait_for_timeout(300)
        assert asked == wanted, "a layer that was here is shown without a question"


def test_any_part_of_the_diagram_opens_its_step(open_inside):
    page = open_inside()
    parts = page.locator(".inside .part")
    names = set()
    for place in range(parts.count()):
        parts.nth(place).click()
        page.wait_for_timeout(60)
        page.locator(f".inside .place:nth-child({place + 1}) .part.now").wait_for()
        names.add(title(page))
    assert names == set(STEPS)


def test_a_switch_takes_one_thing_away_until_it_is_restored(open_inside):
    page = open_inside(f"{QUERY}&step=scale")
    changed = page.locator(".inside .changed")
    assert not changed.is_visible()
    page.get_by_label("Leave the division out").check()
    changed.filter(has_text="without the division").wait_for()
    page.locator(".inside .part", has_text="softmax").click()
    without = figures(page)
    page.locator(".inside .restore").click()
    changed.wait_for(state="hidden")
    assert figures(page) != without
    page.locator(".inside .part", has_text="÷").click()
    page.locator(".inside .title", has_text="Divided by").wait_for()
    assert not page.get_by_label("Leave the division out").is_checked()
    before = figures(page)
    page.locator(".inside .slider input").fill("8")
    assert "d = 256" in page.locator(".inside .slider").inner_text()
    assert "√256 = 16.0" in figures(page) and figures(page) != before


@pytest.mark.parametrize(
    ("part", "switch"),
    [
        ("Token", "Take the position codes away"),
        ("heads", "One merged map for all heads"),
        ("W", "Leave the output projection out"),
    ],
)
def test_each_switch_moves_the_end(open_inside, part, switch):
    page = open_inside()
    page.locator(".inside .part", has_text=re.compile(f"^{part}")).first.click()
    page.get_by_label(switch).check()
    page.locator(".inside .part", has_text="out").last.click()
    page.locator(".inside .verdict.away", has_text="switched off").wait_for()


def test_play_goes_on_by_itself(open_inside):
    page = open_inside()
    page.clock.install()
    page.locator(".inside .play").click()
    assert page.locator(".inside .play").inner_text() == "Pause"
    page.clock.run_for(5200)
    page.locator(".inside .title", has_text="LayerNorm").wait_for()
    page.locator(".inside .next").click()
    assert page.locator(".inside .play").inner_text() == "Play"


def test_a_link_opens_the_same_view(open_inside):
    page = open_inside("inside_head?photo=chelsea")
    page.locator(".inside .layers .chip", has_text="2").click()
    page.wait_for_url(re.compile(r"[?&]layer=2(&|$)"))
    page.locator(".inside .part", has_text="softmax").click()
    page.locator(".inside .heads .chip", has_text="4").click()
    photo = page.locator(".inside canvas.photo")
    box = photo.bounding_box()
    photo.click(position={"x": 0.3 * box["width"], "y": 0.6 * box["height"]})
    page.wait_for_url(re.compile(r"[?&]to=r10c5(&|$)"))
    page.mouse.move(5, 5)
    wait_until_idle(page)
    page.wait_for_timeout(300)
    other = open_inside("inside_head?" + page.url.split("?", 1)[1])
    assert title(other) == "The softmax"
    assert figures(other) == figures(page)
    assert other.locator(".inside canvas.photo").evaluate(PIXELS) == photo.evaluate(PIXELS)


def test_the_photo_by_keyboard(open_inside):
    page = open_inside()
    page.locator(".inside canvas.photo").focus()
    page.keyboard.press("ArrowDown")
    page.locator(".inside .who", has_text="row 10, column 4 is asked").wait_for()
    page.keyboard.press("ArrowRight")
    page.locator(".inside .who", has_text="row 10, column 5 is asked").wait_for()
    assert title(page) == "The token's vector", "on the photo the arrows move patches"


def test_a_finger_on_a_phone(browser, server):
    phone = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = phone.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{server}/{QUERY}&step=softmax")
    page.locator(".inside .count", has_text="Step").wait_for()
    photo = page.locator(".inside canvas.photo")
    page.wait_for_timeout(500)
    before = photo.evaluate(PIXELS)
    page.locator(".inside .roles .chip", has_text="query").tap()
    box = photo.bounding_box()
    photo.tap(position={"x": 0.8 * box["width"], "y": 0.2 * box["height"]})
    page.locator(".inside .who", has_text="Row 4, column 13 asks").wait_for()
    page.wait_for_timeout(150)
    assert photo.evaluate(PIXELS) != before
    for part in page.locator(".inside .part, .inside .chip, .inside .player button").all():
        assert part.bounding_box()["height"] >= 43
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    page.locator(".inside .next").tap()
    wait_for_title(page, "Weighted values")
    phone.close()


CAPTION = "inside_head?inside=captioner&captioner=scenes-captioner&scene=4"


def test_the_mask_of_a_decoder(open_inside):
    page = open_inside(f"{CAPTION}&decoder_layer=1&decoder_word=4&step=mask")
    rows = page.locator(".inside .figures tbody tr").all_inner_texts()
    cells = [row.split("\t") for row in rows]
    assert [cell[2] for cell in cells[:4]] == ["0.00"] * 4
    assert {cell[2] for cell in cells[4:]} == {"−∞"} == {cell[3] for cell in cells[4:]}
    triangle = page.locator(".inside canvas.triangle")
    masked = triangle.evaluate(PIXELS)
    page.get_by_label("Lift the mask").check()
    page.wait_for_timeout(150)
    assert triangle.evaluate(PIXELS) != masked
    later = page.locator(".inside .figures tbody tr").nth(6).inner_text().split("\t")
    assert later[3] == later[1] != "−∞"


def test_words_look_at_the_photo(open_inside):
    page = open_inside(f"{CAPTION}&decoder_layer=2&step=softmax")
    photo = page.locator(".inside canvas.photo")
    seen = set()
    for word in ("start", "orange"):
        page.locator(".inside .token", has_text=re.compile(f"^{word}$")).first.click()
        page.wait_for_timeout(150)
        seen.add(photo.evaluate(PIXELS))
    assert len(seen) == 2
    assert page.locator(".inside .who").inner_text().startswith("Orange asks, row")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 1366, 820, 390])
def test_nothing_is_cut_off(open_inside, width, scheme):
    page = open_inside(f"{QUERY}&step=scale", width=width, scheme=scheme)
    for part in page.locator(".inside .part, .inside .chip, .inside .figures > *").all():
        box = part.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
