"""Noise is none unless asked for: a benchmark's data set asks, one's own data do not; a line says what is done."""

import numpy as np
import pytest

from lilawbench.config import CONF
from lilawbench.experiment.defaults import raw
from lilawbench.noise.labels import Labels
from lilawbench.noise.rates import told

OWN = {"table", "folder", "embeddings", "arrays", "shards", "hf", "text"}
REAL_NOISE = {"clothing1m", "food101n", "animal10n", "webvision_mini"}  # they come with wrong labels
WITHOUT = {"gait", "pain"}  # the paper adds none
FITTING = {
    "cifar10n": "human", "cifar100n": "human", "chestmnist": "label_flip", "emotions": "label_flip",
    "yeast": "label_flip", "energy": "target_gaussian", "concrete": "target_gaussian", "yacht": "target_gaussian",
    "necrosis": "one_sided",
}  # fmt: skip


def test_each_data_set_asks_for_its_noise():
    names = {path.stem for path in (CONF / "dataset").glob("*.yaml")}
    found = {name: raw({"dataset": name}).noise.name for name in names}
    assert found == dict.fromkeys(names, "symmetric") | FITTING | dict.fromkeys(OWN | REAL_NOISE | WITHOUT, "none")
    assert raw({"dataset": "digits"}).noise.rate == 0.4


@pytest.mark.parametrize("dataset, noise", [("digits", "none"), ("cifar10_lt", "human"), ("table", "symmetric")])
def test_the_command_line_and_an_experiment_win(dataset, noise, tmp_path):
    assert raw({"dataset": dataset, "noise": noise}).noise.name == noise
    (tmp_path / "experiment").mkdir()
    own = f"# @package _global_\ndefaults:\n  - override /dataset: {dataset}\n  - override /noise: {noise}\n"
    (tmp_path / "experiment" / "own.yaml").write_text(own)
    assert raw({"experiment": "own"}, [tmp_path]).noise.name == noise


@pytest.mark.parametrize(
    "name, clean, line",
    [
        ("none", None, "no noise is added"),
        ("none", [0, 1, 2, 2], "no noise is added"),
        ("none", [0, 1, 2, 0], "no noise is added; 25.0 % of the labels are wrong"),
        ("symmetric", [1, 1, 2, 0], "symmetric noise is added; 50.0 % of the labels are wrong"),
        ("symmetric", [0, 1, 2, 2], "symmetric noise is added; 0.0 % of the labels are wrong"),
    ],
)
def test_a_line_says_what_was_done(name, clean, line):
    clean = clean and np.array(clean)
    assert told({"name": name}, Labels(np.array([0, 1, 2, 2]), clean, np.arange(4), np.arange(0))) == line
