"""Attention in a notebook's cell: a figure that follows the mouse and tells Python what is chosen.

    >>> from model import samples, zoo
    >>> from viz.notebook import show
    >>> shown = show(zoo.load("cs231n-cifar10"), samples.load("chelsea"), layer=2, head=1, query=5)
    >>> shown.layer, shown.head, shown.query
    (2, 1, 5)
    >>> shown.row.shape  # the attention of patch 5 in this head
    (16,)

`show` takes a model and a picture, records that were made before, or a caption; `compare` takes two
of these. In JupyterLab and marimo the figure is a widget (`pip install anywidget`):
`shown.observe(print, "query")` calls a function at each choice. It is untested in VS Code and
Colab. Elsewhere it is a still picture, and `viz.standalone.export_html` writes it as a file.
"""

from viz.notebook.recordings import CannotShow
from viz.notebook.showing import compare, show

__all__ = ["CannotShow", "compare", "show"]
