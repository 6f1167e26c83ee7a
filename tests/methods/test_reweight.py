"""RRM's re-weighting: the closed form against the linear program that it solves."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from lilawbench.methods.rrm import reweight


def draw(size, seed=0):
    return torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def shuffled(size, seed=0):
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))


CASES = {
    "random": draw(60),
    "exponential": -draw(60, seed=1).log(),
    "tied": shuffled(60) % 5 / 4,
    "ties at the minimum": torch.tensor([0.1, 0.1, 0.1, 0.2, 3.0, 3.0]),
    "on the threshold": torch.tensor([0.0, 0.25, 0.25, 0.5, 0.5, 1.0, 2.0]),
    "all equal": torch.full((7,), 0.3),
    "one": torch.tensor([0.7]),
    "two": torch.tensor([0.7, 1.9]),
    "negative": -draw(60) * 9 + 3,
    "small": draw(60) * 1e-9,
    "huge": draw(60) * 1e6,
    "float32": draw(60).float(),
}


def smallest_objective(c, gamma, penalty_scale):
    """The linear program by HiGHS, with u = v - w, v >= 0, 0 <= w <= 1/N."""
    n, price = len(c), penalty_scale * gamma
    cost = np.concatenate([c + price, -c + price])
    bounds = [(0, None)] * n + [(0, 1 / n)] * n
    solved = linprog(cost, A_eq=[[1] * n + [-1] * n], b_eq=[0], bounds=bounds, method="highs")
    assert solved.status == 0
    return solved.fun + c.mean()


@pytest.mark.every(3)
@pytest.mark.parametrize("case", CASES)
def test_reweight_reaches_the_optimum_of_the_linear_program(case):
    for gamma, penalty_scale in itertools.product((1e-3, 0.25, 0.4, 2.0), (0.5, 1.0)):
        c, u = CASES[case].double(), reweight(CASES[case], gamma, penalty_scale=penalty_scale)
        assert u.dtype == torch.float64 and abs(u.sum().item()) < 1e-12 and u.min() >= -1 / len(c)
        reached = ((1 / len(c) + u) @ c + penalty_scale * gamma * u.abs().sum()).item()
        best = smallest_objective(c.numpy(), gamma, penalty_scale)
        assert reached == pytest.approx(best, rel=1e-9, abs=1e-9), (gamma, penalty_scale)


@pytest.mark.parametrize(
    "c, options, expected",
    [
        ([0.1, 0.4, 0.9], {"gamma": 0.5}, [2, 0, -2]),
        ([0.1, 0.4, 0.9], {"gamma": 0.5, "penalty_scale": 1.0}, [0, 0, 0]),
        ([0.1, 0.4, 0.9], {"gamma": 0.2}, [4, -2, -2]),
        ([0.2, 0.9, 0.2], {"gamma": 0.5}, [1, -2, 1]),
        ([0.0, 0.5, 1.0], {"gamma": 0.5}, [2, 0, -2]),
        ([0.0, 0.5, 1.0], {"gamma": 0.25, "penalty_scale": 1.0}, [2, 0, -2]),
        ([0.1, 0.4, 0.9], {"contamination": 0.3}, [2, 0, -2]),
        ([0.1, 0.4, 0.9], {"contamination": 0.34}, [4, -2, -2]),
        ([0.1, 0.9, 0.9], {"contamination": 0.3}, [4, -2, -2]),
        ([0.1, 0.4, 0.9], {"contamination": 0.7}, [0, 0, 0]),
    ],
)
def test_three_samples_by_hand(c, options, expected):
    """In sixths. The limit is c_min + 2 s gamma: .1 + .5 = .6 prunes .9 alone, whose 1/3 goes to .1; with s = 1 it is
    1.1 and prunes nothing; .1 + .2 prunes two; two smallest share; a loss of 0 + .5 = .5 itself stays. C' = .3 of
    three is .9, so one sample at least; .34 is 1.02, so two; one with a tie at .9, so two; .7 is 2.1, so all three:
    the limit is the minimum, and nothing is pruned."""
    assert reweight(torch.tensor(c, dtype=torch.float64), **options).tolist() == pytest.approx(
        [sixths / 6 for sixths in expected], abs=1e-15
    )


def test_pruning_pays_off():
    """The first case above: 2/3 .1 + 1/3 .4 + .25 (1/3 + 1/3) = 11/30, less than the mean, 14/30."""
    c = torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64)
    u = reweight(c, 0.5)
    assert ((1 / 3 + u) @ c + 0.25 * u.abs().sum()).item() == pytest.approx(11 / 30)


@pytest.mark.parametrize("values", [2, 5, None], ids=["two values", "five values", "all different"])
def test_contamination_prunes_enough_and_no_more_than_ties_force(values):
    for n in range(1, 41):
        losses = draw(n, seed=n) * (values or 1)
        losses = losses if values is None else losses.floor()
        for estimate in ("0", "0.01", "0.07", "0.1", "0.25", "0.29", "0.5", "0.55", "0.9", "0.99"):
            count = math.ceil(Fraction(estimate) * n)
            u = reweight(losses, contamination=float(estimate))
            pruned = u < 0
            limit = losses.sort(descending=True).values[count - 1] if count else math.inf
            if limit > losses.min():
                assert torch.equal(pruned, losses >= limit)
                assert pruned.sum() >= count > (losses > limit).sum() or count == 0
            else:
                assert not u.any()
            assert abs(u.sum().item()) < 1e-12 and u.min() >= -1 / n


@pytest.mark.parametrize("contamination, n, count", [(0.07, 100, 7), (0.55, 20, 11), (0.29, 100, 29), (0.1, 30, 3)])
def test_a_whole_number_of_samples_stays_whole(contamination, n, count):
    """0.07 * 100 is 7.000000000000001 in floating point, 0.29 * 100 is 28.999999999999996."""
    assert (reweight(draw(n), contamination=contamination) < 0).sum() == count


OPTIONS = [{"gamma": 0.3}, {"gamma": 0.3, "penalty_scale": 1.0}, {"contamination": 0.3}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_invariances(options):
    """The order of the samples does not matter, nor a constant added to all losses, nor the dtype."""
    for case, losses in CASES.items():
        u, order = reweight(losses, **options), shuffled(len(losses))
        assert torch.equal(reweight(losses[order], **options), u[order]), case
        torch.testing.assert_close(reweight(losses.double(), **options), u, rtol=0, atol=0)
        if case != "small":  # a shift would round it away
            torch.testing.assert_close(reweight(losses.double() - 8, **options), u, rtol=0, atol=0)


def test_penalty_scale_one_is_twice_the_gamma():
    for case, losses in CASES.items():
        assert torch.equal(reweight(losses, 0.2, penalty_scale=1.0), reweight(losses, 0.4)), case


@pytest.mark.parametrize("options, share", [({"gamma": 0.4}, 0.6), ({"contamination": 0.3}, 0.3)])
def test_a_million_samples(options, share):
    losses = shuffled(1_000_000).float() / 1e6
    u = reweight(losses, **options)
    assert abs(u.sum().item()) < 1e-12
    assert (u == -1e-6).sum().item() == pytest.approx(share * 1e6, abs=1)
    assert u[losses.argmin()].item() == pytest.approx(share, abs=2e-6) and (u > 0).sum() == 1


@pytest.mark.parametrize(
    "losses, options, message",
    [
        ([1.0], {}, r"gamma is None; it must be > 0 \(or give contamination\)"),
        ([1.0], {"gamma": 0}, "gamma is 0; it must be > 0"),
        ([1.0], {"gamma": -1.0}, "gamma is -1.0; it must be > 0"),
        ([1.0], {"gamma": math.nan}, "gamma is nan; it must be > 0"),
        ([1.0], {"gamma": math.inf}, "gamma is inf; it must be > 0"),
        ([1.0], {"contamination": -0.1}, r"contamination is -0.1; it must lie in \[0, 1\)"),
        ([1.0], {"contamination": 1}, r"contamination is 1; it must lie in \[0, 1\)"),
        ([1.0], {"contamination": math.nan}, r"contamination is nan; it must lie in \[0, 1\)"),
        ([1.0], {"gamma": 1.0, "penalty_scale": 0}, "penalty_scale is 0; it must be > 0"),
        ([1.0, math.nan], {"gamma": 1.0}, "losses are nan to nan over 2 samples; there must be some, all of"),
        ([1.0, math.inf], {"contamination": 0.5}, "losses are 1.0 to inf over 2 samples"),
        ([-math.inf, 1.0], {"gamma": 1.0}, "losses are -inf to 1.0 over 2 samples"),
        ([], {"gamma": 1.0}, "over 0 samples; there must be some"),
    ],
)
def test_reweight_refuses(losses, options, message):
    with pytest.raises(ValueError, match=message):
        reweight(torch.tensor(losses), **options)
