"""Preprocessing against scikit-learn's, learnt from the training part alone."""

import numpy as np
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import nn
from torch.utils.data import Dataset

from nbopt import Run
from nbopt.techniques.inputs.preprocessing import Cleaning, Scaling

TRAIN = np.random.default_rng(0).normal([1.0, -50.0, 3.0], [1.0, 20.0, 0.0], (31, 3)).astype("f4")
OTHER = np.random.default_rng(1).normal([0.0, 10.0, 4.0], [2.0, 30.0, 1.0], (10, 3)).astype("f4")


def part(kind, x, **values):
    made = kind()
    made.__dict__.update(values)
    made.fit(torch.tensor(x))
    return lambda other: made.change_inputs(torch.tensor(other)).numpy()


def test_standardized_as_scikit_learn_does():
    expected = StandardScaler().fit(TRAIN.astype("f8")).transform(OTHER)
    np.testing.assert_allclose(part(Scaling, TRAIN, scaling="standardize")(OTHER), expected, rtol=1e-4, atol=1e-4)


def test_brought_to_a_range_as_scikit_learn_does():
    expected = MinMaxScaler((-1.0, 2.0)).fit(TRAIN.astype("f8")).transform(OTHER)
    ours = part(Scaling, TRAIN, scaling="range", range_low=-1.0, range_high=2.0)(OTHER)
    np.testing.assert_allclose(ours[:, :2], expected[:, :2], rtol=1e-4, atol=1e-4)
    assert np.isfinite(ours).all()  # the third never varied


@pytest.mark.parametrize(("impute", "strategy"), [("mean", "mean"), ("median", "median"), ("zero", "constant")])
def test_missing_values_are_filled_in_as_scikit_learn_does(impute, strategy):
    train, other = TRAIN.copy(), OTHER.copy()
    train[::4, 1] = other[2, 0] = other[3, 1] = np.nan  # 23 values are left: the median is one of them
    expected = SimpleImputer(strategy=strategy, fill_value=0.0).fit(train).transform(other)
    np.testing.assert_allclose(part(Cleaning, train, impute=impute)(other), expected, rtol=1e-5, atol=1e-5)


def test_outliers_are_drawn_in():
    mean, spread = TRAIN.astype("f8").mean(0), TRAIN.astype("f8").std(0)
    spread[2] = 1.0  # it never varied
    expected = OTHER.clip(mean - 1.5 * spread, mean + 1.5 * spread)
    np.testing.assert_allclose(part(Cleaning, TRAIN, outliers=1.5)(OTHER), expected, rtol=1e-4, atol=1e-3)


def test_images_are_scaled_by_channel():
    x = np.random.default_rng(0).normal(size=(9, 2, 4, 4)).astype("f4") * np.array([1, 50]).reshape(1, 2, 1, 1)
    scaled = part(Scaling, x.astype("f4"), scaling="standardize")(x.astype("f4"))
    np.testing.assert_allclose(scaled.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std((0, 2, 3)), 1, rtol=1e-4)


def test_only_the_training_part_is_learnt_from(one_torch_thread):
    x = np.concatenate([TRAIN, 1e6 + OTHER])
    y = np.arange(41) % 2
    seen = []

    def forward(model, batch):
        seen.append(batch[0])
        return model(batch[0]), batch[1]

    settings = {"forward": forward, "scaling": "standardize", "epochs": 1, "batch_size": 64, "store": None}
    Run(nn.Linear(3, 2), (x[:31], y[:31]), (x[31:], y[31:]), **settings).fit()
    np.testing.assert_allclose(seen[0].mean(0), 0, atol=1e-4)
    assert float(seen[1].mean()) > 1e3


def test_data_that_are_not_in_memory_are_no_place_to_learn_from(one_torch_thread):
    class Fetched(Dataset):
        def __len__(self):
            return len(TRAIN)

        def __getitem__(self, index):
            return torch.tensor(TRAIN[index]), index % 2

    run = Run(nn.Linear(3, 2), Fetched(), epochs=1, scaling="standardize", store=None)
    with pytest.warns(UserWarning, match="scaling: it learns from training samples in memory"):
        run.fit()
