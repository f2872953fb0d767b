"""Ready-made panels, as code the user gets to see and keep."""

from __future__ import annotations

_DIGITS = """\
import nbopt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

X, y = load_digits(return_X_y=True)  # 1,797 handwritten digits, 8 x 8 pixels
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.2, stratify=y, random_state=0)

model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
run = nbopt.Run(model, train=(X_train, y_train), val=(X_test, y_test), metrics=["accuracy"], epochs=600, lr=1e-3)
run
"""

_PLAYGROUND = """\
from nbopt.notebook.playground import Playground

playground = Playground()
playground
"""

DEMOS = {"digits": _DIGITS, "playground": _PLAYGROUND}
"""Code by name; the last line shows the panel."""
