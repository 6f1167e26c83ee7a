"""Class-conditional noise: P(observed = j | clean = i) is the transition matrix T[i, j], whose rows sum to 1.

Every function takes clean labels [N] int64 in 0..K-1 (never modified), K, its own options, a NumPy generator, and
`exact`: True draws exact counts (for `asymmetric`, `dirichlet` and `transition` per class and row of the matrix, where
a tiny class rounds; for the others over all labels), False flips each label independently (Bernoulli), so that the
realised rate varies with the seed. Each returns observed labels, [N] int64, and raises ValueError for a label outside
0..K-1.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lilawbench.noise.checks import Matrix, checked_labels, checked_matrix, checked_rate
from lilawbench.noise.classes import class_number, is_number
from lilawbench.support.apportion import apportion
from lilawbench.tasks import ALL, fits

Labels = np.ndarray


@fits(*ALL)
def none(clean: Labels, num_classes: int, generator: np.random.Generator) -> Labels:
    """Labels as they are, of any task."""
    return np.array(clean)


def symmetric(
    clean: Labels, num_classes: int, rate: float, generator: np.random.Generator, exact: bool = True
) -> Labels:
    """Moves a share of the labels to one of the *other* classes, uniformly: P(observed != clean) = rate.

    With `exact`, exactly int(rate * N) labels move, whatever their class.

    Args:
        rate: probability that a label moves, in [0, 1).
    Raises:
        ValueError: rate outside [0, 1), fewer than two classes.
    Source: Patrini et al. 2017; RRM (appendix: int(C*N) labels). Deviations: none.
    """
    rows = _pick(checked_labels(clean, num_classes), rate, generator, exact)
    if num_classes < 2:
        raise ValueError(f"{num_classes} class leaves no other class to move a label to")
    observed = np.array(clean, dtype=np.int64)
    observed[rows] = (observed[rows] + generator.integers(1, num_classes, size=len(rows))) % num_classes
    return observed


def symmetric_inclusive(
    clean: Labels, num_classes: int, rate: float, generator: np.random.Generator, exact: bool = True
) -> Labels:
    """Redraws a share of the labels from *all* classes: P(observed != clean) = rate * (K - 1) / K, not rate.

    The trap of the literature: at 50 % and ten classes, 45 % of the labels are wrong.

    Args:
        rate: probability that a label is redrawn, in [0, 1).
    Raises:
        ValueError: rate outside [0, 1).
    Source: the "uniform" noise of LiLAW's code and the symmetric noise of Dynamic Loss.
    """
    rows = _pick(checked_labels(clean, num_classes), rate, generator, exact)
    observed = np.array(clean, dtype=np.int64)
    observed[rows] = generator.integers(0, num_classes, size=len(rows))
    return observed


def class_frequency(
    clean: Labels, num_classes: int, rate: float, generator: np.random.Generator, exact: bool = True
) -> Labels:
    """Redraws a share of the labels from the class frequencies f_j = N_j / N of `clean`: long-tailed data stay so.

    The own class is included: P(observed != clean) = rate * (1 - sum_j f_j^2), which falls as the imbalance grows.

    Args:
        rate: probability that a label is redrawn, lambda, in [0, 1).
    Raises:
        ValueError: rate outside [0, 1).
    Source: Dynamic Loss, "CIFAR-N-LT" (there each label independently: exact = False).
    """
    count = checked_labels(clean, num_classes)
    rows = _pick(count, rate, generator, exact)
    observed = np.array(clean, dtype=np.int64)
    observed[rows] = observed[generator.integers(0, max(count, 1), size=len(rows))]  # the label of a random row
    return observed


def asymmetric(
    clean: Labels,
    num_classes: int,
    rate: float,
    generator: np.random.Generator,
    pairs: Mapping[int | str, int | str] | None = None,
    exact: bool = True,
    class_names: Sequence[str] | None = None,
) -> Labels:
    """Moves a share of each class in `pairs` to its look-alike; classes that are not in `pairs` stay clean.

    Args:
        rate: probability that a label of a class in `pairs` moves, in [0, 1).
        pairs: {clean class: observed class}, by numbers or names; None moves every class to the next one (pair flip).
        class_names: of the data set; None: not known yet, and pairs of names are left out.
    Raises:
        ValueError: rate outside [0, 1), a class outside 0..K-1, no class of that name, a class paired with itself.
    Source: Patrini et al. 2017 (pairs); Han et al. 2018 (pair flip).
    """
    checked_rate(rate)
    if pairs is None:
        pairs = {i: (i + 1) % num_classes for i in range(num_classes)}
    if class_names is None:
        pairs = {i: j for i, j in pairs.items() if is_number(i) and is_number(j)}
    numbers = {class_number(i, class_names or ()): class_number(j, class_names or ()) for i, j in pairs.items()}
    if class_names is not None and len(numbers) < len(pairs):
        raise ValueError(f"pairs names a class twice: {dict(pairs)}")
    for (i, j), said in zip(numbers.items(), pairs.items()):
        if i == j or not (0 <= i < num_classes and 0 <= j < num_classes):
            of = f" of 0..{num_classes - 1}" if all(map(is_number, said)) else ""
            raise ValueError(f"pair {said[0]}: {said[1]} does not join two different classes{of}")
    matrix = np.eye(num_classes)
    for i, j in numbers.items():
        matrix[i, i], matrix[i, j] = 1 - rate, rate
    return transition(clean, num_classes, matrix, generator, exact)


def dirichlet(
    clean: Labels,
    num_classes: int,
    rate: float,
    generator: np.random.Generator,
    concentration: float = 1.0,
    exact: bool = True,
) -> Labels:
    """Moves a share of every class to the other classes in proportions drawn once per class from a Dirichlet.

    Args:
        rate: probability that a label moves, in [0, 1).
        concentration: of the symmetric Dirichlet over the K - 1 other classes, > 0; small = few look-alikes.
    Raises:
        ValueError: rate outside [0, 1), concentration <= 0.
    Source: the "asymmetric" noise of LiLAW's code (concentration 1).
    """
    if not concentration > 0:
        raise ValueError(f"concentration is {concentration}; it must be > 0")
    if num_classes < 2:
        raise ValueError(f"{num_classes} class leaves no other class to move a label to")
    matrix = np.diag(np.full(num_classes, 1 - checked_rate(rate)))
    for i in range(num_classes):
        others = np.arange(num_classes) != i
        matrix[i, others] = rate * generator.dirichlet(np.full(num_classes - 1, concentration))
    return transition(clean, num_classes, matrix, generator, exact)


def kernel(
    clean: Labels,
    num_classes: int,
    rate: float,
    generator: np.random.Generator,
    kernel: Matrix,
    exact: bool = True,
) -> Labels:
    """Moves a share of the labels to another class, drawn from the row of their own: P(observed != clean) = rate.

    With `exact`, exactly int(rate * N) labels move, whatever their class.

    Args:
        rate: probability that a label moves, in [0, 1).
        kernel: P(observed = j | clean = i, moved), [K, K] with a diagonal of 0, or the path of a CSV with it, as
            scripts/make_kernel.py writes one. Rows sum to 1 to within the 1e-3 of a printed table and are normalised.
    Raises:
        DataError: the CSV cannot be read.
        ValueError: rate outside [0, 1), wrong size, an entry outside [0, 1], a diagonal entry, a row that does not
            sum to 1.
    Source: RRM, Table 9 (int(C*N) labels). Deviations: none.
    """
    moves = checked_matrix(kernel, num_classes, "kernel", tolerance=1e-3)
    if len(stays := np.flatnonzero(np.diag(moves))):
        raise ValueError(f"row {stays[0]} of the kernel moves labels to their own class; its diagonal must be 0")
    rows = _pick(checked_labels(clean, num_classes), rate, generator, exact)
    observed = np.array(clean, dtype=np.int64)
    for i in range(num_classes):
        moved = rows[clean[rows] == i]
        observed[moved] = generator.choice(num_classes, size=len(moved), p=moves[i])
    return observed


def transition(
    clean: Labels,
    num_classes: int,
    matrix: Matrix,
    generator: np.random.Generator,
    exact: bool = True,
) -> Labels:
    """Noise by any transition matrix. With `exact`, each class is split in the row's proportions to within one label.

    Args:
        matrix: T[i, j] = P(observed = j | clean = i), [K, K], rows sum to 1; or the path of a CSV with it.
    Raises:
        DataError: the CSV cannot be read.
        ValueError: wrong size, an entry outside [0, 1], a row that does not sum to 1 (named with its sum).
    Source: Patrini et al. 2017, section 3.
    """
    probability = checked_matrix(matrix, num_classes)
    checked_labels(clean, num_classes)
    observed = np.array(clean, dtype=np.int64)
    for i in range(num_classes):
        rows = np.flatnonzero(clean == i)
        if exact:
            classes = generator.permutation(num_classes)  # ties in rounding must not favour the first classes
            observed[generator.permutation(rows)] = np.repeat(classes, apportion(len(rows) * probability[i, classes]))
        else:
            observed[rows] = generator.choice(num_classes, size=len(rows), p=probability[i])
    return observed


def _pick(count: int, rate: float, generator: np.random.Generator, exact: bool) -> np.ndarray:
    """Rows to change: exactly int(rate * count) of them, or each with probability rate."""
    checked_rate(rate)
    if exact:
        return generator.permutation(count)[: int(rate * count + 1e-9)]
    return np.flatnonzero(generator.random(count) < rate)
