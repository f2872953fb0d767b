import torch
from torch import nn

from nbopt.hyperparams import Hyperparams
from nbopt.techniques.context import Context, Setting
from nbopt.techniques.regularization.dropout import Dropout


def model():
    return nn.ModuleDict(
        {
            "plain": nn.Dropout(0.1),
            "deep": nn.Sequential(nn.Sequential(nn.Dropout2d(0.3))),
            "alpha": nn.AlphaDropout(0.2),
            "attention": nn.MultiheadAttention(4, 2, dropout=0.15),
            "lstm": nn.LSTM(3, 3, num_layers=2, dropout=0.25),
            "shallow": nn.GRU(3, 3),
        }
    )


def probabilities(net):
    layers = [net["plain"].p, net["deep"][0][0].p, net["alpha"].p]
    return [*layers, net["attention"].dropout, net["lstm"].dropout, net["shallow"].dropout]


def make(net):
    part, hyperparams = Dropout(), Hyperparams()
    part.context = Context(net, torch.device("cpu"), 0, None)
    hyperparams.declare(Dropout)
    hyperparams.bind(part)
    return part, hyperparams


def test_every_layer_that_has_a_probability_gets_the_live_one():
    net = model()
    _part, hyperparams = make(net)
    assert probabilities(net) == [0.1, 0.3, 0.2, 0.15, 0.25, 0.0]
    hyperparams.assign("dropout", 0.4)
    assert probabilities(net) == [0.4] * 5 + [0.0]


def test_the_share_of_units_left_out_is_the_one_set():
    net = nn.Dropout(0.0)
    _part, hyperparams = make(net)
    for share in (0.25, 0.75, 0.0):
        hyperparams.assign("dropout", share)
        zeros = (net(torch.ones(100_000)) == 0).float().mean()
        assert abs(float(zeros) - share) < 0.01


def test_a_model_shows_its_largest_probability_or_none():
    cpu = torch.device("cpu")
    assert Dropout.bring(Setting(model(), cpu)) == {"dropout": 0.3}
    assert Dropout.bring(Setting(nn.Linear(2, 2), cpu)) == {}
    assert Dropout.unfit_for(Setting(nn.Linear(2, 2), cpu)) == "the model has no dropout layer"
