"""The published results of LiLAW's tables, against sums and cells worked out by hand from the paper.

The paper prints changes ("58.03 up 17.17 up 1.35": full fine-tuning, by probing, by LiLAW on top); the file holds what
they add up to (58.03, 75.20, 76.55).
"""

import csv
from decimal import Decimal

import pytest

import lilawbench.experiment

HEADER = ["table", "row", "column", "metric", "mean", "std", "unit"]
FIGURES = {  # table: how many, and their sum; three columns of b, d, e add up to 3 b + 2 d + e; without numbers of rows
    "1": (18, "923.1897"), "2": (120, "9789.98"), "3": (13, "921.32"), "5": (90, "4520.4412"), "6": (54, "3082.9928"),
    "7": (36, "2021.6676"), "8": (39, "2191.0123"), "9": (18, "986.3465"), "10": (36, "2028.7733"),
    "11": (54, "2825.9414"), "12": (36, "2024.7919"), "13": (72, "4462.7894"), "14": (120, "112.6641"),
    "15": (44, "30.6316"), "16": (27, "21.094"), "17": (12, "901.02"), "18": (8, "391.1876"), "19": (26, "21.0611"),
    "20": (10, "-0.3409"), "21": (40, "-1.2298"), "22": (50, "-3.1979"),
}  # fmt: skip


@pytest.fixture(scope="module")
def lines():
    path = f"{lilawbench.experiment.__path__[0]}/paper/lilaw.csv"
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == HEADER
        return list(reader)


@pytest.fixture(scope="module")
def figure(lines):
    """figure("5", "full", "0 %", "test_accuracy") -> mean."""
    means = {tuple(line[key] for key in HEADER[:4]): Decimal(line["mean"]) for line in lines}
    assert len(means) == len(lines), "a figure is there twice"
    return lambda *place: means[place]


def test_every_table_has_its_figures(lines):
    found = {}
    for line in lines:
        if line["unit"] != "rows":
            count, total = found.get(line["table"], (0, Decimal()))
            found[line["table"]] = count + 1, total + Decimal(line["mean"])
    assert found == {table: (count, Decimal(total)) for table, (count, total) in FIGURES.items()}


def test_every_value_is_possible(lines):
    """But for one: Table 10 prints AUROC .9940 and a rise of .0065, 1.0005, and the .0001 that LiLAW takes from it."""
    beyond = []
    for line in lines:
        low, high = {"%": (0, 100), "1": (0, 1), "rows": (1, 9769)}[line["unit"]]
        low = -1 if line["metric"].startswith("fairness.") and line["unit"] == "1" else low
        if not low <= Decimal(line["mean"]) <= high:
            beyond.append((line["table"], line["row"], line["column"], line["metric"], line["mean"]))
        assert not line["std"] or Decimal(line["std"]) >= 0
    assert beyond == [
        ("10", "probe", "focal, 0 %", "test_auroc", "1.0005"),
        ("10", "probe + LiLAW", "focal, 0 %", "test_auroc", "1.0004"),
    ]


