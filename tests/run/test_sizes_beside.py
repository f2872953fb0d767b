"""What stands beside a run's present size: its past, its activations, other structures, real files."""

import pytest

import nbopt
from nbopt.run.size.explorer import Explorer
from nbopt.run.size.layers import list_layers
from nbopt.run.size.probe import Probe
from nbopt.run.size.tradeoff import sensitivity_of_inputs, tradeoff, values_of
from nbopt.techniques.compression.activation_bits import ActivationBits
from nbopt.techniques.compression.grids import round_between
from tests.run.sizes_of import accuracy, do, loss, make_run
from tests.waiting import eventually


def test_stored_snapshots_are_looked_at_while_the_run_rests():
    run = make_run()
    run.step(3)
    scores = {3: accuracy(run)}
    run.set(weight_bits=2)  # a snapshot is taken before
    run.step(4)
    explorer = Explorer(run)
    explorer.begin()
    steps = [each.step for each in run.snapshots]
    eventually(lambda: explorer.stored.keys() == {*steps})
    explorer.close()
    eventually(lambda: not explorer._thread.is_alive())
    assert 3 in steps
    state = explorer.stored[3]
    assert state.score == pytest.approx(scores[3], abs=1e-6) and state.values["weight_bits"] == 0
    assert explorer.trail[-1].values["weight_bits"] == 2
    assert [entry.name for entry in run.journal.changes()] == ["weight_bits"]


def test_what_rounding_the_inputs_of_one_layer_costs_is_the_score_with_these_alone_rounded():
    run = make_run(activation_bits=2, weight_bits=4)
    run.step(6)
    probe = Probe(run)
    found = do(sensitivity_of_inputs(probe, "val_loss", list_layers(probe.training)))
    assert found.keys() == {"", "0", "4"}
    ends = dict(zip(("0", "4"), run.training.acting.part(ActivationBits).ends, strict=True))
    run.set(weight_bits=0, activation_bits=0)
    assert found[""] == pytest.approx(loss(run), rel=1e-5)
    for layer in ("0", "4"):
        hook = run.model.get_submodule(layer).register_forward_pre_hook(
            lambda _layer, given, end=ends[layer]: (round_between(given[0], end, 2),)
        )
        assert found[layer] == pytest.approx(loss(run), rel=1e-5)
        assert found[layer] != found[""]
        hook.remove()


def test_bits_of_activations_are_swept_and_the_uncompressed_model_has_none(tmp_path):
    run = make_run()
    run.step(6)
    full, values = accuracy(run), values_of(run.hyperparams, "activation_bits")
    found = do(tradeoff(Probe(run), "val_accuracy", "activation_bits", values))
    assert all(score == score for score in found.scores[None])
    run.set(activation_bits=2, weight_bits=2)
    explorer = Explorer(run)
    do(explorer._look())
    assert explorer.full.score == pytest.approx(full, abs=1e-6)
    assert explorer.trail[-1].bytes == run.export(tmp_path / "small.safetensors").bytes


def test_latency_is_known_for_each_structure_and_kernels_are_those_of_real_files():
    run = make_run()
    run.step(2)
    branch = run.change(nbopt.edits.Widen("0", 12))
    branch.step(1)
    explorer = Explorer(run)
    explorer.time(5)
    eventually(lambda: len(explorer.latencies) == 2 and explorer.others)
    ((_name, other),) = explorer.others.values()
    assert other.structure != explorer.trail[-1].structure
    assert all(each.samples == 5 and each.median > 0 for each in explorer.latencies.values())
    explorer.find_kernels(7)
    eventually(lambda: explorer.kernels or explorer.problem, seconds=60)
    full, small = explorer.kernels
    assert (full.name, small.name) == ("ONNX Runtime", "ONNX Runtime int8")
    assert full.latency.samples == small.latency.samples == 7 and full.bytes != small.bytes
    explorer.close()
    eventually(lambda: not explorer._thread.is_alive())
