"""Fairness in records and reports: rows of fake runs, and a short run on Adult."""

import json

import numpy as np
import pytest

from lilawbench.metrics.fairness import LARGEST, MEASURES
from lilawbench.report.collect import collect
from lilawbench.report.fairness import fairness_table
from lilawbench.report.repeated import with_unique_names
from lilawbench.report.report import report
from lilawbench.train import run


def row(group, gap, reference=False, n=10):
    figures = {f"{name}{end}": None if reference else gap + shift for name in MEASURES
               for end, shift in (("", 0.0), ("_low", -0.1), ("_high", 0.1))}  # fmt: skip
    return {"attribute": "sex", "group": group, "reference": reference, "n": n, **figures}


def rows(gap):
    return [row("Male", None, reference=True, n=30), row("Female", -gap), row(LARGEST, gap, n=40)]


def test_the_table_shows_means_over_seeds(write_run, tmp_path):
    for seed, gap in enumerate([0.2, 0.3]):
        write_run("ce", seed, changes={"best_val.fairness": rows(gap)})
    write_run("lilaw", 0, changes={"best_val.fairness": rows(0.1)})
    table = fairness_table(with_unique_names(collect(tmp_path / "outputs")))
    assert table.header == ["attribute", "group", "method", "seeds", "n", *(f"{name} gap" for name in MEASURES)]
    assert [line[:5] for line in table.rows] == [
        ["sex", "Female", "ce", "2", "10"], ["sex", "Female", "lilaw", "1", "10"],
        ["sex", LARGEST, "ce", "2", "40"], ["sex", LARGEST, "lilaw", "1", "40"],
    ]  # fmt: skip
    assert table.rows[0][5] == "-0.2500 [-0.350, -0.150]" and table.rows[3][9] == "0.1000 [0.000, 0.200]"
    assert "sex: Male" in table.caption and "Male" not in str(table.rows)


def test_without_groups_there_is_no_table(write_run, tmp_path):
    write_run("ce", 0)
    assert fairness_table(with_unique_names(collect(tmp_path / "outputs"))) is None
    report(tmp_path / "outputs", tmp_path / "report")
    assert not (tmp_path / "report" / "fairness.csv").exists()


def test_the_report_has_the_table_and_its_numbers(write_run, tmp_path):
    write_run("ce", 0, changes={"best_val.fairness": rows(0.2)})
    said = report(tmp_path / "outputs", tmp_path / "report")
    assert "## best_val, groups" in said and "-0.2000 [-0.300, -0.100]" in said
    lines = (tmp_path / "report" / "fairness.csv").read_text().splitlines()
    assert lines[0].startswith("select,setting,attribute,group,method") and len(lines) == 3


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
    from lilawbench.record.recorder import Recorder

    whole = run(adult).result
    adult.paths.output_dir += "-broken"
    measured = Recorder.checkpoint

    def breaking(self, ctx, method):
        measured(self, ctx, method)
        if ctx.epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Recorder, "checkpoint", breaking)
        run(adult)
    again = run(adult).result
    assert again["best_val.fairness"] == whole["best_val.fairness"]
    assert again["last.fairness"] == whole["last.fairness"]
