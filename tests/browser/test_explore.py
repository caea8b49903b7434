"""What only a browser shows: hover, click, keyboard, links, upload, dark mode."""

import re

import numpy as np
import pytest
from PIL import Image

from model import zoo
from model.datasets import samples
from model.recording.recorder import AttentionRecorder
from tests.browser.conftest import count_messages, go_to, pages_of, settle, wait_until_idle

pytestmark = pytest.mark.browser

PIXELS = "canvas => canvas.toDataURL()"


def photo(page):
    return page.locator(".explorer canvas.photo")


def pixels(page) -> str:
    page.wait_for_timeout(120)
    return photo(page).evaluate(PIXELS)


def point(page, x: float, y: float) -> tuple[float, float]:
    """A place on the page at a share of the photo's width and height."""
    box = photo(page).bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def readout(page) -> str:
    return page.locator(".explorer .readout").inner_text().replace("\n", " ")


@pytest.fixture
def own_photo(tmp_path):
    path = tmp_path / "breakfast.jpg"
    samples.load("coffee").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path, quality=95)
    return path


def upload(page, path) -> None:
    page.set_input_files('[data-testid="stFileUploader"] input[type=file]', path)


def test_hover_draws_without_the_server(open_page, own_photo):
    sent = []
    page = open_page()
    before = pixels(page)
    upload(page, own_photo)
    page.get_by_text("Your photo").wait_for()
    settle(page)
    uploaded = pixels(page)
    assert uploaded != before

    count_messages(page)
    seen = {uploaded}
    for x in (0.1, 0.5, 0.9):
        page.mouse.move(*point(page, x, 0.4))
        seen.add(pixels(page))
        sent.append(page.evaluate("window.sentToServer"))
    assert len(seen) == 4, "each patch draws its own map"
    assert sent == [0, 0, 0], "and none of them asks the server"

    page.mouse.click(*point(page, 0.9, 0.4))
    page.locator(".from", has_text="(held)").wait_for()
    held = pixels(page)
    page.mouse.move(*point(page, 0.2, 0.8))
    assert "Most goes" not in readout(page), "a held patch stays while the mouse reads values"
    assert "times the average" in readout(page)
    page.mouse.move(5, 5)
    assert pixels(page) == held


def test_the_numbers_are_the_models(open_page):
    bundle = zoo.load(zoo.names()[0])
    with AttentionRecorder(bundle.net) as recorder:
        bundle.net(bundle.prepare(samples.load("coffee")))
    rows, columns = bundle.tokens.grid
    query = bundle.tokens.index_of(1, 2)
    weights = recorder.records[0].weights(queries=[query])[0, 1, 0].detach().numpy()
    patches = weights[bundle.tokens.patch_slice]
    page = open_page("?photo=coffee&layer=1&head=2&from=r2c3&held=yes")
    best = int(patches.argmax())
    expected = f"row {best // columns + 1}, column {best % columns + 1}"
    assert expected in readout(page)
    shown = re.search(r"column \d+: ([\d.]+) %", readout(page))
    assert float(shown[1]) == pytest.approx(100 * patches[best], rel=0.01, abs=0.06)
    page.mouse.move(*point(page, 0.5 / columns, 0.5 / rows))
    page.wait_for_timeout(100)
    shown = re.search(r"[Tt]o row 1, column 1: ([\d.]+) %", readout(page))
    assert float(shown[1]) == pytest.approx(100 * patches[0], rel=0.01, abs=0.06)


def test_a_link_opens_the_same_view_in_another_tab(open_page):
    page = open_page("?photo=coffee")
    page.mouse.click(*point(page, 0.3, 0.6))
    page.locator(".from", has_text="(held)").wait_for()
    page.keyboard.press("[")
    page.keyboard.press(".")
    page.wait_for_function("location.search.includes('head=max')")
    settle(page)
    page.mouse.move(5, 5)
    other = open_page("?" + page.url.split("?", 1)[1])
    assert readout(other) == readout(page)
    assert pixels(other) == pixels(page)


def hovering_draws(page) -> bool:
    seen = set()
    for place in ((0.1, 0.1), (0.9, 0.9)):
        page.mouse.move(*point(page, *place))
        seen.add(pixels(page))
    return len(seen) == 2


def choose_model(page, title: str) -> None:
    page.locator('[data-testid="stSelectbox"] input').click()
    page.get_by_role("option", name=title).click()
    page.wait_for_timeout(500)
    settle(page)


def look_around(page) -> None:
    """Hold a patch and let it go: the browser tells what it has."""
    for held in ("yes", None):
        page.mouse.click(*point(page, 0.3, 0.6))
        page.wait_for_function(
            "held => new URLSearchParams(location.search).get('held') === held", arg=held
        )
        settle(page)


