"""The rule of arrows: which package may import which, and no circles between files."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[1]

# A package, and the packages of the project that it may import besides itself. A new package
# gets a line of its own; a package inside a package follows the line of the outer one unless it
# has its own.
GROUND = {"model.tokens", "model.errors", "model.images", "model.home"}
NETS = GROUND | {"model.nets"}
RECORDS = GROUND | {"model.nets", "model.recording"}
BUNDLES = RECORDS | {
    *("model.card", "model.preprocessing", "model.bundle"),
    *("model.unrolled", "model.image_layers", "model.recorded_image"),
}
OPENED = BUNDLES | {"model.datasets", "model.captioning", "model.zoo"}
LOOKED_INTO = OPENED | {
    *("model.attribution", "model.analysis", "model.features", "model.intervention"),
}
MEASURED = LOOKED_INTO | {"model.survey", "model.evaluate"}
MODEL = MEASURED | {"model", "model.snapshots", "model.training", "model.video"}
DRAWN = {"viz.charts", "viz.pictures"}
MOUNTED = DRAWN | {"viz.components"}
CARRIED = MOUNTED | {"viz.standalone", "viz.notebook", "viz.export"}
SERVED = CARRIED | {"viz.server"}

ARROWS: dict[str, set[str]] = {
    "model": set(),  # the package itself, which imports nothing until it is asked
    "model.tokens": set(),
    "model.errors": set(),
    "model.home": set(),
    "model.images": {"model.errors"},
    "model.nets": GROUND,
    "model.recording": NETS,
    "model.recorder": {"model.recording"},  # published paths
    "model.rollout": {"model.recording"},
    "model.vit": {"model.nets"},
    "model.preprocessing": RECORDS,
    "model.card": set(),
    "model.bundle": RECORDS | {"model.card", "model.preprocessing"},
    "model.unrolled": RECORDS,
    "model.image_layers": RECORDS | {"model.unrolled"},
    "model.recorded_image": RECORDS | {"model.preprocessing", "model.bundle", "model.image_layers"},
    "model.video": BUNDLES,
    "model.datasets": BUNDLES,
    "model.captioning": BUNDLES | {"model.datasets"},
    "model.zoo": BUNDLES | {"model.datasets", "model.captioning"},
    "model.attribution": OPENED,
    "model.analysis": OPENED,
    "model.features": OPENED | {"model.attribution"},
    "model.intervention": OPENED,
    "model.survey": LOOKED_INTO,
    "model.evaluate": LOOKED_INTO | {"model.survey"},  # whose engine it runs on
    "model.snapshots": OPENED,
    "model.training": MEASURED | {"model.snapshots"},
    "viz": set(),
    "viz.charts": set(),
    "viz.pictures": set(),
    "viz.components": DRAWN,
    "viz.standalone": MOUNTED,
    "viz.export": MODEL | MOUNTED,
    "viz.notebook": MODEL | CARRIED,
    "viz.files": MODEL | CARRIED,
    "viz.server": MODEL | CARRIED,
    "viz.lessons": DRAWN,
    "viz.glossary": DRAWN,
    "viz.pages.shared": MODEL | SERVED | {"viz.lessons", "viz.glossary"},
    "viz.pages": MODEL | SERVED | {"viz.lessons", "viz.glossary", "viz.pages.shared"},
    "viz.__main__": MODEL | CARRIED | {"viz.files"},
    "app": {"viz", "viz.server"},
    "saccade": set(),
    "saccade.__main__": {"model", "model.home", "viz", "viz.__main__"},
}
ROOTS = {"model", "viz"}
"""Packages whose line in the table holds for their own file alone, not for what lies in them."""

# A library, and where in the project it may be imported; nowhere else.
LIBRARIES = {
    "torch": {"model", "viz.pages", "viz.server", "viz.notebook", "viz.files"},
    "torchvision": {"model"},
    "streamlit": {"viz.pages", "viz.server", "viz.components.mounts", "app", "saccade.__main__"},
    "matplotlib": {"viz"},
    "plotly": {"viz"},
}

LAZY = {
    *("model.evaluate.__main__", "model.survey.__main__", "model.training.__main__"),
    *("viz.__main__", "saccade.__main__"),
}
"""Commands, which answer --help before torch is loaded."""

COMPUTED = {"model", "model.zoo.hubs.fetching", "model.video.decoder_program"}
"""Modules that import by a name which they compute: published names, optional libraries."""


class Files:
    """The Python files below a folder, by module name, and what they import.

    Args:
        root: The folder that holds the packages and `app.py`.
    """

    def __init__(self, root: Path) -> None:
        packages = (root / name for name in ("model", "saccade", "viz"))
        paths = (*(path for each in packages for path in each.rglob("*.py")), root / "app.py")
        self.paths = {_module_name(path, root): path for path in paths if path.is_file()}
        self.trees = {
            name: ast.parse(path.read_text(encoding="utf-8")) for name, path in self.paths.items()
        }

    def imported(self, name: str, hidden: bool | None = None) -> set[str]:
        """List the full names that a module imports; `hidden`: inside functions, or outside."""
        tree = self.trees[name]
        inside = {
            node
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for node in ast.walk(function)
        }
        return {
            found
            for node in ast.walk(tree)
            if hidden is None or (node in inside) is hidden
            for found in self.named_by(node, name)
        }

    def imports(self, name: str, hidden: bool | None = None) -> set[str]:
        """List the project's own modules among what a module imports."""
        return {self.module_of(found) for found in self.imported(name, hidden)} - {None}

    def module_of(self, name: str) -> str | None:
        """Name the file that holds a full name, or None for a name from a library."""
        if name in self.paths:
            return name
        package = name.rpartition(".")[0]
        return package if package in self.paths else None

    def named_by(self, node: ast.AST, importer: str) -> Iterator[str]:
        """Iterate over the full names that one import statement or call imports."""
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{self._source(node, importer)}.{alias.name}" for alias in node.names)
        elif name := _imported_by_call(node):
            yield name

    def _source(self, node: ast.ImportFrom, importer: str) -> str:
        if not node.level:
            return node.module or ""
        parts = importer.split(".")
        is_package = self.paths[importer].name == "__init__.py"
        above = parts[: len(parts) - node.level + is_package]
        return ".".join([*above, *filter(None, [node.module])])


