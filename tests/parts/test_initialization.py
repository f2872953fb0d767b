"""Initial weights against their formulas, and files that are whole, foreign or dangerous."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import nbopt
from nbopt.names import InvalidHyperparam
from nbopt.parts.initialization import RULES

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
