"""scripts/prepare_data.py as a user calls it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from lilawbench.datasets.base import Source
from lilawbench.datasets.cifar import CIFAR10


@pytest.fixture(scope="module")
def prepare_data():
    path = Path(__file__).parents[2] / "scripts" / "prepare_data.py"
    spec = importlib.util.spec_from_file_location("prepare_data", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_prepare_digits(prepare_data, capsys, monkeypatch):
    monkeypatch.delenv("LILAWBENCH_DATA", raising=False)
    assert prepare_data.main(["digits"]) == 0
    assert capsys.readouterr().out == (
        "digits: 1438 train + 359 test, shape [1, 8, 8], classes: "
        "0 178, 1 182, 2 177, 3 183, 4 181, 5 182, 6 181, 7 179, 8 174, 9 180\n"
    )


def test_prepare_reports_damaged_data_and_exits_2(prepare_data, tmp_path, capsys):
    (tmp_path / "adult").mkdir()
    (tmp_path / "adult" / "adult.data").write_text("39, State-gov\n")
    assert prepare_data.main(["adult", "digits", "--data-dir", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "adult.data is damaged" in said.err and said.out.startswith("digits: 1438 train")


def test_prepare_takes_the_options_of_a_data_set(prepare_data, tmp_path, capsys):
    arguments = ["--set", "dataset.flag=breastmnist", "--set", "dataset.size=224", "--data-dir", str(tmp_path)]
    (tmp_path / "medmnist").mkdir()
    (tmp_path / "medmnist" / "breastmnist_224.npz").write_text("<html>")
    assert prepare_data.main(["medmnist", *arguments]) == 2
    assert "breastmnist_224.npz is damaged" in capsys.readouterr().err
    assert prepare_data.main(["medmnist", "--set", "dataset.flag=chestmnist"]) == 2
    assert "dataset=medmnist is multilabel (fitting: bce, focal)" in capsys.readouterr().err


def test_what_can_be_downloaded_is_what_the_composed_configs_say(prepare_data, composed):
    by_hand = [name for name in prepare_data.CHOICES if name not in prepare_data.DATASETS]
    assert {"cifar10n", "cifar100_lt", "chestmnist"} <= set(prepare_data.DATASETS)
    assert {"clothing1m", "gait", "pain", "table"} <= set(by_hand)
    for name in ("cifar10n", "chestmnist", "pain"):
        assert prepare_data.target_of(name) == composed(f"dataset={name}").dataset._target_


def test_human_labels_are_fetched_with_their_images(prepare_data, tmp_path, capsys, monkeypatch):
    images = torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
    source = Source(images, np.arange(4), images, np.arange(4), tuple("0123456789"))
    monkeypatch.setattr(CIFAR10, "load", lambda dataset, data_dir: source)
    monkeypatch.setattr("lilawbench.noise.human.URL", "http://127.0.0.1:1/")
    assert prepare_data.main(["cifar10n", "--data-dir", str(tmp_path)]) == 2
    assert "CIFAR-10_human.pt is not on disk" in capsys.readouterr().err


def test_prepare_refuses_an_unknown_name(prepare_data, capsys):
    with pytest.raises(SystemExit) as caught:
        prepare_data.main(["cifar"])
    assert caught.value.code == 2
    assert "fashion_mnist" in capsys.readouterr().err


@pytest.mark.slow
def test_prepare_all(prepare_data, capsys, real_dir, monkeypatch):
    at_hand = ["adult", "digits", "ecg5000", "ecg5000_a", "fashion_mnist", "medmnist", "mnist"]
    assert set(at_hand) <= set(prepare_data.DATASETS)
    monkeypatch.setattr(prepare_data, "DATASETS", at_hand)  # the others would be downloaded
    assert prepare_data.main(["all", "--data-dir", str(real_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == at_hand
    assert lines[5] == (
        "medmnist: 546 train + 78 validation + 156 test, shape [1, 28, 28], classes: malignant 210, normal, benign 570"
    )
    assert lines[0] == "adult: 22792 train + 9769 test, shape [108], classes: <=50K 24720, >50K 7841"
