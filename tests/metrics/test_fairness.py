"""Gaps between groups by hand; bootstrap intervals against resampled rows and against the normal approximation."""

import numpy as np
import pytest

from lilawbench.metrics.fairness import LARGEST, MEASURES, fairness

# reference: 4 men, labels 1 1 0 0, predicted 1 0 1 0; 5 women, labels 1 0 0 0 0, predicted 1 0 0 0 1; 1 other
LABEL = np.array([1, 1, 0, 0, 1, 0, 0, 0, 0, 0])
PREDICTED = np.array([1, 0, 1, 0, 1, 0, 0, 0, 1, 0])
SEX = np.array(["man"] * 4 + ["woman"] * 5 + ["other"])


def generator(seed=0):
    return np.random.default_rng(seed)


def rows(predicted=PREDICTED, label=LABEL, sex=SEX, reference="man"):
    found = fairness(predicted, label, {"sex": sex}, {"sex": reference}, generator())
    return {row["group"]: row for row in found}


def gaps(row):
    return [row[name] for name in MEASURES]


def test_gaps_by_hand():
    """Men: DP 2/4, TPR 1/2, FPR 1/2, PPV 1/2, ACC 2/4. Women: 2/5, 1, 1/4, 1/2, 4/5. Other: 0, none, 0, none, 1."""
    found = rows()
    assert list(found) == ["man", "woman", "other", LARGEST]
    assert [found[name]["n"] for name in found] == [4, 5, 1, 10]
    assert gaps(found["man"]) == [None] * 5 and found["man"]["reference"]
    assert gaps(found["woman"]) == pytest.approx([-0.1, 0.5, -0.25, 0.0, 0.3], abs=1e-12)
    other = found["other"]
    assert other["TPR"] is other["TPR_low"] is other["PPV"] is None
    assert [other[name] for name in ("DP", "FPR", "ACC")] == pytest.approx([-0.5, -0.5, 0.5], abs=1e-12)
    assert gaps(found[LARGEST]) == pytest.approx([0.5, 0.5, 0.5, 0.0, 0.5], abs=1e-12)


def test_without_a_reference_the_largest_group_is_it():
    for reference in (None, "nobody"):
        assert [name for name, row in rows(reference=reference).items() if row["reference"]] == ["woman"]


def test_one_group_alone_has_no_gap():
    assert list(rows(sex=np.array(["man"] * 10))) == ["man"]


@pytest.fixture(scope="module")
def many():
    """3,000 rows in which women are predicted 1 less often and both are often wrong."""
    draw = generator(3)
    label = (draw.random(3000) < 0.4).astype(np.int64)
    sex = np.where(draw.random(3000) < 0.3, "woman", "man")
    chance = np.where(label == 1, 0.7, 0.2) - 0.1 * (sex == "woman")
    return (draw.random(3000) < chance).astype(np.int64), label, sex


@pytest.mark.slow
def test_intervals_are_those_of_rows_drawn_again(many):
    """The multinomial short cut against 1,000 samples of whole rows: bounds within a tenth of the interval."""
    predicted, label, sex = many
    draw, samples = generator(1), []
    for _ in range(1000):
        row = draw.integers(0, 3000, 3000)
        shares = []
        for group in ("man", "woman"):
            p, y = predicted[row][sex[row] == group], label[row][sex[row] == group]
            shares.append([p.mean(), p[y == 1].mean(), p[y == 0].mean(), y[p == 1].mean(), (p == y).mean()])
        samples.append(np.subtract(shares[1], shares[0]))
    low, high = np.quantile(samples, [0.025, 0.975], axis=0)
    woman = rows(*many)["woman"]
    for number, name in enumerate(MEASURES):
        width = high[number] - low[number]
        assert woman[f"{name}_low"] == pytest.approx(low[number], abs=0.1 * width)
        assert woman[f"{name}_high"] == pytest.approx(high[number], abs=0.1 * width)
        assert woman[f"{name}_low"] < woman[name] < woman[f"{name}_high"]


def test_the_interval_of_a_difference_of_shares_is_the_normal_one(many):
    """ACC: 3.92 standard errors wide, sqrt(p q / n) of both groups."""
    predicted, label, sex = many
    right = predicted == label
    error = np.sqrt(sum(right[sex == g].var() / (sex == g).sum() for g in ("man", "woman")))
    woman = rows(*many)["woman"]
    assert woman["ACC_high"] - woman["ACC_low"] == pytest.approx(2 * 1.96 * error, rel=0.06)


def test_the_generator_alone_decides(many):
    predicted, label, sex = many
    found = [fairness(predicted, label, {"sex": sex}, {"sex": "man"}, generator(seed)) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
