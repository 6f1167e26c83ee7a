"""Dynamic Loss's published results, typed from its tables: counts, sums, averages, and what its tables contradict.

Rows bear one name in all tables ("Ours" is Dynamic Loss, "CE" and "CE LOSS" Cross Entropy). Table 7 is settings.
Printed numbers stay as they are printed; where they cannot be right, a test here says so:

- Table 9, FaMUS: the averages (30.72, 30.81; in Table 1 too) are not the means of its rows (37.50, 37.82).
- Four "best" figures are below their "last": DivideMix+Balanced-Softmax (Table 8), FaMUS twice (9), Dynamic Loss (12).
- Tables 8 and 12: the same model's last figures differ (average 79.73 and 79.77), its best ones do not.
- Table 10: SELFIE's rows are those of cross-entropy in Table 11, digit for digit, so one of them is a slip of the pen.
- Table 11: LDAM-DRW on CIFAR-100-LT reads 44.70 at ratio 10 and 59.59 at ratio 100; they look exchanged.
- Table 12 marks V (vector meta net) in its rows without corrector and without margin; Table 4, which names them, has H.
- ROLT+ (Table 1), Animal-10N (Table 2) and ImageNet-LT (Table 3) have no detailed table.
"""

import csv
import math
from pathlib import Path

import pytest

import lilawbench

FILE = Path(lilawbench.__file__).parent / "experiment" / "paper" / "dynamic_loss.csv"
LAST, BEST = "last.test_accuracy", "oracle_best.test_accuracy"
N_LT = [f"ratio {ratio}, noise {rate}" for ratio in (10, 100) for rate in (0.1, 0.2, 0.3, 0.4, 0.5)]
# table: its averages -> the columns they are the mean of
AVERAGES = {
    "8": {"Average": N_LT},
    "9": {"Average": N_LT},
    "12": {"Average": N_LT},
    "10": {
        "CIFAR-10-N": [f"CIFAR-10-N, {x}" for x in ("20 %", "40 %", "60 %", "20 % asymmetric", "40 % asymmetric")],
        "CIFAR-100-N": [f"CIFAR-100-N, {x}" for x in ("20 %", "40 %", "60 %")],
    },
    "11": {name: [f"{name}, ratio {x}" for x in (10, 20, 50, 100)] for name in ("CIFAR-10-LT", "CIFAR-100-LT")},
    "13": {
        name: [f"{name}, ratio {ratio}, noise {rate}" for ratio in (10, 50, 100) for rate in (0.2, 0.4)]
        for name in ("CIFAR-10-N-LT", "CIFAR-100-N-LT")
    },
}
# column of a summary -> table and column of its details
DETAILS = {
    ("1", "CIFAR-10-N-LT"): ("8", "Average"), ("1", "CIFAR-100-N-LT"): ("9", "Average"),
    ("2", "CIFAR-10-N"): ("10", "CIFAR-10-N"), ("2", "CIFAR-100-N"): ("10", "CIFAR-100-N"),
    ("3", "CIFAR-10-LT"): ("11", "CIFAR-10-LT"), ("3", "CIFAR-100-LT"): ("11", "CIFAR-100-LT"),
    ("4", "CIFAR-10-N-LT"): ("12", "Average"),
    ("5", "CIFAR-10-N-LT"): ("13", "CIFAR-10-N-LT"), ("5", "CIFAR-100-N-LT"): ("13", "CIFAR-100-N-LT"),
}  # fmt: skip


@pytest.fixture(scope="module")
def figures():
    """(table, row, column, metric) -> the number as printed."""
    with FILE.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["table", "row", "column", "metric", "mean", "std", "unit"]
    assert {(line["std"], line["unit"]) for line in lines} == {("", "%")}
    keyed = {tuple(line[key] for key in ("table", "row", "column", "metric")): float(line["mean"]) for line in lines}
    assert len(keyed) == len(lines), "a figure stands twice"
    return keyed


@pytest.mark.parametrize(
    "table, count, total",
    [
        ("1", 74, 4967.51),
        ("2", 26, 1993.70),
        ("3", 19, 1122.53),
        ("4", 14, 1035.58),
        ("5", 8, 467.00),
        ("6", 12, 985.16),
        ("8", 198, 13231.85),
        ("9", 198, 7735.04),
        ("10", 87, 6624.58),
        ("11", 70, 4716.14),
        ("12", 154, 11391.30),
        ("13", 56, 3269.07),
    ],
)
def test_every_table_is_whole(figures, table, count, total):
    means = [mean for key, mean in figures.items() if key[0] == table]
    assert len(means) == count
    assert sum(means) == pytest.approx(total, abs=1e-9)


