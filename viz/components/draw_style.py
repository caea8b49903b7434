"""How maps are drawn in the browser: one object, the same on both sides."""

from dataclasses import asdict, dataclass

from viz.pictures.colors import GAMMA, SATURATION


@dataclass(frozen=True)
class DrawStyle:
    """How a map is drawn over a photo; a payload's header carries it as ``style``.

    ``colors`` names one of ``viz.pictures.colors.COLOR_MAPS``. A patch is as opaque as ``opacity``
    times its value to the power of ``gamma``; the photo under it keeps ``saturation`` of its own
    colour and ``brightness`` of its light. ``scaling`` says where the colours end: at each map's
    own maximum ("map"), or at one maximum for all heads of a layer ("layer").
    """

    colors: str = "viridis"
    opacity: float = 0.75
    smooth: bool = False  # between patches; a patch has one value
    lines: bool = False  # between patches
    scaling: str = "map"
    gamma: float = GAMMA
    saturation: float = SATURATION
    brightness: float = 1.0

    def as_header(self) -> dict[str, object]:
        """Return the style as a payload's header carries it."""
        return asdict(self)
