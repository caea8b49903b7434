"""Links as anybody may write them, and what reads them."""

from __future__ import annotations

import random
from urllib.parse import parse_qsl, quote

from model.image_layers import Layer
from model.tokens import TokenLayout
from viz.pages.shared import address, state, view
from viz.pages.shared.address import Param

_WHOLE, _COARSE = TokenLayout((4, 4), ("cls",)), TokenLayout((2, 2))
LAYERS = [Layer(3, _WHOLE), Layer(3, _WHOLE), Layer(6, _COARSE, _WHOLE)]


class LinkNote(ValueError):
    """A link of which something was passed over; the message is what the page says."""


REFUSED = LinkNote
_WORDS = (
    *("0", "1", "-1", "7", "99", "999999", "0.5", "1e999", "nan", "inf", "-0", "1_0", "٣", "½"),
    *("mean", "max", "yes", "no", "True", "viridis", "map", "r1c1", "r0c0", "r9999c9999", "cls"),
    *("own", "../../etc/passwd", "hf/../../x.pt", "<script>", "[a](b)", "\0", "\ud800", "", " "),
    *("9" * 5000, "x" * 100_000, "10-10-90-90", "90-90-10-10", "a" * 201, "{name}", "%s"),
)


def open_case(data: bytes) -> None:
    """Read every parameter, and write what was read into another link."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        url_params = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=1000))
    except ValueError:  # Starlette reads no more fields than that, either
        return
    notes: list[str] = []
    for param in PARAMS:
        value = param.read(url_params, notes)
        if value is not None:
            param.write(value)
    shown, more = view.view_from_address(url_params, LAYERS)
    assert 0 <= shown.layer < len(LAYERS) and 0 <= shown.opacity <= 1
    view.view_url_params(shown, LAYERS)
    if notes := [*notes, *more]:
        raise LinkNote(notes[0])


def make_case(chance: random.Random, largest: int) -> tuple[str, bytes]:
    """One link, with a word for what it is."""
    if chance.random() < 0.1:
        return "bytes", chance.randbytes(chance.randrange(min(largest, 3000)))
    names = [param.name for param in PARAMS] + ["other"]
    fields = [
        f"{chance.choice(names)}={quote(chance.choice(_WORDS), errors='surrogatepass')}"
        for _ in range(chance.randint(1, 8))
    ]
    return "link", "&".join(fields).encode()[:largest]


def _params() -> list[Param]:
    """List the parameters of the address, and those of the pages' settings."""
    found = [value for value in vars(address).values() if isinstance(value, Param)]
    for page in vars(state).values():
        if isinstance(page, type):
            found += [s.param for s in vars(page).values() if isinstance(s, state.Setting)]
    return found


PARAMS = _params()