@pytest.mark.slow
def test_there_and_back_to_a_model_that_was_looked_at(open_page):
    page = open_page()
    look_around(page)
    for name in ("cifar10", zoo.names()[0]):
        choose_model(page, zoo.load(name).card.title)
    assert hovering_draws(page)


@pytest.mark.slow
def test_there_and_back_to_a_photo_that_was_looked_at(open_page):
    page = open_page("?photo=chelsea&layer=2")
    look_around(page)
    page.get_by_text("Coffee").click()
    page.wait_for_function("location.search.includes('coffee')")
    settle(page)
    page.locator(".sheet canvas").click(position={"x": 60, "y": 330})
    page.wait_for_function("!location.search.includes('layer=2')")
    settle(page)
    page.get_by_text("Cat", exact=True).click()
    page.wait_for_function("location.search.includes('chelsea')")
    settle(page)
    assert hovering_draws(page)


def test_the_keyboard_alone_suffices(open_page):
    page = open_page()
    photo(page).focus()
    start = pixels(page)
    page.keyboard.press("ArrowRight")
    page.locator(".from", has_text="(held)").wait_for()
    moved = pixels(page)
    assert moved != start
    page.keyboard.press("Enter")
    page.wait_for_function("!location.search.includes('held')")
    settle(page)
    let_go = pixels(page)
    page.keyboard.press("[")
    page.wait_for_function("/layer=\\d/.test(location.search)")
    settle(page)
    assert pixels(page) != let_go
    assert "Layer" in page.locator(".announcer").inner_text()
    layer = re.search(r"layer=\d+", page.evaluate("location.search"))[0]
    page.keyboard.press("Alt+]")  # as it is typed on many keyboards
    page.wait_for_function(f"!location.search.includes('{layer}')")
    settle(page)
    assert pixels(page) == let_go
    page.locator(".heads input").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("location.search.includes('head=')")


def test_the_keyboard_goes_on_from_the_patch_under_the_mouse(open_page):
    page = open_page("?photo=coffee&model=cifar10")  # 8 x 8 patches
    page.mouse.move(*point(page, 3.5 / 8, 1.5 / 8))
    page.locator(".from", has_text="From row 2, column 4").wait_for()
    photo(page).focus()
    page.keyboard.press("ArrowRight")
    page.locator(".from", has_text="From row 2, column 5 (held)").wait_for()
    page.keyboard.press("Escape")
    page.mouse.move(*point(page, 0.5 / 8, 6.5 / 8))
    page.keyboard.press("Enter")
    page.locator(".from", has_text="From row 7, column 1 (held)").wait_for()


def test_rollout_is_read_with_the_keyboard(open_page):
    page = open_page()
    canvas = page.locator(".rollout canvas.photo")
    canvas.scroll_into_view_if_needed()
    readout = page.locator(".rollout .readout")
    readout.filter(has_text="All patches together").wait_for()
    caption, untouched = readout.inner_text(), canvas.evaluate(PIXELS)
    highest = re.match(r"[\d.]+ ?%", page.locator(".rollout .high").inner_text())[0]
    canvas.focus()
    page.keyboard.press("ArrowDown")
    said = readout.inner_text()
    assert said.startswith("Row ") and said.endswith(highest)
    assert canvas.evaluate(PIXELS) != untouched
    row, column = map(int, re.findall(r"\d+", said)[:2])
    page.keyboard.press("ArrowLeft" if column > 1 else "ArrowRight")
    beside = column - 1 if column > 1 else column + 1
    assert readout.inner_text().startswith(f"Row {row}, column {beside}:")
    canvas.hover(position={"x": 4, "y": 4})
    assert readout.inner_text().startswith("Row 1, column 1:")
    page.mouse.move(5, 5)
    assert readout.inner_text().startswith(f"Row {row}, column {beside}:")
    page.keyboard.press("Escape")
    assert readout.inner_text() == caption and canvas.evaluate(PIXELS) == untouched


def test_a_model_with_fewer_layers_is_shown_at_the_same_place(open_page):
    page = open_page("?photo=coffee&model=photos&from=r16c16&held=yes")
    assert "row 16, column 16" in readout(page)
    page.locator('[data-testid="stSelectbox"] input').click()
    page.get_by_role("option", name="D2L").click()
    page.wait_for_function("location.search.includes('model=d2l')")
    settle(page)
    assert "row 6, column 6" in readout(page)
    page.get_by_text("Heads of layer 2", exact=True).wait_for()
    assert page.get_by_text("Error").count() == 0


def test_the_settings_of_rollout_stay_when_the_photo_is_clicked(open_page):
    page = open_page()
    page.locator(".fusions label", has_text="max").click()
    page.wait_for_function("location.search.includes('fusion=max')")
    settle(page)
    photo(page).scroll_into_view_if_needed()
    page.mouse.click(*point(page, 0.3, 0.3))
    page.wait_for_function("location.search.includes('held=yes')")
    settle(page)
    assert "fusion=max" in page.evaluate("location.search")


