"""The rule of arrows: which package may import which, and no circles between files."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A package, and the packages of the project that it may import besides itself.
GROUND = {"model.tokens", "model.errors", "model.images"}
NETS = GROUND | {"model.nets"}
RECORDS = GROUND | {"model.nets", "model.recording"}
BUNDLES = RECORDS | {"model.preprocessing", "model.bundle", "model.recorded_image"}
OPENED = BUNDLES | {"model.datasets", "model.captioning", "model.zoo"}
LOOKED_INTO = OPENED | {"model.attribution", "model.analysis", "model.features"}
MEASURED = LOOKED_INTO | {"model.survey", "model.evaluate"}
MODEL = MEASURED | {"model", "model.training"}
DRAWN = {"viz.charts", "viz.pictures"}
MOUNTED = DRAWN | {"viz.components"}

ARROWS: dict[str, set[str]] = {
    "model": set(),  # the package itself, which imports nothing until it is asked
    "model.tokens": set(),
    "model.errors": set(),
    "model.images": {"model.errors"},
    "model.nets": GROUND,
    "model.recording": NETS,
    "model.recorder": {"model.recording"},  # published paths
    "model.rollout": {"model.recording"},
    "model.vit": {"model.nets"},
    "model.preprocessing": RECORDS,
    "model.bundle": RECORDS | {"model.preprocessing"},
    "model.recorded_image": RECORDS | {"model.preprocessing", "model.bundle"},
    "model.datasets": BUNDLES,
    "model.captioning": BUNDLES | {"model.datasets"},
    "model.zoo": BUNDLES | {"model.datasets", "model.captioning"},
    "model.attribution": OPENED,
    "model.analysis": OPENED,
    "model.features": OPENED,
    "model.survey": LOOKED_INTO,
    "model.evaluate": LOOKED_INTO,
    "model.training": MEASURED,
    "viz": set(),
    "viz.charts": set(),
    "viz.pictures": MODEL,
    "viz.components": DRAWN,
    "viz.pages.shared": MODEL | MOUNTED,
    "viz.pages": MODEL | MOUNTED | {"viz.pages.shared"},
    "viz.__main__": MODEL | DRAWN,
    "app": {"viz.pictures"},
}


def name_of(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


FILES = {
    name_of(path): path
    for path in (*(ROOT / "model").rglob("*.py"), *(ROOT / "viz").rglob("*.py"), ROOT / "app.py")
}


def imports(name: str, hidden: bool | None = None) -> set[str]:
    """The project's modules that a module imports; `hidden`: inside a function, or not."""
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    inside = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    found = set()
    for node in ast.walk(tree):
        if hidden is not None and (node in inside) is not hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in FILES else node.module)
    return {module for module in found if module in FILES}


def package_of(module: str) -> str:
    """The longest name in the table that the module is, or lies in."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next(name for name in names if name in ARROWS)


@pytest.mark.parametrize("name", sorted(FILES))
def test_arrows_point_one_way(name):
    here = package_of(name)
    for module in imports(name):
        there = package_of(module)
        assert there == here or there in ARROWS[here], f"{name} imports {module}"


def test_there_are_no_circles_between_files():
    left = {name: imports(name) - {name} for name in FILES}
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    assert not left, f"in a circle, or above one: {sorted(left)}"


LAZY = {"model.evaluate.__main__", "model.training.__main__", "viz.__main__"}
"""Commands, which answer --help before torch is loaded."""


@pytest.mark.parametrize("name", sorted(FILES.keys() - LAZY))
def test_no_import_hides_in_a_function(name):
    assert not imports(name, hidden=True)


def test_every_package_says_what_it_is_for():
    for name, path in FILES.items():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), name
