"""Asymmetric noise inside blocks of consecutive classes: two papers' CIFAR-100 noises, which differ."""

import numpy as np

from lilawbench.noise.checks import checked_rate
from lilawbench.noise.transition import Labels, transition

MOVES = ("next", "swap")


def blocks(
    clean: Labels,
    num_classes: int,
    rate: float,
    generator: np.random.Generator,
    moves: str = "next",
    size: int = 5,
    exact: bool = True,
) -> Labels:
    """Moves labels to another class of the same block, classes b size ... b size + size - 1.

    Args:
        rate: probability that a label of a class that moves does, in [0, 1).
        moves: "next", every class to the next one of its block, the last to the first: `rate` of all labels are wrong;
            "swap", two classes of each block, drawn by the generator, to each other: 2 / size of that.
        size: classes of a block, >= 2, a divisor of the number of classes.
    Raises:
        ValueError: rate outside [0, 1), another word for moves, size that does not divide the classes.
    Source: "next": Liu et al. 2020 (ELR), its code for CIFAR-100; "swap": Liu et al. 2022 (SOP), its code for
        CIFAR-100. Deviations: exact counts by default (theirs: exact = False).
    """
    checked_rate(rate)
    if moves not in MOVES:
        raise ValueError(f"moves is {moves!r}; it must be one of {', '.join(MOVES)}")
    if not isinstance(size, int) or size < 2 or num_classes % size:
        raise ValueError(f"size is {size}; it must be >= 2 and divide the {num_classes} classes into blocks")
    matrix = np.eye(num_classes)
    for start in range(0, num_classes, size):
        block = start + np.arange(size)
        moving = block if moves == "next" else generator.choice(block, size=2, replace=False)
        matrix[moving, moving], matrix[moving, np.roll(moving, -1)] = 1 - rate, rate
    return transition(clean, num_classes, matrix, generator, exact)
