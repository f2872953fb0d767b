"""All training codes: those of torch alone, and those that need a library."""

import importlib

from tests.field import carried, digits, images, sequences, series, text

PLAIN = [
    *(digits.Mnist, digits.MnistRnn, digits.VaeCode, digits.SuperResolution),
    *(series.TimeSequence, series.Regression, series.TcnAdding, series.Pinn),
    *(images.UNetCode, images.SimClr, images.ViTCode, images.Detection),
    *(text.MinGpt, text.NanoGpt, text.Word2Vec, carried.WordLanguageModel),
    *(sequences.Captioning, sequences.Translation, sequences.SiameseNetwork),
]

LIBRARIES = {
    **{"Bert": "hugging_face", "Gpt2": "hugging_face", "Torchvision": "pictures", "Timm": "pictures"},
    **{"Graphs": "graphs", "Skorch": "skorch_net"},
}
"""The module in ``tests.field.libraries`` that has a code, by the code's name."""

WAITING = {"pytorch/examples, dcgan": "two optimizers take turns, which no run does"}
"""Codes that no run can have, and why."""


def of_library(name):
    """Return a code that needs a library.

    Raises
    ------
    ModuleNotFoundError
        Where it is not installed.
    """
    return getattr(importlib.import_module(f"tests.field.libraries.{LIBRARIES[name]}"), name)
