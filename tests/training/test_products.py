"""Products by oneDNN in the place of the BLAS's: which ones, and that they are the same numbers; real compiling."""

import shutil

import pytest
import torch

from nbopt.techniques.compression.bits import WeightBits
from nbopt.training.compile import products
from nbopt.training.compile.build import Build, trace
from nbopt.training.compile.layouts import Apart
from nbopt.training.compile.packages import find_packages
from nbopt.training.compile.step import CannotCompile

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")


@pytest.fixture(params=[True])
def faster(request, monkeypatch):
    """Take oneDNN for faster than the BLAS, whatever it is here."""
    monkeypatch.setattr(products, "_is_faster", lambda: request.param)


def layer(flat):
    """A layer with a batch, its gradient and an update: what is done to a product is done by oneDNN with it."""
    x, weight, bias = flat
    y = torch.relu(torch.addmm(bias, x, weight.t()))
    return [y, torch.mm(y.t(), x) + 0.1 * weight]


def draw(batch, inputs, units, **kind):
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, inputs), (units, inputs), (units,)
    return [torch.randn(shape, generator=generator).to(**kind) for shape in shapes]


def count(flat):
    graph = trace(layer, flat, products.replacements())
    return sum("mkldnn" in str(node.target) for node in graph.graph.nodes)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((64, 784, 256), 2),
        ((64, 64, 64), 0),  # small
        ((4096, 32, 64), 1),  # to copy both of a gradient's factors would take longer
    ],
)
def test_large_products_are_handed_over(faster, shape, expected):
    flat = draw(*shape)
    assert count(flat) == expected
    for ours, torchs in zip(trace(layer, flat, products.replacements())(*flat), layer(flat), strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("faster", [True, False], indirect=True)
def test_few_outputs_of_an_evaluation_lie_side_by_side(faster):
    """Those of all samples for one output; steps, and layers of more outputs, are as they were."""
    for units, is_evaluation, strides in ((10, True, (1, 64)), (10, False, (10, 1)), (16, True, (16, 1))):
        x, weight, bias = draw(64, 784, units)
        graph = trace(
            lambda flat: [torch.addmm(flat[2], flat[0], flat[1].t())],
            [x, weight, bias],
            products.replacements(is_evaluation),
        )
        (found,) = graph(x, weight, bias)
        assert found.stride() == strides
        torch.testing.assert_close(found, torch.addmm(bias, x, weight.t()), rtol=1e-4, atol=1e-3)


def test_products_of_other_numbers_are_torchs(faster):
    assert count(draw(64, 784, 256, dtype=torch.float64)) == count(draw(64, 784, 256, dtype=torch.bfloat16)) == 0


@pytest.mark.parametrize("faster", [False], indirect=True)
def test_nothing_is_handed_over_where_it_brings_nothing(faster):
    assert count(draw(64, 784, 256)) == 0


def test_weights_are_pulled_by_their_signs_as_far_as_numbers_reach():
    for kind in (torch.float32, torch.float16, torch.float64):
        least = torch.finfo(kind).smallest_normal / 2
        weight = torch.tensor([[-3.0, -least, -0.0, 0.0, least, 0.5, torch.finfo(kind).max]], dtype=kind)
        (pulled,) = Apart().penalize([torch.zeros_like(weight)], [weight], torch.tensor(0.25, dtype=kind))
        assert torch.equal(pulled, 0.25 * weight.sign())


@pytest.mark.parametrize(("outputs", "side_by_side"), [(10, True), (16, False)])
def test_few_outputs_of_many_layers_have_samples_side_by_side(outputs, side_by_side):
    flat = [torch.randn(3, 64, 32), torch.randn(3, outputs, 32)]
    (ours,) = trace(lambda given: [torch.bmm(given[0], given[1].mT)], flat, products.replacements())(*flat)
    torch.testing.assert_close(ours, flat[0] @ flat[1].mT)
    assert ours.mT.is_contiguous() is side_by_side


def rounded(flat):
    """Weights of few bits, on grids of both kinds."""
    return [WeightBits.apply_operand(*flat, *how) for how in ((True, True), (False, False))]


def in_16_bits(flat):
    """A layer, and what is rounded after each operation; without a product, which adds up in its own order."""
    x, weight, bias = (each.bfloat16() for each in flat)
    return [torch.relu(torch.addmm(bias, x, weight.t())).float(), ((x * 1.7 + x) * x - weight[:1]).float()]


# One graph of all: what a compiler takes is seconds before it comes to the first line.
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiler_takes_them_with_weights_that_change_and_rounds_to_the_same_bits(faster, monkeypatch, tmp_path):
    caches = find_packages().caches  # with headers that are compiled already, which takes as long as all else
    caches.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    find_packages().caches.symlink_to(caches)
    flat = draw(64, 784, 256)
    torch.manual_seed(0)
    weight = torch.randn(12, 2, 3) * torch.rand(12, 1, 1)
    weight[3], weight[4] = 0, weight[4].abs()

    def graph(given):
        return layer(given[:3]) + in_16_bits(given[:3]) + rounded(given[3:])

    before = set(caches.rglob("*.wrapper.*"))
    compiled = Build().compile(graph, [*flat, weight, torch.tensor(7.0)])
    assert set(caches.rglob("*.wrapper.*")) == before  # another kernel may compile the same there
    for scale, high in ((1, 1.0), (2, 3.0), (1, 7.0), (1, 127.0)):
        flat[1].mul_(scale)
        bits = [weight, torch.tensor(high)]
        y, changed, half, *found = compiled([*flat, *bits])
        for ours, torchs in zip((y, changed), layer(flat), strict=True):
            torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-3)
        product, *exact = in_16_bits(flat)
        torch.testing.assert_close(half, product, rtol=1e-2, atol=1e-2)
        assert all(map(torch.equal, found, exact + rounded(bits)))
    assert len(list(find_packages().folder.glob("*.pt2"))) == 1


def test_a_compiler_that_takes_none_gets_torchs(faster, monkeypatch):
    tried = []

    def load(self, graph, example):
        tried.append(products.are_in(graph))
        if tried[-1]:
            raise CannotCompile("no such operation")
        return graph

    monkeypatch.setattr(Build, "_load", load)
    assert Build().compile(layer, draw(64, 784, 256))
    assert tried == [True, False]
