"""What tests of the store share."""

import torch

FOREVER = 10**9
X = torch.linspace(-1, 1, 60)[:, None]


def events_of(journal):
    return [entry.name for entry in journal if entry.kind == "event"]


def same_history(one, other):
    return one.tracks.keys() == other.tracks.keys() and all(
        one[name][k].tolist() == other[name][k].tolist() for name in one.tracks for k in (0, 1)
    )
