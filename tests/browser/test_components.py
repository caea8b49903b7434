"""A component that fails says so in its place, and draws again when it is sent what is whole."""

import base64

import numpy as np
import pytest
from PIL import Image

from viz.components.bundle import join_script, join_style, read_page
from viz.components.draw_style import DrawStyle
from viz.components.mounts import color_tables
from viz.components.payload import pack, photo_bytes

pytestmark = pytest.mark.browser

SENTENCE = "This part of the page could not be drawn."

# Mounts the overlay as Streamlit does, in a shadow root; `mount(data)` may be called again.
MOUNT = """
async ({ script, html, css }) => {
    const file = new Blob([script], { type: "text/javascript" });
    const component = (await import(URL.createObjectURL(file))).default;
    const host = document.body.appendChild(document.createElement("div"));
    const place = host.attachShadow({ mode: "open" });
    place.innerHTML = `<style>${css}</style>${html}`;
    window.unhandled = [];
    addEventListener("error", (event) => unhandled.push(event.message));
    addEventListener("unhandledrejection", (event) => unhandled.push(String(event.reason)));
    window.mount = (data) => {
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        component({ parentElement: place, data: bytes });
    };
}
"""


@pytest.fixture
def overlay(browser):
    page = browser.new_page()
    page.set_default_timeout(10_000)
    parts = {
        "script": color_tables() + join_script("overlay"),
        "html": read_page("overlay"),
        "css": join_style("overlay"),
    }
    page.evaluate(MOUNT, parts)
    yield page
    page.close()


def payload(colors: str = "viridis", photo: bytes | None = None) -> bytes:
    header = {
        "grid": [2, 3],
        "style": DrawStyle(colors).as_header(),
        "unit": "of the map",
        "caption": "As sent.",
        "alt": "A map",
    }
    photo = photo_bytes(Image.new("RGB", (30, 20), "teal")) if photo is None else photo
    return pack(header, photo=photo, values=np.arange(6, dtype=np.float32) / 15)


def mount(page, data: bytes) -> None:
    page.evaluate("data => mount(data)", base64.b64encode(data).decode())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (payload()[:-200], "What the server sent is damaged: “photo” is cut off."),
        (payload()[:-4], "What the server sent is damaged: “values” is cut off."),
        (payload()[4:], "What the server sent is damaged: the header is cut off."),
        (payload(photo=b"no photo"), "The photo could not be decoded."),
        (payload(colors="jet"), "There is no colour map called jet."),
    ],
)
def test_a_failure_is_a_sentence_in_the_components_place(overlay, data, reason):
    mount(overlay, data)
    failure = overlay.locator(".failure")
    failure.wait_for()
    assert failure.inner_text().startswith(f"{SENTENCE} {reason}")
    assert not overlay.locator(".overlay").is_visible()
    mount(overlay, payload())
    overlay.locator(".readout", has_text="As sent.").wait_for()
    assert overlay.locator(".failure").count() == 0
    overlay.locator("canvas.photo").hover(position={"x": 4, "y": 4})
    overlay.locator(".readout", has_text="Row 1, column 1: 0.00 %").wait_for()
    assert overlay.evaluate("unhandled") == []


def test_what_fails_under_the_mouse_is_a_sentence_too(overlay):
    mount(overlay, payload())
    photo = overlay.locator("canvas.photo")
    photo.hover(position={"x": 4, "y": 4})
    overlay.locator(".readout", has_text="Row 1, column 1").wait_for()
    overlay.evaluate(
        """() => {
            CanvasRenderingContext2D.prototype.putImageData = () => { throw new Error("No."); };
        }"""
    )
    box = photo.bounding_box()
    overlay.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 4)  # another patch
    overlay.locator(".failure").wait_for()
    assert overlay.locator(".failure").inner_text() == f"{SENTENCE} No."
    assert overlay.evaluate("unhandled") == []
