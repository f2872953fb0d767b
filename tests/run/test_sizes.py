"""How large a run's model is, and how good smaller ones would be: found out beside the run, which stays as it is."""

import pytest
import torch
from torch import nn

import nbopt
from nbopt.run.size.explorer import Explorer
from nbopt.run.size.layers import list_layers, time_pass
from nbopt.run.size.probe import Probe
from nbopt.run.size.tradeoff import find_compressing, sensitivity, tradeoff, values_of
from tests.run.sizes_of import accuracy, data, do, make_run
from tests.waiting import eventually


def test_a_probe_scores_what_the_run_would_have_with_these_values():
    run = make_run()
    run.step(15)
    probe = Probe(run)
    found = {bits: do(probe.score({"weight_bits": bits})) for bits in (0, 2, 3, 0)}
    for bits, score in found.items():
        run.set(weight_bits=bits)
        assert score["val_accuracy"] == pytest.approx(accuracy(run), abs=1e-6)
    assert found[2]["val_loss"] != found[0]["val_loss"]


def test_a_probe_follows_the_run_and_its_changes():
    run = make_run(weight_bits=4)
    run.step(2)
    probe = Probe(run)
    before = do(probe.score())
    run.set(weight_bits=2)
    run.step(7)
    probe.renew()
    assert do(probe.score())["val_accuracy"] == pytest.approx(accuracy(run), abs=1e-6)
    assert do(probe.score()) != before


def test_nothing_of_a_run_changes_when_somebody_looks():
    looked_at, alone = make_run(weight_bits=4), make_run(weight_bits=4)
    events = looked_at.events()
    explorer = Explorer(looked_at)
    for step in range(9):
        next(event for event in events if type(event).__name__ == "Stepped")
        if step % 3 == 1:
            do(explorer._look())
            do(explorer._sweep("weight_bits", ""))
            do(explorer._sweep("sparsity", "sparsity_method"))
            do(explorer._sensitivity())
            do(explorer._time(4))
    alone.step(9)
    assert looked_at.step_count == alone.step_count == 9
    for name, weight in alone.model.state_dict().items():
        assert torch.equal(weight, looked_at.model.state_dict()[name])
    assert not [entry for entry in looked_at.journal[:] if entry.source == "size"]
    looked_at.stop()
    assert list(looked_at.history["loss"][1]) == list(alone.history["loss"][1])


def test_layers_tell_what_they_hold_and_compute():
    run = make_run(weight_bits=2)
    run.step(1)
    probe = Probe(run)
    layers = {layer.name: layer for layer in list_layers(probe.training)}
    assert {name: (layer.kind, layer.parameters, layer.macs) for name, layer in layers.items()} == {
        "0": ("Linear", 6 * 12 + 12, 6 * 12),
        "1": ("BatchNorm1d", 24, 0),
        "4": ("Linear", 24 + 2, 24),
    }
    weights = probe.weights()
    assert layers["0"].nonzero == int((weights["0.weight"] != 0).sum() + (weights["0.bias"] != 0).sum())
    assert layers["0"].nonzero < layers["0"].parameters


def test_weights_that_two_layers_share_count_once():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 2))
    model[2].weight = model[0].weight
    run = nbopt.Run(model, data(), val=data(40), batch_size=20, epochs=1, store=None)
    run.step(1)
    layers = list_layers(Probe(run).training)
    assert [(layer.name, layer.parameters) for layer in layers] == [("0", 42), ("2", 6), ("3", 14)]


def test_what_a_layer_alone_costs_is_the_score_with_its_weights_alone_rounded():
    run = make_run(weight_bits=2)
    run.step(6)
    probe = Probe(run)
    found = do(sensitivity(probe, "val_accuracy", list_layers(probe.training)))
    weights, own = probe.weights(), dict(run.model.named_parameters())
    run.set(weight_bits=0)
    assert found[""] == pytest.approx(accuracy(run), abs=1e-6)
    for layer in ("0", "4"):
        kept = own[f"{layer}.weight"].detach().clone()
        with torch.no_grad():
            own[f"{layer}.weight"].copy_(weights[f"{layer}.weight"])
        assert found[layer] == pytest.approx(accuracy(run), abs=1e-6)
        with torch.no_grad():
            own[f"{layer}.weight"].copy_(kept)


def test_a_tradeoff_has_a_score_for_each_value_and_each_way():
    run = make_run()
    run.step(6)
    probe = Probe(run)
    assert "bits_symmetric" in find_compressing(probe.training)["weight_bits"]
    values = values_of(run.hyperparams, "weight_bits")
    assert values == [0, 8, 7, 6, 5, 4, 3, 2]
    assert values_of(run.hyperparams, "sparsity") == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99]
    found = do(tradeoff(probe, "val_accuracy", "weight_bits", values, "bits_symmetric"))
    assert set(found.scores) == {True, False} and found.step == 6
    assert found.scores[False][-1] == do(probe.score({"weight_bits": 2, "bits_symmetric": False}))["val_accuracy"]
    assert found.scores[True][0] == do(probe.score())["val_accuracy"]