def test_there_is_no_other_table(figures):
    assert {int(key[0]) for key in figures} == {1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13}


@pytest.mark.parametrize(
    "table, row, column, metric, mean",
    [
        ("1", "Balanced-Softmax", "WebVision", "test_top5_accuracy", 84.56),
        ("1", "FaMUS", "ImageNet", "test_accuracy", 77.00),
        ("1", "Dynamic Loss", "WebVision", "test_accuracy", 80.12),
        ("2", "GJS", "Animal-10N", "test_accuracy", 84.17),
        ("3", "Focal Loss", "ImageNet-LT", "test_accuracy", 32.64),
        ("4", "corrector, margin, vector meta net", "CIFAR-10-N-LT", BEST, 80.35),
        ("5", "HAR", "CIFAR-10-N-LT", LAST, 71.09),
        ("6", "AutoAugment", "CIFAR-100", "test_accuracy", 73.96),
        ("8", "CurveNet", "ratio 100, noise 0.4", LAST, 48.71),
        ("8", "Dynamic Loss", "ratio 10, noise 0.1", BEST, 89.44),
        ("9", "ELR+", "ratio 10, noise 0.5", BEST, 37.35),
        ("10", "CMW-Net", "CIFAR-10-N, 40 % asymmetric", "test_accuracy", 92.70),
        ("11", "CB Focal", "CIFAR-100-LT, ratio 100", "test_accuracy", 39.6),
        ("12", "corrector, Balanced-Softmax", "ratio 100, noise 0.1", LAST, 78.93),
        ("12", "margin", "ratio 100, noise 0.5", BEST, 63.46),
        ("13", "Dynamic Loss", "CIFAR-100-N-LT, ratio 50, noise 0.4", BEST, 32.75),
    ],
)
def test_single_figures(figures, table, row, column, metric, mean):
    assert figures[table, row, column, metric] == mean


def test_averages_are_the_means_of_their_cells(figures):
    wrong = {}
    for (table, row, column, metric), mean in figures.items():
        if parts := AVERAGES.get(table, {}).get(column):
            cells = [figures[table, row, part, metric] for part in parts]
            if not math.isclose(sum(cells) / len(cells), mean, abs_tol=0.0051):  # rounded to .01
                wrong[table, row, metric] = round(sum(cells) / len(cells), 2)
    assert wrong == {("9", "FaMUS", LAST): 37.5, ("9", "FaMUS", BEST): 37.82}


def test_summaries_agree_with_their_detailed_tables(figures):
    compared = 0
    for (table, row, column, metric), mean in figures.items():
        if (table, column) in DETAILS and row != "ROLT+":
            other, average = DETAILS[table, column]
            assert figures[other, row, average, metric] == mean, (table, row, column, metric)
            compared += 1
    assert compared == 36 + 17 + 14 + 14 + 8


def test_slips_of_the_paper_that_stay_as_printed(figures):
    both = [key[:3] for key in figures if key[3] == LAST and (*key[:3], BEST) in figures]
    pairs = {key: (figures[(*key, LAST)], figures[(*key, BEST)]) for key in both}
    assert {key: pair for key, pair in pairs.items() if pair[0] > pair[1]} == {
        ("8", "DivideMix+Balanced-Softmax", "ratio 10, noise 0.2"): (86.96, 86.06),
        ("9", "FaMUS", "ratio 100, noise 0.3"): (28.53, 28.50),
        ("9", "FaMUS", "ratio 100, noise 0.4"): (27.83, 27.24),
        ("12", "Dynamic Loss", "ratio 10, noise 0.4"): (85.42, 84.73),
    }
    ours = {key: mean for key, mean in figures.items() if key[1] == "Dynamic Loss"}
    for column in N_LT:
        assert ours["8", "Dynamic Loss", column, LAST] != ours["12", "Dynamic Loss", column, LAST]
        assert ours["8", "Dynamic Loss", column, BEST] == ours["12", "Dynamic Loss", column, BEST]
    for kind, ratios in (("CIFAR-10", (10, 20, 50)), ("CIFAR-100", (10, 20, 50))):
        for ratio, rate in zip(ratios, (20, 40, 60)):
            selfie = figures["10", "SELFIE", f"{kind}-N, {rate} %", "test_accuracy"]
            assert selfie == figures["11", "Cross Entropy", f"{kind}-LT, ratio {ratio}", "test_accuracy"]
    ldam = [figures["11", "LDAM-DRW", f"CIFAR-100-LT, ratio {x}", "test_accuracy"] for x in (10, 20, 50, 100)]
    assert ldam == [44.7, 52.93, 48.22, 59.59]
