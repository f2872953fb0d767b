"""Few bits keep the promises of every technique: repeated, rewound, stored, opened again and exported."""

import pytest

from nbopt.techniques.compression.activation_bits import ActivationBits
from nbopt.testing import check_technique
from tests.techniques.compression.nets import net

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_tables_and_activations_are_repeated_stored_and_exported():
    values = {"activation_bits": 4, "codebook": 8}
    check_technique(ActivationBits, values, {"activation_bits": 3, "codebook": 4}, model=net)
