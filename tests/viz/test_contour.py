import numpy as np

from nbopt.viz.contour import contour


def test_the_contour_of_a_disc_is_a_circle():
    x, y = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41))
    pieces = contour(np.hypot(x, y), 0.6) / 20 - 1  # columns and rows, as places in the plane
    assert np.allclose(np.hypot(pieces[..., 0], pieces[..., 1]), 0.6, atol=2e-3)
    lengths = np.linalg.norm(pieces[:, 0] - pieces[:, 1], axis=1)
    assert abs(lengths.sum() - 2 * np.pi * 0.6) < 0.02


def test_where_nothing_crosses_there_is_no_line_and_a_saddle_has_two():
    assert contour(np.zeros((5, 4)), 1.0).shape == (0, 2, 2)
    saddle = contour(np.array([[1.0, 0.0], [0.0, 1.0]]), 0.5)
    assert saddle.shape == (2, 2, 2)
    assert sorted(map(tuple, saddle.reshape(-1, 2).tolist())) == [(0.0, 0.5), (0.5, 0.0), (0.5, 1.0), (1.0, 0.5)]
