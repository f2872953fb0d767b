import ast
from pathlib import Path

import nbopt
from nbopt import i18n
from nbopt.hyperparams import Flag, variant
from nbopt.i18n import _
from nbopt.techniques.optimizers.base import Optimizer


def test_values_are_filled_in_by_name():
    assert _("{name} must be {rule}.", rule="new", name="x") == "x must be new."


def test_text_without_values_keeps_its_braces():
    assert _("a {brace}") == "a {brace}"


PACKAGE = Path(nbopt.__file__).parent


def translated_at_import(path):
    """Return the lines in which a module is translating while it is imported."""
    found, queue = [], [ast.parse(path.read_text(encoding="utf-8"))]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
            found.append(node.lineno)
        inside = isinstance(node, (ast.FunctionDef, ast.Lambda))
        queue.extend(
            filter(None, [*node.args.defaults, *node.args.kw_defaults]) if inside else ast.iter_child_nodes(node)
        )
    return found


def test_nothing_is_translated_while_a_module_is_imported():
    """The language is known later."""
    assert {path: lines for path in PACKAGE.rglob("*.py") if (lines := translated_at_import(path))} == {}


def test_what_is_declared_is_translated_when_it_is_read(monkeypatch):
    class Shouting:
        def gettext(self, text):
            return text.upper()

    spec = Optimizer.lr
    assert (spec.label, spec.group) == ("Learning rate", "Optimizer")
    own = variant(spec, help="Of mine")
    monkeypatch.setattr(i18n, "_catalogue", Shouting())
    assert (spec.label, own.label, own.help) == ("LEARNING RATE", "LEARNING RATE", "OF MINE")
    assert Flag(False).label == ""
