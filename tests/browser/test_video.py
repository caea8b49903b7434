"""What only a browser shows of the Video page."""

import re

import numpy as np
import pytest

from model import zoo
from model.datasets import samples
from model.video.pan import pan
from model.video.recording import record_frame, spread_of_map
from tests.browser.conftest import count_messages, wait_until_idle
from viz.pages.shared.picture import samples_beside

pytestmark = pytest.mark.browser


def test_the_timeline_plays_scrubs_and_reads_numbers_without_a_round_trip(visit):
    page = visit("video?model=cs231n-cifar10&head=2&layer=3&from=r2c3", height=1000)
    page.locator(".video .readout:not(:empty)").wait_for()
    wait_until_idle(page)
    count_messages(page)

    def pixels() -> str:
        page.wait_for_timeout(300)
        return page.locator(".video canvas.photo").evaluate("(c) => c.toDataURL()")

    first = pixels()
    slider = page.locator(".video .slider")
    slider.fill("20")
    scrubbed = pixels()
    assert scrubbed != first
    time = page.locator(".video .time")
    time.filter(has_text="21 of 24").wait_for()
    slider.press("ArrowLeft")
    time.filter(has_text="20 of 24").wait_for()
    page.wait_for_url(re.compile("frame=20"))
    # The number is Python's, computed from the frame by itself.
    bundle = zoo.load("cs231n-cifar10")
    names = samples_beside(bundle)[:2]
    frame = pan([samples.load(name) for name in names], 24).frames[19]
    token = bundle.tokens.index_of(1, 2)
    expected = spread_of_map(record_frame(bundle, frame, token).map_of(2, 1))
    shown = page.locator(".video .line-row .value").first.inner_text()
    assert float(shown.split()[0]) == pytest.approx(expected, abs=0.02)
    page.keyboard.press(".")
    page.locator(".video .readout").filter(has_text="head 3").wait_for()
    assert page.locator(".video .line-row .value").first.inner_text() != shown
    page.locator(".video canvas.photo").focus()
    page.keyboard.press("Home")
    time.filter(has_text=re.compile(r"^1 of 24")).wait_for()
    page.keyboard.press(" ")
    time.filter(has_text=re.compile(r"^([2-9]|1\d|2\d) of 24")).wait_for()
    assert page.locator(".video .play").inner_text() == "Pause"
    page.keyboard.press(" ")
    assert page.locator(".video .play").inner_text() == "Play"
    # The first frame stands in no address, so the clip rests on another one.
    slider.fill("9")
    page.wait_for_url(re.compile("frame=10"))
    page.get_by_text("Rollout", exact=True).click()
    page.wait_for_url(re.compile("map=rollout"))
    assert page.evaluate("sentToServer") == 0
    # A patch that is clicked asks: the clip is recorded anew from there.
    page.locator(".video canvas.photo").click(position={"x": 8, "y": 8})
    page.wait_for_url(re.compile("from=r1c1.*frame=10.*map=rollout"), timeout=60_000)
    wait_until_idle(page)
    assert page.locator(".failure").count() == 0
    assert np.isfinite(float(page.locator(".video .line-row .value").first.inner_text().split()[0]))
