import re

import pytest

from tests.viz.components.golden import components
from viz.components.bundle import FOLDER, BundleError, join_script, join_style, read_page


@pytest.fixture
def project(tmp_path):
    """Call it with files by name to get the folder that holds them."""

    def write(**files: str):
        for name, text in files.items():
            folder, file = name.split("__")
            path = tmp_path / folder / file.replace("_js", ".js").replace("_css", ".css")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_a_module_comes_once_and_before_those_that_import_it(project):
    folder = project(
        a__a_js='import { f } from "../shared/f.js";\nimport { g } from "../shared/g.js";\n'
        "export default f(g);\n",
        shared__f_js='import { g } from "./g.js";\nexport function f() {\n  return g;\n}\n',
        shared__g_js="export const g = 1;\n",
    )
    script = join_script("a", folder)
    assert re.findall("^// (.*)$", script, re.MULTILINE) == ["shared/g.js", "shared/f.js", "a/a.js"]
    assert not re.findall(r"^(?:import|export (?!default))", script, re.MULTILINE)


def test_modules_may_use_the_same_private_name_and_rename_what_they_import(project):
    folder = project(
        a__a_js='import { f } from "../shared/f.js";\nimport { g as h } from "../shared/g.js";\n'
        "export default f + h;\n",
        shared__f_js="const own = 1;\nexport const f = own;\n",
        shared__g_js="const own = 2;\nexport const g = own;\n",
    )
    script = join_script("a", folder)
    assert "const { f } = module0;" in script and "const { g: h } = module1;" in script


def test_an_import_may_be_written_over_several_lines(project):
    folder = project(
        a__a_js='import {\n  f,\n  g,\n} from "../shared/f.js";\nexport default f;\n',
        shared__f_js="export class f {}\nexport async function g() {}\n",
    )
    assert "const { f, g } = module0;" in join_script("a", folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('import f from "../shared/f.js";\n', "not understood: import f"),
        ('import * as f from "../shared/f.js";\n', "not understood"),
        ("export { f };\n", "not understood: export"),
        ("export let f = 1;\n", "not understood: export let"),
        ('import { g } from "../shared/f.js";\n', "imports g, which f.js does not export"),
        ('import { f } from "../shared/none.js";\n', "no file shared/none.js"),
        ('import { f } from "three";\n', "imports three, which is no relative path"),
        ('import { f } from "./a.js";\n', "circle: a.js -> a.js"),
        ('import { f } from "../shared/b.js";\n', "circle: b.js -> c.js -> b.js"),
    ],
)
def test_what_cannot_be_joined_is_refused(project, text, message):
    folder = project(
        a__a_js=text,
        shared__f_js="export const f = 1;\n",
        shared__b_js='import { f } from "./c.js";\nexport const f = 1;\n',
        shared__c_js='import { f } from "./b.js";\nexport const f = 1;\n',
    )
    with pytest.raises(BundleError, match=message):
        join_script("a", folder)


def test_style_sheets_are_joined_each_once(project):
    folder = project(
        a__a_css='@import "../shared/base.css";\n@import "../shared/base.css";\n.a {}\n',
        shared__base_css=":host {}\n",
    )
    assert join_style("a", folder) == ":host {}\n.a {}\n"


@pytest.mark.parametrize("name", components())
def test_every_component_has_its_files(name):
    assert "export default " in join_script(name)
    assert "@import" not in join_style(name)
    assert f'class="{name}"' in read_page(name)


SOURCES = [path for kind in ("js", "css", "html") for path in FOLDER.glob(f"*/*.{kind}")]


def test_text_never_becomes_markup():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", text), path


def test_only_the_screen_relies_on_streamlits_private_names():
    for path in SOURCES:
        if path.parent.name == "screen":  # where they change, it has no effect, and no harm
            continue
        assert not re.search("data-testid|stApp|data-test-", path.read_text(encoding="utf-8")), path
