"""What values would do, found out beside a run, which stays as it is to the bit; of every hyperparameter."""

import threading
import time

import pytest
import torch
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Text
from nbopt.run.copies.ties import Tied
from nbopt.run.population import what_ifs
from nbopt.run.population.trying import Trials
from nbopt.run.population.what_if import Question, do_slice
from nbopt.run.population.what_ifs import WhatIfs
from tests.run.population.shared import SETTINGS, assert_same, dense, digits, model_of
from tests.waiting import eventually

__all__ = ["digits"]
pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def make_run(digits):
    def make(**settings):
        return nbopt.Run(model_of(dense), digits, 0.2, lr=0.002, store=None, **{**SETTINGS, "epochs": 60, **settings})

    return make


@pytest.fixture
def asked(monkeypatch):
    """Return a maker of `WhatIfs` that wait for nothing, each with the steps at which something was found out."""
    monkeypatch.setattr(what_ifs, "_EVERY_SECONDS", 0.001)
    made = []

    def make(run, *keys, **settings):
        news = []
        few = {"lr": [0.002, 0.1], "batch_size": [8, 32], "weight_decay": [0.0, 0.1]}
        settings["ranges"] = lambda key: [few[name] for name in key]
        found = WhatIfs(run, lambda: news.append(found.at_work), **settings)
        found.share, found.steps = 0.9, 3
        made.append(found)
        found.ask(keys)
        return found, news

    yield make
    for one in made:
        one.close(10)


def entries(run):
    return [(entry.step, entry.name, entry.old, entry.new, entry.source) for entry in run.journal]


def find(question, trials, steps=3, draws=2):
    slices, found = question.slices(trials, steps, draws), None
    while found is None:
        found = do_slice(slices)
    return found


def test_a_run_that_trains_stays_as_it_is_to_the_bit(make_run, asked):
    run, plain = make_run(), make_run()
    for one in (run, plain):
        one.step(5)
    found, news = asked(run, ("lr",), ("batch_size",), ("lr", "weight_decay"))
    eventually(lambda: len(found.found) == 3)  # at rest
    before = len(news)
    run.step(10_000, wait=False)
    eventually(lambda: len(news) > before + 2)  # while it trains, too
    assert run.state is nbopt.RunState.RUNNING
    run.pause(wait=True)
    plain.step(run.step_count - plain.step_count)
    found.close(10)
    assert_same(run, plain, 0)
    assert entries(run) == entries(plain)
    told = found.found["lr",].what_if
    assert told.values == [0.002, 0.1] and told.losses.shape[0] == 2


def test_at_rest_what_is_asked_for_is_found_out_at_once_and_anew_after_a_step(make_run, asked):
    run = make_run()
    found, _news = asked(run, ("lr",))
    eventually(lambda: ("lr",) in found.found)
    assert found.found["lr",].step == 0 and found.found["lr",].what_if.steps == 3
    run.step(2)
    eventually(lambda: found.found["lr",].step == 2)
    found.look_ahead(4)
    eventually(lambda: found.found["lr",].what_if.steps == 4)
    found.look_ahead(0)
    eventually(lambda: found.found["lr",].what_if.steps == 10)  # an epoch has five
    found.ask([])
    eventually(lambda: not [one for one in threading.enumerate() if one.name == f"nbopt what if {run.name}"])
    assert found.stir not in run.watchers
    assert found.found == {}


def test_the_time_between_two_goes_from_begin_to_begin(make_run):
    """What a strip takes, in slices, is not to come on top of it."""
    run, begun = make_run(), []
    found = WhatIfs(run, lambda: found.at_work and begun.append(time.monotonic()))
    found.ask([("lr",)])
    eventually(lambda: ("lr",) in found.found and found.at_work is None)
    found.close(10)
    assert found._times["lr",] <= begun[-1]


def test_while_nobody_looks_nothing_is_found_out_beside_training(make_run, asked):
    run = make_run()
    run.step(1)
    found, news = asked(run, ("lr",), is_seen=lambda: False)
    eventually(lambda: ("lr",) in found.found and found.at_work is None)
    run.set(epochs=10**6)
    run.start()
    eventually(lambda: run.step_count > 50)
    news.clear()
    eventually(lambda: run.step_count > 150)
    assert news == []
    run.pause()


def test_members_kept_from_the_last_time_find_what_new_ones_do(make_run):
    run = make_run()
    kept = Trials(run)
    for steps in (4, 7):
        run.step(steps)
        question = Question(run, ["lr"], [0.0005, 0.002, 0.1])
        again, anew = find(question, kept), find(question, Trials(run))
        assert torch.allclose(torch.tensor(again.losses), torch.tensor(anew.losses), rtol=1e-5)
        assert (again.now, again.present) == (anew.now, 0.002)
    branch = run.branch(at=11, lr=0.1)
    branch.set(validate_every=1)
    branch.step(3)
    assert again.losses[2, 0] == pytest.approx(branch.history.last("val_loss"), rel=1e-4)


def test_every_declared_hyperparameter_can_be_asked_for_by_the_same_way(make_run):
    run = make_run()
    trials, silent = Trials(run), []
    for name in run.hyperparams:
        if name in run.inert or isinstance(run.hyperparams.spec(name), Text):  # words: nothing stands beside them
            continue
        if getattr(run.hyperparams.spec(name), "refused", ""):  # the model has nothing for it: one value is left
            continue
        values = Question(run, [name]).values
        present = run.hyperparams[name]
        two = [present, *[value for value in values if value != present][:1]]
        found = find(Question(run, [name], two), trials, steps=1, draws=1)
        assert (found.name, found.values, found.present) == (name, two, present)
        if found.mean[0] != found.mean[0] or len(two) < 2:
            silent.append(name)
    assert silent == []


