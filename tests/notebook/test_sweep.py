"""A sweep of learning rates from the panel, and its suggestion taken by one button."""

import pytest
from torch import nn

from nbopt.formatting import brief
from tests.notebook.frontend import eventually


def test_the_suggestion_is_found_and_taken(page, show, make_run):
    run = make_run(store=None, lr=1e-3)
    run.step(3)
    panel = show(run)
    page.do(panel.drawers.toggles["rates"], value=True)
    eventually(lambda: "rates" in panel.drawers.made)
    sweep = panel.drawers.made["rates"]
    eventually(lambda: not sweep.again.disabled and len(sweep.widget.children) == 2)
    assert "Suggested learning rate" in sweep._note.value and run.hyperparams["lr"] == 1e-3
    eventually(lambda: not sweep.use.disabled)
    page.click(sweep.use)
    assert run.hyperparams["lr"] == float(f"{sweep._sweep.suggestion:.2g}")
    assert run.journal.changes()[-1].source == "finder"
    eventually(lambda: sweep.use.disabled)
    assert panel.overlays.shown() == {} and run.branches == []
    first = sweep._chart
    page.click(sweep.again)
    eventually(lambda: sweep._chart is not first)
    assert first.bridge._closed
    panel.close()
    assert sweep._chart.bridge._closed


def test_what_keeps_it_from_trying_is_told(page, show, make_run):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x):
            raise ValueError("no <way> through")

    panel = show(make_run(model=Odd(), store=None))
    page.do(panel.drawers.toggles["rates"], value=True)
    eventually(lambda: "rates" in panel.drawers.made)
    eventually(lambda: "no &lt;way&gt; through" in panel.drawers.made["rates"]._note.value)


@pytest.mark.parametrize("name", ["rates", "takeaway", "runs"])
def test_a_drawer_costs_nothing_before_it_is_opened_and_folds_again(page, show, make_run, name):
    panel = show(make_run(store=None))
    assert panel.drawers.made == {} and name in panel.drawers.toggles
    for is_open in (True, False):
        page.do(panel.drawers.toggles[name], value=is_open)
        eventually(lambda: len(panel.drawers.widget.children) == 1)
        (place,) = panel.drawers.widget.children
        eventually(lambda: ("nbopt-gone" in place._dom_classes) is not is_open)  # noqa: B023


def test_a_search_around_the_run_is_drawn_beside_it_and_a_click_takes_its_values(page, show, make_run):
    run = make_run(store=None, lr=1e-3, epochs=6)
    run.step(3)
    panel = show(run)
    page.do(panel.drawers.toggles["search"], value=True)
    eventually(lambda: "search" in panel.drawers.made)
    drawer = panel.drawers.made["search"]
    before = dict(run.hyperparams), len(run.journal), run.step_count
    assert panel.overlays.ghosts() == []
    assert drawer.take[0].layout is not drawer.here.layout and drawer.here.layout.border_left is None
    page.click(drawer.here)
    eventually(lambda: run.search is not None and run.search.state.is_ended)
    study = run.search
    eventually(lambda: not drawer.here.disabled and "nbopt-hidden" not in drawer.take[0]._dom_classes)
    assert (dict(run.hyperparams), len(run.journal), run.step_count) == before
    ghosts = panel.overlays.ghosts()
    held = study.held
    assert [ghost.history for ghost in ghosts] == [session.history for _trial, session in held]
    for ghost, (trial, _session) in zip(ghosts, held, strict=True):
        assert ghost.history.last("val_loss") == trial.objective
    best = study.best
    assert f"val_loss {brief(best.objective)}" in drawer.take[0].description
    place = next(place for place, (trial, _session) in enumerate(held) if trial.values["lr"] != 1e-3)
    page.click(drawer.take[place])
    assert run.hyperparams["lr"] == held[place][0].values["lr"]
    assert run.journal.changes()[-1].source == "search"
    eventually(lambda: drawer.take[place].disabled)
    run.fit()
    eventually(lambda: drawer.here.disabled and not drawer.anew.disabled)
    panel.close()


def test_a_search_around_a_long_run_is_short_unless_somebody_says_otherwise(page, show, make_run):
    run = make_run(store=None, lr=1e-3, epochs=6)
    run.step(3)
    panel = show(run)
    page.do(panel.drawers.toggles["search"], value=True)
    eventually(lambda: "search" in panel.drawers.made)
    assert panel.drawers.made["search"].epochs.value == ""  # to the end, which is near

    run = make_run(store=None, lr=1e-3, epochs=10**6)
    run.step(3)
    panel = show(run)
    page.do(panel.drawers.toggles["search"], value=True)
    eventually(lambda: "search" in panel.drawers.made)
    drawer = panel.drawers.made["search"]
    assert drawer.epochs.value == "10"
    page.do(drawer.epochs, value="soon")
    page.click(drawer.here)
    eventually(lambda: "soon" in drawer._note.value and "nbopt-problem" in drawer._note.value)
    assert run.search is None
    page.do(drawer.epochs, value="2")
    page.click(drawer.here)
    eventually(lambda: run.search is not None and run.search.state.is_ended)
    assert len(run.search.trials[0].reports) == 2  # one validation an epoch