def _module_name(path: Path, root: Path) -> str:
    name = ".".join(path.relative_to(root).with_suffix("").parts)
    return name.removesuffix(".__init__")


def _imported_by_call(node: ast.AST) -> str | None:
    """The module that `import_module("name")` or `__import__("name")` imports."""
    if not _is_import_call(node) or not node.args:
        return None
    first = getattr(node.args[0], "value", None)
    return first if isinstance(first, str) and not first.startswith(".") else None


def _is_import_call(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func.attr if isinstance(node.func, ast.Attribute) else None
    called = node.func.id if isinstance(node.func, ast.Name) else called
    return called in {"import_module", "__import__"}


def package_of(module: str) -> str:
    """The longest name in the table that the module is, or lies in."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    for name in names:
        if name in ARROWS and (name == module or name not in ROOTS):
            return name
    raise KeyError(f"{module} is in no package of the table of arrows: give its package a line")


def forbidden(files: Files, name: str) -> list[str]:
    """List a module's imports that the table does not allow."""
    here = package_of(name)
    there = {module: package_of(module) for module in files.imports(name)}
    allowed = ARROWS[here] | {here}
    return sorted(module for module, package in there.items() if package not in allowed)


def in_circles(files: Files) -> list[str]:
    """List the files that import each other in a circle, or import a file that does."""
    left = {name: files.imports(name) - {name} for name in files.paths}
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    return sorted(left)


def hidden_imports(files: Files, name: str) -> list[str]:
    """List what a module imports inside its functions, and calls whose import cannot be read."""
    hidden = sorted(files.imports(name, hidden=True))
    if name in COMPUTED:
        return hidden
    calls = [node for node in ast.walk(files.trees[name]) if _is_import_call(node)]
    return hidden + [ast.unparse(call) for call in calls if _imported_by_call(call) is None]


def outside(files: Files, library: str) -> list[str]:
    """List the modules that import a library where it has no place."""
    rooms = LIBRARIES[library]
    return sorted(
        name
        for name in files.paths
        if any(found.split(".")[0] == library for found in files.imported(name))
        if not any(name == room or name.startswith(f"{room}.") for room in rooms)
    )


FILES = Files(ROOT)


@pytest.mark.parametrize("name", sorted(FILES.paths))
def test_arrows_point_one_way(name):
    assert not forbidden(FILES, name)


def test_the_table_names_packages_that_exist():
    assert ARROWS.keys() <= FILES.paths.keys()
    assert set().union(*ARROWS.values()) <= ARROWS.keys()


def test_the_table_itself_has_no_circle():
    left = {name: allowed - {name} for name, allowed in ARROWS.items()}
    while ready := [name for name, allowed in left.items() if not allowed & left.keys()]:
        for name in ready:
            del left[name]
    assert not left


def test_there_are_no_circles_between_files():
    assert not in_circles(FILES), "in a circle, or above one"


@pytest.mark.parametrize("name", sorted(FILES.paths.keys() - LAZY))
def test_no_import_hides_in_a_function(name):
    assert not hidden_imports(FILES, name)


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_stay_in_their_rooms(library):
    assert not outside(FILES, library)


def test_every_package_says_what_it_is_for():
    for name, tree in FILES.trees.items():
        assert ast.get_docstring(tree), name


def exported(files: Files, name: str) -> set[str]:
    """List what a package's own file defines, imports or publishes, its submodules apart."""
    names = set(getattr(importlib.import_module(name), "__all__", ()))
    names -= {other for other in names if f"{name}.{other}" in files.paths}
    for node in files.trees[name].body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            found = zip(files.named_by(node, name), node.names, strict=True)
            names |= {
                bound.asname or bound.name for full, bound in found if full not in files.paths
            }
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


@pytest.mark.parametrize(
    "name", sorted(name for name, path in FILES.paths.items() if path.name == "__init__.py")
)
def test_no_submodule_bears_the_name_of_something_its_package_exports(name):
    """`package.name` would be the module or the function, as the order of imports has it."""
    below = [other.rpartition(".") for other in FILES.paths]
    submodules = {own for package, _, own in below if package == name}
    assert not exported(FILES, name) & submodules


# The checks themselves, on small trees with a fault planted in each.


@pytest.fixture
def planted(tmp_path):
    """Call it with files' texts by path to get them as the project's files."""

    def plant(texts: dict[str, str]) -> Files:
        for path, text in texts.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(text), encoding="utf-8")
        return Files(tmp_path)

    return plant


