import ast
import functools
import gc
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import IPython
import pytest

import nbopt
from nbopt.loading import making_what_stays, without_collecting

PACKAGE = Path(nbopt.__file__).parent

# From the bottom up; a module may import those of its own layer and of the layers below.
LAYERS = [
    ["i18n", "errors", "formatting", "loading", "torch_private"],
    ["hyperparams"],
    ["objects"],
    ["data"],
    ["techniques"],
    ["record"],
    ["store"],
    ["export"],
    ["training"],
    ["edits"],
    ["run"],
    ["search"],
    ["viz", "testing"],
    ["notebook"],
]
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}

JUPYTER = {"IPython", "anywidget", "bqplot", "comm", "ipykernel", "ipywidgets", "jupyter_client", "traitlets"}
FOR_FEW_RUNS = ["nbopt.edits", "nbopt.export.script", "nbopt.run.population.population", "nbopt.training.many"]
HEAVY = ["torch", "sklearn", "pandas", "bqplot", "ipywidgets", "anywidget", "IPython"]

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@functools.cache
def imported_names(path):
    """Return every module a file imports, also inside functions and for type checkers only."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def layer_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_imports_point_one_way():
    """Towards i18n, not away."""
    wrong = []
    for path in MODULES:
        own = layer_of(path)
        for name in imported_names(path):
            top, _, rest = name.partition(".")
            if top != "nbopt":
                continue
            other = rest.partition(".")[0]
            allowed = other == own or HEIGHT.get(other, 99) < HEIGHT[own] or HEIGHT.get(other) == HEIGHT[own] == 0
            if not allowed:
                wrong.append(f"{path} imports {name}")
    assert wrong == []


def test_only_the_notebook_folder_imports_jupyter():
    tops = {path: {name.partition(".")[0] for name in imported_names(path)} for path in MODULES}
    assert [path for path in MODULES if layer_of(path) != "notebook" and tops[path] & JUPYTER] == []


def test_a_panel_takes_what_a_session_can_do_and_no_class():
    inner = {f"nbopt.run.{name}" for name in ("run", "trained", "session", "worker", "pulling")}
    inner.add("nbopt.training.training")
    looked_at, wrong = 0, []
    for path in MODULES:
        if layer_of(path) in ("notebook", "viz", "store") and "playground" not in path.parts:
            looked_at += 1
            text = path.read_text(encoding="utf-8")
            classes = inner & {name.rpartition(".")[0] for name in imported_names(path)}
            if classes or ".worker" in text or ".training" in text.replace("nbopt.training", ""):
                wrong.append(path)
    assert looked_at > 100 and wrong == []


def circles(imports):
    """Return the names that can be reached from themselves."""
    found = set()
    for start in imports:
        seen, queue = set(), list(imports[start])
        while queue:
            name = queue.pop()
            if name not in seen:
                seen.add(name)
                queue.extend(imports.get(name, ()))
        if start in seen:
            found.add(start)
    return found


def test_no_file_can_be_reached_from_itself():
    """Imports for type checkers count."""
    files = {".".join(("nbopt", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in MODULES}
    imports = {}
    for name, path in files.items():
        known = {other if other in files else other.rpartition(".")[0] for other in imported_names(path)}
        imports[name] = known & files.keys() - {name}
    assert circles(imports) == set()


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {"b", "c"}


@pytest.mark.parametrize("folder", [PACKAGE, Path(__file__).parent], ids=["nbopt", "tests"])
def test_a_file_has_300_lines_at_most(folder):
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in folder.rglob("*.py")}
    assert {str(path.relative_to(folder)): count for path, count in lines.items() if count > 300} == {}


def test_every_layer_of_the_package_is_in_the_picture():
    assert {layer_of(path) for path in MODULES} <= HEIGHT.keys()


def modules_loaded_by(*statements):
    """Return what is loaded after each of these, one after the other in a new interpreter."""
    look = f"print(*(name for name in {HEAVY + FOR_FEW_RUNS!r} if name in sys.modules))"
    code = "\n".join(["import sys", *(line for statement in statements for line in (statement, look))])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_declarations_are_light_and_a_part_is_loaded_where_it_is_asked_for_and_no_more():
    """In one interpreter: what a name loads is there for the next, and torch takes a second."""
    run = "nbopt.Run(torch.nn.Linear(2, 1), (torch.zeros(4, 2), torch.zeros(4, 1)), store=None).step()"
    declared = "nbopt.Float, nbopt.Int, nbopt.Choice, nbopt.Flag, nbopt.hyperparams"
    *light, used, asked, started = modules_loaded_by(
        "import nbopt; dir(nbopt); nbopt.__version__",
        declared,
        "nbopt.Run",
        "str(nbopt.hyperparams())",
        f"import torch; {run}",
    )
    assert light == [set(), set()]
    assert "torch" in used
    assert asked.isdisjoint({"pandas", "IPython", "bqplot"})
    assert started.isdisjoint(FOR_FEW_RUNS)


def test_loading_the_extension_imports_neither_torch_nor_sklearn():
    statement = "import nbopt\nfrom IPython.testing.globalipapp import start_ipython as s\n"
    statement += "nbopt.load_ipython_extension(s())"
    assert modules_loaded_by(statement)[-1].isdisjoint({"torch", "sklearn", "pandas"})


def test_the_garbage_collector_is_as_it_was_after_an_import():
    before = gc.isenabled()
    try:
        for collects in (True, False):
            (gc.enable if collects else gc.disable)()
            with without_collecting():
                assert not gc.isenabled()
            assert gc.isenabled() == collects
    finally:
        (gc.enable if before else gc.disable)()


@pytest.mark.parametrize("others", [False, True])
def test_members_are_old_objects_at_once_unless_others_have_objects_frozen(others):
    gc.unfreeze()
    try:
        if others:
            gc.freeze()
        with making_what_stays():
            assert not gc.isenabled()
            made = [object]
        assert any(made is each for each in gc.get_objects(2)) != others
        assert bool(gc.get_freeze_count()) == others
    finally:
        gc.freeze()  # as tests/conftest.py has it


@pytest.mark.parametrize("name", ["Run", "open"])
@pytest.mark.parametrize("shell", [object(), None])
def test_whatever_gives_a_run_lets_it_show_itself_in_a_notebook(monkeypatch, name, shell):
    session = import_module("nbopt.run.session.session").Session
    monkeypatch.setattr(session, "viewer", None)
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    for each in ("Run", "open"):  # as in a new process
        monkeypatch.delitem(vars(nbopt), each, raising=False)
    getattr(nbopt, name)
    assert (session.viewer is None) is (shell is None)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Rnu'"):
        _ = nbopt.Rnu


def test_every_public_name_is_there():
    assert all(hasattr(nbopt, name) for name in nbopt.__all__)


def test_only_public_names_are_listed():
    import nbopt.run.run

    assert dir(nbopt) == sorted([*nbopt.__all__, "open"])
