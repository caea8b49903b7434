"""Hide patches and switch heads off in a real browser: mouse, finger, keyboard, undo, link."""

import pytest

from tests.browser.conftest import wait_until_idle

pytestmark = pytest.mark.browser

LINK = "what_if?photo=coffee&model=cifar10"


def words(page) -> str:
    return page.locator(".what_if .words").inner_text()


def opened(visit, more="", **look):
    page = visit(LINK + more, **look)
    page.locator(".switches canvas").first.wait_for()
    page.locator(".what_if .pair").first.wait_for()
    wait_until_idle(page)
    page.wait_for_timeout(600)  # the photos are decoded
    return page


def place(page, selector, x, y):
    node = page.locator(selector).first
    node.scroll_into_view_if_needed()
    box = node.bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*[(a + b) / 2 for a, b in zip(start, end, strict=True)])
    page.mouse.move(*end)
    page.mouse.up()


PHOTO = ".what_if canvas.photo"


def test_a_drag_hides_patches_and_undo_shows_them_again(visit):
    page = opened(visit)
    before = words(page)
    drag(page, place(page, PHOTO, 0.3, 0.5), place(page, PHOTO, 0.7, 0.5))
    page.wait_for_url(lambda url: "hidden=" in url)
    page.get_by_text("at random, 20 times").wait_for()
    wait_until_idle(page)
    assert words(page) != before and "patches, the answer" in words(page)
    assert page.locator(".what_if .was").first.inner_text().endswith("→ ")
    hidden = page.url
    page.locator(".what_if .undo").click()
    page.wait_for_url(lambda url: "hidden=" not in url)
    wait_until_idle(page)
    assert words(page) == before
    page.keyboard.press("Control+y")
    page.wait_for_url(lambda url: "hidden=" in url)
    wait_until_idle(page)
    assert page.url == hidden


def test_a_head_is_switched_off_and_the_link_opens_the_same(visit):
    page = opened(visit)
    page.mouse.click(*place(page, ".switches > canvas", 0.2, 0.3))
    page.wait_for_url(lambda url: "off=" in url)
    page.get_by_text("1 head at random, 20 times").wait_for()
    wait_until_idle(page)
    assert "head " in words(page)
    other = visit(page.url.rpartition("/")[2])
    other.locator(".what_if .pair").first.wait_for()
    wait_until_idle(other)
    assert words(other) == words(page)


def test_the_keyboard_hides_a_patch(visit):
    page = opened(visit)
    page.locator(PHOTO).focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", " "):
        page.keyboard.press(key)
    page.wait_for_url(lambda url: "hidden=" in url)


def test_a_finger_hides_patches(browser, server):
    context = browser.new_context(has_touch=True, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{server}/{LINK}")
    page.locator(".what_if .pair").first.wait_for()
    wait_until_idle(page)
    start, end = place(page, PHOTO, 0.3, 0.4), place(page, PHOTO, 0.6, 0.6)
    touches = context.new_cdp_session(page)

    def touch(kind, *points):
        found = [{"x": x, "y": y} for x, y in points]
        touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": found})

    touch("touchStart", start)
    touch("touchMove", [(a + b) / 2 for a, b in zip(start, end, strict=True)])
    touch("touchMove", end)
    touch("touchEnd")
    page.wait_for_url(lambda url: "hidden=" in url)
    wait_until_idle(page)
    assert "patches" in words(page)
    context.close()


def test_explore_and_captions_lead_here_with_just_that_switched_off(visit):
    page = visit("?photo=coffee&model=cifar10&layer=2&head=3&from=r2c3&held=yes")
    page.get_by_text("Without head 3").wait_for()
    wait_until_idle(page)
    page.get_by_text("Without head 3").click()
    page.wait_for_url(lambda url: "what_if" in url and "off=2.3" in url)
    page.locator(".what_if .pair").first.wait_for()
    assert "head 3 of layer 2" in words(page) and "hidden" not in page.url
    page.go_back()
    link = page.locator(".without .patch")
    link.wait_for()
    other = visit(link.get_attribute("href"))  # as somebody opens it who was sent the link
    other.wait_for_url(lambda url: "hidden=10" in url and "&off=" not in url)
    page = visit("captions?captioner=scenes-captioner&scene=3&layer=1&head=2")
    page.get_by_text("Without head 2").wait_for()
    wait_until_idle(page)
    page.get_by_text("Without head 2").click()
    page.wait_for_url(lambda url: "of=captioner" in url and "off=2.2" in url)
    page.locator(".what_if .pair").first.wait_for()
    wait_until_idle(page)
    assert "head 2 of cross-attention 1" in words(page)
