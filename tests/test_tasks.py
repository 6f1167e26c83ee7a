"""Multi-label and regression runs from end to end: every method that fits, on a few rows of real data."""

import json

import numpy as np
import pytest
import torch

from lilawbench.loading.resident import Resident
from lilawbench.report.report import report
from lilawbench.tasks import TASKS, task_of
from lilawbench.train import run

EMOTIONS = ["dataset=emotions", "train.epochs=3"]
YACHT = ["dataset=yacht", "train.epochs=3"]


@pytest.mark.parametrize(
    "target, outputs, task",
    [
        (np.array([0, 1, 2]), 3, "multiclass"),
        (np.array([0, 1]), 2, "binary"),
        (np.eye(2, dtype=np.int64), 2, "multilabel"),
        (np.array([0.5]), 1, "regression"),
    ],
)
def test_the_labels_tell_the_task(target, outputs, task):
    assert task_of(target, outputs) == task


@pytest.fixture
def small(composed, data_dir):
    return lambda *overrides: composed(f"paths.data_dir={data_dir}", "model.hidden=[16]", *overrides)


@pytest.mark.parametrize("scene", [EMOTIONS, YACHT], ids=["emotions", "yacht"])
@pytest.mark.parametrize("method", ["ce", "lilaw", "rrm", "at", "a_rrm"])
def test_every_method_that_fits_runs(small, acting, scene, method):
    record = run(small(*scene, *acting(method)))
    result = record.result
    task = TASKS[result["task"]]
    assert result["config.loss.name"] == task.loss
    for rule in ("last", "best_val", "oracle_best", "last5"):
        assert np.isfinite(result[f"{rule}.test_{task.measure}"])
    wanted = {"emotions": {"loss", "mAP", "auroc", "accuracy", "precision", "recall", "f1"},
              "yacht": {"loss", "rmse", "mae", "r2"}}[result["config.dataset.name"]]  # fmt: skip
    assert {key.removeprefix("last5.test_") for key in result if key.startswith("last5.test_")} == wanted
    if method == "lilaw":
        rows = [json.loads(line) for line in (record.folder / "metrics.jsonl").read_text().splitlines()]
        alphas = [row["alpha"] for row in rows if row["kind"] == "epoch"]
        assert alphas[0] == 10 and alphas[-1] != 10  # a warm-up epoch, then meta steps


def test_best_val_of_values_is_the_lowest_error(small):
    record = run(small(*YACHT, "train.epochs=6", "train.lr=0.05"))
    rows = [json.loads(line) for line in (record.folder / "metrics.jsonl").read_text().splitlines()]
    epochs = [row for row in rows if row["kind"] == "epoch"]
    best = min(epochs, key=lambda row: row["val_rmse"])
    assert record.result["best_val.epoch"] == best["epoch"]
    assert record.result["best_val.test_rmse"] == best["test_rmse"]
    assert record.result["oracle_best.test_rmse"] == min(row["test_rmse"] for row in epochs)


def test_labels_and_rates_of_flips_are_kept(small):
    record = run(small(*EMOTIONS, "noise.rate=0.3"))
    with np.load(record.folder / "labels.npz", allow_pickle=False) as kept:
        observed, clean, train, val = (kept[name] for name in ("observed", "clean", "train", "val"))
    assert observed.shape == (391, 6) and len(val) == 59 and not set(train) & set(val)
    assert record.result["noise.realised_rate"] == (observed != clean).mean() == pytest.approx(0.3, abs=1e-3)


def test_values_of_another_noise_have_another_hash(small):
    hashes = {
        run(small(*YACHT, "train.epochs=1", f"noise.scale={scale}")).result["labels.sha256"] for scale in (1, 1.01)
    }
    assert len(hashes) == 2  # they differ behind the point, where whole numbers would not


@pytest.mark.slow
def test_training_learns_values_and_labels(small):
    """Far better than the mean (R2 = 0) and than a ranking by chance (mAP = the labels' share, .31)."""
    quick = ["train.lr=0.02", "noise=none"]
    assert run(small("dataset=yacht", "train.epochs=80", *quick)).result["last.test_r2"] > 0.8
    assert run(small("dataset=emotions", "train.epochs=10", *quick)).result["last.test_mAP"] > 0.55


@pytest.mark.parametrize("scene, measure", [(EMOTIONS, "mAP"), (YACHT, "rmse")])
def test_attacks_harm(small, scene, measure):
    result = run(small(*scene, "attack.eps=[0,1]", "noise=none")).result
    clean, attacked = (result[f"last.test_attacked_{eps}_{measure}"] for eps in (0, 1))
    assert clean == pytest.approx(result[f"last.test_{measure}"], rel=1e-6)
    assert attacked > clean if measure == "rmse" else attacked < clean


def test_a_report_shows_each_task_by_its_own_measure(small, tmp_path, no_layout):
    for scene in (EMOTIONS, YACHT):
        for method in ("ce", "lilaw"):
            run(small(*scene, f"method={method}", "train.epochs=2"))
    assert "test mAP at best_val\n" in report(tmp_path / "outputs", tmp_path / "report")
    said = (tmp_path / "report" / "tables.md").read_text(encoding="utf-8")
    for title in ("## best_val, test_mAP", "## last, test_rmse"):
        assert title in said
    assert "difference to bce" in said and "difference to squared" in said
    assert "best validation rmse" in said and "lilaw +" not in said


def test_batches_keep_the_targets_shape_and_type():
    labels = Resident(torch.zeros(4, 2), torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]])).batch(torch.tensor([2, 0]))
    assert labels.target.tolist() == [[1, 1], [1, 0]] and labels.target.dtype == torch.int64
    values = Resident(torch.zeros(2, 2), torch.tensor([1.5, 2.5])).batch(torch.tensor([1]))
    assert values.target.tolist() == [2.5] and values.target.dtype == torch.float32
