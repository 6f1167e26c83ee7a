"""The tables of RRM and Dynamic Loss as experiments: they agree with the published results and pass the check."""

import csv
import re

import numpy as np
import pytest

import lilawbench
from lilawbench.check import check
from lilawbench.config import CONF
from lilawbench.datasets.subset import long_tail
from lilawbench.experiment.plan import plan

TABLES = [f"rrm_table{n}" for n in (1, 2, 3, 4, 5, 7, 8, 10, 11, 12)] + [
    f"dynamic_loss_table{n}" for n in (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13)
]
N_LT = {"DivideMix+Balanced-Softmax", "CurveNet", "HAR", "FaMUS"}
NOISY = {"SELFIE", "PLC", "NCT", "CMW-Net"}
QUOTED = {
    "rrm_table2": {"CC", "CC + RRM", "LRA-diffusion", "Knockoffs-SPR", "Meta-Weight-Net"},
    "rrm_table3": {"LRA-diffusion", "SURE", "LongReMix", "CleanNet"},
    "dynamic_loss_table1": N_LT | {"ROLT+"}, "dynamic_loss_table8": N_LT, "dynamic_loss_table9": N_LT,
    "dynamic_loss_table2": NOISY, "dynamic_loss_table10": NOISY,
    "dynamic_loss_table3": {"CB Focal", "FaMUS"}, "dynamic_loss_table11": {"CB Focal", "FaMUS"},
    "dynamic_loss_table5": {"HAR"}, "dynamic_loss_table13": {"HAR"}, "dynamic_loss_table6": {"DivideMix", "HAR"},
}  # fmt: skip


def text_of(name):
    return (CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")


def published(name):
    """Rows, columns and metrics that the paper's table has."""
    paper, number = name.split("_table")
    file = lilawbench.__path__[0] + f"/experiment/paper/{paper}.csv"
    with open(file, encoding="utf-8", newline="") as lines:
        figures = [line for line in csv.DictReader(lines) if line["table"] == number]
    return tuple({figure[key] for figure in figures} for key in ("row", "column", "metric"))


def runs_of(name):
    return plan([f"experiment={name}", "seed=0"]).runs


def test_every_results_table_has_its_file():
    files = {path.stem for path in (CONF / "experiment").glob("*_table*.yaml")}
    files = {name for name in files if name.startswith(("rrm", "dynamic_loss"))} - {"rrm_table5_small"}
    assert files == {*TABLES, *(f"{name}_smoke" for name in TABLES)}


@pytest.mark.every(4)
@pytest.mark.parametrize("name", TABLES)
def test_rows_columns_and_metrics_are_the_papers(name, table_of):
    table = table_of(name)
    rows, columns, metrics = published(name)
    assert [table.paper, table.number] == name.split("_table")
    assert set(table.metrics) == metrics
    assert set(table.rows) == rows - QUOTED.get(name, set())
    assert QUOTED.get(name, set()) <= rows
    assert {part for parts in table.averages.values() for part in parts} <= set(table.columns)
    shown = table.shown or [*table.columns, *table.averages]
    assert len(set(shown)) == len(shown) and set(shown) <= {*table.columns, *table.averages}
    assert set(shown) | set(table.waiting) == columns
    assert {*table.baselines, *table.baselines.values()} <= set(table.rows)
    assert not set(table.baselines) & set(table.baselines.values()) or name == "rrm_table7"


@pytest.mark.parametrize("name", TABLES)
def test_the_head_says_how_long(name):
    head = text_of(name).split("\ndefaults:")[0].split("\nexperiment_name:")[0]
    time = re.search(r"^# Time: .*\b(estimated|measured), .*\d", head, re.MULTILINE)
    assert time
    assert f"experiment={name}" in head
    assert f".csv, table {name.split('_table')[1]}." in head


@pytest.mark.every(4)
@pytest.mark.parametrize("name", [f"{name}_smoke" for name in TABLES])
def test_a_smoke_keeps_names_of_its_table(name, table_of):
    """A name that the table has not would add a row, or keep none."""
    small, whole = table_of(name), table_of(name.removesuffix("_smoke"))
    assert list(small.rows) == list(whole.rows) and list(small.columns) == list(whole.columns)
    assert {*(small.only or [])} <= {*whole.rows, *whole.columns}
    assert set(small.averages) == set(whole.averages)
    assert small.paper is None and small.number == whole.number


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TABLES, *(f"{name}_smoke" for name in TABLES)])
def test_every_cell_passes_the_check(name):
    runs = runs_of(name)
    for run in runs:
        check(run.cfg)
        assert run.cfg.split.val_fraction in ((0.2,) if re.search(r"rrm_table(5|10|12)", name) else (0, None))
    kept = plan([f"experiment={name}"]).table
    only = set(kept.only or [])
    rows, columns = (len(set(part) & only or set(part)) for part in (kept.rows, kept.columns))
    assert len(runs) == rows * columns  # none computes the same as another