def test_a_click_on_the_sheet_opens_the_head(open_page):
    page = open_page()
    box = page.locator(".sheet canvas").bounding_box()
    page.locator(".sheet canvas").hover(position={"x": 40, "y": 40})
    assert "Layer 1, head 1" in page.locator(".sheet .readout").inner_text()
    page.locator(".sheet canvas").click(position={"x": 40, "y": 40})
    page.wait_for_function("location.search.includes('layer=1&head=1')")
    page.get_by_text("Heads of layer 1", exact=True).wait_for()
    assert box["width"] > 200


@pytest.mark.parametrize("how", ["paste", "drop"])
def test_a_pasted_or_dropped_photo_is_taken(open_page, own_photo, how):
    page = open_page()
    data = list(own_photo.read_bytes())
    page.evaluate(
        """([bytes, how]) => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(bytes)], "own.jpg", {type: "image/jpeg"}));
            const find = (root) => {
                for (const node of root.querySelectorAll("*")) {
                    if (node.matches(".explorer")) return node;
                    const inside = node.shadowRoot && find(node.shadowRoot);
                    if (inside) return inside;
                }
            };
            const event = how === "paste"
                ? new ClipboardEvent("paste", {clipboardData: files, bubbles: true})
                : new DragEvent("drop", {dataTransfer: files, bubbles: true});
            (how === "paste" ? document : find(document)).dispatchEvent(event);
        }""",
        [data, how],
    )
    page.get_by_text("Your photo").wait_for()
    settle(page)


@pytest.mark.parametrize(
    ("name", "kind", "note"), [("phone.jfif", "JPEG", ""), ("cells.tif", "TIFF", "12 of 16 bits")]
)
def test_photos_of_phones_and_microscopes_are_taken(open_page, tmp_path, name, kind, note):
    path = tmp_path / name
    picture = samples.load("coffee")
    if kind == "JPEG":
        picture = picture.resize((8064, 6048))
    else:
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 16)
    picture.save(path, kind)
    page = open_page()
    upload(page, path)
    page.get_by_text("Your photo").wait_for()
    settle(page)
    assert note in page.inner_text("body")


