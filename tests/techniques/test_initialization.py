"""Initial weights against their formulas, and files that are whole, foreign or dangerous."""

import copy
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import nbopt
from nbopt import RunState
from nbopt.data.noise import INITIALIZATION, derive_seed
from nbopt.errors import InvalidHyperparam
from nbopt.techniques.drawn_weights import RULES
from tests.export import scripts
from tests.export.scripts import is_tidy

pytestmark = pytest.mark.usefixtures("one_torch_thread")

IN, OUT = 400, 600


def layer():
    return nn.Linear(IN, OUT)


@pytest.mark.parametrize(
    ("rule", "deviation"),
    [
        ("uniform", (1 / 3 / IN) ** 0.5),
        ("normal", (1 / IN) ** 0.5),
        ("xavier", (2 / (IN + OUT)) ** 0.5),
        ("kaiming", (2 / IN) ** 0.5),
    ],
)
@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_weights_have_the_deviation_of_the_paper(rule, deviation, gain):
    weight = nbopt.models.initialize(layer(), rule, gain=gain).weight
    assert float(weight.std()) == pytest.approx(gain * deviation, rel=0.02)
    assert float(weight.mean()) == pytest.approx(0.0, abs=0.02 * deviation)


def test_orthogonal_columns_are():
    weight = nbopt.models.initialize(layer(), "orthogonal").weight.detach()
    torch.testing.assert_close(weight.T @ weight, torch.eye(IN), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_the_seed_decides_and_torch_s_generator_does_not(rule):
    torch.manual_seed(1)
    first, again = (nbopt.models.initialize(layer(), rule, seed=3).weight for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, nbopt.models.initialize(layer(), rule, seed=4).weight)
    assert not nbopt.models.initialize(layer(), rule).bias.any()


def test_normalization_and_every_family_take_it():
    model = nbopt.models.initialize(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), "kaiming")
    assert model[1].weight.eq(1).all()
    for name in ("GRU", "LSTM", "Transformer"):
        nbopt.models.initialize(getattr(nbopt.models, name)(3, 2), "orthogonal")


def test_unknown_rules_and_gains_are_told_in_words():
    with pytest.raises(InvalidHyperparam, match=r"unknown rule 'kaming'\. Did you mean 'kaiming'"):
        nbopt.models.initialize(layer(), "kaming")
    with pytest.raises(InvalidHyperparam, match="gain must be a finite number above 0"):
        nbopt.models.initialize(layer(), "xavier", gain=0.0)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_checkpoint_comes_back(suffix, tmp_path):
    path, before = tmp_path / f"weights{suffix}", nn.Linear(3, 2)
    (torch.save if suffix == ".pt" else lambda state, to: save_file(state, to))(before.state_dict(), path)
    assert torch.equal(nbopt.models.load_weights(nn.Linear(3, 2), path).weight, before.weight)
    with pytest.raises(ValueError, match=r"(?s)weights of another model: .*size mismatch for weight"):
        nbopt.models.load_weights(nn.Linear(4, 2), path)


class Trap:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_in_a_file_is_executed(tmp_path, capsys):
    (tmp_path / "trap.pt").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="holds no weights"):
        nbopt.models.load_weights(layer(), tmp_path / "trap.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds no state_dict"):
        nbopt.models.load_weights(layer(), tmp_path / "list.pt")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        nbopt.models.load_weights(layer(), tmp_path / "none.pt")
    assert capsys.readouterr().out == ""


# -- as a run's own choice


def data(seed=0):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(48, 6, generator=random)
    return x, (x[:, 0] > 0).long()


