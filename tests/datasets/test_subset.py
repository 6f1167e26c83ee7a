"""Kept classes, long tails and shortened classes: counts by hand, what is drawn, what is refused."""

import dataclasses

import numpy as np
import pytest
import torch

from lilawbench.check import check
from lilawbench.config import build
from lilawbench.datasets.adult import Adult
from lilawbench.datasets.base import Dataset, Source, keep_classes, numbered
from lilawbench.datasets.digits import Digits
from lilawbench.datasets.ecg5000 import ECG5000
from lilawbench.datasets.subset import draw, long_tail
from lilawbench.datasets.vision import MNIST, FashionMNIST
from lilawbench.support.errors import ConfigError

DATASETS = [Digits, MNIST, FashionMNIST, Adult, ECG5000]


def generator(seed=1):
    return np.random.default_rng(seed)


def tiny_source(train_clean, test_clean, num_classes=4):
    """Rows whose input is their number, test rows counted from 100."""
    train_clean, test_clean = np.array(train_clean, dtype=np.int64), np.array(test_clean, dtype=np.int64)
    return Source(
        train_input=torch.arange(len(train_clean), dtype=torch.float32)[:, None],
        train_clean=train_clean,
        test_input=100 + torch.arange(len(test_clean), dtype=torch.float32)[:, None],
        test_clean=test_clean,
        class_names=tuple("abcd"[:num_classes]),
        mean=(0.5,),
        std=(0.25,),
        test_groups={"side": np.array(["left", "right"] * len(test_clean))[: len(test_clean)]},
    )


class Tiny(Dataset):
    """40, 30, 20, 40 training rows and 2 test rows of each of four classes."""

    num_classes = 4

    def load(self, data_dir):
        return tiny_source(np.repeat([0, 1, 2, 3], [40, 30, 20, 40]), [0, 1, 2, 3] * 2)


def test_keep_classes_by_hand():
    """Of a b c d, keep d and b: 3 becomes 0 and 1 becomes 1, in the training rows and in the test rows."""
    source = tiny_source([0, 1, 2, 3, 3, 1], [3, 2, 1, 0, 3])
    kept = keep_classes(source, [3, 1])
    assert kept.train_input.flatten().tolist() == [1, 3, 4, 5]
    assert kept.train_clean.tolist() == [1, 0, 0, 1]
    assert kept.test_input.flatten().tolist() == [100, 102, 104]
    assert kept.test_clean.tolist() == [0, 1, 0]
    assert kept.class_names == ("d", "b") and kept.num_classes == 2
    assert kept.test_groups["side"].tolist() == ["left", "left", "left"]
    assert (kept.mean, kept.std) == ((0.5,), (0.25,))
    assert kept.train_clean.dtype == kept.test_clean.dtype == np.int64
    assert source.train_clean.tolist() == [0, 1, 2, 3, 3, 1]  # not modified


def test_official_validation_rows_keep_the_classes_and_are_never_thinned():
    """Of validation rows b d d a, keep d and b: 1, 0 and 0. A long tail is drawn from the training rows alone."""

    class WithVal(Tiny):
        def load(self, data_dir):
            val = {"val_input": torch.arange(200.0, 204)[:, None], "val_clean": np.array([1, 3, 3, 0])}
            return dataclasses.replace(super().load(data_dir), **val)

    kept = WithVal(classes=[3, 1], imbalance=2, per_class=30).source(None, generator())
    assert kept.val_input.flatten().tolist() == [200, 201, 202]
    assert kept.val_clean.tolist() == [1, 0, 0] and kept.val_clean.dtype == np.int64
    assert np.bincount(kept.train_clean).tolist() == [30, 15]


def test_a_row_that_was_given_another_class_s_label_is_left_out():
    """Of a b c d, keep d and b: rows 1, 3, 4, 5 are theirs, and row 4 was given a c; of validation rows b d, d an a."""
    source = dataclasses.replace(
        tiny_source([0, 1, 2, 3, 3, 1], [3, 1]),
        train_observed=np.array([1, 3, 2, 1, 2, 1]),
        val_input=torch.arange(2.0)[:, None],
        val_clean=np.array([1, 3]),
        val_observed=np.array([1, 0]),
    )
    kept = keep_classes(source, [3, 1])
    assert kept.train_input.flatten().tolist() == [1, 3, 5]
    assert kept.train_clean.tolist() == [1, 0, 1] and kept.train_observed.tolist() == [0, 1, 1]
    assert kept.val_input.flatten().tolist() == [0]
    assert kept.val_clean.tolist() == kept.val_observed.tolist() == [1]


def test_keeping_all_classes_changes_nothing():
    source = tiny_source([0, 1, 2, 3, 3, 1], [3, 2, 1, 0, 3])
    kept = keep_classes(source, range(4))
    assert torch.equal(kept.train_input, source.train_input) and kept.class_names == source.class_names
    np.testing.assert_array_equal(kept.test_clean, source.test_clean)


