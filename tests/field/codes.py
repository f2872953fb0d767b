"""All training codes: those of torch alone, and those that need a library."""

import importlib

from tests.field import digits, images, sequences, series, text

PLAIN = [
    *(digits.Mnist, digits.MnistRnn, digits.VaeCode, digits.SuperResolution),
    *(series.TimeSequence, series.Regression, series.TcnAdding, series.Pinn),
    *(images.UNetCode, images.SimClr, images.ViTCode, images.Detection),
    *(text.MinGpt, text.NanoGpt),
    *(sequences.Captioning,),
]

LIBRARIES = {
    **{"Bert": "hugging_face", "Gpt2": "hugging_face", "Torchvision": "pictures"},
    **{"Graphs": "graphs", "Skorch": "skorch_net"},
}
"""The module in ``tests.field.libraries`` that has a code, by the code's name."""


def of_library(name):
    """Return a code that needs a library.

    Raises
    ------
    ModuleNotFoundError
        Where it is not installed.
    """
    return getattr(importlib.import_module(f"tests.field.libraries.{LIBRARIES[name]}"), name)
