"""Scripts of widgets that import others."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import nbopt
from nbopt.notebook.frontend.bridge import Companion
from nbopt.notebook.frontend.scripts import joined
from nbopt.notebook.playground.board import Board as Playground
from nbopt.notebook.population.fan import Board
from nbopt.notebook.study.board import StudyBoard

FRONTEND = Path(nbopt.__file__).parent / "notebook" / "frontend"


def test_what_a_script_imports_stands_before_it_once(tmp_path):
    (tmp_path / "a.js").write_text("export const a = 1;\n")
    (tmp_path / "b.js").write_text("import { a } from './a.js';\n\nexport function b() {\n  return a;\n}\n")
    (tmp_path / "c.js").write_text(
        "import { a } from './a.js';\nimport { b } from './b.js';\nexport default { a, b };\n"
    )
    text = joined(tmp_path / "c.js")
    assert text == "const a = 1;\n\nfunction b() {\n  return a;\n}\nexport default { a, b };\n"


@pytest.mark.parametrize(
    ("widget", "path"),
    [(Companion, "frontend/companion.js"), (Board, "population/fan.js"), (StudyBoard, "study/study.js")],
)
def test_the_scripts_of_a_widget_share_no_name_but_what_they_import(widget, path):
    text = joined(FRONTEND.parent / path)
    names = re.findall(r"^(?:export )?(?:async )?(?:const|let|function) (\w+)", text, flags=re.MULTILINE)
    assert "brief" in names and "render" in names
    assert [name for name, times in Counter(names).items() if times > 1] == []
    assert not re.search(r"^import ", text, flags=re.MULTILINE) and text.count("export default") == 1
    assert text in str(widget._esm)


@pytest.mark.parametrize("widget", [Companion, Playground, Board, StudyBoard])
def test_the_styles_of_a_widget_bring_the_colours_that_they_use(widget):
    """Nothing else of nbopt's may be in the page: a race stood there without any."""
    text = str(widget._css)
    used, own = set(re.findall(r"var\((--nbopt-[\w-]+)\)", text)), set(re.findall(r"(--nbopt-[\w-]+):", text))
    by_scripts = {"--nbopt-colour", *re.findall(r"--nbopt-[\w-]+", str(widget._esm))}
    assert "--nbopt-ground" in used & own and used <= own | by_scripts


def test_what_lies_over_the_charts_has_a_class_that_no_html_of_the_panel_s_has():
    layer = re.search(r"layer\.className = '([\w-]+)'", (FRONTEND / "charts.js").read_text()).group(1)
    panel = "".join(path.read_text() for path in (FRONTEND.parent / "panel").rglob("*.py"))
    assert not re.search(rf'class="[^"]*\b{layer}["\s]', panel)