def test_rows_that_are_left_keep_their_numbers_or_names():
    source = Tiny(classes=[2, 0], imbalance=2).source(None, generator())
    assert [int(row) for row in source.train_ids] == source.train_input.flatten().int().tolist()
    assert source.test_ids.tolist() == ["0", "2", "4", "6"]
    assert Tiny().source(None, generator()).train_ids is None
    named = dataclasses.replace(tiny_source([0, 1], [0]), train_ids=np.array(["x", "y"]))
    assert (numbered(named).train_ids.tolist(), numbered(named).test_ids.tolist()) == (["x", "y"], ["0"])


def test_a_kept_class_needs_a_training_row():
    with pytest.raises(ValueError, match="class 2 has no training row"):
        keep_classes(tiny_source([0, 1, 3], [0, 1, 2, 3]), [1, 2])


@pytest.mark.parametrize(
    "counts, imbalance, kept",
    [
        ([5000] * 10, 100, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]),  # CIFAR-10-LT of the literature
        ([5000] * 10, 10, [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500]),
        ([100, 100, 100], 4, [100, 50, 25]),
        ([100, 30, 100], 4, [60, 30, 15]),  # the middle class has too few: n_max = 30 * 2
        ([100, 50, 24], 4, [96, 48, 24]),
        ([7, 9, 8], 1, [7, 7, 7]),
        ([9, 1], 9, [9, 1]),
    ],
)
def test_long_tail_by_hand(counts, imbalance, kept):
    assert long_tail(np.array(counts), imbalance).tolist() == kept


@pytest.mark.parametrize("imbalance", [1, 2.5, 10, 20, 50, 100, 333.3])
def test_long_tail_follows_the_profile_and_cannot_be_larger(imbalance):
    counts = generator().integers(2000, 4000, size=10)
    kept = long_tail(counts, imbalance)
    profile = imbalance ** (-np.arange(10) / 9)
    largest = min(n / p for n, p in zip(counts, profile, strict=True))
    assert (np.abs(kept - largest * profile) <= 1).all() and (kept <= largest * profile + 1e-6).all()
    assert (kept <= counts).all() and (kept == counts).any()
    assert (np.diff(kept) <= 0).all()


def test_long_tail_leaves_no_class_without_a_row():
    with pytest.raises(ValueError, match=r"imbalance 50 leaves class 3 without a row; classes have \[40 40 40 40\]"):
        long_tail(np.full(4, 40), 50)
    with pytest.raises(ValueError, match="leaves class 0 without a row"):
        long_tail(np.array([4, 0]), 1)


def test_drawn_rows_are_sorted_random_and_of_the_right_counts():
    clean = generator().permutation(np.repeat(np.arange(3), [50, 40, 30]))
    rows = draw(clean, np.array([10, 0, 99]), generator())
    assert (np.diff(rows) > 0).all()
    assert np.bincount(clean[rows], minlength=3).tolist() == [10, 0, 30]
    np.testing.assert_array_equal(rows, draw(clean, np.array([10, 0, 99]), generator()))
    assert set(rows) != set(draw(clean, np.array([10, 0, 99]), generator(2)))
    assert set(draw(clean, np.array([5, 0, 10]), generator())) <= set(rows)  # paired over imbalance


def test_drawn_rows_come_from_everywhere():
    """Over 400 seeds each of 20 rows is drawn about 400 / 4 times."""
    drawn = np.concatenate([draw(np.zeros(20, np.int64), np.array([5]), generator(seed)) for seed in range(400)])
    assert np.abs(np.bincount(drawn, minlength=20) - 100).max() <= 4 * np.sqrt(400 * 0.25 * 0.75)


@pytest.mark.parametrize(
    "options, counts",
    [
        ({}, [40, 30, 20, 40]),
        ({"per_class": 25}, [25, 25, 20, 25]),
        ({"imbalance": 8}, [40, 20, 10, 5]),
        ({"imbalance": 8, "per_class": 16}, [16, 8, 4, 2]),
        ({"imbalance": 2, "classes": [2, 0]}, [20, 10]),  # classes first, then the tail in their order
        ({"imbalance": 2, "classes": [0, 2]}, [40, 20]),
        ({"classes": [3, 2, 1], "per_class": 25}, [25, 20, 25]),
    ],
)
def test_source_applies_classes_then_per_class_then_imbalance(options, counts):
    dataset, whole = Tiny(**options), Tiny().load(None)
    source = dataset.source(None, generator())
    assert np.bincount(source.train_clean).tolist() == counts
    assert dataset.num_classes == source.num_classes == len(counts)
    old = np.array(options.get("classes", range(4)))
    rows = source.train_input.flatten().long().numpy()
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(whole.train_clean[rows], old[source.train_clean])  # inputs and labels stay together
    tested = (source.test_input.flatten().long() - 100).numpy()
    np.testing.assert_array_equal(whole.test_clean[tested], old[source.test_clean])
    assert len(tested) == 2 * len(counts)  # test rows are never thinned


