"""Sources that workers fetch for."""

import pytest
from torch.utils.data import DataLoader

from nbopt.data.sources import as_source


@pytest.fixture
def source_of():
    """Return a maker of sources that workers fetch for; the workers end with the test."""
    sources = []

    def make(dataset, workers=2, **settings):
        loader = DataLoader(dataset, num_workers=workers, **{"batch_size": 4, "shuffle": True, **settings})
        sources.append(as_source(loader, "train"))
        return sources[-1]

    yield make
    for source in sources:
        source.workers.stop()
