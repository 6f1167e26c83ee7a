"""Official validation rows: they validate, bear the noise that training rows bear, and no split is drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lilawbench.check import check
from lilawbench.datasets.base import Source
from lilawbench.datasets.digits import Digits
from lilawbench.loading.image_files import ImageFiles
from lilawbench.pipeline import draw_labels, splits_of
from lilawbench.support.errors import ConfigError
from lilawbench.train import run


def source(val=20):
    """100 training rows 0..99 and validation rows from 1000 on, ten classes in turn."""
    return Source(
        train_input=torch.arange(100.0)[:, None],
        train_clean=np.arange(100) % 10,
        test_input=torch.zeros(10, 1),
        test_clean=np.arange(10),
        class_names=tuple("0123456789"),
        val_input=1000 + torch.arange(float(val))[:, None],
        val_clean=np.arange(val) % 10,
    )


@pytest.fixture
def official(composed):
    return lambda *overrides: composed("dataset=medmnist", "noise.rate=0.5", *overrides)


def test_noise_is_drawn_for_both_parts_alike(official):
    labels = draw_labels(official(), source())
    assert labels.train.tolist() == list(range(100)) and labels.val.tolist() == list(range(100, 120))
    wrong = labels.observed != labels.clean
    assert wrong.sum() == 60 and 3 <= wrong[labels.val].sum() <= 17
    assert labels.clean.tolist() == [*range(10)] * 12


@pytest.mark.parametrize("val_observed", [None, (np.arange(20) + 1) % 10])
def test_given_labels_of_both_parts(official, val_observed):
    """Training labels were given one class too high; validation labels are right, or likewise."""
    given = (np.arange(100) + 1) % 10
    data = replace(source(), train_observed=given, val_observed=val_observed, clean_known=True)
    labels = draw_labels(official("noise.rate=0"), data)
    assert labels.observed[labels.train].tolist() == given.tolist()
    assert (labels.observed != labels.clean).sum() == 100 + 20 * (val_observed is not None)


@pytest.mark.parametrize("fraction, wanting", [("null", "no validation rows of its own"), ("0", "must be > 0")])
def test_where_only_the_files_tell_the_check_waits_for_them(composed, fraction, wanting, monkeypatch):
    monkeypatch.setattr(Digits, "official_val", None)
    cfg = composed("method=lilaw", f"split.val_fraction={fraction}")
    check(cfg)
    check(cfg, official_val=True)
    with pytest.raises(ConfigError, match=wanting):
        check(cfg, official_val=False)


def test_clean_validation_labels(official):
    labels = draw_labels(official("split.val_labels=clean"), source())
    wrong = labels.observed != labels.clean
    assert not wrong[labels.val].any() and wrong[labels.train].sum() > 40


def test_each_part_has_its_inputs_and_observed_labels(official):
    cfg, data = official("split.train_samples=30"), source()
    labels = draw_labels(cfg, data)
    train, val, test = splits_of(cfg, data, labels, torch.device("cpu"))
    assert len(train) == 30 and np.bincount(labels.observed[labels.train], minlength=10).max() <= 6
    assert train.input.flatten().tolist() == labels.train.tolist()
    assert val.input.flatten().tolist() == list(range(1000, 1020))
    assert val.target.tolist() == labels.observed[100:].tolist()
    assert test.target.tolist() == list(range(10))


def test_a_whole_split_is_not_copied_and_any_rows_can_be_had():
    data = source()
    assert data.labelled_input(np.arange(100)).data_ptr() == data.train_input.data_ptr()
    assert data.labelled_input(np.arange(100, 120)).data_ptr() == data.val_input.data_ptr()
    assert data.labelled_input(np.array([3, 99, 100, 119])).flatten().tolist() == [3, 99, 1000, 1019]
    assert data.labelled_input(np.array([], dtype=np.int64)).shape == (0, 1)


def test_image_files_of_both_parts_come_decoded(tmp_path):
    """Rows of one part stay in their files; rows of both are one tensor."""
    for i in range(5):
        Image.new("L", (2, 2), i).save(tmp_path / f"{i}.png")
    train, val = (ImageFiles(tmp_path, np.array(names, dtype=np.bytes_), 2, channels=1)
                  for names in (["0.png", "1.png", "2.png"], ["3.png", "4.png"]))  # fmt: skip
    clean = np.zeros(3, np.int64)
    data = Source(train, clean, val, clean[:2], ("a", "b"), val_input=val, val_clean=clean[:2])
    assert isinstance(data.labelled_input(np.array([0, 2])), ImageFiles)
    assert data.labelled_input(np.array([3])).names.tolist() == [b"3.png"]
    assert data.labelled_input(np.array([1, 4]))[:, 0, 0, 0].tolist() == [1, 4]


@pytest.mark.parametrize("given", ["0.3", "0", None])
def test_a_validation_fraction_that_is_given_is_not_used_and_a_line_says_so(given, official, caplog):
    caplog.set_level("INFO")
    labels = draw_labels(official(*([f"split.val_fraction={given}"] if given else [])), source())
    assert len(labels.val) == 20
    said = [record.message for record in caplog.records]
    assert said == ([f"split.val_fraction={float(given)} is not used: dataset=medmnist has its own 20 validation rows"]
                    if given else [])  # fmt: skip


def test_official_rows_validate_with_clean_labels_and_without_a_split(composed, data_dir):
    """BreastMNIST, two steps of 64; for a method that learns from the official 78 rows see test_real_data.py."""
    cfg = composed(
        "dataset=medmnist", f"paths.data_dir={data_dir}", "model=cnn", "model.channels=[4,4,4]", "train.epochs=2",
        "split.train_samples=128", "train.batch_size=64", "train.early_stop_epochs=2", "split.val_labels=clean",
        "split.val_fraction=0",
    )  # fmt: skip
    result = run(cfg).result
    assert (result["num_train"], result["num_val"], result["num_test"]) == (128, 78, 156)
    assert result["noise.realised_rate"] == pytest.approx(0.35, abs=0.02)
    assert 0 <= result["best_val.val_accuracy"] <= 1
