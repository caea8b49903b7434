"""Join a component's files into the one script and the one style sheet that a browser gets.

The JavaScript is written as ES modules, which Node and the linter read as they stand. But a
component is mounted from text, which has no address, so the browser could not resolve a relative
import. Here the modules are joined in the order in which they need each other, each in a scope of
its own, so two modules may use the same private name. Style sheets are joined the same way.

What is understood: ``import { a, b as c } from "./file.js";`` at the beginning of a line, and
``export`` before a function, a class or a const; the component's own script alone ends with an
``export default``. Anything else raises ``BundleError`` when the app starts.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from viz.pictures.colors import COLOR_MAPS, lookup_table

FOLDER = Path(__file__).parent

_IMPORT = re.compile(r'^import \{([^{}]*)\} from "([^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:(?:async )?function\*?|class|const) (\w+))", re.MULTILINE)
_DEFAULT = re.compile(r"^export default ", re.MULTILINE)
_NOT_UNDERSTOOD = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_STYLE_IMPORT = re.compile(r'^@import "([^"]+)";\n', re.MULTILINE)


class BundleError(ValueError):
    """A component's files cannot be joined; the message names the file and says why."""


@dataclass(frozen=True)
class _File:
    """A file without its imports and the word ``export``."""

    body: str
    imports: tuple[tuple[Path, tuple[str, ...]], ...]  # a file, and the names taken from it
    exports: tuple[str, ...] = ()


def join_script(name: str, folder: Path = FOLDER) -> str:
    """Join the modules that the component NAME needs into one script.

    Raises:
        BundleError: if an import or export cannot be followed, or modules import in a circle.
    """
    entry = folder / name / f"{name}.js"
    order = _in_order(entry, _read_script)
    scopes = {path: f"module{number}" for number, path in enumerate(order)}
    parts = []
    for path in order:
        file = _read_script(path)
        for module, names in file.imports:
            _check_exported(path, module, names)
        imports = "".join(
            f"const {{ {', '.join(names).replace(' as ', ': ')} }} = {scopes[module]};\n"
            for module, names in file.imports
        )
        text = f"// {path.relative_to(folder)}\n{imports}{file.body}"
        if path != entry:
            given = f"return {{ {', '.join(file.exports)} }};"
            text = f"const {scopes[path]} = (() => {{\n{text}{given}\n}})();\n"
        parts.append(text)
    return "".join(parts)


def join_style(name: str, folder: Path = FOLDER) -> str:
    """Join the style sheet of the component NAME with those that it imports, each once."""
    order = _in_order(folder / name / f"{name}.css", _read_style)
    return "".join(_read_style(path).body for path in order)


def read_page(name: str, folder: Path = FOLDER) -> str:
    """Read the HTML of the component NAME."""
    return _text_of(folder / name / f"{name}.html")


def color_tables() -> str:
    """Write the colour maps as the constant that ``shared/colors.js`` reads."""
    tables = {name: lookup_table(name).tobytes().hex() for name in COLOR_MAPS}
    return f"const COLOR_TABLES = {json.dumps(tables)};\n"


def join_kinds(names: Iterable[str], folder: Path = FOLDER) -> str:
    """Write components as the constant that ``shared/stage.js`` reads, for a file or a notebook.

    Each has its HTML, its style sheet and the function that mounts it, in a scope of its own.
    """
    kinds = []
    for name in names:
        script = _DEFAULT.sub("return ", join_script(name, folder))
        texts = (
            f"html: {_quoted(read_page(name, folder))}, css: {_quoted(join_style(name, folder))}"
        )
        kinds.append(f"{_quoted(name)}: {{ {texts}, mount: (() => {{\n{script}}})() }},\n")
    return f"const KINDS = {{\n{''.join(kinds)}}};\n"


def _quoted(text: str) -> str:
    """Write text as a string of JavaScript that may stand inside a script element."""
    return json.dumps(text).replace("<", "\\u003c")


@cache
def _read_script(path: Path) -> _File:
    text = _text_of(path)
    imports = tuple(
        (_beside(path, file), tuple(part.strip() for part in names.split(",") if part.strip()))
        for names, file in _IMPORT.findall(text)
    )
    body, exports = _IMPORT.sub("", text), tuple(_EXPORT.findall(text))
    body = _EXPORT.sub("", body)
    if odd := _NOT_UNDERSTOOD.search(_DEFAULT.sub("", body)):
        raise BundleError(f"{path.name}: this import or export is not understood: {odd[0]}")
    return _File(body, imports, exports)


@cache
def _read_style(path: Path) -> _File:
    text = _text_of(path)
    imports = tuple((_beside(path, file), ()) for file in _STYLE_IMPORT.findall(text))
    return _File(_STYLE_IMPORT.sub("", text), imports)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BundleError(f"There is no file {path.parent.name}/{path.name}.") from None


def _beside(path: Path, file: str) -> Path:
    if not file.startswith("."):
        raise BundleError(f"{path.name} imports {file}, which is no relative path.")
    return (path.parent / file).resolve()


def _in_order(entry: Path, read: Callable[[Path], _File]) -> list[Path]:
    """Every file that `entry` needs, itself last, each after those that it imports."""
    order: list[Path] = []

    def visit(path: Path, above: tuple[Path, ...]) -> None:
        if path in above:
            names = [step.name for step in (*above[above.index(path) :], path)]
            raise BundleError(f"Files import in a circle: {' -> '.join(names)}.")
        if path in order:
            return
        for needed, _ in read(path).imports:
            visit(needed, (*above, path))
        order.append(path)

    visit(entry, ())
    return order


def _check_exported(path: Path, module: Path, names: tuple[str, ...]) -> None:
    exports = _read_script(module).exports
    for name in names:
        if name.split(" as ")[0] not in exports:
            raise BundleError(f"{path.name} imports {name}, which {module.name} does not export.")
