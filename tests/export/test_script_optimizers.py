"""Optimizers of the user's in a script."""

import pytest
import torch

from tests.export import scripts
from tests.export.loaders import LOADERS
from tests.export.scripts import is_tidy

make, follow, check = scripts.make, scripts.follow, scripts.check


class Slow(torch.optim.SGD):
    """An optimizer of the user's, with a setting of its own."""

    def __init__(self, params, lr=0.1, damp=0.5):
        super().__init__(params, lr=lr, momentum=0.9)
        for group in self.param_groups:
            group["damp"] = damp

    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                weight.grad.mul_(group["damp"])
        return super().step(closure)


def decayed(model):
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]


def by_layer(model):
    layers = dict(model.named_children())
    return [{"params": layers["0"].parameters(), "lr": 0.001}, {"params": layers["3"].parameters()}]


def by_name(model):
    named = dict(model.named_parameters())
    return [{"params": [named["3.bias"], named["0.weight"]], "betas": (0.8, 0.9)}, {"params": [named["3.weight"]]}]


GROUPED = {
    "nanogpt": lambda model: torch.optim.AdamW(decayed(model), lr=0.01, betas=(0.9, 0.95), fused=True),
    "amsgrad": lambda model: torch.optim.AdamW(decayed(model), lr=0.01, amsgrad=True, eps=1e-6),
    "layers": lambda model: torch.optim.SGD(by_layer(model), lr=0.02, momentum=0.9, nesterov=True),
    "names": lambda model: torch.optim.Adam(by_name(model), lr=0.01),
    "a part": lambda model: torch.optim.RMSprop(list(model.children())[3].parameters(), lr=0.01, centered=True),
    "own class": lambda model: Slow([{"params": group["params"]} for group in decayed(model)], damp=0.9),
    "adagrad": lambda model: torch.optim.Adagrad(decayed(model), lr=0.1, initial_accumulator_value=0.1),
    "adadelta": lambda model: torch.optim.Adadelta(model.parameters(), lr=0.5, rho=0.8),
}


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_parameter_groups_are_written_out(name, schedule, mlp, blobs):
    model = mlp()
    given_settings = {"optimizer": GROUPED[name](model), "epochs": 3, "batch_size": 20, "schedule": schedule}
    run, initial = make(model, blobs, blobs, **given_settings)
    text, largest = check(
        follow(run, {3: {"lr": 0.005}, 5: {"weight_decay": 0.05}} if name != "own class" else {}), initial, blobs, blobs
    )
    assert largest == 0.0
    assert is_tidy(text)


@pytest.mark.parametrize("name", ["nanogpt", "layers", "adadelta"])
def test_what_the_run_is_given_beside_an_optimizer_of_the_users_acts_in_a_script_too(name, mlp, blobs):
    model = mlp()
    given_settings = {
        "optimizer": GROUPED[name](model),
        "epochs": 2,
        "batch_size": 20,
        "lr": 0.003,
        "weight_decay": 0.2,
    }
    run, initial = make(model, blobs, blobs, **given_settings)
    assert check(follow(run, {3: {"lr": 0.001}}), initial, blobs, blobs)[1] == 0.0


def test_a_setting_that_is_as_it_was_given_again_is_that_of_each_group(mlp, blobs):
    model = mlp()
    groups = [{"params": model[0].parameters()}, {"params": model[3].parameters(), "momentum": 0.5}]
    run, initial = make(model, blobs, optimizer=torch.optim.SGD(groups, lr=0.01, momentum=0.9), epochs=3, batch_size=20)
    schedule = {2: {"momentum": 0.3}, 4: {"momentum": 0.9}}
    assert check(follow(run, schedule), initial, blobs)[1] == 0.0


def test_weights_that_an_optimizer_was_not_given_stay_when_another_one_is_swapped_in(mlp, blobs):
    model = mlp()
    run, initial = make(model, blobs, optimizer=GROUPED["a part"](model), epochs=3, batch_size=20)
    assert check(follow(run, {4: {"optimizer": "adam"}}), initial, blobs)[1] == 0.0


@pytest.mark.parametrize("name", ["tensors", "dataset", "stream"])
@pytest.mark.parametrize(
    "schedule", [{}, {3: {"optimizer": "adam"}, 9: {"optimizer": "lbfgs", "max_iter": 4}, 12: {"weight_decay": 0.1}}]
)
def test_an_lbfgs_of_the_users_steps_on_each_batch_in_a_script_too(name, schedule, mlp, blobs):
    model, train = mlp(), LOADERS[name](*blobs)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3, max_eval=5)
    run, initial = make(model, train, blobs, optimizer=optimizer, epochs=3)
    text, largest = check(follow(run, schedule), initial, train, blobs)
    assert largest == 0.0
    assert is_tidy(text)


def test_a_script_does_not_mix_steps_on_batches_and_on_all_samples(mlp, blobs):
    model = mlp()
    run, _ = make(model, blobs, optimizer=torch.optim.LBFGS(model.parameters(), lr=0.1), epochs=3)
    with pytest.raises(ValueError, match=r"not both .*LBFGS"):
        follow(run, {2: {"optimizer": "newton"}}).to_python()


def test_an_optimizer_class_of_the_users_is_written_out(mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, optimizer=Slow, lr=0.05, epochs=3, batch_size=20)
    text, largest = check(follow(run, {2: {"lr": 0.01}, 4: {"optimizer": "adam"}}), initial, blobs, blobs)
    assert "class Slow(torch.optim.SGD)" in text
    assert largest == 0.0


@pytest.mark.parametrize("swap", [False, True])
def test_step_hooks_are_not_lost_without_a_word(swap, mlp, blobs):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.register_step_post_hook(lambda *given: model[0].weight.data.clamp_(-0.1, 0.1) and None)
    run, _ = make(model, blobs, optimizer=optimizer if not swap else "adam", epochs=1, batch_size=20)
    if swap:
        run.step(1)
        run.optimizer.register_step_pre_hook(lambda *given: None)
    with pytest.raises(ValueError, match="step hooks"):
        run.to_python()


def test_optimizers_that_a_script_cannot_hold_say_why(mlp, blobs):
    model = mlp()
    run, _ = make(model, blobs, optimizer=GROUPED["layers"](model), epochs=3)
    with pytest.raises(ValueError, match=r"has parameter groups, and a script does not hand them on .* in step 2"):
        follow(run, {2: {"optimizer": "adam"}}).to_python()
    for name in ("layers", "a part"):
        model = mlp()
        run, _ = make(model, blobs, optimizer=GROUPED[name](model), epochs=1)
        with pytest.raises(ValueError, match=r"has parameter groups, and a script does not hand them on .* in step 0"):
            follow(run, {0: {"optimizer": "adam"}}).to_python()
    optimizer = torch.optim.Adam(model.parameters())
    model(blobs[0]).sum().backward()
    optimizer.step()
    with pytest.raises(ValueError, match="had taken steps before the run"):
        run = make(model, blobs, optimizer=optimizer, epochs=1)[0]
        follow(run, {}).to_python()