def test_two_hyperparameters_are_asked_for_at_once(make_run):
    run = make_run()
    run.step(2)
    found = run.what_if(("lr", "weight_decay"), steps=2, draws=1)
    assert found.name == "lr, weight_decay" and (0.002, 0.0) in found.values and found.present == (0.002, 0.0)
    assert len(found.values) == 20 and found.best in found.values
    found = run.what_if(("lr", "batch_size"), [(0.01, 8), (0.02, 16)], steps=2, draws=1)
    assert found.values == [(0.01, 8), (0.02, 16)] and found.mean[0] != found.mean[1]
    with pytest.raises(InvalidHyperparam, match=r"as what_if\('lr', \[\.\.\.\]\)"):
        run.what_if({"lr": [0.1, 0.2]})
    with pytest.raises(InvalidHyperparam, match="is no value for each of lr, weight_decay"):
        run.what_if(("lr", "weight_decay"), [(0.1, 0.0, 1.0)])


class Batches:
    """Batches as they come, counted if asked to be."""

    def __init__(self, digits, counts=False):
        self.digits, self.counts, self.epochs = digits, counts, 0

    def __iter__(self):
        self.epochs += self.counts
        x, y = self.digits
        yield from zip((x * (1 + self.epochs)).split(40), y.split(40), strict=True)


def test_a_value_that_the_run_cannot_take_leaves_the_others(digits):
    run = nbopt.Run(model_of(dense), Batches(digits), digits, store=None, epochs=9, device="cpu")
    run.step(2)
    found = run.what_if("optimizer", steps=2, draws=1)
    failed = [value for value, loss in zip(found.values, found.mean, strict=True) if loss != loss]
    assert "lbfgs" in failed and "adam" not in failed
    with pytest.raises(ValueError, match="LBFGS: it takes all samples at once"):
        run.what_if("optimizer", ["lbfgs"], steps=2, draws=1)


def counting():
    steps, calls = {"done": 0}, 0

    def weighted(output, target):
        nonlocal calls
        calls += 1
        steps["done"] += 1
        return nn.functional.cross_entropy(output, target) * (1 + 0.1 * steps["done"] + 0.1 * calls)

    return weighted


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda digits: {"train": Batches(digits, counts=True)}, "Batches.epochs"),
        (lambda digits: {"train": digits, "loss": counting()}, "calls, steps"),
    ],
    ids=["data", "loss"],
)
def test_where_data_or_functions_count_nothing_is_tried_and_nothing_changed(digits, make, names):
    run, other = (
        nbopt.Run(model_of(dense), val=digits, store=None, epochs=9, device="cpu", **make(digits)) for _each in range(2)
    )
    for one in (run, other):
        one.step(6)
    with pytest.raises(Tied, match=f"trying values would change {names}, which the run and its copies share"):
        run.what_if("lr", steps=2, draws=1)
    for one in (run, other):
        one.step(8)
    assert run.history["loss"][1].tolist() == other.history["loss"][1].tolist()


GLOBAL: list = []


def forward_of_the_original(_model, batch):
    return GLOBAL[0](batch[0]), batch[1]


def test_what_would_change_the_run_is_refused_in_words(digits, monkeypatch):
    model = model_of(dense)
    monkeypatch.setitem(globals(), "GLOBAL", [model])
    run = nbopt.Run(model, digits, 0.2, forward=forward_of_the_original, store=None, **SETTINGS)
    run.step(1)
    before, entries_before = [weight.clone() for weight in model.parameters()], entries(run)
    for ask in (lambda: run.what_if("lr", [0.001, 1.0], steps=1, draws=1), lambda: run.population(lr=[0.1, 1.0])):
        with pytest.raises(Tied, match="global variables"):
            ask()
    assert all(map(torch.equal, before, model.parameters())) and entries(run) == entries_before


def test_what_a_copy_shares_is_no_word_in_the_runs_journal(digits, tmp_path):
    class Logged(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model_of(dense)
            self.log = (tmp_path / "log").open("a")

        def forward(self, x):
            return self.net(x)

    run = nbopt.Run(Logged(), digits, 0.2, store=None, **SETTINGS)
    run.step(1)
    before = entries(run)
    run.what_if("lr", [0.001, 0.1], steps=1, draws=1)
    assert entries(run) == before
    run.model.log.close()


def test_draws_have_noise_of_their_own_and_are_done_at_once(make_run):
    """Each draw is another seed's noise, of a step by oneself too: that of all at once is compared with it."""
    run = make_run(dropout=0.5)
    run.step(3)
    trials = Trials(run)
    first = find(Question(run, ("lr",), [0.002, 0.1]), trials, draws=3)
    together = trials._kept.population.puller.together
    assert (together.reason, together.tier) == ("", "together")
    again = find(Question(run, ("lr",), [0.002, 0.1]), trials, draws=3)
    assert first.losses.tolist() == again.losses.tolist()
    members = trials._kept.population[:3]
    assert len({member.training.step_seed for member in members}) == 3
    batch = run.training.cursor.peek()
    losses = [member.training.eager.gradients(batch, 5, False).item() for member in members]
    assert len(set(losses)) == 3
