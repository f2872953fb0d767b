"""Members of a population on a GPU are what single runs on it are."""

import pytest
import torch

from nbopt import Population, Run


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_members_are_the_single_runs(net, data, device, optimizer):
    given = {"optimizer": optimizer, "device": str(device), "batch_size": 64, "clip_norm": 1.0, "weight_decay": 1e-3}
    rates = [0.001, 0.01, 0.02]
    population = Population(net(0.2), data, 0.2, lr=rates, epochs=3, tier="eager", **given)
    population.step(5)
    assert population.tier == "all members at once"
    population.set(lr=0.005, members=[1])
    population.stop(members=[0])
    population.clone(1, into=0)
    population.fit()
    for member, rate in zip(population, [0.01, 0.01, 0.02], strict=True):
        run = Run(net(0.2), data, 0.2, lr=rate, epochs=3, tier="eager", store=None, **given)
        run.step(5)
        if member.number < 2:
            run.set(lr=0.005)
        run.fit()
        for one, other in zip(member.model.parameters(), run.model.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
