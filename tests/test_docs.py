"""What the documentation names exists: modules, functions, files, links, pictures and commands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"))
)
PACKAGES = ("model", "saccade", "viz", "tests", "benchmarks", "app", "docs")
SUFFIXES = (".py", ".js", ".mjs", ".json", ".md", ".toml", ".txt", ".css", ".html", ".yaml")
PLACEHOLDER = re.compile(r"[A-Z]{2,}|\*")  # NAME, DIR, *
IDENTIFIER = re.compile(r"[A-Za-z_]\w+(\.[A-Za-z_]\w*)*")

ELSEWHERE = {  # names that others define: libraries, tools, files that somebody makes
    *("TorchFunctionMode", "scaled_dot_product_attention", "pip", "make", "python", "mypy", "ruff"),
    *("cls", "dist", "reg0", "reg1", "meta", "state_dict", "module", "main", "node", "git", "help"),
    *("st.session_state", "st.query_params"),
    *("mine.pt", "mine.safetensors", "model.py", "with", "val"),
    *("NAME", "DIR", "FILE", "IMAGE", "RECIPE", "INDEX"),  # what the reader puts in
    *("SACCADE_MODE", "SACCADE_CONFIG", "saccade.toml"),  # what an operator sets
    "requirements.lock",
    "docs/api/",  # made by a command
}


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose_of(page: str) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


def spans() -> Iterator[tuple[str, str]]:
    """Every `piece of code` in the prose, with its page."""
    for page in PAGES:
        for span in dict.fromkeys(re.findall(r"`([^`]+)`", prose_of(page))):
            yield page, " ".join(span.split())


def renamed() -> list[str]:
    """The names in the last columns of the changelog's tables."""
    rows = re.findall(r"^\| .* \| (.*) \|$", text_of("CHANGELOG.md"), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([\w.]+)`", row) if "." in name]


def commands() -> Iterator[tuple[str, str]]:
    """Every command, in the prose and in blocks of shell."""
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE):
            lines = (line.partition("#")[0].strip() for line in block.splitlines())
            yield from ((page, part.strip()) for line in lines for part in line.split("&&"))
    yield from ((page, span) for page, span in spans() if span.startswith(("python ", "make ")))


# -- what the code defines -------------------------------------------------------------------------


@cache
def modules() -> dict[str, ast.Module]:
    paths = (p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
            path.read_text(encoding="utf-8")
        )
        for path in (*paths, ROOT / "app.py")
    }


def bound(body: list[ast.stmt]) -> set[str]:
    """The names that the statements of a module or class bind."""
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found = (inner for target in targets for inner in ast.walk(target))
            names |= {inner.id for inner in found if isinstance(inner, ast.Name)}
            if "__all__" in names and isinstance(node.value, ast.List):
                names |= set(ast.literal_eval(node.value))  # also what is imported when asked for
        elif isinstance(node, ast.If | ast.Try):
            names |= bound(node.body)
    return names


@cache
def classes() -> dict[str, list[ast.ClassDef]]:
    found: dict[str, list[ast.ClassDef]] = {}
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(node)
    return found


def members(name: str) -> set[str]:
    """Attributes and methods of the classes of this name, with those that they inherit."""
    found: set[str] = set()
    for node in classes().get(name, []):
        found |= bound(node.body)
        found |= {
            inner.attr
            for inner in ast.walk(node)
            if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)
        }
        for base in node.bases:
            found |= members(ast.unparse(base).partition("[")[0].rpartition(".")[2])
    return found


@cache
def anything() -> set[str]:
    """Every name that some file of the project defines, Python or JavaScript."""
    names = {part for module in modules() for part in module.split(".")}
    for tree in modules().values():
        names |= bound(tree.body)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                names |= {node.name, *(each.arg for each in node.args.args)}
            elif isinstance(node, ast.ClassDef):
                names |= members(node.name)
    for script in (ROOT / "viz" / "components").rglob("*.js"):
        if "node_modules" not in script.parts:
            code = script.read_text(encoding="utf-8")
            names |= set(re.findall(r"(?:function|const|class|let) (\w+)", code))
            names |= set(re.findall(r"^\s+(?:async |get |static )*(\w+)\(.*\{$", code, re.M))
    names |= {file.stem for file in (ROOT / "checkpoints").glob("*.json")}
    names |= {file.stem for file in (ROOT / "model/training/recipes").glob("*.toml")}
    return names


def is_defined(name: str) -> bool:
    """Whether a name such as `model.zoo.load`, `Beam.kept` or `fuse` is one of the project's."""
    parts = name.split(".")
    lengths = (n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in modules())
    if length := next(lengths, 0):
        module, rest = ".".join(parts[:length]), parts[length:]
        found = not rest or rest[0] in bound(modules()[module].body)
        return found and (len(rest) < 2 or rest[1] in members(rest[0]))
    if parts[0] in PACKAGES and len(parts) > 1:
        return (ROOT / Path(*parts)).is_dir()
    if parts[0] in classes():
        return len(parts) == 1 or parts[1] in members(parts[0])
    return all(part in anything() for part in parts)


def exists(path: str) -> bool:
    """Whether a file or folder is there; NAME and * stand for anything."""
    return any(ROOT.glob(PLACEHOLDER.sub("*", path.strip("/"))))


def is_path(span: str) -> bool:
    if " " in span or "://" in span or "(" in span:
        return False
    return span.endswith(SUFFIXES) or ("/" in span and span.split("/")[0] in (*PACKAGES, ".ci"))


# -- the tests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "span"), list(spans()))
def test_what_a_page_names_exists(page, span):
    if span in ELSEWHERE:
        return
    if is_path(span):
        assert exists(span), f"{page}: there is no {span}"
        return
    name = re.sub(r"\(.*\)$", "", span)
    if IDENTIFIER.fullmatch(name):
        assert name in ELSEWHERE or is_defined(name), f"{page}: nothing defines {name}"


@pytest.mark.parametrize(("page", "command"), list(commands()))
def test_what_a_command_runs_exists(page, command):
    words = command.split()
    if words[:1] == ["make"]:
        assert re.search(rf"^{words[1]}:", text_of("Makefile"), re.M), f"{page}: {command}"
    if not words or not words[0].endswith("python"):
        return
    if words[1] == "-m":
        module = words[2]
        ours = module.partition(".")[0] in PACKAGES
        there = not ours or {module, f"{module}.__main__"} & modules().keys()
        assert there, f"{page}: {command}"
    for word in words[1:]:
        assert not is_path(word) or word.startswith("runs/") or exists(word), f"{page}: {command}"


def slug(heading: str) -> str:
    """The anchor that a heading has on a page."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_resolve(page):
    text = prose_of(page)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for link in links:
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page}: {link}"


def test_the_readme_is_short_and_every_page_can_be_found_from_it():
    readme = text_of("README.md")
    assert len(readme.splitlines()) <= 150
    for page in PAGES:
        assert page == "README.md" or f"({page})" in readme, page


@pytest.mark.parametrize("name", renamed())
def test_the_changelog_gives_names_that_exist(name):
    assert is_defined(name)


def docstrings() -> Iterator[tuple[str, str]]:
    """Every docstring of `model` and `viz`, with the name of what it describes."""
    for module, tree in modules().items():
        if module.split(".")[0] in ("model", "viz"):
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    where = f"{module}.{getattr(node, 'name', '')}"
                    yield where, ast.get_docstring(node) or ""


def test_what_a_docstring_refers_to_exists():
    wrong = [
        f"{where}: {reference}"
        for where, text in docstrings()
        for reference in re.findall(r"`((?:model|viz)\.[\w.]+)`", text)
        if not (exists(reference) if reference.endswith(SUFFIXES) else is_defined(reference))
    ]
    assert not wrong


def test_the_reference_shows_every_word_of_a_docstring():
    """A bare <word> would be taken for HTML, and vanish."""
    wrong = []
    for where, text in docstrings():
        examples = r"^ *(>>>|\.\.\.) .*$"
        bare = re.sub(r"`+[^`]*`+", "", re.sub(examples, "", text, flags=re.MULTILINE))
        wrong += [f"{where}: {tag}" for tag in re.findall(r"<[a-z/]+>", bare)]
    assert not wrong
