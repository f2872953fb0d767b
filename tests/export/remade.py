"""Runs made of recipes."""

from nbopt import Run


def remake(text, model, train, val=None, **given_again):
    return Run.from_yaml(text, model, train, val, device="cpu", store=None, **given_again)