@pytest.mark.slow
def test_table_8_of_rrm_keeps_the_names_of_its_finished_runs():
    """As they were when the file swept four losses and two methods, before it had rows and columns."""
    runs = plan(["experiment=rrm_table8", "noise.rate=0.6", "seed=3"]).runs
    assert {(run.row, run.folder.name.removeprefix("mnist-symmetric0.6-rrm_mlp-")) for run in runs} == {
        ("CCE", "ce-s3-f215d326"), ("CCE + RRM", "rrm-s3-d312e3a3"),
        ("MAE", "mae-s3-31112418"), ("MAE + RRM", "rrm+mae-s3-023f59a9"),
        ("MSE", "mse-s3-f08451d2"), ("MSE + RRM", "rrm+mse-s3-bc6a3036"),
        ("ELR", "elr-s3-60bc210c"), ("ELR + RRM", "rrm+elr-s3-37a84c20"),
    }  # fmt: skip


@pytest.mark.slow
def test_estimates_of_the_noise_follow_the_noise():
    rates = {(run.row, run.column): run.cfg.method.get("contamination") for run in runs_of("rrm_table4")}
    for column, rate in {"10 %": 0.1, "20 %": 0.2, "30 %": 0.3}.items():
        assert [rates[f"{loss} + RRM", column] for loss in ("CCE", "MAE", "MSE")] == [rate] * 3
        assert rates["CCE", column] is None
    more = {(run.row, run.column): run.cfg.method.contamination for run in runs_of("rrm_table7")}
    assert [more["C + 10 %", column] for column in ("10 %", "20 %", "30 %")] == [0.2, 0.3, 0.4]
    assert [more["C + 5 %", column] for column in ("10 %", "20 %", "30 %")] == [0.15, 0.25, 0.35]


@pytest.mark.slow
@pytest.mark.parametrize(
    "summary, details, own",
    [
        (1, (8, 9), {"WebVision"}),
        (2, (10,), {"Animal-10N"}),
        (3, (11,), {"ImageNet-LT"}),
        (4, (12,), set()),
        (5, (13,), set()),
    ],
)
def test_a_summary_is_made_of_the_runs_of_its_detailed_tables(summary, details, own):
    runs = [run for run in runs_of(f"dynamic_loss_table{summary}") if run.column not in own]
    parts = [run for number in details for run in runs_of(f"dynamic_loss_table{number}")]
    assert {run.folder for run in runs} == {run.folder for run in parts}


@pytest.mark.slow
def test_bins_are_the_papers_and_no_class_is_without_a_meta_sample():
    """Its Table 7: R = 100, on CIFAR-100 50, however small a class."""
    for number in (11, 8, 9, 13):
        for run in runs_of(f"dynamic_loss_table{number}"):
            if run.row != "Dynamic Loss":
                continue
            classes = 10 if run.cfg.dataset.name == "cifar10_lt" else 100
            smallest = long_tail(np.full(classes, 50_000 // classes), run.cfg.dataset.imbalance).min()
            bins, share = run.cfg.method.num_bins, run.cfg.method.meta_fraction
            assert bins == (100 if classes == 10 else 50) and int(share * smallest) >= 1