def test_a_file_that_is_no_picture_leaves_the_photo(open_page, tmp_path):
    page = open_page("?photo=rocket")
    before = pixels(page)
    path = tmp_path / "notes.jpg"
    path.write_text("These are my notes.")
    upload(page, path)
    page.locator('[data-testid="stAlert"]').wait_for()
    assert "Traceback" not in page.inner_text("body")
    assert pixels(page) == before


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 800])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_in_any_light(open_page, width, scheme):
    page = open_page(width=width, scheme=scheme)
    overflow = page.evaluate(
        "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0
    for selector in (".explorer", ".sheet canvas", ".rollout"):
        box = page.locator(selector).first.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    background = page.evaluate(
        "() => getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
    )
    color = page.locator(".explorer").evaluate("node => getComputedStyle(node).color")
    luma = [np.mean([float(n) for n in re.findall(r"[\d.]+", c)[:3]]) for c in (background, color)]
    assert (luma[0] < luma[1]) == (scheme == "dark")


def listen(page) -> list[str]:
    """Count messages from now on, and list what is asked of the routes, by method and question."""
    asked: list[str] = []
    count_messages(page)
    page.on(
        "request",
        lambda request: asked.append(
            f"{request.method} {re.sub('^.*?/look/(?:[0-9a-f]{20}/)?', '', request.url)}"
        ),
    )
    return asked


def sent(page) -> int:
    return page.evaluate("window.sentToServer")


def test_a_look_costs_no_rerun(open_page):
    page = open_page("?photo=coffee&layer=1")
    page.locator(".sheet canvas").scroll_into_view_if_needed()
    page.locator(".rollout .readout", has_text="All patches together").wait_for()
    page.wait_for_timeout(1500)  # until every layer is here
    photo(page).scroll_into_view_if_needed()
    asked = listen(page)

    for x in (0.1, 0.5, 0.9):  # under the mouse: nothing at all
        page.mouse.move(*point(page, x, 0.4))
        page.wait_for_timeout(400)
    assert (sent(page), asked) == (0, [])

    page.mouse.click(*point(page, 0.3, 0.6))  # a patch: its rollout row, and a report
    page.wait_for_function("location.search.includes('held')")
    page.wait_for_timeout(300)
    assert sorted(name.split("/")[0] for name in asked) == ["GET rollout", "POST view"]
    asked.clear()
    for place, wanted in (
        (page.locator(".heads label").nth(1), "head=2"),
        (page.locator(".layers label").nth(2), "layer=3"),
        (page.locator(".layers label").nth(0), "layer=1"),
        (page.locator(".sheet canvas"), "layer=1&head=1"),
    ):
        place.click(**({"position": {"x": 40, "y": 40}} if "sheet" in str(place) else {}))
        page.wait_for_function(f"location.search.includes('{wanted}')")
        page.wait_for_timeout(300)
        assert set(asked) <= {"POST view"}, "a head, a layer that is here: nothing is sent"
    page.locator(".explorer summary").click()
    page.locator(".explorer .colors").select_option("magma")
    page.wait_for_function("location.search.includes('colors=magma')")
    page.locator(".fusions label", has_text="max").click()
    page.wait_for_function("location.search.includes('fusion=max')")
    page.wait_for_timeout(300)
    assert sum(name.startswith("GET") for name in asked) == 1, "one rollout row"
    assert sent(page) == 0


def test_back_and_forward_restore_each_choice(open_page):
    page = open_page("?photo=coffee&layer=2")
    arrived = page.evaluate("[history.length, location.search]")
    assert "model=" in arrived[1], "arriving writes the address without a step"
    start = pixels(page)
    page.mouse.click(*point(page, 0.3, 0.6))
    page.wait_for_function("location.search.includes('held')")
    page.locator(".layers label").nth(3).click()
    page.wait_for_function("location.search.includes('layer=4')")
    page.mouse.move(5, 5)
    chosen = pixels(page)
    assert page.evaluate("history.length") == arrived[0] + 2
    page.mouse.move(*point(page, 0.5, 0.5))
    page.mouse.move(5, 5)
    page.get_by_text("Koala").click()
    page.wait_for_function("location.search.includes('koala')")
    settle(page)
    assert page.evaluate("history.length") == arrived[0] + 3
    page.go_back()
    page.wait_for_function("location.search.includes('coffee')")
    settle(page)
    page.wait_for_timeout(500)
    settle(page)
    assert pixels(page) == chosen
    page.go_back()
    page.get_by_text("Heads of layer 2", exact=True).wait_for()
    page.go_back()
    page.locator(".from", has_text="From CLS").wait_for()
    settle(page)
    assert pixels(page) == start and page.evaluate("location.search") == arrived[1]
    page.go_forward()
    page.go_forward()
    page.get_by_text("Heads of layer 4", exact=True).wait_for()
    settle(page)
    assert pixels(page) == chosen
    go_to(page, "Measure", "Cost")
    page.wait_for_function("location.pathname === '/cost'")
    page.wait_for_timeout(500)
    wait_until_idle(page)
    page.go_back()
    settle(page)
    page.get_by_text("Heads of layer 4", exact=True).wait_for()
    assert "coffee" in page.evaluate("location.search")


def test_what_is_saved_is_what_is_seen(open_page):
    page = open_page("?photo=coffee&layer=2")
    page.mouse.click(*point(page, 0.3, 0.6))
    page.locator(".layers label").nth(3).click()
    page.get_by_role("button", name="Save", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("dialog").get_by_role("button", name="SVG", exact=True).click()
    assert re.search("layer-4-mean-r10c5", download.value.suggested_filename)


def test_the_view_is_still_there_after_a_visit_to_another_page(open_page):
    page = open_page("?photo=coffee&layer=2&head=1")
    page.mouse.click(*point(page, 0.3, 0.6))
    page.wait_for_function("location.search.includes('held')")
    settle(page)
    page.mouse.move(5, 5)
    before = pixels(page), readout(page)
    go_to(page, "Learn", "Models")
    page.get_by_text("Which model is looking").wait_for()
    go_to(page, "See", "Explore")
    settle(page)
    page.wait_for_function("location.search.includes('held')")
    assert (pixels(page), readout(page)) == before


def test_nothing_is_fetched_from_elsewhere(open_page):
    page, asked = open_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    settle(page)
    page.wait_for_function("document.querySelector('link[rel~=icon]').href.includes('/media/')")
    here = page.evaluate("location.origin")
    assert asked and all(url.startswith((here, "data:", "blob:")) for url in asked)


@pytest.mark.slow
def test_every_page_opens_on_the_same_photo(open_page):
    page = open_page("?photo=coffee")
    groups = pages_of(page)
    assert groups["See"][0] == "Explore" and "Models" in groups["Learn"]
    places = [(group, name) for group, names in groups.items() for name in names]
    for group, name in [*places[::-1], places[0]]:
        go_to(page, group, name)
        file = {"Explore": "", "Inside a head": "inside_head"}.get(name, name)
        path = f"/{file.lower().replace(' ', '_')}"
        page.wait_for_function(f"location.pathname === '{path}'")
        page.wait_for_timeout(300)
        wait_until_idle(page)
        assert not page.locator('[data-testid="stException"]').count(), name
    settle(page)
    assert "photo=coffee" in page.url