def test_a_sweep_prunes_at_once_and_by_gradients_that_no_step_has_shown_yet():
    run = make_run(sparsity_begin=0.5, sparsity_end=0.9)
    run.step(6)
    probe = Probe(run)
    own = {name: value.clone() for name, value in probe.training.model.state_dict().items()}
    found = do(tradeoff(probe, "val_loss", "sparsity", [0.0, 0.5, 0.9], "sparsity_method"))
    assert all(torch.equal(value, own[name]) for name, value in probe.training.model.state_dict().items())
    plain = found.scores["magnitude"][0]
    assert found.scores["random"][0] == found.scores["gradient"][0] == plain
    known = [found.scores[method][place] for method in ("magnitude", "gradient", "random") for place in (1, 2)]
    assert all(score == score and score != plain for score in known) and len(set(known)) == len(known)
    half = {"sparsity": 0.5, "sparsity_method": "gradient", "sparsity_begin": 0.0, "sparsity_end": 0.0}
    do(probe.score(half))
    do(probe.see_gradients())
    (part,) = (part for part in probe.training.acting.parts if type(part).__name__ == "Sparsity")
    scores, weights = dict(zip(part.scored, part.scores, strict=True)), dict(probe.training.model.named_parameters())
    pruned = probe.weights(half)
    least = torch.cat([scores[name][pruned[name] == 0] for name in scores])
    most = torch.cat([scores[name][pruned[name] != 0] for name in scores])
    assert least.max() <= most.min() and len(least) == sum(weights[name].numel() for name in scores) // 2


def test_without_anything_compressed_there_is_no_sensitivity():
    run = make_run()
    run.step(2)
    probe = Probe(run)
    with pytest.raises(ValueError, match="no layer is compressed now: set sparsity or bits first"):
        do(sensitivity(probe, "val_accuracy", list_layers(probe.training)))


def test_latency_is_measured_with_so_many_samples():
    run = make_run()
    run.step(1)
    probe = Probe(run)
    with probe.computing_with({}):
        assert time_pass(probe.training, 3).samples == 3
        whole = time_pass(probe.training, 1000)
    assert whole.samples == 20 and 0 < whole.median < 1


def test_without_validation_there_is_nothing_to_judge_by():
    run = make_run(val=None)
    run.step(1)
    with pytest.raises(ValueError, match="no validation data: give Run"):
        Probe(run)
    explorer = Explorer(run)
    explorer.begin()
    eventually(lambda: "no validation data" in explorer.problem)
    explorer.close()


def test_an_explorer_follows_a_run_at_rest_and_remembers_where_it_was(tmp_path):
    run = make_run()
    run.step(6)
    explorer = Explorer(run)
    explorer.begin()
    eventually(lambda: len(explorer.trail) == 1)
    run.set(weight_bits=2)
    eventually(lambda: len(explorer.trail) == 2 and explorer.full is not None)
    before, now = explorer.trail
    assert before.values["weight_bits"] == 0 and now.values["weight_bits"] == 2
    assert now.nonzero < before.nonzero and explorer.full.score == pytest.approx(before.score)
    assert now.score == pytest.approx(accuracy(run), abs=1e-6)
    exported = run.export(tmp_path / "small.safetensors")
    assert (now.bytes, explorer.full.bytes) == (exported.bytes, exported.full)
    assert explorer.packed.sizes == exported.tensors
    assert explorer.packed.bits["0.weight"] == 2 and explorer.packed.bits["1.weight"] == 32
    explorer.sweep("weight_bits")
    explorer.find_sensitivity()
    eventually(lambda: explorer.lost and "weight_bits" in explorer.tradeoffs)
    explorer.close()
    eventually(lambda: not explorer._thread.is_alive())


def test_an_explorer_of_a_run_that_trains_looks_while_somebody_looks():
    run = make_run(epochs=None)
    seen = []
    explorer = Explorer(run, is_seen=lambda: bool(seen))
    run.start()
    explorer.begin()
    eventually(lambda: run.step_count > 50)
    assert not explorer.trail
    seen.append(True)
    eventually(lambda: explorer.trail)
    explorer.close()
    run.stop()


def test_other_runs_of_the_family_are_looked_at_once_they_rest():
    run = make_run()
    run.step(6)
    other, stranger = run.branch(at=6, name="small", weight_bits=3), make_run(name="stranger")
    other.step(2)
    stranger.step(1)
    explorer = Explorer(run)
    explorer.begin()
    eventually(lambda: explorer.others)
    ((name, state),) = explorer.others.values()
    assert (name, state.step, state.values["weight_bits"]) == ("small", 8, 3)
    assert state.score == pytest.approx(accuracy(other), abs=1e-6)
    explorer.close()
    eventually(lambda: not explorer._thread.is_alive())
