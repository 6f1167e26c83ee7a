"""LiLAW's tables as experiments: every cell can run, and their names are those of the published results."""

import csv
import itertools
from pathlib import Path

import pytest

import lilawbench.experiment
from lilawbench.check import check
from lilawbench.config import CONF
from lilawbench.experiment.products import training
from lilawbench.record.identity import run_folder

NUMBERS = [str(number) for number in range(1, 23) if number != 4]  # Table 4 is a worked example
FILES = [f"lilaw_table{number}{size}" for number in NUMBERS for size in ("", "_smoke")]
RIVALS = {
    "3": {"SEAL", "Weakly Supervised", "LRT", "Joint-Optim", "MixNN", "MetaCleaner"},
}  # methods that are not here
OURS = {  # rows, columns and metrics that the paper does not have
    "15": {
        *("Data-IQ, aleatoric", "mean loss", "last margin", "margin of mean p", "normalised margin", "self-confidence"),
        *("entropy / confidence", "loss-GMM", "TracIn", "SimiFeat", "mislabel_average_precision", "mislabel_precision"),
    },
    "18": {"focal", "RRM"},
    **{number: {"focal", "RRM", "Dynamic Loss", "Adult, 30 % noise"} for number in ("19", "20", "21", "22")},
}


@pytest.fixture(scope="module")
def published():
    """published("5") -> names of the rows, of the columns and of the metrics that are results."""
    path = Path(lilawbench.experiment.__path__[0], "paper", "lilaw.csv")
    lines = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))

    def names(number):
        table = [line for line in lines if line["table"] == number and line["unit"] != "rows"]
        return tuple({line[key] for line in table} for key in ("row", "column", "metric"))

    return names


def cells(table):
    """(row, column, overrides) of every cell that `only` keeps."""
    kept = []
    for parts in (table.rows, table.columns):
        only = set(parts) & set(table.only or []) or set(parts)
        kept.append([(name, list(part)) for name, part in parts.items() if name in only] or [("", [])])
    return [(row, column, [*of_column, *of_row]) for (row, of_row), (column, of_column) in itertools.product(*kept)]


def checked(composed, name, overrides):
    """The cell's config, once it is known that it can run."""
    cfg = composed(f"experiment={name}", "train.device=cpu", *overrides)
    check(cfg)
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize("number", NUMBERS)
def test_names_are_those_of_the_published_figures(table_of, published, number):
    table = table_of(f"lilaw_table{number}")
    rows, columns, metrics = published(number)
    waiting, ours = set(table.waiting), OURS.get(number, set())
    assert (table.paper, table.number) == ("lilaw", number)
    assert waiting <= rows | columns | metrics | {"table"}
    assert set(table.metrics) == metrics | ours & set(table.metrics)
    if "table" not in waiting:
        assert set(table.rows) | waiting & rows == rows - RIVALS.get(number, set()) | ours & set(table.rows)
        assert set(table.columns) | waiting & columns == columns | ours & set(table.columns)
        assert ours <= set(table.rows) | set(table.columns) | set(table.metrics)
    assert set(itertools.chain(table.baselines, table.baselines.values())) <= set(table.rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_cell_can_run_and_is_another_run(composed, table_of, name):
    every = {tuple(training(overrides)) for _, _, overrides in cells(table_of(name))}
    folders = {run_folder(checked(composed, name, overrides)) for overrides in every}
    assert len(folders) == len(every)


SYMMETRIC = ["lilaw_table3_smoke", "lilaw_table17_smoke", "lilaw_review", "lilaw_probe_cifar", "breastmnist"]
SYMMETRIC += ["lilaw_table5_fashion", "lilaw_review_cifar"]


@pytest.mark.every(6)
@pytest.mark.parametrize("name", [*FILES[::2], *SYMMETRIC])
def test_symmetric_noise_is_lilaws_own(composed, table_of, name):
    """Drawn from all classes: at 50 % of two classes the other reading tells nothing about the right label."""
    cfg = composed(f"experiment={name}")
    assert cfg.noise.name != "symmetric"
    columns = table_of(name).columns.values()
    assert "noise=symmetric" not in {choice for choices in columns for choice in choices}
    if any(choice.startswith("noise.rate=") for choices in columns for choice in choices) or name == "breastmnist":
        assert cfg.noise.name == "symmetric_inclusive"


@pytest.mark.parametrize("name", FILES)
def test_the_head_says_what_how_and_how_long(name):
    head = (CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8").split("\ndefaults:")[0]
    time = head.split(" Time: ")[1]
    assert time.startswith(("estimated, ", "measured, ", "none, "))
    if not name.endswith("_smoke"):
        number = name.removeprefix("lilaw_table")
        assert head.startswith(f"# @package _global_\n# LiLAW, Table {number}: ")
        assert f"python -m lilawbench.train experiment={name} && python scripts/make_tables.py {name}\n" in head
        assert f"\n# Published results: lilawbench/experiment/paper/lilaw.csv, table {number}.\n" in head


@pytest.mark.slow
def test_tables_of_the_same_runs_find_them(composed, table_of):
    """CIFAR-100-M at 50 %, LiLAW with a probe: one folder for all that print it."""
    asked = {
        "1": "Symmetric", "5": "50 %", "6": "50 %", "7": "50 %", "8": "50 %", "9": "50 %", "10": "cross-entropy, 50 %",
        "11": "15 %", "12": "same, 50 %", "13": "CIFAR-100-M, 50 %",
    }  # fmt: skip
    folders = set()
    for number, column in asked.items():
        name = f"lilaw_table{number}"
        overrides = {(r, c): o for r, c, o in cells(table_of(name))}
        folders.add(run_folder(composed(f"experiment={name}", *overrides["probe + LiLAW", column])))
    assert len(folders) == 1


@pytest.mark.slow
def test_smoke_never_stands_beside_the_papers_figures(composed, table_of):
    for name in FILES[1::2]:
        assert table_of(name).paper is None and composed(f"experiment={name}").experiment_name == name
        assert len({tuple(training(overrides)) for _, _, overrides in cells(table_of(name))}) <= 18
