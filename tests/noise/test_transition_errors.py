"""What label noise says of rates, labels, pairs and matrices out of range."""

import numpy as np
import pytest

from lilawbench import noise
from lilawbench.noise import asymmetric, class_frequency, dirichlet, kernel, symmetric, symmetric_inclusive, transition

K, RATE = 5, 0.4
CLEAN = np.arange(100) % K
KERNEL = ((1 - np.eye(K)) / (K - 1)).tolist()


def generator():
    return np.random.default_rng(1)


@pytest.mark.parametrize("name", ["symmetric", "symmetric_inclusive", "class_frequency", "asymmetric", "dirichlet"])
def test_rate_outside_0_1(name):
    for rate in (-0.1, 1, 1.0, 1.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"rate is {rate}; it must lie in \[0, 1\)"):
            getattr(noise, name)(CLEAN, K, rate=rate, generator=generator())


def test_kernel_refuses_a_rate_and_labels_out_of_range():
    with pytest.raises(ValueError, match=r"rate is 1; it must lie in \[0, 1\)"):
        kernel(CLEAN, K, 1, generator(), KERNEL)
    with pytest.raises(ValueError, match=r"labels run from 0 to 7; they must lie in 0\.\.4"):
        kernel(np.array([0, 7]), K, 0.5, generator(), KERNEL)


def test_symmetric_needs_two_classes():
    with pytest.raises(ValueError, match="1 class leaves no other class"):
        noise.symmetric(np.zeros(4, np.int64), 1, 0.5, generator())


@pytest.mark.parametrize("pairs", [{0: 0}, {0: 5}, {5: 0}, {-1: 0}, {0: -1}, {0: 1, 2: 2}])
def test_bad_pairs(pairs):
    i, j = list(pairs.items())[-1]
    with pytest.raises(ValueError, match=rf"pair {i}: {j} does not join two different classes of 0\.\.4"):
        noise.asymmetric(CLEAN, K, RATE, generator(), pairs)


@pytest.mark.parametrize("pairs, said", [({"pear": "pear"}, "pear: pear"), ({"pear": 1}, "pear: 1")])
def test_a_bad_pair_is_called_as_the_user_called_it(pairs, said):
    with pytest.raises(ValueError, match=f"pair {said} does not join two different classes$"):
        noise.asymmetric(CLEAN % 2, 2, RATE, generator(), pairs, class_names=["apple", "pear"])


@pytest.mark.parametrize("concentration", [0, -1.0, float("nan")])
def test_bad_concentration(concentration):
    with pytest.raises(ValueError, match=rf"concentration is {concentration}; it must be > 0"):
        noise.dirichlet(CLEAN, K, RATE, generator(), concentration)


@pytest.mark.parametrize(
    "matrix, message",
    [
        (np.eye(4), r"the matrix is 4 x 4; the data set has 5 classes: 5 x 5"),
        (np.ones((5, 4)) / 4, r"the matrix is 5 x 4; the data set has 5 classes"),
        ([0.2] * 5, r"the matrix is 5; the data set has 5 classes: 5 x 5"),
        ([[1, 0, 0, 0, 0]] * 4 + [[1]], r"the matrix is not a 5 x 5 table of numbers"),
        ([["a"] * 5] * 5, r"the matrix is not a 5 x 5 table of numbers"),
        (np.eye(5) * [1, 1, 0.9, 1, 1], r"rows must sum to 1: row 2 sums to 0\.9$"),
        (np.eye(5) * [1, 0.5, 1, 1, 0], r"row 1 sums to 0\.5, row 4 sums to 0$"),
        (np.eye(5) + 0.2 * np.eye(5, k=1) - 0.2 * np.eye(5), r"row 4 sums to 0\.8$"),
        ([[1.5, -0.5, 0, 0, 0], *np.eye(5)[1:]], r"entries outside \[0, 1\]"),
        ([[-0.2, 0.6, 0.6, 0, 0], *np.eye(5)[1:]], r"entries outside \[0, 1\]"),
        (np.full((5, 5), np.nan), r"entries outside \[0, 1\]"),
    ],
    ids=["4x4", "5x4", "flat", "ragged", "letters", "row 2", "rows 1, 4", "last row", "above 1", "negative", "nan"],
)
def test_bad_matrix(matrix, message):
    with pytest.raises(ValueError, match=message):
        noise.transition(CLEAN, K, matrix, generator())


@pytest.mark.parametrize(
    "table, message",
    [
        ([[0, 1], [1, 0]], r"the kernel is 2 x 2; the data set has 5 classes: 5 x 5"),
        ([["a"] * 5] * 5, r"the kernel is not a 5 x 5 table of numbers"),
        (np.eye(5), "row 0 of the kernel moves labels to their own class; its diagonal must be 0"),
        ([*KERNEL[:4], [0, 0, 0, 0.5, 0.5]], "row 4 of the kernel moves labels to their own class"),
        ([*KERNEL[:4], [0.05, 0.05, 0, 0.9011, 0]], r"rows must sum to 1: row 4 sums to 1\.0011"),
        ([*KERNEL[:4], [0.0] * 5], "row 4 sums to 0"),
        ([*KERNEL[:4], [-0.5, 0.75, 0.75, 0, 0]], r"the kernel has entries outside \[0, 1\]"),
    ],
    ids=["2x2", "letters", "matrix", "diagonal", "sum", "empty", "negative"],
)
def test_bad_kernel(table, message):
    with pytest.raises(ValueError, match=message):
        kernel(CLEAN, K, RATE, generator(), table)


@pytest.mark.parametrize("function", [symmetric, symmetric_inclusive, class_frequency, asymmetric, dirichlet])
def test_labels_outside_the_classes_are_refused(function):
    with pytest.raises(ValueError, match=r"labels run from 0 to 7; they must lie in 0\.\.2"):
        function(np.array([0, 1, 2, 7]), 3, 0.3, np.random.default_rng(0))


def test_a_bad_rate_is_refused_even_where_no_class_has_a_pair():
    with pytest.raises(ValueError, match="rate is 2"):
        asymmetric(np.arange(10), 10, 2.0, np.random.default_rng(0), pairs={})


@pytest.mark.parametrize("matrix", [0.5, None, [[{}]]])
def test_what_is_no_matrix_is_rejected(matrix):
    with pytest.raises(ValueError, match="the matrix is"):
        transition(np.arange(3), 3, matrix, np.random.default_rng(0))
