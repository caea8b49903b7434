"""What the server and the explorer in the browser know of each other.

The explorer draws from its own copy of the view and keeps what it was sent: one image, with the
layers of it that were looked at. Python sends it what it lacks and no more, and tells it when the
view was changed here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Exchange:
    """The state of the exchange: changes of the view made in Python, and the image sent last.

    ``revision`` goes along with every payload and comes back with every report, so a report with an
    older number was sent before the browser knew of the last change.
    """

    revision: int = 0
    image: str | None = None

    def with_change(self) -> "Exchange":
        """Count one change of the view that was made in Python."""
        return replace(self, revision=self.revision + 1)

    def with_image(self, image: str) -> "Exchange":
        """Remember the image that is sent now."""
        return replace(self, image=image)

    def is_current(self, view: Mapping[str, Any]) -> bool:
        """Say whether a reported view includes the last change that was made in Python."""
        return view.get("revision") == self.revision

    def layers_kept(self, image: str, view: Mapping[str, Any]) -> Sequence[int] | None:
        """List the layers of an image that the browser has; None where it lacks the image itself.

        Args:
            view: the view that the browser reported last; empty before its first report.
        """
        has = view.get("has") or {}
        return has.get("layers", []) if self.image == has.get("image") == image else None
