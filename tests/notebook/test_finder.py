"""The chart of a learning-rate sweep: a click on it sets the run's rate."""

import pytest

from nbopt.notebook.panel.lr_finder import FinderChart
from tests.notebook.frontend import eventually


@pytest.fixture
def chart(page, make_run):
    """Return the chart of a sweep for a run at rest."""
    charts = []

    def make(**settings):
        charts.append(FinderChart(make_run(**settings).find_lr(1e-5, 1.0, 40)))
        return charts[-1]

    yield make
    for each in charts:
        each.bridge.close()


def test_a_click_sets_the_rate_and_the_chart_shows_it(page, chart):
    shown = chart(lr=1e-3)
    run = shown._run
    assert shown.rates.x[1].tolist() == [1e-3, 1e-3]
    page.tell(shown.bridge.companion, {"pick": 0.0234567})
    assert run.hyperparams["lr"] == 0.023
    assert run.journal.changes()[-1].source == "finder"
    eventually(lambda: shown.rates.x[1].tolist() == pytest.approx([0.023, 0.023]))
    assert "0.023" in shown._head.value


def test_a_rate_set_elsewhere_is_shown_and_one_outside_is_not_drawn(page, chart):
    shown = chart()
    shown._run.set(lr=0.5)
    eventually(lambda: shown.rates.x[1].tolist() == [0.5, 0.5])
    shown._run.set(lr=5.0)
    eventually(lambda: "<b>5</b>" in shown._head.value)
    assert shown.rates.y[1].tolist() == [0.0, 0.0]


def test_what_makes_no_sense_is_told_and_changes_nothing(page, chart):
    shown = chart(lr=1e-3)
    before = len(shown._run.journal)
    for content in ({"pick": -1.0}, {"pick": float("nan")}, {"pick": "<b>"}, "<script>", {"zoom": {"x": [1, 2]}}):
        page.tell(shown.bridge.companion, content)
    eventually(lambda: "nbopt-problem" in shown._note.value)
    assert "<script>" not in shown._note.value
    assert len(shown._run.journal) == before
    assert shown._run.hyperparams["lr"] == 1e-3


def test_a_sweep_shows_itself_in_a_notebook_and_in_words(page, make_run, monkeypatch):
    sweep = make_run(name="digits").find_lr(1e-5, 1.0, 40)
    monkeypatch.setattr(type(sweep.run), "viewer", None)
    assert list(sweep._repr_mimebundle_()) == ["text/plain"]
    assert "learning rates for 'digits'" in repr(sweep)
