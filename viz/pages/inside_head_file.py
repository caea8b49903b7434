"""The file that Inside a head saves: one layer, with all its heads, queries, keys and steps."""

from viz.pages.inside_head_payload import Looked, header_of
from viz.pages.shared import open_models
from viz.pages.shared.html_file import HtmlFile
from viz.pages.shared.state import InsideHead
from viz.standalone import Figure
from viz.standalone.views import inside_figure


def inside_file(looked: Looked, head: int, query: int) -> HtmlFile:
    """Describe the file of the layer that is shown, as it is seen.

    Args:
        looked: the layer.
        head: the head to begin with, from zero, like `query`.
    """
    layer, arrays = looked.layers[looked.layer], looked.sent.arrays
    view = {
        "head": min(head, looked.numbers.heads - 1),
        "query": query,
        "key": looked.read_key(InsideHead.key.get()),
        "step": InsideHead.step.get(),
    }
    only = {"layer": 0, "layers": [layer], "layerChips": [looked.chips[looked.layer]]}
    header = header_of(looked) | only | {"view": view, "opened": 0}
    title = f"Inside a head: {open_models.model_title(looked.model)}, {layer.lower()}"

    def make() -> Figure:
        return inside_figure(header, arrays, looked.photo, title)

    nbytes = sum(array.nbytes for array in arrays.values()) + len(looked.photo)
    return HtmlFile(make, nbytes, "saccade-inside-a-head")
