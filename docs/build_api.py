"""Write the API reference into docs/api: `python docs/build_api.py`. A warning is an error.

pdoc renders the docstrings of every public module of `model` and `viz`. Two kinds of module run
when they are imported, and are left out: the pages and the commands.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import get_type_hints

import pdoc.doc
import pdoc.render

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "api"
PAGES = ROOT / "viz" / "pages"


def public_modules() -> list[str]:
    """The names of the modules to document, each package before its modules."""
    paths = (*(ROOT / "model").rglob("*.py"), *(ROOT / "viz").rglob("*.py"))
    packages = [path.parent for path in paths if path.stem == "__init__"]
    files = [path.with_suffix("") for path in paths if not path.stem.startswith("_")]
    kept = (*packages, *(file for file in files if file.parent != PAGES))
    return sorted(".".join(path.relative_to(ROOT).parts) for path in kept)


def resolve_constructors(module: pdoc.doc.Module) -> None:
    """Replace the names in generated constructors by what they stand for.

    A dataclass inherits fields whose types are names of another module, and a NamedTuple's belong
    to no module at all; pdoc finds neither.
    """
    for member in module.classes:
        hints = get_type_hints(member.obj)
        for name in vars(member.obj).keys() & {"__init__", "__new__"}:
            named = getattr(getattr(member.obj, name), "__annotations__", {})
            named.update({field: hints[field] for field in named.keys() & hints.keys()})


def build() -> None:
    """Write one page a module, an index and a search index."""
    modules = {name: pdoc.doc.Module.from_name(name) for name in public_modules()}
    package = modules["model"].obj
    vars(package).update(
        {name: getattr(package, name) for name in package.__all__}
    )  # now, not lazily
    for name, module in modules.items():
        # All that are documented here, and not `__all__`, which is for those who import.
        inside = [other for key, other in modules.items() if key.rpartition(".")[0] == name]
        vars(module)["submodules"] = inside
        resolve_constructors(module)
    pdoc.render.configure(docformat="google", show_source=False)
    pages = {
        f"{name.replace('.', '/')}.html": pdoc.render.html_module(module, modules)
        for name, module in modules.items()
    }
    pages["index.html"] = pdoc.render.html_index(modules)
    pages["search.js"] = pdoc.render.search_index(modules)
    for page, text in pages.items():
        (OUT / page).parent.mkdir(parents=True, exist_ok=True)
        (OUT / page).write_text(text, encoding="utf-8")


def main() -> int:
    """Build; 1 where there were warnings, each printed."""
    sys.path.insert(0, str(ROOT))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        build()
    for warning in found:
        print(f"{warning.category.__name__}: {warning.message}", file=sys.stderr)
    print(f"The reference is in {OUT.relative_to(ROOT)}/index.html.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
