"""Every family of the real data from its official files to a record: LiLAW for an epoch or two on a few rows.

Training to a floor of accuracy is slow and has its own test; loaders are compared with other readers in tests/data.
"""

import json

import numpy as np
import pytest
import torch

from lilawbench.datasets.base import Source
from lilawbench.datasets.cifar import CIFAR10
from lilawbench.loading.download import fetch
from lilawbench.metrics.fairness import LARGEST, MEASURES
from lilawbench.noise.human import FILES
from lilawbench.train import run

SHARED = {"loss", "accuracy", "auroc", "precision", "recall", "f1"}
OF_TWO = {f"{name}_class{k}" for name in ("precision", "recall", "f1") for k in (0, 1)}
OF_TWO |= {f"weighted_{name}" for name in ("precision", "recall", "f1")}
MEASURED = {
    "multiclass": SHARED | {"average_precision", "balanced_accuracy", "top5_accuracy"},
    "binary": SHARED | {"average_precision", "balanced_accuracy"} | OF_TWO,
    "multilabel": SHARED | {"mAP"},
    "regression": {"loss", "rmse", "mae", "r2"},
}


@pytest.fixture
def short(composed, data_dir):
    """short("dataset=mnist", ...) -> config of two steps of LiLAW on 64 rows."""
    return lambda *overrides: composed(
        f"paths.data_dir={data_dir}", "split.train_samples=64", "train.batch_size=32", "train.epochs=1", "method=lilaw",
        "method.warmup_epochs=0", "model=mlp", "model.hidden=[8]", *overrides
    )  # fmt: skip


def check_record(record, task, num_val, num_test, rate):
    """What every family's record holds. Exact noise moves int(rate * N) labels, so its rate may be short by 1 / N."""
    result = json.loads((record.folder / "result.json").read_text())
    num_train = 64 + 32 * (result["config.dataset.name"] == "ecg5000_a")  # half of them have a copy
    assert (result["task"], result["num_train"], result["num_val"], result["num_test"]) == (
        task,
        num_train,
        num_val,
        num_test,
    )
    measured = MEASURED[task] - ({"top5_accuracy"} if "ecg" in result["config.dataset.name"] else set())
    for rule in ("last5", "oracle_best"):  # `last` and `best_val` have calibration and classes beside them
        assert {key.removeprefix(f"{rule}.test_") for key in result if key.startswith(f"{rule}.test_")} == measured
        assert all(np.isfinite(result[f"{rule}.test_{name}"]) for name in measured)
    with np.load(record.folder / "labels.npz") as kept:
        assert result["noise.realised_rate"] == (kept["observed"] != kept["clean"]).mean()
        assert result["noise.realised_rate"] == pytest.approx(rate, abs=1 / len(kept["clean"]))
    row = json.loads((record.folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["kind"] == "epoch" and row["alpha"] != 10  # LiLAW moved its parameters
    return result


@pytest.mark.parametrize(
    "options, task, num_val, num_test, rate",
    [
        ("dataset=mnist", "multiclass", 9000, 10_000, 0.4),
        pytest.param("dataset=fashion_mnist noise.rate=0.2", "multiclass", 9000, 10_000, 0.2, marks=pytest.mark.slow),
        ("dataset=ecg5000 noise.rate=0.2", "multiclass", 25, 4500, 0.2),
        ("dataset=ecg5000 dataset.split=swapped noise=none", "multiclass", 225, 500, 0),
        ("dataset=ecg5000_a", "multiclass", 25, 4500, 0.4),  # 475 beats and 237 copies train
        ("dataset=medmnist dataset.flag=breastmnist", "binary", 78, 156, 0.4),
        ("dataset=emotions noise.rate=0.3", "multilabel", 59, 202, 0.3),
        ("dataset=yeast", "multilabel", 225, 917, 0.2),
        ("dataset=energy", "regression", 92, 154, 0.4),
        ("dataset=concrete noise=target_uniform noise.rate=0.2", "regression", 124, 206, 0.2),
        ("dataset=yacht", "regression", 37, 62, 0.4),
    ],
)
def test_a_short_run(short, options, task, num_val, num_test, rate):
    record = run(short(*options.split()))
    check_record(record, task, num_val, num_test, rate)
    assert record.status == "done"


@pytest.mark.slow
def test_a_short_run_with_groups(short):
    """Adult: the five gaps of each group of sex, race and age, with their intervals."""
    few = short("dataset=adult", "noise=asymmetric", "dataset.test_fraction=0.02")
    result = check_record(run(few), "binary", 3191, 652, 0.4)
    rows = result["last.fairness"]
    assert {row["attribute"] for row in rows} == {"sex", "race", "age"}
    assert {(row["attribute"], row["group"]) for row in rows if row["reference"]} == {
        ("sex", "Male"), ("race", "White"), ("age", "45-54"),
    }  # fmt: skip
    sexes = [row["n"] for row in rows if row["attribute"] == "sex" and row["group"] != LARGEST]
    assert sum(sexes) == result["num_test"]
    assert all({name, f"{name}_low", f"{name}_high"} <= set(row) for row in rows for name in MEASURES)


@pytest.mark.parametrize("labels, rate", [("aggre", 0.0901), ("worst", 0.40208)])
def test_a_short_run_on_human_labels(short, data_dir, monkeypatch, labels, rate):
    """The real labels of CIFAR-10N on images of four pixels: CIFAR's own are not among the real data."""
    clean = torch.load(fetch(FILES[0].name, [], FILES[0].md5, data_dir), weights_only=False)["clean_label"]

    def load(dataset, data_dir):
        images = torch.zeros(50_000, 3, 2, 2, dtype=torch.uint8)
        images[:, 0] = torch.from_numpy(25 * clean)[:, None, None].byte()
        names = tuple(map(str, range(10)))
        return Source(images, clean, images[:100], clean[:100], names, dataset.mean, dataset.std, clean_known=True)

    monkeypatch.setattr(CIFAR10, "load", load)
    cfg = short("dataset=cifar10n", f"noise.labels={labels}", "train.augment.crop_px=0")
    result = check_record(run(cfg), "multiclass", 7500, 100, rate)
    assert result["noise.requested_rate"] is None and result["run"].startswith("cifar10n-human-mlp-lilaw-")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ce", "lilaw"])
@pytest.mark.parametrize(
    "options, floor, samples",
    [
        ("dataset=fashion_mnist model=mlp", 0.55, 8000),
        ("dataset=mnist model=cnn model.channels=[8,16,16]", 0.80, 8000),
        ("dataset=adult model=mlp noise=asymmetric", 0.75, 8000),
        ("dataset=ecg5000 dataset.split=swapped model=mlp", 0.85, 2000),
        ("dataset=ecg5000", 0.55, 475),
    ],
)
def test_training_beats_a_floor_far_above_chance(composed, data_dir, options, floor, samples, method):
    base = [f"paths.data_dir={data_dir}", f"split.train_samples={samples}", f"method={method}", "noise.rate=0.2"]
    epochs = ["train.epochs=12", "train.batch_size=32"] if "ecg5000" in options else ["train.epochs=2"]
    assert run(composed(*base, *epochs, *options.split())).result["last.test_accuracy"] > floor
