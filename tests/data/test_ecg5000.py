"""ECG5000: the real files, and tiny ones in their layout."""

import numpy as np
import pytest
import torch

from lilawbench.data import ecg5000
from lilawbench.data.ecg5000 import ECG5000
from lilawbench.errors import DataError


@pytest.fixture
def write_ecg(tmp_path, monkeypatch, md5):
    """write_ecg(TRAIN=text, TEST=text): makes them the official files below tmp_path."""

    def write(**texts: str):
        folder = tmp_path / "ECG5000"
        folder.mkdir()
        for part, text in texts.items():
            (folder / f"ECG5000_{part}.txt").write_text(text)
        monkeypatch.setattr(ecg5000, "MD5", {path.name: md5(path) for path in folder.iterdir()})

    return write


def beats(labels: list[int], length: int = 140) -> str:
    return "".join(f"  {k:.7e}" + "".join(f"  {k * i % 9:.7e}" for i in range(length)) + "\n" for k in labels)


def test_ecg_beats_are_normalised_one_by_one(tmp_path, write_ecg, check_types):
    write_ecg(TRAIN=beats([1, 2, 3, 4, 5]), TEST=beats([5, 4, 3, 2, 1, 1]))
    source = ECG5000().load(tmp_path)
    check_types(source, 5)
    assert source.test_clean.tolist() == [4, 3, 2, 1, 0, 0]
    first = np.arange(140) % 9
    np.testing.assert_allclose(source.train_input[0, :, 0], (first - first.mean()) / first.std(), atol=1e-6)


def test_ecg_swapped(tmp_path, write_ecg):
    write_ecg(TRAIN=beats([1, 2]), TEST=beats([3, 4, 5]))
    official, swapped = ECG5000().load(tmp_path), ECG5000(split="swapped").load(tmp_path)
    assert torch.equal(official.train_input, swapped.test_input)
    assert torch.equal(official.test_input, swapped.train_input)
    assert swapped.train_clean.tolist() == [2, 3, 4]


def test_ecg_refuses_another_split():
    with pytest.raises(ValueError, match="split must be one of official, swapped, got 'random'"):
        ECG5000(split="random")


@pytest.mark.parametrize(
    "text, message",
    [
        (beats([1], length=139), "found 139 values"),
        (beats([6]), r"labels \[6\.\]"),
        (beats([0]), r"labels \[0\.\]"),
        (beats([1]) + beats([1], length=3), "not a table of numbers"),
        ("<html>", "not a table of numbers"),
    ],
)
def test_ecg_bad_file(text, message, tmp_path, write_ecg):
    write_ecg(TRAIN=text, TEST=beats([1]))
    with pytest.raises(DataError, match=message):
        ECG5000().load(tmp_path)


def test_real_ecg(real, check_types):
    source = real(ECG5000())
    check_types(source, 5)
    assert source.train_input.shape == (500, 140, 1)
    assert source.test_input.shape == (4_500, 140, 1)
    assert np.bincount(source.train_clean).tolist() == [292, 177, 10, 19, 2]
    assert np.bincount(source.test_clean).tolist() == [2_627, 1_590, 86, 175, 22]
    np.testing.assert_allclose(source.test_input.double().mean(dim=1), 0, atol=1e-6)
    np.testing.assert_allclose(source.test_input.double().std(dim=1, correction=0), 1, atol=1e-6)
    # the file's first value is -0.11252183, its beats have std 1 over N - 1 = 139
    assert source.train_input[0, 0, 0].item() == pytest.approx(-0.11252183 * (140 / 139) ** 0.5, abs=1e-6)
    assert torch.equal(real(ECG5000(split="swapped")).train_input, source.test_input)
