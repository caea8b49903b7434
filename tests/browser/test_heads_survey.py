"""A survey on the Heads page, in a real browser."""

import json
import re

import pytest
import torch

from model import zoo
from model.survey.run import survey_data
from tests.browser.conftest import wait_until_idle
from tests.model.survey.conftest import MODEL, crops

pytestmark = pytest.mark.browser
SURVEY = "heads?over=A+survey"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A survey of six pictures, and the pictures."""
    room = tmp_path_factory.mktemp("own")
    (room / "photos").mkdir()
    for number, crop in enumerate(crops(6)):
        crop.save(room / "photos" / f"{number}.png")
    threads = torch.get_num_threads()
    survey_data(MODEL, room / "photos", room / "found", workers=0, block=6, batch=4, sample=2)
    torch.set_num_threads(threads)
    return room


def wait_for_head(page, name: str | re.Pattern) -> None:
    page.get_by_role("heading", name=name).wait_for()
    wait_until_idle(page)
    page.wait_for_timeout(400)


@pytest.mark.parametrize("chart", [0, 1])
def test_a_click_on_a_dot_shows_the_page_of_that_head(visit, chart):
    page = visit(f"{SURVEY}&of=7.1")
    wait_for_head(page, "Layer 7, head 1")
    plot = page.locator(".js-plotly-plot").nth(chart)
    plot.scroll_into_view_if_needed()
    box = plot.locator(".scatterlayer .point").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = plot.locator(".hoverlayer").get_by_text("Layer")
    label.wait_for()
    layer, head = re.search(r"Layer (\d+), head (\d+)", label.text_content()).groups()
    assert (layer, head) != ("7", "1")
    page.mouse.down()
    page.mouse.up()
    wait_for_head(page, f"Layer {layer}, head {head}")
    page.wait_for_function(f"location.search.includes('of={layer}.{head}')")


def test_an_uploaded_survey_and_picture_lead_into_explore(visit, own):
    page = visit(f"{SURVEY}&model={MODEL}&of=2.3&ranking=far")
    page.get_by_text("There is no survey of this model here").wait_for()
    field = page.get_by_test_id("stFileUploader").filter(has_text="A survey.json")
    field.locator("input[type=file]").set_input_files(own / "found" / "survey.json")
    wait_for_head(page, "Layer 2, head 3")
    page.get_by_text("6 of 6 are missing").wait_for()
    held = json.loads((own / "found" / "survey.json").read_text())
    name, query, value = held["top"]["far"][held["heads"][0] + 2][0]
    field = page.get_by_test_id("stFileUploader").filter(has_text="Pictures of the survey")
    field.locator("input[type=file]").set_input_files(own / "photos" / name)
    page.get_by_text("5 of 6 are missing").wait_for()
    page.get_by_text(f"{value:.1f} px", exact=True).wait_for()
    page.get_by_test_id("stMain").get_by_role("button", name="Explore", exact=True).click()
    page.get_by_role("heading", name="Where does this patch look?").wait_for()
    row, column = zoo.load(MODEL).tokens.position_of(query)
    place = f"layer=2&head=3&from=r{row + 1}c{column + 1}"
    page.wait_for_function(f"location.search.includes('{place}')")


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_nothing_is_cut_off(visit, width, scheme):
    page = visit(f"{SURVEY}&of=3.2", width=width, scheme=scheme)
    wait_for_head(page, "Layer 3, head 2")
    assert page.locator('[data-testid="stException"]').count() == 0
    for element in page.locator(".js-plotly-plot, [data-testid=stDataFrame]").all():
        box = element.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width + 1
