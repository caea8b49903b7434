"""A figure as one HTML file that opens from disk, offline, with everything alive in it.

    >>> import tempfile
    >>> from model import samples, zoo
    >>> from viz.notebook import show
    >>> from viz.standalone import export_html
    >>> figure = show(zoo.load("cs231n-cifar10"), samples.load("chelsea"))
    >>> path = export_html(figure, tempfile.mkdtemp() + "/cat.html")
    >>> path.stat().st_size < 1_000_000
    True

The file has the queries and keys of every layer, as float16 and compressed; the browser unpacks
them with its own DecompressionStream and draws each map as the app does. A Content-Security-Policy
in the file allows its own script and style, and no connection to anywhere.
"""

from viz.standalone.figure import Figure, FigurePart, FigureTooLarge
from viz.standalone.file import export_html, file_size

__all__ = ["Figure", "FigurePart", "FigureTooLarge", "export_html", "file_size"]