def test_source_depends_on_the_generator_only_where_rows_are_drawn():
    def rows(seed, **options):
        return Tiny(**options).source(None, generator(seed)).train_input.flatten().tolist()

    assert rows(1, imbalance=4) == rows(1, imbalance=4) != rows(2, imbalance=4)
    assert rows(1, classes=[0, 3]) == rows(2, classes=[0, 3])
    assert rows(1) == rows(2) == list(range(130))


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_dataset_takes_the_options_before_reading_a_file(dataset):
    chosen = dataset(classes=[1, 0], imbalance=3.5, per_class=7)
    assert (chosen.classes, chosen.imbalance, chosen.per_class, chosen.num_classes) == ((1, 0), 3.5, 7, 2)
    assert dataset().num_classes == dataset.num_classes  # untouched by the instance above


BAD = [
    ({"classes": [0, 9]}, r"classes is \[0, 9\], and 9 is not a class; it must list at least two .* of 0\.\.3"),
    ({"classes": [0, -1]}, "-1 is not a class"),
    ({"classes": [0, 1.5]}, r"1\.5 is not a class"),
    ({"classes": [0, "b"]}, "b is not a class"),
    ({"classes": [0, 1, 0]}, r"classes is \[0, 1, 0\]; it must list at least two different classes"),
    ({"classes": [2]}, r"classes is \[2\]; it must list at least two different classes"),
    ({"classes": []}, r"classes is \[\]; it must list"),
    ({"classes": 3}, "classes is 3; it must list"),
    ({"classes": "012"}, "classes is 012; it must list"),
    ({"imbalance": 0.5}, r"imbalance is 0\.5; it must be >= 1"),
    ({"imbalance": 0}, "imbalance is 0; it must be >= 1"),
    ({"imbalance": float("inf")}, "imbalance is inf"),
    ({"imbalance": float("nan")}, "imbalance is nan"),
    ({"per_class": 0}, "per_class is 0; it must be a whole number >= 1"),
    ({"per_class": 2.5}, r"per_class is 2\.5; it must be a whole number >= 1"),
]


@pytest.mark.parametrize("options, message", BAD, ids=[str(options) for options, _ in BAD])
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Tiny(**options)


@pytest.mark.every(3)
@pytest.mark.parametrize(
    "name", ["digits", "mnist", "fashion_mnist", "adult", "ecg5000", "ecg5000_a", "cifar10", "cifar100_lt", "medmnist"]
)
def test_yaml_has_the_options_and_the_check_sees_the_classes_kept(composed, name):
    cfg = composed(f"dataset={name}", "dataset.classes=[1,0]", "dataset.imbalance=2", "dataset.per_class=5")
    check(cfg)
    assert build(cfg.dataset).num_classes == 2
    with pytest.raises(ConfigError, match=f"{name}: imbalance is 0.5"):
        check(composed(f"dataset={name}", "dataset.imbalance=0.5"))


def test_digits_as_a_short_long_tail():
    """16^(-1/2) is a quarter; the test rows are a fifth of 174, 182 and 183."""
    source = Digits(classes=[8, 1, 3], per_class=32, imbalance=16).source(None, generator())
    assert np.bincount(source.train_clean).tolist() == [32, 8, 2]
    assert source.class_names == ("8", "1", "3")
    assert np.bincount(source.test_clean).tolist() == [35, 36, 37]


def test_real_mnist_3(real_dir):
    """The counts of RRM, appendix C: 5,923, 6,742 and 5,958 training rows, 3,147 test rows."""
    source = MNIST(classes=[0, 1, 2]).source(real_dir, generator())
    assert len(source.train_clean) == 18_623 and len(source.test_clean) == 3_147
    assert np.bincount(source.train_clean).tolist() == [5_923, 6_742, 5_958]
    assert np.bincount(source.test_clean).tolist() == [980, 1_135, 1_032]
    assert source.train_input.shape == (18_623, 1, 28, 28) and source.class_names == ("0", "1", "2")


def test_real_fashion_mnist_with_a_long_tail(real_dir):
    source = FashionMNIST(imbalance=100).source(real_dir, generator())
    expected = [int(6000 * 100 ** (-i / 9) + 1e-9) for i in range(10)]
    assert np.bincount(source.train_clean).tolist() == expected
    assert expected[0] == 6000 and expected[-1] == 60
    assert np.bincount(source.test_clean).tolist() == [1000] * 10
