"""A table whose rows are scores of the same runs and whose columns are epochs of them, with numbers by hand."""

import csv
import json
import math

import pytest

from lilawbench.experiment.plan import plan
from lilawbench.record.identity import flatten
from lilawbench.report.listing import tables
from lilawbench.report.report import paper_report
from lilawbench.support.errors import UserError

EXPERIMENT = """\
# @package _global_
# A toy of a table of scores.
experiment_name: toys
table:
  paper: toy
  number: "15"
  metrics: [mislabel_auroc]
  result_keys: {mislabel_auroc: "epoch{epoch}.suspects_auroc_{score}"}
  rows: {AUM: [table.score=aum], mean loss: [table.score=loss]}
  columns:
    epoch {table.epoch}: ["table.epoch=3,10"]
    20 %, epoch 10: [table.epoch=10, noise.rate=0.2]
  baselines: {"*": mean loss}
hydra: {mode: MULTIRUN, sweeper: {params: {seed: "0,1"}}}
"""


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conf")
    (folder / "experiment").mkdir()
    (folder / "experiment" / "toy_scores.yaml").write_text(EXPERIMENT)
    figures = ["table,row,column,metric,mean,std,unit", "15,AUM,epoch 3,mislabel_auroc,0.9680,,1"]
    (folder / "toy.csv").write_text("\n".join(figures) + "\n")
    return folder


@pytest.fixture(scope="module")
def toy(conf):
    return plan(["experiment=toy_scores"], config_dir=str(conf))


def test_rows_and_columns_that_train_nothing_share_their_runs(toy, conf, tmp_path):
    assert len(toy.cells) == 12 and len(toy.runs) == 4
    assert list(toy.labels.values()) == ["seed=0", "20 %, epoch 10, seed=0", "seed=1", "20 %, epoch 10, seed=1"]
    [listed] = tables(tmp_path, [conf], ["toy_scores"])
    assert (listed.done, listed.runs) == (0, 4)


def test_each_cell_shows_its_own_value(toy, conf, tmp_path):
    """AUM .95 and .97 after epoch 3, mean loss always .9: +.06 of two pairs, and .96 - .968 to the paper's."""
    for run in toy.runs[::2]:
        values = {"epoch3.suspects_auroc_aum": 0.95 + run.seed / 50, "epoch10.suspects_auroc_aum": 0.8}
        values |= {f"epoch{epoch}.suspects_auroc_loss": 0.9 for epoch in (3, 10)}
        record = {"schema_version": 1, "run": run.folder.name, "labels.sha256": str(run.seed)}
        folder = tmp_path / "toys" / run.folder.name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(flatten(run.cfg, "config") | record | values))
    paper_report(toy, tmp_path, papers=conf)
    said = (tmp_path / "toys" / "report" / "toy_scores.md").read_text()
    written = (tmp_path / "toys" / "report" / "toy_scores.csv").read_text().splitlines()
    cells = {(line["column"], line["row"]): line for line in csv.DictReader(written)}
    keys = ("mean", "paper_mean", "ours_minus_paper", "difference")
    shown = {place: [float(line[key] or "nan") for key in keys] for place, line in cells.items()}
    assert shown["epoch 3", "AUM"] == pytest.approx([0.96, 0.968, -0.008, 0.06])
    assert shown["epoch 10", "AUM"] == pytest.approx([0.8, math.nan, math.nan, -0.1], nan_ok=True)
    assert cells["20 %, epoch 10", "AUM"]["seeds"] == "0"
    assert "mislabel auroc, mean ± sample std" in said and "best_val" not in said


def test_a_key_with_another_place_is_refused(conf, tmp_path):
    text = (
        "# @package _global_\ntable: {metrics: [auroc], result_keys: {auroc: '{rule}.auroc'}, rows: {CE: [method=ce]}}"
    )
    (conf / "experiment" / "toy_wrong.yaml").write_text(text)
    unknown = plan(["experiment=toy_wrong"], str(conf))
    with pytest.raises(UserError, match=r"table.result_keys: 'rule': only \{score\} and \{epoch\} are put into a key"):
        paper_report(unknown, tmp_path, papers=conf)
