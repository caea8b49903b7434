"""Drawing attention: numpy in, pictures out."""

from importlib.util import find_spec
from pathlib import Path


def _refuse_other_model() -> None:
    """Raise ImportError where `import model` finds something else than the package beside this."""
    found = find_spec("model")
    if found is None or found.origin is None:
        return
    own = Path(__file__).parents[1] / "model" / "__init__.py"
    if Path(found.origin).resolve() != own.resolve():
        raise ImportError(
            f"{found.origin} is imported in place of Saccade's package `model`, because its folder "
            "comes first on Python's path. Rename it, or start Python in another folder; the "
            "command `saccade` works beside it too."
        )


_refuse_other_model()
