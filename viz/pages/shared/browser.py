"""What the browser does without a rerun, and how the session learns of it.

The browser draws each change of the view by itself, writes it into the address and reports it; a
session takes the last report over when a page runs again. Back and Forward are the browser's, too:
where more than the view differs, it asks for the address to be opened.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import streamlit as st

from viz.components import mounts
from viz.pages.shared.address import LONGEST_LINK, PROJECTOR
from viz.pages.shared.screen import is_projected
from viz.pages.shared.state import Captions, Lessons, Shared, forget_linked
from viz.pages.shared.view import CaptionView, View
from viz.server.passes import Pass

EXPLORE, CAPTIONS = "explore", "captions"
"""The scopes of views: attention that is looked at, and a caption."""


def begin_run(page: str) -> None:
    """Begin a run of a page: take over what the browser has done since the last one."""
    take_reports()
    if Shared.page.get() != page:
        Shared.page.set(page)
        Shared.link.take()
    if query := Shared.address.get().get("open"):
        open_address(query)
        Shared.opened_now.set(True)


def browser_pass() -> Pass:
    """Return the session's pass, with which its browser asks and reports."""
    if not Shared.browser_pass.is_set:
        Shared.browser_pass.set(Pass())
    held = Shared.browser_pass.get()
    assert held is not None
    return held


# -- the view -----------------------------------------------------------------------------------


def take_reports() -> None:
    """Take over the views that the browser has reported."""
    if message := browser_pass().take_report(EXPLORE):
        _take_view(message)
    if message := browser_pass().take_report(CAPTIONS):
        _take_caption_view(message)


def _take_view(message: Mapping[str, Any]) -> None:
    view = Shared.view.get()
    if view is None:
        return
    reported = View.from_browser(message, view)
    if message.get("revision") == view_revision():
        Shared.view.set(reported)
    else:  # sent before the browser knew of a change made here: what was clicked counts, no more
        change_view(query=reported.query, held=reported.held)


def view_revision() -> str:
    """Name the last change of the view in Python: what was sent before it does not know of it."""
    return f"{browser_pass().key[:8]} {Shared.revision.get()}"


def _take_caption_view(message: Mapping[str, Any]) -> None:
    sent, view = Captions.sent.get(), Captions.view.get()
    if sent and view and message.get("revision") == caption_revision(sent[0]):
        Captions.view.set(CaptionView.from_browser(message, view))


def caption_revision(caption: str) -> str:
    """Name the view with which the browser began a caption."""
    return f"{caption} {Shared.opened_links.get()}"


def shown_view() -> View:
    """Return the view as it is now; there is one as soon as something was recorded."""
    view = Shared.view.get()
    if view is None:
        raise LookupError("Nothing was recorded yet, so there is no view of it.")
    return view


def change_view(**changes: Any) -> None:
    """Change the view from Python: the browser takes it over from its next payload."""
    Shared.view.set(replace(shown_view(), **changes))
    Shared.revision.set(Shared.revision.get() + 1)


# -- the address --------------------------------------------------------------------------------


def write_address(url_params: Mapping[str, str], scope: str = "") -> None:
    """Make the address say what is shown; the last thing that a page does.

    Args:
        url_params: the parameters, in order.
        scope: of the view on this page that the browser changes by itself, if there is one.
    """
    query = Shared.address.get().get("open")
    if query and not Shared.opened_now.take():  # asked of a fragment, which ran alone
        open_address(query)
        st.rerun()
    header = {
        "params": dict(url_params)
        | Lessons.running.url_params()
        | PROJECTOR.write_changed(is_projected() or None),
        "scope": scope,
        "session": browser_pass().key[:8],
        "opened": Shared.opened_links.get(),
    }
    mounts.address(header, key=Shared.address.name)


def open_address(query: str) -> None:
    """Open an address of this page, as Back and Forward ask for."""
    forget_linked(Shared.page.get())
    Shared.link.set(dict(parse_qsl(query[:LONGEST_LINK].removeprefix("?"))))
    Shared.opened_links.set(Shared.opened_links.get() + 1)
    Shared.revision.set(Shared.revision.get() + 1)
