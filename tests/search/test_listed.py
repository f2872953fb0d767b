"""The list of runs knows studies, and the old ones are cleaned away with the runs."""

import pytest
import torch

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.search.record import place_of
from nbopt.store import lease, studies
from tests.search import victim


@pytest.fixture
def study(make, tmp_path):
    study = make(trials=3, store=tmp_path, name="the search").fit()
    study.record.release()
    return study


def test_a_study_is_listed_with_the_runs(study, tmp_path, blobs):
    run = nbopt.Run(torch.nn.Linear(4, 2), blobs, epochs=1, store=tmp_path, name="a run").fit()
    line, other = nbopt.runs(tmp_path)
    assert (line.id, line.title, line.state, line.trials) == (study.id, "the search (3 trials)", "finished", 3)
    assert line.best_val_loss == study.best.objective and line.bytes == place_of(tmp_path, study.id).stat().st_size
    assert (other.id, other.trials) == (run.id, None)
    assert "the search (3 trials)" in nbopt.runs(tmp_path)._repr_html_()
    with place_of(tmp_path, study.id).open("a") as file:
        file.write('{"op_code": 4, "wor')  # killed in the middle of a line
    assert nbopt.runs(tmp_path)[0].trials == 3
    with place_of(tmp_path, study.id).open("a") as file:
        file.write("\n")
    assert (nbopt.runs(tmp_path)[0].state, nbopt.runs(tmp_path)[0].problem) == ("spoilt", "record")


def test_only_what_is_new_of_a_record_is_read_again(make, tmp_path, monkeypatch):
    study = make(trials=5, store=tmp_path).fit()
    taken, take = [], studies._Reading._take
    monkeypatch.setattr(studies._Reading, "_take", lambda self, step: taken.append(step) or take(self, step))
    first = nbopt.runs(tmp_path)
    place = place_of(tmp_path, study.id)
    assert len(taken) == len(place.read_bytes().splitlines())
    assert nbopt.runs(tmp_path) == first and len(taken) == len(place.read_bytes().splitlines())
    study.set(trials=6)
    study.fit()
    (line,) = nbopt.runs(tmp_path)
    assert line.trials == 6 and line.best_val_loss == study.best.objective
    assert len(taken) == len(place.read_bytes().splitlines())
    other = tmp_path / "other"
    other.write_bytes(b"\n".join(place.read_bytes().splitlines()[:-1]) + b"\n")
    other.replace(place)  # another file in its place
    assert nbopt.runs(tmp_path)[0].state == "running"


def test_the_list_says_how_a_study_stands(make, tmp_path, monkeypatch):
    study = make(trials=2, store=tmp_path, objective="loss")
    assert nbopt.runs(tmp_path)[0].state == "created"
    states = []
    study.watchers.append(lambda: states.append(nbopt.runs(tmp_path)[0].state))
    study.fit()
    assert states[1] == "running" and nbopt.runs(tmp_path)[0].best_val_loss is None
    study.watchers[:] = [lambda: study.asked == 3 and study.pause(wait=False)]
    study.set(trials=4)
    study.fit()
    assert nbopt.runs(tmp_path)[0].state == "paused"
    study.watchers[:] = []
    study.journal.event(2, "resume")
    monkeypatch.setattr(lease, "is_alive", lambda folder, token: False)
    assert nbopt.runs(tmp_path)[0].state == "interrupted"


def test_old_studies_are_cleaned_away(study, tmp_path, make):
    later = make(trials=1, store=tmp_path).fit()
    assert [line.id for line in nbopt.clean(keep=1, store=tmp_path)] == [study.id]
    assert [line.id for line in nbopt.runs(tmp_path)] == [later.id]
    assert not nbopt.clean(keep=0, store=tmp_path)  # a live process holds it
    later.record.release()
    assert [line.id for line in nbopt.clean(keep=0, store=tmp_path)] == [later.id]
    with pytest.raises(InvalidHyperparam):
        nbopt.open(later.id, store=tmp_path)


def test_a_study_in_a_population_is_read_without_what_it_was_made_with(make, tmp_path):
    study = make(trials=2, store=tmp_path, executor="population").fit()
    assert victim.found(nbopt.open(study.id, store=tmp_path)) == victim.found(study)
