"""The natural order of class names."""

import random

import pytest

from lilawbench.support.natural import natural


@pytest.mark.parametrize(
    "names",
    [
        [*map(str, range(12))],
        ["-1", "0", "0.5", "01", "1", "1.0", "1e1", "11"],
        ["Bee", "ant", "ant2", "ant2b", "ant10", "bee"],
        ["2", "10", "2 years", "10 years", "nan"],
        ["9" * 5000, "x" + "9" * 5000, "x" + "1" + "0" * 5000],
    ],
)
def test_natural_order_from_any_order(names):
    for seed in range(5):
        assert sorted(random.Random(seed).sample(names, len(names)), key=natural) == names
