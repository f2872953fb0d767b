"""Pruned weights stay 0 where they have few bits, too."""

import pytest

from tests.techniques.compression.nets import make

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize(
    "few", [{"weight_bits": 4}, {"weight_bits": 3, "bits_symmetric": False}, {"codebook": 4}], ids=str
)
def test_what_is_pruned_is_0_and_the_rest_has_few_values(few):
    run = make(sparsity=0.5, epochs=4, **few)
    run.step(5)
    weights = run.training.acting.weights()
    pruned = sum(int((weights[name] == 0).sum()) for name in ("0.weight", "4.weight", "6.weight"))
    assert pruned >= (36 + 576 + 27) // 2
    assert len(weights["4.weight"][0].unique()) <= 16
    replay = run.replay()
    replay.wait(60)
    assert (replay.model[4].weight == run.model[4].weight).all()
