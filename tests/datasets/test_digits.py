"""scikit-learn's digits: the rows, the fixed split, the statistics."""

import hashlib

import numpy as np
import pytest
import torch

from lilawbench.datasets.digits import GREY_STEP, Digits


def test_digits_are_scikit_learns(check_types):
    from sklearn.datasets import load_digits

    source = Digits().load(None)
    check_types(source, Digits.num_classes)
    pixels = torch.cat([source.train_input, source.test_input]) // GREY_STEP
    ours = np.column_stack([pixels.flatten(1), np.concatenate([source.train_clean, source.test_clean])])
    theirs = np.column_stack(load_digits(return_X_y=True))
    assert sorted(map(tuple, ours)) == sorted(map(tuple, theirs.astype(int)))
    assert source.train_input.max() == 240


def test_digits_split_is_stratified_and_never_changes(md5):
    source = Digits().load(None)
    assert (len(source.train_clean), len(source.test_clean)) == (1438, 359)
    counts = np.bincount(source.test_clean)
    np.testing.assert_allclose(counts, 0.2 * np.array([178, 182, 177, 183, 181, 182, 181, 179, 174, 180]), atol=1)
    assert source.test_clean[:10].tolist() == [5, 9, 2, 4, 6, 7, 9, 3, 4, 6]
    assert hashlib.md5(source.test_input.numpy().tobytes()).hexdigest() == "192ee83fe06d1d81752c0c100d684099"


def test_digits_mean_and_std_are_of_the_training_pixels():
    source = Digits().load(None)
    unit = source.train_input.numpy() / 255
    assert source.mean == pytest.approx((unit.mean(),), abs=1e-12)
    assert source.std == pytest.approx((unit.std(),), abs=1e-12)
    assert type(source.mean[0]) is type(source.std[0]) is float
