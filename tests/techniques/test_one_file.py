"""Everything in a step is a technique, in one file: its name stands there, in the catalogue, and nowhere else.

A technique is a class that acts in the steps of a run, or on its course: `Technique`, and with it losses and schedules,
and `Optimizer`; not those that only others derive from. Its names are that of the class and those of the
hyperparameters that it declares itself. A name stands in a file whose code refers to it: imported, as an attribute, as
a keyword, or as a text that is just this name. What is torch's own (``nn.Dropout``, ``torch.add(..., alpha=2)``), a
variable of that name, comments and docstrings do not count; nor do examples, as the lessons of the playground are.

``python -m tests.techniques.test_one_file`` prints where each name stands.
"""

import ast
import functools
import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import pytest

import nbopt
from nbopt.hyperparams import Hyperparam
from nbopt.techniques.base import Technique
from nbopt.techniques.optimizers.base import Optimizer

ROOT = Path(nbopt.__file__).parent
CATALOGUES = {
    "techniques/catalogue.py",
    "techniques/losses/choice.py",
    "techniques/optimizers/standard.py",
    "techniques/schedules/choice.py",
}
EXAMPLES = {"notebook/playground/lessons.py", "notebook/playground/playground.py", "notebook/playground/racer.py"}
TORCHS = {"nn", "optim", "functional", "torch"}
BASES = {"Technique", "Optimizer", "Loss", "Schedule", "Elementwise", "ByClass", "Terms", "TorchSchedule", "FewBits"}


def techniques():
    """Return all classes of techniques that the package has, by name."""
    for module in pkgutil.walk_packages([str(ROOT / "techniques")], "nbopt.techniques."):
        importlib.import_module(module.name)
    found, todo = {}, [Technique, Optimizer]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        written = getattr(sys.modules[kind.__module__], kind.__name__, None) is kind  # and not made by a function
        if written and kind.__module__.startswith("nbopt.") and kind.__name__ not in BASES:
            found[kind.__name__] = kind
    return dict(sorted(found.items()))


TECHNIQUES = techniques()


def file_of(kind):
    return Path(inspect.getfile(kind)).relative_to(ROOT).as_posix()


def names_of(kind):
    """Return the names that stand for a technique."""
    return {kind.__name__, *(name for name, item in vars(kind).items() if isinstance(item, Hyperparam))}


def references(path):
    """Return the names that the code of a file refers to."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    texts = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nbopt"):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute) and not is_torchs(node.value):
            found.add(node.attr)
        elif isinstance(node, ast.Call) and not is_torchs(node.func):
            found |= {keyword.arg for keyword in node.keywords}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            found.add(node.value)
    return found


def is_torchs(node):
    """Return whether an expression is one of torch's modules, or an attribute of one at whatever depth."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id in TORCHS


MODELS = ROOT / "techniques" / "models"  # whose arguments are their own


@functools.cache
def files():
    """Return the files of the package, each with the names that its code refers to."""
    paths = [path for path in sorted(ROOT.rglob("*.py")) if not path.is_relative_to(MODELS)]
    return {path.relative_to(ROOT).as_posix(): references(path) for path in paths}


def strangers(kind):
    """Return the files in which a technique is named, besides its own, each with the names."""
    names, own = names_of(kind), CATALOGUES | EXAMPLES | {file_of(kind)}
    found = {path: names & known for path, known in files().items() if path not in own}
    return {path: known for path, known in found.items() if known}


TORCH_KEYS = "a key of torch's parameter groups"
LEFT = {
    # Names that mean something else there.
    ("Dropout", "objects/layers.py"): "the attribute of torch's recurrent layers",
    ("Dropout", "export/script/plain.py"): "the attribute of torch's recurrent layers",
    ("Dropout", "edits/heads.py"): "the attribute of torch's attention",
    ("Linear", "edits/widen.py"): "torch's layer, in words",
    **{
        (kind, path): "the attribute of torch's batch norm"
        for kind in ("SGD", "RMSprop")
        for path in ("edits/norms.py", "export/script/edited.py", "run/population/written_out.py")
    },
    ("Ticket", "data/workers.py"): "the number of what workers are at",
    ("Precision", "techniques/metrics/choice.py"): "the metric",
    ("MAE", "notebook/charts/gallery.py"): "the title of the metric's chart",
    ("Warp", "notebook/panel/lr_finder.py"): "zooming in on a chart",
    ("Warp", "notebook/panel/panel.py"): "zooming in on a chart",
    ("Scaling", "techniques/precision/mixed.py"): "the state of torch's GradScaler",
    ("Scaling", "techniques/precision/scaled.py"): "the state of torch's GradScaler",
    **dict.fromkeys(((kind, "techniques/optimizers/many.py") for kind in ("SGD", "RMSprop")), TORCH_KEYS),
    **dict.fromkeys(((kind, "techniques/optimizers/formulas.py") for kind in ("SGD", "RMSprop")), TORCH_KEYS),
    **dict.fromkeys(((kind, "techniques/schedules/of_torch.py") for kind in ("SGD", "RMSprop")), TORCH_KEYS),
    **dict.fromkeys(((kind, "training/compile/compiled.py") for kind in ("SGD", "RMSprop")), TORCH_KEYS),
    **dict.fromkeys(((kind, "techniques/optimizers/update.py") for kind in ("SGD", "RMSprop", "Adam")), TORCH_KEYS),
    **{
        (kind, "techniques/optimizers/unrolled.py"): "a setting in the formula of an update that can be differentiated"
        for kind in ("SGD", "RMSprop", "Adam")
    },
    **{
        ("RMSprop", path): "torch's factor of what is added"
        for path in (
            "techniques/inputs/augmentation.py",
            "techniques/optimizers/second_order.py",
            "techniques/regularization/penalties.py",
            "training/compile/products.py",
        )
    },
    # Names that are meant.
    ("Warmup", "run/stored/earlier.py"): "what an earlier version did is told by the names that it had",
    ("ChannelsLast", "export/script/edits.py"): "why no script holds an edit of weights that are laid out anew",
    ("Dropout", "search/around.py"): "what a search near to a run tries, where nothing is said",
    ("Distill", "__init__.py"): "what people import, to give it a teacher",
    ("Ticket", "__init__.py"): "what people import, to give it a pruned network",
    ("Distill", "techniques/compression/teachers.py"): "its own words on whether a teacher suits a model",
    ("Constant", "export/script/prune.py"): "a constant of Python's syntax",
}


@pytest.mark.parametrize("name", TECHNIQUES)
def test_a_technique_is_named_in_its_own_file_and_the_catalogue_alone(name):
    found = strangers(TECHNIQUES[name])
    assert {path: known for path, known in found.items() if (name, path) not in LEFT} == {}


def test_names_are_found_where_code_refers_to_them_and_nowhere_else(tmp_path):
    path = tmp_path / "code.py"
    path.write_text(
        '"""clip_norm"""\nfrom nbopt.techniques.guard import Guard\nrun.set(mixup=1)\nif "l1" in changes: part.zoom\n'
        "torch.add(x, alpha=2); nn.Dropout; flip = 1  # momentum"
    )
    assert references(path) == {"Guard", "set", "mixup", "l1", "zoom"}


if __name__ == "__main__":
    for name, kind in TECHNIQUES.items():
        for path, known in strangers(kind).items():
            print(f"{name:20} {path:40} {', '.join(sorted(known))}")
