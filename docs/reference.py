"""Write the API reference from the docstrings into docs/api: `make docs`.

A warning ends the run with an error: a reference that lacks a name is not finished.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import shutil
import sys
import typing
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pdoc

import model
import viz

OUT = Path(__file__).parent / "api"
LEFT_OUT = ("viz.pages", "__main__")  # pages and commands, which run when they are imported


def main() -> int:
    """Write one page for each module; 1 if there was a warning."""
    _list_names_imported_later()
    for package in (model, viz):
        for module in _modules(package):
            _resolve_fields(module)
    pdoc.render.configure(docformat="google")
    shutil.rmtree(OUT, ignore_errors=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        pdoc.pdoc("model", "viz", *(f"!{name}" for name in LEFT_OUT), output_directory=OUT)
    problems = {str(warning.message) for warning in caught}
    for problem in sorted(problems):
        print(problem, file=sys.stderr)
    pages = len(list(OUT.rglob("*.html")))
    print(f"API reference: {pages} pages, {len(problems)} warnings, in {OUT}")
    return 1 if problems else 0


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    yield package
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not any(name in found.name for name in LEFT_OUT):
            yield importlib.import_module(found.name)


def _resolve_fields(module: ModuleType) -> None:
    """Give generated constructors their fields' types, as the fields' own modules know them."""
    for kind in vars(module).values():
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            known = kind.__init__.__annotations__
        elif isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
            known = kind.__new__.__annotations__
        else:
            continue
        hints = typing.get_type_hints(kind)
        known |= {name: hint for name, hint in hints.items() if name in known}


def _list_names_imported_later() -> None:
    """Import the names that `model` imports when first used, and list what lies in it."""
    for name in model.__all__:
        setattr(model, name, getattr(model, name))
    model.__all__ += [found.name for found in pkgutil.iter_modules(model.__path__)]


if __name__ == "__main__":
    sys.exit(main())
