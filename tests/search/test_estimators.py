"""Estimators of scikit-learn, by its own splitters and scorers."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, ShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import nbopt
from nbopt.errors import InvalidHyperparam, UnknownName

IRIS = load_iris(return_X_y=True)


def test_the_example_of_grid_search_in_one_line_finds_the_same():
    space = {"kernel": ("linear", "rbf"), "C": [1, 10]}
    study = nbopt.Study(SVC(), IRIS, space=space, sampler="grid", store=None).fit()
    found = GridSearchCV(SVC(), space).fit(*IRIS)
    assert study.best.values == found.best_params_ and study.best.objective == pytest.approx(
        found.best_score_, abs=1e-6
    )
    means = {str(sorted(trial.values.items())): trial.objective for trial in study.trials}
    for values, mean in zip(found.cv_results_["params"], found.cv_results_["mean_test_score"], strict=True):
        assert means[str(sorted(values.items()))] == pytest.approx(mean, abs=1e-6)
    fitted = study.best.refit()
    assert (fitted.predict(IRIS[0]) == found.best_estimator_.predict(IRIS[0])).all()


def test_data_of_several_lengths_and_scorers_that_are_none_are_refused():
    x, y = IRIS
    with pytest.raises(ValueError, match="the parts of train differ in length: 150 / 10 samples"):
        nbopt.Study(SVC(), (x, y[:10]), space={"C": [1]}, store=None)
    with pytest.raises(ValueError, match="the parts of val differ in length: 20 / 150 samples"):
        nbopt.Study(SVC(), IRIS, (x[:20], y), space={"C": [1]}, store=None)
    with pytest.raises(UnknownName, match=r"unknown objective 'acuracy'\. Did you mean 'accuracy'"):
        nbopt.Study(SVC(), IRIS, space={"C": [1]}, objective="acuracy", store=None)


DIABETES = np.random.default_rng(0).normal(size=(60, 3)), np.random.default_rng(1).normal(size=60)


@pytest.mark.parametrize(
    ("estimator", "data", "space", "scoring", "cv"),
    [
        (SVC(), IRIS, {"C": (0.1, 10.0)}, "accuracy", 5),
        (SVC(), IRIS, {"C": (0.1, 10.0)}, "f1_macro", KFold(4, shuffle=True, random_state=3)),
        (Ridge(), DIABETES, {"alpha": (1e-3, 1e3)}, "neg_mean_squared_error", 3),
        (Ridge(), DIABETES, {"alpha": (1e-3, 1e3)}, None, ShuffleSplit(3, random_state=0)),
        (make_pipeline(StandardScaler(), SVC()), IRIS, {"svc__C": (0.1, 10.0)}, "balanced_accuracy", 3),
        (RandomForestClassifier(5, random_state=1), IRIS, {"max_depth": (1, 4)}, "accuracy", 3),
        (SVC(), (coo_array(IRIS[0]), IRIS[1]), {"C": (0.1, 10.0)}, "accuracy", 3),
    ],
    ids=["svc", "f1", "ridge", "default score", "pipeline", "forest", "sparse"],
)
def test_folds_are_scored_as_cross_val_score_does(estimator, data, space, scoring, cv):
    given = {"space": space, "objective": "val_loss" if scoring is None else scoring, "cv": cv, "store": None}
    study = nbopt.Study(estimator, data, trials=3, sampler="random", **given).fit()
    for trial in study.trials:
        scores = cross_val_score(estimator.set_params(**trial.values), *data, scoring=scoring, cv=cv)
        assert [part[0] for part in trial.parts] == pytest.approx(scores, abs=1e-6)
        assert trial.objective == pytest.approx(scores.mean(), abs=1e-6)


def test_a_forest_without_a_seed_has_that_of_the_study():
    def found():
        forest = RandomForestClassifier(3)
        study = nbopt.Study(forest, IRIS, space={"max_depth": (1, 3)}, trials=3, cv=3, store=None)
        return [trial.parts for trial in study.fit().trials]

    assert found() == found()


def test_a_hold_out_is_cut_off_or_given():
    study = nbopt.Study(SVC(), IRIS, 0.2, space={"C": (0.1, 10.0)}, trials=2, store=None).fit()
    assert len(study.best.parts) == 1
    given = nbopt.Study(SVC(C=1.0), IRIS, IRIS, space={"C": [1.0]}, sampler="grid", store=None).fit()
    assert given.best.objective == pytest.approx(SVC(C=1.0).fit(*IRIS).score(*IRIS))


def test_folds_that_are_given_and_options_of_any_kind():
    groups = np.arange(150) % 5
    folds = list(GroupKFold(5).split(*IRIS, groups))
    space = {"max_features": [None, "sqrt", 2], "class_weight": [None, {0: 2.0, 1: 1.0, 2: 1.0}]}
    study = nbopt.Study(RandomForestClassifier(3), IRIS, space=space, cv=folds, sampler="grid", store=None).fit()
    assert len(study.trials) == 6 and study.best.values["max_features"] in (None, "sqrt", 2)
    assert study.to_pandas().shape[0] == 6


def test_an_estimator_without_targets():
    study = nbopt.Study(KMeans(n_init=1), IRIS[0], space={"n_clusters": (2, 4)}, trials=3, store=None).fit()
    assert study.best.values["n_clusters"] == 4  # whose score always grows
    assert study.best.refit().n_clusters == 4


def test_a_fit_that_fails_fails_its_trial():
    study = nbopt.Study(SVC(), IRIS, space={"C": [1.0, -1.0]}, sampler="grid", store=None).fit()
    assert [trial.state for trial in study.trials] == ["complete", "failed"]


def test_a_stored_study_of_an_estimator_goes_on(tmp_path):
    given = {"space": {"C": (0.1, 10.0), "kernel": ["rbf", "linear"]}, "trials": 3, "store": tmp_path}
    study = nbopt.Study(SVC(), IRIS, **given).fit()
    study.record.release()
    again = nbopt.open(study.id, SVC(), IRIS, store=tmp_path)
    assert [trial.parts for trial in again.trials] == [trial.parts for trial in study.trials]
    again.set(trials=5)
    whole = nbopt.Study(SVC(), IRIS, **{**given, "trials": 5, "store": None}).fit()
    assert [trial.values for trial in again.fit().trials] == [trial.values for trial in whole.trials]


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"space": {"kernal": ["rbf"]}}, UnknownName, "Did you mean 'kernel'"),
        ({"space": ["C"]}, InvalidHyperparam, "no range"),
        ({"space": {"C": 5}}, InvalidHyperparam, "a list of values"),
        ({"space": {"C": [1]}, "objective": "acuracy"}, InvalidHyperparam, "acuracy"),
        ({"space": {"C": [1]}, "direction": "minimize"}, InvalidHyperparam, "more is better"),
        ({"space": {"C": [1]}, "epochs": 5}, InvalidHyperparam, "epochs"),
        ({"space": {"C": [1]}, "optimizer": "sgd"}, InvalidHyperparam, "optimizer"),
        ({}, InvalidHyperparam, "space="),
    ],
)
def test_what_cannot_be_searched_is_refused_in_words(given, error, told):
    with pytest.raises(error, match=told):
        nbopt.Study(SVC(), IRIS, store=None, **given)


def test_a_trial_of_an_estimator_is_no_run():
    study = nbopt.Study(SVC(), IRIS, space={"C": [1]}, sampler="grid", store=None).fit()
    with pytest.raises(ValueError, match="no run"):
        study.best.run()
