"""The mirrors for TensorBoard and MLflow, read back with their own packages; skipped without them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lilawbench.record.mirror import ChildMirror

pytestmark = pytest.mark.slow

CONFIG = {"seed": 3, "method": {"name": "lilaw"}, "experiment_name": "digits"}
SUMMARY = {"last.test_accuracy": 0.5, "task": "binary", "last.test_n.sex=F": 4, "class_names": ["cat", "dog"],
           "last.confusion": [[3, 1], [0, 4]], "config.seed": 3}  # fmt: skip
ROWS = [
    {"kind": "step", "epoch": 1, "step": 1, "train_loss": 2.0},
    {"kind": "step", "epoch": 1, "step": 2, "train_loss": 1.0},
    {"kind": "epoch", "epoch": 1, "step": 2, "test_accuracy": 0.25, "val_loss": None},
    {"kind": "method", "epoch": 1, "g": [[0.9]]},
    {"kind": "step", "epoch": 2, "step": 3, "train_loss": 0.5},
    {"kind": "epoch", "epoch": 2, "step": 3, "test_accuracy": 0.5},
]


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """The folder of a run, with what it leaves."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "outputs" / "digits" / "a-run"
    folder.mkdir(parents=True)
    (folder / "suspects.csv").write_text("rank,row\n1,a.png\n")
    Image.new("RGB", (2, 1)).save(folder / "suspects.png")
    yield folder
    assert not any(temporary.iterdir())


def mirrored(make: Callable[..., ChildMirror], folder: Path, rows: list[dict], failed: bool = False) -> None:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    mirror = make(tags=["mine"], finish_seconds=120)
    mirror.start(folder, "a-run", "the-group", CONFIG)
    mirror.finish({} if failed else SUMMARY, failed=failed)


def test_tensorboard(run):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from lilawbench.record.tensorboard_mirror import TensorBoardMirror

    mirrored(TensorBoardMirror, run, ROWS[:2], failed=True)
    mirrored(TensorBoardMirror, run, ROWS)  # goes on: nothing is there twice
    found = EventAccumulator(str(run / "tensorboard")).Reload()
    scalars = {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    assert scalars == {
        "step/train_loss": [(1, 2.0), (2, 1.0), (3, 0.5)],
        "epoch/test_accuracy": [(1, 0.25), (2, 0.5)],
        "result/last.test_accuracy": [(3, 0.5)],
        "result/last.test_n.sex=F": [(3, 4.0)],
    }
    assert found.Tags()["images"] == ["pictures/suspects"]
    assert found.Images("pictures/suspects")[0].encoded_image_string == (run / "suspects.png").read_bytes()
    texts = {tag: found.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in found.Tags()["tensors"]}
    assert texts.keys() == {"run", "config", "tables/last.confusion", "tables/suspects"}
    assert texts["tables/last.confusion"].splitlines()[2] == "| cat | 3 | 1 |"
    assert "the-group" in texts["run"] and "mine" in texts["run"] and '"lilaw"' in texts["config"]


def test_mlflow(run, monkeypatch):
    """Killed after two rows, the run goes on from there as the same run of MLflow."""
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    from lilawbench.record.mlflow_mirror import MlflowMirror

    mirrored(MlflowMirror, run, ROWS[:2], failed=True)
    client = MlflowClient((run.parents[1] / "mlruns").as_uri())
    (experiment,) = [one for one in client.search_experiments() if one.name == "lilawbench"]
    (first,) = client.search_runs([experiment.experiment_id])
    assert first.info.status == "FAILED"
    mirrored(MlflowMirror, run, ROWS)
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_id, found.info.run_name, found.info.status) == (first.info.run_id, "a-run", "FINISHED")
    losses = client.get_metric_history(found.info.run_id, "step/train_loss")
    assert [(one.step, one.value) for one in losses] == [(1, 2.0), (2, 1.0), (3, 0.5)]
    accuracies = client.get_metric_history(found.info.run_id, "epoch/test_accuracy")
    assert [(one.step, one.value) for one in accuracies] == [(1, 0.25), (2, 0.5)]
    assert found.data.metrics["last.test_accuracy"] == 0.5 and found.data.metrics["last.test_n.sex_F"] == 4
    assert found.data.params["config.method.name"] == "lilaw"
    assert found.data.tags["group"] == "the-group" and found.data.tags["tags"] == "lilaw, digits, mine"
    assert found.data.tags["task"] == "binary" and len(found.data.tags["mlflow.source.git.commit"]) == 40
    files = {one.path for part in ("tables", "pictures") for one in client.list_artifacts(found.info.run_id, part)}
    assert files == {"tables/last.confusion.csv", "tables/suspects.csv", "pictures/suspects.png"}
    assert not os.path.exists("mlruns")
