"""Where this copy of Saccade keeps `app.py`, its settings and the checkpoints."""

from pathlib import Path


def find_home(packages: Path) -> Path:
    """Return the folder of `app.py`, `.streamlit` and `checkpoints`.

    In the source tree they lie beside the packages. Installed, they lie in `saccade/home`, because
    a file `app.py` between everybody's packages would be imported as `app`.

    Args:
        packages: the folder that holds the package `model`.

    >>> find_home(Path("/source/tree")).as_posix()
    '/source/tree'
    """
    installed = packages / "saccade" / "home"
    return installed if installed.is_dir() else packages


HOME = find_home(Path(__file__).parents[1])
