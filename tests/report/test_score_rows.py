"""A table whose rows are scores of the same runs and whose columns are epochs of them, with numbers by hand."""

import json

import pytest

import lilawbench
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
        record = {"run": run.folder.name, "labels.sha256": str(run.seed), "versions.lilawbench": lilawbench.__version__}
        folder = tmp_path / "toys" / run.folder.name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(flatten(run.cfg, "config") | record | values))
    said = paper_report(toy, tmp_path, papers=conf)
    cells = {tuple(line[:2]): line[2:] for line in (row.strip("| ").split(" | ") for row in said.splitlines())}
    assert cells["epoch 3", "AUM"][:5] == ["2", "0.9600 ± 0.0141", "0.9680", "-0.0080", "+0.0600"]
    assert cells["epoch 10", "AUM"][:5] == ["2", "0.8000 ± 0.0000", "-", "-", "-0.1000"]
    assert cells["20 %, epoch 10", "AUM"][1] == "-"
    assert "mislabel auroc, mean ± sample std" in said and "best_val" not in said


def test_a_key_with_another_place_is_refused(conf, tmp_path):
    unknown = plan(["experiment=toy_scores", 'table.result_keys={mislabel_auroc: "{rule}.auroc"}'], str(conf))
    with pytest.raises(UserError, match=r"table.result_keys: 'rule': only \{score\} and \{epoch\} are put into a key"):
        paper_report(unknown, tmp_path, papers=conf)