def test_a_planted_circle_is_found(planted):
    files = planted(
        {
            "model/__init__.py": "",
            "model/nets/__init__.py": "",
            "model/nets/one.py": "from model.nets import two\n",
            "model/nets/two.py": "from .three import anything\n",
            "model/nets/three.py": "if True:\n    import model.nets.one\n",
            "model/nets/apart.py": "import numpy\n",
        }
    )
    assert in_circles(files) == ["model.nets.one", "model.nets.three", "model.nets.two"]


@pytest.mark.parametrize(
    "line",
    [
        "import model.tokens",
        "from model import tokens",
        "from model.tokens import TokenLayout",
        "from ..tokens import TokenLayout",
        "from .. import tokens",
        "importlib.import_module('model.tokens')",
        "import_module('model.tokens')",
        "__import__('model.tokens')",
        "import_module('.tokens', 'model')",
        "import_module('model.' + name)",
    ],
)
def test_a_planted_hidden_import_is_found(planted, line):
    files = planted(
        {
            "model/__init__.py": "",
            "model/tokens.py": "",
            "model/nets/__init__.py": "",
            "model/nets/one.py": f"def function(name):\n    {line}\n",
            "model/nets/two.py": f"later = lambda name: {line}\n" if "(" in line else "",
            "model/nets/three.py": "def function():\n    import timm\n    from numpy import pi\n",
        }
    )
    assert hidden_imports(files, "model.nets.one")
    assert hidden_imports(files, "model.nets.two") or "(" not in line
    assert not hidden_imports(files, "model.nets.three")


def test_a_planted_arrow_upwards_is_found(planted):
    files = planted(
        {
            "model/__init__.py": "",
            "model/zoo/__init__.py": "",
            "model/nets/__init__.py": "from ..zoo import load\n",
            "viz/__init__.py": "",
            "viz/charts/__init__.py": "",
            "viz/charts/bars.py": "import streamlit as st\nimport plotly.express\n",
            "viz/components/__init__.py": "",
            "viz/components/mounts.py": "import streamlit\nfrom viz.charts import bars\n",
        }
    )
    assert forbidden(files, "model.nets") == ["model.zoo"]
    assert forbidden(files, "viz.components.mounts") == []
    assert outside(files, "streamlit") == ["viz.charts.bars"]
    assert outside(files, "plotly") == []


@pytest.mark.parametrize("module", ["viz.foo", "viz.foo.bar", "model.utils", "elsewhere"])
def test_a_package_that_the_table_lacks_is_found(module):
    with pytest.raises(KeyError, match="give its package a line"):
        package_of(module)
