"""The MixMatch step, against loops over rows in float64."""

import math

import pytest
import torch
from torch.nn import functional as F

from lilawbench.methods.parts.mixing import Mix
from lilawbench.methods.parts.mixmatch import MixMatch

RANDOM = torch.Generator().manual_seed(0)


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=RANDOM)


LABELLED, UNLABELLED = [numbers(3, 4), numbers(3, 4)], [numbers(2, 4), numbers(2, 4)]  # two views of 3 rows, and of 2
TARGETS = numbers(3, 3).softmax(1), numbers(2, 3).softmax(1)
HEAD = numbers(4, 3)
SHARE, PARTNER = 0.7, [9, 3, 0, 1, 8, 2, 5, 4, 7, 6]
OWNER = [0, 1, 2, 0, 1, 2, 3, 4, 3, 4]  # the row of each of the ten inputs


def step(epochs, scale=None, share=SHARE, **options):
    mixmatch = MixMatch(4.0, **{"lambda_u": 30.0} | options)
    mixmatch.mixer = lambda count, device: Mix(share, torch.tensor(PARTNER))
    return mixmatch(lambda input: input @ HEAD, [LABELLED, UNLABELLED], TARGETS, epochs, scale)


def by_loops(lambda_u, prior, weight=(1, 1, 1, 1, 1), class_weight=(1, 1, 1)):
    """As the papers write it: every row of the mixed batch on its own."""
    inputs = [*LABELLED[0], *LABELLED[1], *UNLABELLED[0], *UNLABELLED[1]]
    targets = [*TARGETS[0], *TARGETS[1]]
    supervised, squared, mean = 0.0, 0.0, torch.zeros(3, dtype=torch.float64)
    for row, other in enumerate(PARTNER):
        input = SHARE * inputs[row] + (1 - SHARE) * inputs[other]
        probs = (input @ HEAD).softmax(0)
        mean += probs / 10
        for k in range(3):
            parts = [(SHARE, OWNER[row]), (1 - SHARE, OWNER[other])]
            if row < 6:  # each of the two rows brings its own cross-entropy, with its own weight
                own = sum(share * weight[owner] * targets[owner][k] for share, owner in parts)
                supervised -= class_weight[k] * own * math.log(probs[k]) / 6
            else:
                squared += (probs[k] - sum(share * targets[owner][k] for share, owner in parts)) ** 2 / (4 * 3)
    uniform = sum(math.log(1 / 3 / m) / 3 for m in mean)
    return float(supervised + lambda_u * squared + prior * uniform)


@pytest.mark.parametrize("epochs, lambda_u", [(-1, 0.0), (0, 0.0), (4, 7.5), (16, 30.0), (99, 30.0)])
def test_loss_is_that_of_loops_while_the_unlabelled_part_grows(epochs, lambda_u):
    assert step(epochs).item() == pytest.approx(by_loops(lambda_u, 0), rel=1e-12)
    assert step(epochs, prior=2.0).item() == pytest.approx(by_loops(lambda_u, 2), rel=1e-12)


def test_weights_of_rows_and_of_classes():
    weight, class_weight = (2.0, 0.0, 0.5, 1.0, 1.0), (3.0, 0.25, 0.0)
    rows = torch.tensor(weight, dtype=torch.float64)[:, None]
    assert step(16, rows).item() == pytest.approx(by_loops(30, 0, weight=weight), rel=1e-12)
    classes = torch.tensor(class_weight, dtype=torch.float64)[None]
    assert step(16, classes).item() == pytest.approx(by_loops(30, 0, class_weight=class_weight), rel=1e-12)


def test_unmixed_and_without_the_unlabelled_part_it_is_cross_entropy():
    expected = F.cross_entropy(torch.cat(LABELLED) @ HEAD, torch.cat([TARGETS[0]] * 2))
    torch.testing.assert_close(step(0, share=1.0), expected)


@pytest.mark.parametrize(
    "wrong", [{"lambda_u": -1.0}, {"ramp_epochs": math.inf}, {"prior": -0.5}, {"lambda_u": math.nan}]
)
def test_options_out_of_range(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is"):
        step(0, **wrong)