def make(rule="xavier", **settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    settings = {"epochs": 4, "batch_size": 16, "initialization": rule, **settings}
    return scripts.make(model, data(), **settings)


def finish(run):
    run.resume()
    assert run.wait(60) is RunState.FINISHED
    return run


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("rule", RULES)
def test_a_run_draws_just_before_its_first_step(rule):
    run, given = make(rule, initial_gain=0.5, seed=3, lr=0.0)
    drawn = nbopt.models.initialize(given, rule, gain=0.5, seed=derive_seed(3, INITIALIZATION))
    assert not torch.equal(weights(run.model), weights(drawn))
    run.step()
    assert torch.equal(weights(run.model), weights(drawn))
    run.step(2)
    assert torch.equal(weights(run.model), weights(drawn))


def test_weights_stay_as_given_unless_asked_for():
    run, given = make("as given", initial_gain=0.5, lr=0.0)
    run.step()
    assert torch.equal(weights(run.model), weights(given))


def test_what_is_frozen_stays():
    run, given = make(lr=0.0)
    run.model[0].weight.requires_grad_(False)
    run.step()
    assert torch.equal(run.model[0].weight, given[0].weight)
    assert not torch.equal(run.model[2].weight, given[2].weight)


@pytest.mark.parametrize("rule", ["kaiming", "as given"])
def test_replay_rewind_and_branch_come_out_the_same(rule):
    run, _given = make("orthogonal")
    run.set(initialization=rule)  # ahead of the start
    finish(run)
    again = run.replay()
    assert again.wait(60) is RunState.FINISHED
    assert torch.equal(weights(again.model), weights(run.model))
    other = finish(run.branch(at=0, initialization="xavier", initial_gain=2.0))
    assert not torch.equal(weights(other.model), weights(run.model))
    straight, _given = make("xavier", initial_gain=2.0)
    assert torch.equal(weights(other.model), weights(finish(straight).model))
    run.rewind(0)
    run.set(initialization="xavier", initial_gain=2.0)
    assert torch.equal(weights(finish(run).model), weights(straight.model))


@pytest.mark.parametrize("steps", [0, 5])
def test_a_run_opened_again_ends_the_same(steps, tmp_path):
    settings = {"epochs": 4, "batch_size": 16, "device": "cpu", "store": tmp_path, "initialization": "kaiming"}
    run = nbopt.Run(make()[1], data(), **settings)
    if steps:
        run.step(steps)
    else:
        next(run.events())
    run.recorder.close()
    opened = nbopt.open(run.id, make()[1], data(), store=tmp_path)
    assert opened.hyperparams["initialization"] == "kaiming"
    assert torch.equal(weights(finish(opened).model), weights(finish(make("kaiming")[0]).model))


def test_script_and_recipe_draw_the_same():
    run, given = make("kaiming", initial_gain=0.7)
    recipe = run.to_yaml()
    text, difference = scripts.check(finish(run), copy.deepcopy(given), data())
    assert difference == 0.0
    assert "draw_weights(model, draw_kaiming, INITIAL_GAIN" in text
    assert is_tidy(text)
    follower = nbopt.Run.from_yaml(recipe, given, data(), device="cpu", store=None)
    assert torch.equal(weights(finish(follower).model), weights(run.model))
    assert "draw_weights" not in make("as given")[0].to_python()


def test_after_the_first_step_it_is_too_late():
    run, _given = make()
    run.step(2)
    with pytest.raises(
        InvalidHyperparam, match=r"only before the first step, and this is step 2\. Go back: run\.rewind"
    ):
        run.set(initialization="kaiming", lr=0.1)
    assert run.hyperparams["lr"] != 0.1
    run.set(initialization="xavier", lr=0.1)  # what it is already, as a preset may bring along
    with pytest.raises(InvalidHyperparam, match="initial_gain: it acts only before"):
        run.branch(at=1, initial_gain=2.0)
    recipe = run.to_yaml().replace("schedule:", "schedule:\n  1: {initialization: kaiming}")
    with pytest.raises(InvalidHyperparam, match="initialization: it acts only before"):
        nbopt.Run.from_yaml(recipe, make()[1], data(), store=None)
    with pytest.raises(InvalidHyperparam, match="Did you mean 'xavier'"):
        make("xaver")
