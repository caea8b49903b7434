"""The screen on which the page is seen: whether that is a projector."""

from viz.components import mounts
from viz.pages.shared.address import PROJECTOR, read_address
from viz.pages.shared.state import Shared


def show_screen() -> None:
    """Mount the switch for a projector, once for all pages."""
    mounts.screen(projector_choice(), key=Shared.screen.name)


def projector_choice() -> bool | None:
    """Return what was chosen in this session, or what the link says, or None."""
    chosen = Shared.screen.get().get("projector")
    return chosen if isinstance(chosen, bool) else PROJECTOR.read(read_address())


def is_projected() -> bool:
    """Say whether the page is shown on a projector, as far as is known."""
    return bool(projector_choice())
