"""Groups of test rows in whole runs: Adult's and those of a table of numbers."""

import json

import numpy as np
import pytest

from lilawbench.metrics.fairness import LARGEST, MEASURES
from lilawbench.record.recorder import Recorder
from lilawbench.train import run


@pytest.fixture
def adult(composed, data_dir):
    return composed(f"paths.data_dir={data_dir}", "dataset=adult", "noise=none", "train.epochs=4", "train.lr=0.01",
                    "split.train_samples=3000", "model.hidden=[16]")  # fmt: skip


def test_a_run_on_adult_has_the_papers_groups(adult):
    """Group sizes as in Tables 20-22 to sampling error (their split is another); accuracy gaps from the labels."""
    record = run(adult)
    found = json.loads((record.folder / "result.json").read_text())["last.fairness"]
    by_group = {(row["attribute"], row["group"]): row for row in found}
    for place, size in {
        ("sex", "Female"): 3232,
        ("race", "Black"): 968,
        ("age", "25-34"): 2621,
        ("age", "65+"): 407,
    }.items():
        assert by_group[place]["n"] == pytest.approx(size, abs=4.5 * np.sqrt(0.7 * size))
    assert {place for place, row in by_group.items() if row["reference"]} == {
        ("sex", "Male"), ("race", "White"), ("age", "45-54"),
    }  # fmt: skip
    female = by_group["sex", "Female"]
    assert female["DP"] < 0 < female["ACC"]  # predicted rich less often, and more easily right: Table 20
    for name in MEASURES:
        races = [abs(row[name]) for place, row in by_group.items() if place[0] == "race" and place[1] != LARGEST
                 and not row["reference"] and row[name] is not None]  # fmt: skip
        assert by_group["race", LARGEST][name] == max(races)


def test_other_tasks_have_their_measures_in_each_group(tmp_path, composed):
    """Values 0, 1, 2, 3 of groups a, a, b, b, from a network whose answer is what its one epoch made it."""
    features = np.arange(8, dtype=np.float32).reshape(4, 2)
    np.savez(tmp_path / "t.npz", features=features, target=np.arange(4.0), group=np.array(list("aabb")))
    np.savez(tmp_path / "a.npz", features=features.repeat(10, axis=0), target=np.arange(40.0) % 4)
    sources = f"dataset.sources={{a:{tmp_path / 'a.npz'},t:{tmp_path / 't.npz'}}}"
    record = run(composed("dataset=embeddings", sources, "dataset.train=[a]", "dataset.test=[t]", "train.epochs=1",
                          "dataset.task=regression", "loss=squared", "noise=none"))  # fmt: skip
    found = record.result
    sizes, errors = ([found[f"last.test_{name}.group={g}"] for g in "ab"] for name in ("n", "loss"))
    assert sizes == [2, 2] and errors[0] != errors[1]
    assert np.mean(errors) == pytest.approx(found["last.test_loss"], rel=1e-6)
    assert not any("fairness" in key for key in found)


@pytest.mark.slow
def test_a_resumed_run_keeps_the_predictions_of_its_best_epoch(adult, monkeypatch):
    """Broken off after its first epoch, it ends with the rows of the unbroken run."""
    whole = run(adult).result
    adult.paths.output_dir += "-broken"
    measured = Recorder.checkpoint

    def breaking(self, ctx, *rest):
        measured(self, ctx, *rest)
        if ctx.epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Recorder, "checkpoint", breaking)
        run(adult)
    again = run(adult).result
    assert again["best_val.fairness"] == whole["best_val.fairness"]
    assert again["last.fairness"] == whole["last.fairness"]
