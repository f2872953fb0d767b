"""A length in steps beside one in epochs: what has no effect is told, wherever it was said."""

import warnings

import pytest
import torch
from torch import nn

import nbopt
from nbopt.notebook.panel.head import reason_not_to_act

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(60) % 3
TOLD = "epochs: no effect while steps is 5, which acts in its place; steps=0 turns that off"


def make(**given):
    return nbopt.Run(nn.Linear(4, 3), (X, Y), batch_size=20, **{"store": None, **given})


def search(**given):
    return nbopt.Study(nn.Linear(4, 3), (X, Y), 0.5, trials=2, store=None, **{"space": ["lr"], **given})


SAID = {
    "run": lambda: make(steps=5, epochs=3),
    "set": lambda: make(steps=5).set(epochs=3),
    "population": lambda: nbopt.Population(nn.Linear(4, 3), (X, Y), lr=[0.1, 0.2], steps=5, epochs=3, store=None),
    "study": lambda: search(steps=5, epochs=3),
    "space": lambda: search(steps=5, space={"epochs": (2, 4)}),
}


@pytest.mark.parametrize("place", SAID)
def test_epochs_beside_steps_have_no_effect_and_that_is_told_in_the_user_s_line(place):
    with pytest.warns(UserWarning, match=TOLD) as caught:
        SAID[place]()
    assert [warning.filename for warning in caught] == [__file__]


def test_nothing_is_told_where_there_is_nothing_to_tell(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(steps=5, epochs=None)
        run = make(steps=5)
        run.set(steps=0, epochs=3)
        run.set(epochs=4)
        run.set(steps=7)


def test_copies_and_recipes_of_such_a_run_do_not_tell_it_again():
    with pytest.warns(UserWarning, match=TOLD):
        run = make(steps=5, epochs=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        run.fit()
        run.branch(at=2).step(1)
        run.replay().wait()
        again = nbopt.Run.from_yaml(run.to_yaml(), nn.Linear(4, 3), (X, Y), store=None)
        assert again.fit().step_count == 5


def test_a_control_says_why_it_does_not_act():
    run = make(steps=5)
    assert reason_not_to_act("epochs", run.hyperparams, run.inert) == "Acts once Total steps is 0."
    run.set(steps=0)
    assert reason_not_to_act("epochs", run.hyperparams, run.inert) == ""
