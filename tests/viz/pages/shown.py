"""What a page run by Streamlit's test runner shows: its address, and its components' payloads."""

from typing import Any

import numpy as np
from streamlit.testing.v1 import AppTest

from viz.components.payload import unpack
from viz.server.passes import Reply, find_pass

ADDRESS = "address"


def components(app: AppTest) -> list[Any]:
    """The components that the page mounts, without those at the head of every page."""
    mounted = app.get("bidi_component")
    at_head = ("explained", "screen")
    return [part for part in mounted if not part.proto.component_name.endswith(at_head)]


def notes(app: AppTest) -> list[str]:
    """The texts whose terms are explained, as one reads them."""
    parts = (part.proto for part in app.get("bidi_component"))
    shown = [unpack(each.bytes)[0]["parts"] for each in parts if is_text(each)]
    return ["".join(words if isinstance(words, str) else words[0] for words in t) for t in shown]


def is_text(component: Any) -> bool:
    """Whether a component is a text whose terms are explained."""
    return component.component_name.endswith("explained")


def payloads(app: AppTest) -> dict[str, tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """What each component on the page was sent: its header and its arrays, by its name."""
    parts = (part.proto for part in components(app))
    return {
        part.component_name.rpartition("saccade_")[2]: unpack(part.bytes)
        for part in parts
        if part.bytes
    }


def address_of(app: AppTest) -> dict[str, str]:
    """The parameters that the page writes into the address."""
    return payloads(app)[ADDRESS][0]["params"]


def answer(app: AppTest, component: str, question: str, source: str = "source") -> Reply:
    """What the browser gets when a component asks a question of a source that its header names."""
    header, _ = payloads(app)[component]
    found = find_pass(header["key"]).source(header[source])
    assert found is not None, "the page has granted what its components ask for"
    return found.answer(question)


def answered(app: AppTest, component: str, question: str) -> tuple[dict, dict[str, np.ndarray]]:
    """The same, unpacked."""
    return unpack(answer(app, component, question).body)


def photo_of(app: AppTest, component: str, name: str = "photo") -> bytes:
    """A photo that a component draws, as JPEG."""
    return answer(app, component, "photo", name).body
