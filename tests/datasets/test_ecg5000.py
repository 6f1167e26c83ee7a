"""ECG5000: the real files, and tiny ones in their layout."""

import numpy as np
import pytest
import torch

from lilawbench.datasets import ecg5000
from lilawbench.datasets.ecg5000 import ECG5000, ECG5000A, perturbed
from lilawbench.pipeline import draw_labels, splits_of
from lilawbench.support.errors import DataError
from lilawbench.train import run


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


def test_half_of_the_training_beats_get_a_copy(tmp_path, write_ecg):
    """21 random beats, so far apart that a copy's nearest beat is its original: 10 copies, with their labels."""
    random = np.random.default_rng(0)
    labels = np.arange(21) % 5 + 1
    lines = [f"{k} " + " ".join(f"{x:.6f}" for x in random.standard_normal(140)) + "\n" for k in labels]
    write_ecg(TRAIN="".join(lines), TEST=beats([1, 2]))
    plain = ECG5000().load(tmp_path)
    before = {"augment": "before_split"}
    source = ECG5000A(**before).source(tmp_path, np.random.default_rng(3))
    assert torch.equal(source.train_input[:21], plain.train_input)
    assert torch.equal(source.test_input, plain.test_input)
    copies = source.train_input[21:, :, 0]
    assert copies.shape == (10, 140) and copies.dtype == torch.float32
    originals = torch.cdist(copies, plain.train_input[:, :, 0]).argmin(dim=1)
    assert (originals.diff() > 0).all()  # different ones, in their order
    assert source.train_clean.tolist() == [*plain.train_clean, *plain.train_clean[originals.numpy()]]

    again, other = (ECG5000A(**before).source(tmp_path, np.random.default_rng(seed)) for seed in (3, 4))
    assert torch.equal(again.train_input, source.train_input)
    assert not torch.equal(other.train_input, source.train_input)
    few = ECG5000A(per_class=1, **before).source(tmp_path, np.random.default_rng(3))
    assert len(few.train_clean) == 5 + 2


@pytest.mark.parametrize("augment", ["after_split", "before_split"])
def test_no_validation_beat_has_a_twin_in_training(augment, tmp_path, write_ecg, composed):
    """Unless the copies are made before the split. A beat and its copy are the only ones less than 10 apart."""
    random = np.random.default_rng(0)
    labels = np.arange(200) % 5 + 1
    lines = [f"{k} " + " ".join(f"{x:.6f}" for x in random.standard_normal(140)) + "\n" for k in labels]
    write_ecg(TRAIN="".join(lines), TEST=beats([1, 2]))
    cfg = composed(
        "dataset=ecg5000_a", f"dataset.augment={augment}", f"paths.data_dir={tmp_path}", "split.val_fraction=0.3"
    )
    source = ECG5000A(augment=augment).source(tmp_path, np.random.default_rng(0))
    labels = draw_labels(cfg, source)
    train, val, _ = splits_of(cfg, source, labels, torch.device("cpu"))
    twins = (torch.cdist(val.input[..., 0], train.input[..., 0]) < 10).any(dim=1)
    if augment == "before_split":
        assert len(train) + len(val) == 300 and twins.float().mean() > 0.4
        return
    assert (len(train), len(val)) == (140 + 70, 60) and not twins.any()
    apart = torch.cdist(train.input[140:, :, 0], train.input[:140, :, 0])
    originals = apart.argmin(dim=1)
    assert (apart.amin(dim=1) < 10).all() and (originals.diff() > 0).all()
    assert torch.equal(train.target[140:], train.target[originals])  # the observed label, right or wrong
    assert (labels.observed != labels.clean).mean() == 0.4
    other = draw_labels(composed("dataset=ecg5000_a", "seed=1", "split.val_fraction=0.3"), source)
    assert not np.array_equal(other.copied, labels.copied)


def test_a_copy_is_shifted_once_and_noisy_everywhere():
    """b ~ U[-.2, .2] has variance .4^2 / 12; u ~ U[.05, .1] has mean .075 and variance .05^2 / 12."""
    beats = torch.linspace(-1, 1, 200).repeat(4_000, 1).unsqueeze(-1)
    added = (perturbed(beats, np.random.default_rng(0)) - beats)[..., 0].double()
    offset, variance = added.mean(dim=1), added.var(dim=1)
    assert offset.mean().item() == pytest.approx(0, abs=4 * (0.4**2 / 12 / 4_000) ** 0.5)
    assert offset.var().item() == pytest.approx(0.4**2 / 12 + 0.075 / 200, rel=0.06)
    assert variance.mean().item() == pytest.approx(0.075, abs=4 * 0.0163 / 4_000**0.5)
    # the estimate of u from 200 values has a variance of 2 u^2 / 199 of its own
    assert variance.var().item() == pytest.approx(0.05**2 / 12 + 2 * (0.075**2 + 0.05**2 / 12) / 199, rel=0.1)
    assert torch.equal(beats[0, :, 0], torch.linspace(-1, 1, 200))  # not modified


@pytest.mark.parametrize("split, count", [("official", 750), ("swapped", 6_750)])
def test_real_ecg_with_copies(split, count, real_dir, check_types):
    source = ECG5000A(split=split, augment="before_split").source(real_dir, np.random.default_rng(0))
    check_types(source, 5)
    assert len(source.train_clean) == count and len(source.test_clean) == 5_000 - count * 2 // 3


@pytest.mark.slow
def test_real_ecg_with_copies_end_to_end(real_dir, composed):
    """Of 500 rows 25 validate; the copies differ with the seed and are the same for every method."""
    options = [
        f"paths.data_dir={real_dir}",
        "split.train_samples=64",
        "model=mlp",
        "model.hidden=[4]",
        "train.epochs=1",
    ]
    one, lilaw, other = (
        run(composed("dataset=ecg5000_a", *options, *more)).result
        for more in ([], ["method=lilaw", "method.warmup_epochs=0"], ["seed=1"])
    )
    assert (one["num_train"], one["num_val"], one["num_test"]) == (64 + 32, 25, 4_500)
    assert one["labels.sha256"] == lilaw["labels.sha256"] != other["labels.sha256"]
