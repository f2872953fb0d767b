"""What becomes of a run where torch has renamed what is private to it."""

import ast
import json
import re
from pathlib import Path

import pytest

import nbopt
from nbopt import torch_private
from tests import zygote

PACKAGE = Path(nbopt.__file__).parent

# Each has a reason, told in `nbopt.torch_private`.
ELSEWHERE = {
    "torch_private.py",
    "techniques/regularization/penalties.py",
    "data/thread_generator.py",
    "training/compile/compiler.py",
}
GUARDED = {"data/noise.py: torch.mps._get_default_mps_generator"}  # of a device that has it

TRAIN = """
import importlib, json, sys, types, warnings

missing = json.loads(sys.argv[1])
import torch, torch.utils._python_dispatch, torch.optim.adam
taken = []
torch.ops.mkldnn = types.SimpleNamespace(_linear_pointwise=torch.ops.mkldnn._linear_pointwise)
for place, name in (full.rsplit(".", 1) for full in missing):
    home = torch
    for part in place.split(".")[1:]:
        home = getattr(home, part)
    taken.append((home, name, getattr(home, name)))
    delattr(home, name)
from nbopt import torch_private
for home, name, value in taken:  # for torch itself, which calls it by another name then
    setattr(home, name, value)

import nbopt
from torch import nn
warnings.simplefilter("ignore")
torch.set_num_threads(1)

class Own(nn.Module):  # not one of torch's: a copy of it is checked
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.AlphaDropout(0.1), nn.Linear(16, 3)
        )

    def forward(self, x):
        return self.layers(x)

torch.manual_seed(0)
x, y = torch.randn(60, 4), torch.arange(60) % 3
said = {}
for optimizer in ("sgd", "adam", "adamw"):
    given = {"epochs": 3, "batch_size": 20, "l1": 1e-3, "weight_decay": 1e-3, "dropout": 0.3}
    torch.manual_seed(1)
    run = nbopt.Run(Own(), (x, y), val=(x, y), optimizer=optimizer, store=None, metrics=["accuracy"], **given)
    if optimizer == "sgd":
        run.set(momentum=0.9, nesterov=True)
    run.step(4)
    run.set(micro_batch=8)
    run.step(3)
    branch = run.branch(5)
    branch.step(1)
    run.fit()
    weights = [value.double().sum().item() for state in (run, branch) for value in state.model.state_dict().values()]
    notes = [entry.new for entry in run.journal if entry.name == "note"]
    said[optimizer] = [weights, run.history["loss"][1].tolist(), run.hyperparams["dropout"], notes]
print(json.dumps([torch_private.MISSING, said]))
"""

NAMES = [
    *(
        "torch._foreach_add",
        "torch._foreach_add_",
        "torch._foreach_copy_",
        "torch._foreach_div_",
        "torch._foreach_mul_",
        "torch._C._set_grad_enabled",
    ),
    *("torch._fused_adam_", "torch._fused_adamw_"),
    "torch._weight_norm",
    "torch.autograd.graph._engine_run_backward",
    "torch.nn.modules.dropout._DropoutNd",
    *("torch.nn.modules.batchnorm._BatchNorm", "torch.nn.modules.batchnorm._NormBase"),
    *("torch.nn.modules.module._global_forward_hooks", "torch.nn.modules.module._global_forward_pre_hooks"),
    *("torch.nn.modules.module._global_backward_hooks", "torch.nn.modules.module._global_backward_pre_hooks"),
    "torch.ops.mkldnn._linear_pointwise",
    "torch.utils._python_dispatch.TorchDispatchMode",
    "torch.overrides._get_current_function_mode_stack",
    "torch.utils._python_dispatch._get_current_dispatch_mode_stack",
    "torch._C._autograd._top_saved_tensors_default_hooks",
]


def train(missing):
    done = zygote.run(TRAIN, json.dumps(missing), bare=bool(missing))  # names go before nbopt is imported
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def usual():
    missing, said = train([])
    assert missing == []
    return said


def test_without_any_of_the_names_runs_train_the_same_to_the_bit_and_say_so(usual):
    missing, said = train(NAMES)
    assert sorted(missing) == sorted(NAMES)
    for optimizer, (*numbers, notes) in said.items():
        assert numbers == usual[optimizer][:-1]
        (note,) = [note for note in notes if note not in usual[optimizer][-1]]
        assert note.startswith("this version of torch has no ") and all(name in note for name in NAMES)


def test_the_names_tried_are_all_there_are():
    text = Path(torch_private.__file__).read_text(encoding="utf-8")
    direct = re.findall(r'_take\(\s*"([\w.]+)",\s*"(\w+)"', text)
    assert {f"{place}.{name}" for place, name in direct} <= set(NAMES)
    assert len(NAMES) == len(direct) + len(torch_private.GLOBAL_HOOKS)
    assert torch_private.MISSING == []


def private_names(path):
    """What a file takes of torch that is private: imports, and attributes of modules of torch by their full name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "torch"]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)] if ast.unparse(node).startswith("torch.") else []
        else:
            continue
        yield from (name for name in names if re.fullmatch(r"torch[\w.]*\._(?!_)[\w.]+", name))


def test_they_are_taken_in_one_place():
    found = {
        f"{file}: {name}"
        for path in PACKAGE.rglob("*.py")
        if (file := path.relative_to(PACKAGE).as_posix()) not in ELSEWHERE
        for name in private_names(path)
    }
    assert found == GUARDED


def test_l1_needs_none_of_them(monkeypatch):
    import torch

    from nbopt.techniques.regularization.penalties import add_signs

    weights, gradients = [torch.randn(3, 4), torch.randn(2, 2)], [torch.randn(3, 4), torch.randn(2, 2)]
    others = [gradient.clone() for gradient in gradients]
    add_signs(gradients, weights, 0.1)
    monkeypatch.delattr(torch, "_foreach_sign")
    add_signs(others, weights, 0.1)
    assert all(torch.equal(one, other) for one, other in zip(gradients, others, strict=True))


@pytest.mark.parametrize("method", ["add", "add_", "copy_", "div_", "mul_"])
def test_one_by_one_is_what_torch_does_to_all_at_once(method):
    import torch

    both = [[torch.arange(6.0).reshape(2, 3) + 1, torch.tensor([4.0, 5.0])] for _copy in range(2)]
    other = [tensor.clone() * 3 for tensor in both[0]] if method in ("add", "copy_") else 2.5
    named = {"alpha": -0.3} if method == "add" else {}
    all_at_once = getattr(torch, f"_foreach_{method}")(both[0], other, **named) or both[0]
    one_by_one = torch_private._one_by_one(method)(both[1], other, **named)
    assert all(map(torch.equal, all_at_once, one_by_one))
    assert all(map(torch.equal, *both))
