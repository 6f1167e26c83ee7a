"""Runs on the user's own data: without clean labels what needs them is left out, and says so."""

import json

import numpy as np
import pytest

from lilawbench.errors import ConfigError
from lilawbench.results.report import report
from lilawbench.train import run

NEED_CLEAN = ("memorised", "recovered", "train_clean", "noise.", "prune_", "weight_c", "close_calls", "corrected")


@pytest.fixture
def own(composed, tmp_path):
    """own("method=rrm", ...) -> config of a short run on a table of 120 rows; every tenth label is not the true one."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=120)
    truth = (x + 0.1 * draw.normal(size=120) > 0).astype(int)
    given = np.where(np.arange(120) % 10 == 0, 1 - truth, truth)
    lines = [f"{a:.4f},{'rg'[i % 2]},{y},{t}" for i, (a, y, t) in enumerate(zip(x, given, truth, strict=True))]
    (tmp_path / "my.csv").write_text("x,colour,y,truth\n" + "\n".join(lines) + "\n")

    def make(*overrides: str):
        data = [f"dataset.path={tmp_path}/my.csv", "dataset.label=y", "dataset.ignore=[truth]"]
        return composed("dataset=table", *data, "train.epochs=2", "train.batch_size=16", "model.hidden=[8]", *overrides)

    return make


@pytest.mark.parametrize("method", ["ce", "lilaw", "rrm", "dynamic_loss"])
def test_without_clean_labels(own, acting, caplog, method):
    caplog.set_level("INFO")
    record = run(own(*acting(method)))
    assert record.result["labels.clean_known"] is False
    rows = [json.loads(line) for line in (record.folder / "metrics.jsonl").read_text().splitlines()]
    named = [key for row in (record.result, *rows) for key in row if any(part in key for part in NEED_CLEAN)]
    assert [key for key in named if not key.startswith("config.")] == []
    assert record.result["last.test_accuracy"] > 0.4
    assert "the clean labels are unknown: what needs clean labels is left out" in caplog.text
    with np.load(record.folder / "labels.npz") as labels:
        assert set(labels) == {"observed", "train", "val"}


def test_the_report_says_so(own, tmp_path):
    folders = [run(own(*options)).folder for options in ([], ["noise=symmetric", "noise.rate=0.2"])]
    text = report(folders, tmp_path / "report")
    assert "- 1 run(s) whose clean labels are unknown: what needs clean labels is left out" in text
    assert "clean labels" not in report(folders[1:], tmp_path / "report")


def test_noise_on_top_takes_the_given_labels_as_clean(own):
    record = run(own("noise=symmetric", "noise.rate=0.25"))
    assert record.result["noise.realised_rate"] == 24 / 96
    assert '"memorised"' in (record.folder / "metrics.jsonl").read_text()


def test_a_clean_column_is_what_labels_are_measured_by(own):
    record = run(own("dataset.clean_label=truth", "dataset.ignore=[]"))
    with np.load(record.folder / "labels.npz") as labels:
        wrong = (labels["observed"] != labels["clean"]).mean()
    assert record.result["noise.realised_rate"] == wrong
    assert 0.04 < wrong < 0.13 and record.result["noise.requested_rate"] == 0


@pytest.mark.parametrize(
    "overrides, message",
    [
        ("split.val_labels=clean", "split.val_labels=clean: the clean labels of dataset=table are not known"),
        ("model.num_classes=1", "model.num_classes is 1; dataset=table has 2 classes"),
        ("noise=kernel noise.rate=0.2", "the kernel is 10 x 10; the data set has 2 classes"),
        ("dataset.imbalance=1000", "leaves class 1 without a row"),
    ],
)
def test_what_only_the_file_can_tell(own, overrides, message):
    with pytest.raises(ConfigError) as refused:
        run(own(*overrides.split()))
    assert message in str(refused.value)
