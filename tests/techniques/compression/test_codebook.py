"""Weights from a table: its values are those of k-means, and looks leave it alone."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

import nbopt
from nbopt.techniques.compression.codebook import Codebook
from nbopt.techniques.compression.tables import cluster, find_nearest, go_on, take
from tests.techniques.compression.nets import data, make

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize("size", [2, 4, 16])
def test_a_table_is_what_k_means_of_scikit_learn_finds(size):
    torch.manual_seed(0)
    values = torch.rand(500, dtype=torch.float64)
    first = np.linspace(values.min(), values.max(), size)[:, None]
    theirs = KMeans(size, init=first, n_init=1, tol=0, max_iter=300).fit(values[:, None].numpy())
    table = cluster(values, size)
    assert torch.allclose(table, torch.tensor(theirs.cluster_centers_[:, 0]).sort().values)
    order = theirs.cluster_centers_[:, 0].argsort().argsort()
    assert torch.equal(find_nearest(values, table), torch.tensor(order[theirs.labels_]))


def test_zeros_stay_and_are_none_of_the_tables_business():
    weight = torch.tensor([[0.0, 1.0, 1.2], [-1.0, 0.0, -0.8]], requires_grad=True)
    table = go_on(torch.tensor([-2.0, 2.0]), weight.detach())
    assert torch.allclose(table, torch.tensor([-0.9, 1.1]))
    taken = take(table, weight)
    assert torch.allclose(taken, torch.tensor([[0.0, 1.1, 1.1], [-0.9, 0.0, -0.9]]))
    (slope,) = torch.autograd.grad((taken * torch.arange(6.0).view(2, 3)).sum(), weight)
    assert torch.equal(slope, torch.arange(6.0).view(2, 3))


def test_few_or_equal_weights_have_a_table_too():
    for values in (torch.zeros(0), torch.ones(3), torch.tensor([1.0, 2.0])):
        table = cluster(values, 4)
        assert len(table) == 4 and table.isfinite().all()
        assert torch.equal(take(table, values), values)


def distinct(run):
    weights = run.training.acting.weights()
    return [len(weights[name].unique()) for name in ("0.weight", "4.weight", "6.weight")]


def test_each_layer_has_as_many_values_as_it_is_given():
    run = make(codebook=4, bits_layers="*, 4=3, 6=0")
    run.step(3)
    assert distinct(run) == [4, 8, 27]


def test_a_look_at_rest_leaves_no_trace():
    run, other = make(codebook=16), make(codebook=16)
    for each in (run, other):
        each.step(4)
    run.set(codebook=4)
    few = run.predict(data()[0])
    run.set(codebook=16)
    run.predict(data()[0])
    technique = run.training.acting.part(Codebook)
    assert technique.sizes == [16, 16, 16]
    run.step(3)
    other.step(3)
    assert torch.equal(run.predict(data()[0]), other.predict(data()[0]))
    assert not torch.equal(few, run.predict(data()[0]))


def test_a_table_that_did_not_act_meanwhile_is_found_anew():
    run = make(codebook=4)
    run.step(2)
    run.set(codebook=0, lr=0.5)
    run.step(4)
    run.set(codebook=4)
    run.step(1)
    run.rewind(6)
    run.set(codebook=4)
    technique = run.training.acting.part(Codebook)
    looked = run.training.acting.weights()["4.weight"]
    weight = run.model[4].weight.detach()
    assert torch.equal(looked, take(cluster(weight.flatten(), 4), weight))
    assert technique.fitted_at == 6


def test_a_grid_and_a_table_do_not_go_together():
    run = make(codebook=4)
    with pytest.raises(
        nbopt.errors.InvalidHyperparam, match="weight_bits, codebook: weights can be quantized in one way"
    ):
        run.set(weight_bits=4)
    with pytest.raises(nbopt.errors.InvalidHyperparam, match="codebook must be a whole number from 2 to 256, or 0"):
        run.set(codebook=300)