@pytest.mark.parametrize(
    "place, mean",
    [
        (("1", "probe + LiLAW", "Asymmetric", "test_accuracy"), "76.13"),  # 34.37 + 40.32 + 1.44
        (("2", "LiLAW", "PathMNIST, 10 %", "test_accuracy"), "95.30"),  # 95.38 - .08
        (("2", "LiLAW", "TissueMNIST, 50 %", "test_accuracy"), "52.23"),  # 31.82 + 20.41
        (("3", "SL", "Clothing1M", "test_accuracy"), "71.02"),
        (("3", "LiLAW", "Clothing1M", "test_accuracy"), "71.44"),
        (("5", "full", "90 %", "test_accuracy"), "1.48"),
        (("5", "probe", "90 %", "test_accuracy"), "53.03"),  # 1.48 + 51.55
        (("5", "probe + LiLAW", "80 %", "test_top5_accuracy"), "87.30"),  # 25.45 + 59.92 + 1.93
        (("5", "probe + LiLAW", "0 %", "test_auroc"), "0.9883"),  # .9926 - .0038 - .0005
        (("6", "probe + LiLAW (alpha, beta)", "50 %", "test_accuracy"), "75.55"),  # 58.03 + 17.17 + .35
        (("6", "probe + LiLAW (delta)", "0 %", "test_accuracy"), "78.95"),  # 76.41 + 4.44 - 1.90
        (("7", "probe + LiLAW", "50 %", "test_accuracy_calibrated"), "76.52"),  # 58.43 + 16.77 + 1.32
        (("8", "probe", "50 %, clean validation set", "test_accuracy"), "75.20"),  # 55.42 + 19.78
        (("8", "full", "clean half", "test_top5_accuracy"), "94.94"),
        (("9", "full", "50 %", "test_accuracy"), "46.32"),
        (("10", "probe + LiLAW", "focal, 50 %", "test_accuracy"), "76.42"),  # 56.66 + 18.61 + 1.15
        (("11", "probe + LiLAW", "20 %", "test_auroc"), "0.9851"),  # .9417 + .0383 + .0051
        (("12", "probe + LiLAW", "different, 0 %", "test_top5_accuracy"), "95.51"),  # 95.39 + .60 - .48
        (("13", "probe + LiLAW", "MNIST-M, 50 %", "test_accuracy"), "95.89"),  # 77.52 + 17.82 + .55
        (("14", "LiLAW", "DermaMNIST, 20 %", "test_auroc"), "0.8427"),  # .8606 - .0179
        (("15", "W_alpha", "epoch 3", "mislabel_auroc"), "0.9838"),
        (("15", "EL2N", "epoch 10", "mislabel_auprc"), "0.3604"),
        (("16", "UofR, UNBC, SynPAIN-Old; LiLAW on UofR", "UofR", "test_auroc"), "0.793"),
        (("17", "LiLAW", "PD-GaM + GAITGen", "test_recall"), "77.45"),  # 73.94 + 3.51
        (("18", "LiLAW", "ECG5000-A", "test_accuracy"), "100.00"),  # 96.80 + 3.20
        (("19", "LiLAW", "Adult", "test_recall_class1"), "0.6088"),  # .6097 - .0009
        (("20", "LiLAW", "Adult", "fairness.PPV.sex=Female"), "-0.0144"),  # -.0083 - .0061
        (("21", "LiLAW", "Adult", "fairness.TPR.race=Amer-Indian-Eskimo"), "-0.1136"),  # .0288 - .1424
        (("22", "LiLAW", "Adult", "fairness.DP.age=<=24"), "-0.3346"),  # -.3456 + .0110
    ],
)
def test_cells_of_the_paper(figure, place, mean):
    assert figure(*place) == Decimal(mean)


def test_only_table_9_prints_deviations(lines):
    deviations = {(line["row"], line["column"], line["metric"]): line["std"] for line in lines if line["std"]}
    assert {line["table"] for line in lines if line["std"]} == {"9"}
    assert len(deviations) == 18
    assert deviations["full", "50 %", "test_accuracy"] == "7.82"
    assert sum(map(Decimal, deviations.values())) == Decimal("18.2605")


def test_the_same_runs_have_the_same_figures_in_every_table(figure):
    """CIFAR-100-M, 50 % symmetric noise, 15 % to validate. Table 6 alone gives LiLAW another .01."""
    places = ("1", "Symmetric"), ("5", "50 %"), ("7", "50 %"), ("8", "50 %"), ("10", "cross-entropy, 50 %"), (
        "11", "15 %"), ("12", "same, 50 %"), ("13", "CIFAR-100-M, 50 %")  # fmt: skip
    for row, mean in (("full", "58.03"), ("probe", "75.20"), ("probe + LiLAW", "76.55")):
        assert {figure(table, row, column, "test_accuracy") for table, column in places} == {Decimal(mean)}
    assert figure("6", "probe + LiLAW", "50 %", "test_accuracy") == Decimal("76.56")


@pytest.mark.parametrize("row", ["CE", "LiLAW"])
def test_the_averages_of_table_19_follow_from_its_classes(figure, row):
    """Which the paper prints by themselves: they agree only if changes were added with the right sign."""

    def of(metric):
        return float(figure("19", row, "Adult", metric))

    share = of("test_n_class1") / of("test_n")
    assert of("test_n_class0") + of("test_n_class1") == of("test_n")
    for name in ("precision", "recall", "f1"):
        poor, rich = of(f"test_{name}_class0"), of(f"test_{name}_class1")
        assert of(f"test_{name}") == pytest.approx((poor + rich) / 2, abs=1.5e-4)
        assert of(f"test_weighted_{name}") == pytest.approx((1 - share) * poor + share * rich, abs=1.5e-4)
    assert of("test_weighted_recall") == of("test_accuracy")


@pytest.mark.parametrize("table, attribute, groups", [("20", "sex", 2), ("21", "race", 5), ("22", "age", 6)])
def test_every_test_row_is_in_one_group(lines, table, attribute, groups):
    sizes = [int(line["mean"]) for line in lines if line["table"] == table and line["metric"].startswith("fairness.n.")]
    assert len(sizes) == 2 * groups  # for either row
    assert sum(sizes) == 2 * 9769
