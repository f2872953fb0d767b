"""The board: a picture of the plane, and of the network beside it, drawn in the browser from plain bytes (board.js)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from nbopt.notebook.frontend.bridge import FrontEnd
from nbopt.notebook.frontend.scripts import styles
from nbopt.notebook.playground.data import Points
from nbopt.viz.boundary import Sketch

SECONDS = 0.04
"""The least time between two frames: a board is small, and is to move smoothly."""

AHEAD = 2
"""Frames under way when another is sent: its way to the page and back takes longer than drawing it."""

_HERE = Path(__file__).parent


class Board(FrontEnd):
    """What the browser draws; written by a bridge alone.

    Attributes
    ----------
    field : bytes
        uint16: heights or probabilities, of ``side`` rows from the top.
    levels : list of float
        Where contour lines are drawn.
    reach : list of float
        left, right, bottom, top.
    points : bytes
        float32: x, y, class, and 1 for validation, of each point.
    layers : list of int
        Units of the inputs, each hidden layer, and the output; empty where no network is drawn.
    units, weights : bytes
        The pictures of all units, and float32 weights, layer after layer.
    paths : bytes
        float32: x, y of each place, path after path.
    lengths : list of int
        Places of each path.
    target : list of float
        x and y of the place to be marked; empty for none.
    tones : list of str
        Colours of the field's lowest and highest values; of the lowest alone, if the highest are the ground's.
    hues : list of str
        Colours of the paths.
    texts : dict of str to str
        What a screen reader says of the picture and of the network.
    """

    _esm = _HERE / "board.js"
    _css = styles(_HERE / "playground.css")
    field = traitlets.Bytes().tag(sync=True)
    side = traitlets.Int(1).tag(sync=True)
    levels: Any = traitlets.List().tag(sync=True)
    reach: Any = traitlets.List([-1.0, 1.0, -1.0, 1.0]).tag(sync=True)
    points = traitlets.Bytes().tag(sync=True)
    layers: Any = traitlets.List().tag(sync=True)
    units = traitlets.Bytes().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    paths = traitlets.Bytes().tag(sync=True)
    lengths: Any = traitlets.List().tag(sync=True)
    target: Any = traitlets.List().tag(sync=True)
    tones: Any = traitlets.List().tag(sync=True)
    hues: Any = traitlets.List().tag(sync=True)
    texts = traitlets.Dict().tag(sync=True)

    def show_network(self, sketch: Sketch) -> None:
        """Draw a network as it is now."""
        self.side = len(sketch.field)
        self.field = sketch.field.tobytes()
        self.layers = [len(part) for part in sketch.units]
        self.units = b"".join(part.tobytes() for part in sketch.units)
        self.weights = b"".join(part.tobytes() for part in sketch.weights)

    def show_points(self, points: Points) -> None:
        """Draw a data set."""
        parts = ((points.x, points.y, 0), (points.x_val, points.y_val, 1))
        rows = [np.column_stack([x, y, np.full(len(y), part)]) for x, y, part in parts]
        self.points = np.concatenate(rows).astype(np.float32).tobytes()

    def show_paths(self, paths: Sequence[NDArray[np.float32]]) -> None:
        """Draw ways, each of shape (places, 2)."""
        self.lengths = [len(path) for path in paths]
        self.paths = b"".join(path.astype(np.float32).tobytes() for path in paths)
