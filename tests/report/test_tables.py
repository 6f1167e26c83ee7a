import csv
import io
import math
import re

import pytest

from lilawbench.record.selection import RULES
from lilawbench.report.collect import collect
from lilawbench.report.document import Document, Section, records_csv
from lilawbench.report.measured import SELECTIONS
from lilawbench.report.names import with_names
from lilawbench.report.report import report
from lilawbench.report.rows import INTERVALS, TESTS
from lilawbench.support.errors import UserError

CAPTION = (
    "digits, symmetric 0.4, mlp: test accuracy [%] at best_val (the epoch of best validation accuracy, on the "
    "validation labels the method sees), mean ± sample std over n = 3 seeds. Noise rate requested 0.4, "
    "realised 0.4000. Differences to ce are means over pairs of one seed and the same observed labels, in "
    "percentage points; their 95 % intervals are of Student's t and of a bootstrap over seeds (9,999 resamples, BCa); "
    "effect is Cohen's d of the paired differences (d_z) with Hedges' correction; p-values are two-sided, Holm: "
    "corrected over the 2 comparisons of this table, per test. In 1 comparison all differences are equal: no variance "
    "is left for an interval nor, unless they are 0, for a t-test, which Holm then leaves out. "
    "The smallest possible two-sided Wilcoxon p is 0.25 with n = 3. Fewer than 5 pairs say little. The interval of t "
    "then rests on normal differences, and that of the bootstrap is too narrow. Bold: the best mean, and with ≈ "
    "what no test tells from it (paired t-test, p at least 0.05 after Holm over the rows of a column)."
)
OF_LILAW = ["[-0.48, +4.48]", "[+1.00, +3.00]", "+1.13", "3.26", "0.0742", "0.2500", "0.1484", "0.5000"]
HEADER = ["method", "seeds", "test accuracy [%]", "difference to ce", *INTERVALS, *TESTS]
ROWS = {
    "ce": ["3", "**72.00 ± 2.00 ≈**", *["-"] * 9],
    "focal": ["3", "**72.00 ± 2.00 ≈**", "+0.00", "-", "-", "+0.00", "-", *["1.0000"] * 4],
    "lilaw": ["3", "**74.00 ± 3.00**", "+2.00", *OF_LILAW],
}


def rendered(table, suffix):
    return Document("Results", [Section("best_val", [table])]).render(suffix)


def as_csv(table):
    return records_csv([Section("best_val", [table])])


@pytest.fixture
def three_seeds(write_run, tmp_path):
    """Differences of lilaw to ce: 1, 2, 3 points, so p = 1 - sqrt(12/14) = .0742 and 2/2^3; focal is as ce."""
    for seed, (ce, lilaw) in enumerate([(0.70, 0.71), (0.72, 0.74), (0.74, 0.77)]):
        write_run("ce", seed, ce)
        write_run("focal", seed, ce)
        write_run("lilaw", seed, lilaw)
    return collect(tmp_path)


def test_the_exact_table(three_seeds, table_of):
    """Holm over the two comparisons: t .0742 * 2 = .1484, Wilcoxon .25 * 2 = .5; focal stays 1. The interval is
    2 ± 4.3027 / sqrt(3); means of three draws of 1, 2, 3 reach from 1 to 3; d_z 2 is corrected by 1 / sqrt(pi); an sd
    of 1 over three pairs detects 3.264 (Cohen's d of TTestPower). Neither ce nor focal is told from lilaw."""
    head, lines = rendered(table_of(three_seeds), "md").split("| method |")
    assert head == f"# Results\n\n## best_val\n\n{CAPTION}\n\n"
    header, rule, *found = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines.splitlines()]
    assert ["method", *header] == HEADER and len(rule) == len(HEADER)
    assert {row[0]: row[1:] for row in found if len(row) > 1} == ROWS
    assert lines.rstrip().endswith(
        "\n\nWith 3 seeds this cell could have seen 3.26 points: the true difference that its paired t-test "
        "(two-sided, p below 0.05 before Holm) finds with a power of 80 %, if differences vary as they did here."
    )


def test_a_measure_of_the_whole_run_has_a_table_without_a_rule(write_run, tmp_path, words_only, markdown):
    for seed in range(2):
        write_run("ce", seed, changes={"suspects_auroc_loss": 0.75, "suspects_score": "loss"})
    said = markdown(report(tmp_path, tmp_path / "report", metric="suspects_auroc_loss"))
    assert "## suspects_auroc_loss" in said and "0.7500" in said and "best_val" not in said
    with pytest.raises(UserError, match="no finished run has best_val.suspects_score"):
        report(tmp_path, tmp_path / "report", metric="suspects_score")  # it is no number


def test_a_region_of_practical_equivalence(three_seeds, table_of):
    """Of 2 points around a mean of 2, scale 1 / sqrt(3): half is above; below, t = -4 sqrt(3) with 2 degrees of
    freedom: (1 - t / sqrt(2 + t^2)) / 2 = .0101. The CSV has the region in its own unit, a fraction."""
    table = table_of(three_seeds, rope=2.0)
    below = (1 - 4 * math.sqrt(3) / math.sqrt(2 + 48)) / 2
    assert table.header[-1] == "below, within, above"
    assert [row[-1] for row in table.rows] == ["-", "-", "0.01, 0.49, 0.50"]
    assert "true difference is below -2, within, and above" in table.caption
    found = [table.records[2][name] for name in ("rope", "below", "within", "above")]
    assert found == pytest.approx([0.02, below, 0.5 - below, 0.5])


def test_csv_has_the_unrounded_numbers(three_seeds, table_of):
    ce, focal, lilaw = csv.DictReader(io.StringIO(as_csv(table_of(three_seeds))))
    assert float(lilaw["p_t"]) == pytest.approx(1 - math.sqrt(12 / 14), abs=1e-9)
    assert (float(lilaw["mean"]), float(lilaw["std"])) == pytest.approx((0.74, 0.03))
    assert (ce["p_t"], ce["pairs"], focal["pairs"]) == ("", "0", "3")
    assert (lilaw["select"], lilaw["metric"], lilaw["baseline"]) == ("best_val", "test_accuracy", "ce")
    half = 0.04302653 / math.sqrt(3)
    expected = [0.02, 0.02 - half, 0.02 + half, 0.01, 0.03, 2 / math.sqrt(math.pi)]
    names = ["difference", "ci_low", "ci_high", "boot_low", "boot_high", "effect"]
    assert [float(lilaw[name]) for name in names] == pytest.approx(expected, abs=1e-8)
    assert float(lilaw["detectable"]) == pytest.approx(0.03264043, abs=1e-7) and focal["detectable"] == ""
    assert [row["best"] for row in (ce, focal, lilaw)] == ["False", "False", "True"]
    assert [row["level"] for row in (ce, focal, lilaw)] == ["True", "True", "False"]
    to_best = [float(ce[f"best_{name}"]) for name in ("difference", "ci_low", "ci_high")]
    assert to_best == pytest.approx([-0.02, -0.02 - half, -0.02 + half], abs=1e-8)
    assert float(ce["p_best_holm"]) == pytest.approx(2 * (1 - math.sqrt(12 / 14))) and lilaw["p_best_holm"] == ""


def test_tex_and_html_show_the_same_cells(three_seeds, table_of):
    table = table_of(three_seeds)
    tex, html = rendered(table, "tex"), rendered(table, "html")
    assert r"lilaw & 3 & \textbf{74.00 $\pm$ 3.00} & +2.00 & [-0.48, +4.48] & [+1.00, +3.00] & +1.13 & 3.26 &" in tex
    assert r"ce & 3 & \textbf{72.00 $\pm$ 2.00 $\approx$} & -" in tex
    assert r"With 3 seeds this cell could have seen 3.26 points" in tex and '<p class="under">With 3 seeds this' in html
    assert r"test accuracy [\%]" in tex and r"best\_val" in tex and "{lrrrrrrrrrrr}" in tex
    assert re.findall(r"<td[^>]*>(.*?)</td>", html) == [cell for row in table.rows for cell in row]
    assert '<td class="word">lilaw</td>' in html
    assert html.count("<tr") == 4 and "<caption>digits, symmetric 0.4, mlp" in html


def test_selection_is_named_and_used(three_seeds, table_of):
    table = table_of(three_seeds, select="last")
    assert table.rows[0][2] == "62.00 ± 2.00 ≈"
    assert "at last (the last epoch)" in table.caption
    assert set(SELECTIONS) == set(RULES)


def test_other_metrics_are_not_percent(write_run, tmp_path, table_of):
    for seed, loss in enumerate([1.0, 2.0]):
        write_run("ce", seed, changes={"last.test_loss": loss})
    table = table_of(collect(tmp_path), select="last", metric="test_loss")
    assert (table.header[-1], table.rows) == ("test loss", [["ce", "2", "1.5000 ± 0.7071"]])


def test_one_method_has_no_comparison_columns(write_run, tmp_path, table_of):
    write_run("lilaw", 0, 0.8)
    table = table_of(collect(tmp_path), baseline="lilaw")
    assert table.header == ["method", "seeds", "test accuracy [%]"]
    assert table.rows == [["lilaw", "1", "80.00"]]
    assert "Holm" not in table.caption and "p_t" not in as_csv(table)


def test_one_seed_gives_no_p_values_and_no_interval(write_run, tmp_path, table_of):
    write_run("ce", 0, 0.5)
    write_run("lilaw", 0, 0.75)
    table = table_of(collect(tmp_path))
    assert (table.header[-1], table.rows[1]) == ("difference to ce", ["lilaw", "1", "75.00", "+25.00"])
    assert "p-values" not in table.caption and "interval" not in table.caption and "≈" not in table.caption


def test_missing_seeds_leave_the_pairs_in_common(write_run, tmp_path, table_of):
    """lilaw has seeds 0..3, ce 1..4: pairs 1, 2, 3 with differences 1, 2, 3 points."""
    for seed, accuracy in enumerate([0.99, 0.71, 0.72, 0.73]):
        write_run("lilaw", seed, accuracy)
    for seed in range(1, 5):
        write_run("ce", seed, 0.70)
    ce, lilaw = table_of(collect(tmp_path)).rows
    assert ce[1] == "4"
    assert lilaw[1:4] == ["4 (3 paired)", "78.75 ± 13.52", "+2.00"]
    assert lilaw[4:] == [*OF_LILAW[:-2], "0.0742", "0.2500"]


def test_settings_and_missing_cells(write_run, tmp_path, table_of):
    """Holm runs over all settings: p = 1/2 twice; the setting without lilaw shows dashes."""
    for rate in (0.2, 0.4, 0.1):
        changes = {"config.noise.rate": rate, "noise.requested_rate": rate, "noise.realised_rate": rate}
        for seed in range(2):
            write_run("ce", seed, 0.5, changes=changes)
            if rate != 0.1:
                write_run("lilaw", seed, 0.6 + 0.1 * seed, changes=changes)
    table = table_of(collect(tmp_path))
    assert [row[:3] for row in table.rows] == [
        ["symmetric 0.1", "ce", "2"],
        ["symmetric 0.1", "lilaw", "0"],
        ["symmetric 0.2", "ce", "2"],
        ["symmetric 0.2", "lilaw", "2"],
        ["symmetric 0.4", "ce", "2"],
        ["symmetric 0.4", "lilaw", "2"],
    ]
    assert table.rows[1][3:] == ["-"] * 10
    assert [table.rows[3][4], *table.rows[3][9:]] == [
        "+15.00",
        "0.2048",
        "0.5000",
        "0.4097",
        "1.0000",
    ]  # t = 3: p = 1 - 2/pi atan(3)
    assert table.caption.startswith("digits, mlp, 3 settings: ")
    assert "symmetric 0.2: requested 0.2, realised 0.2000" in table.caption
    assert "the 2 comparisons" in table.caption


def test_realised_rates_of_methods_that_differ(write_run, tmp_path, table_of):
    for seed, rate in enumerate([0.39, 0.41]):
        write_run("ce", seed, 0.5, changes={"noise.realised_rate": rate})
    write_run("lilaw", 0, 0.6, changes={"noise.realised_rate": 0.39})
    caption = table_of(collect(tmp_path)).caption
    assert "Noise rate requested 0.4, realised 0.3900 to 0.4100 (ce), 0.3900 (lilaw)." in caption


def test_runs_without_the_measure_are_counted(write_run, tmp_path, table_of, words_only):
    write_run("ce", 0)
    write_run("ce", 1, changes={"best_val.test_accuracy": None})
    assert table_of(collect(tmp_path)).rows == [["ce", "1", "80.00"]]
    assert "1 finished run(s) have no best_val.test_accuracy." in report(tmp_path, tmp_path / "report")


def test_two_runs_of_one_seed_are_refused(write_run, tmp_path, table_of):
    first, second = write_run("ce", 0), write_run("ce", 0, changes={"config.experiment_name": "again"})
    with pytest.raises(UserError, match="two runs of ce, seed 0") as error:
        table_of(collect(tmp_path))
    assert str(first) in str(error.value) and str(second) in str(error.value)


@pytest.mark.parametrize("labels", ["others", None])
def test_unpaired_labels_are_refused(write_run, tmp_path, labels, table_of):
    ours, theirs = write_run("lilaw", 3, changes={"labels.sha256": labels}), write_run("ce", 3)
    write_run("ce", 4)
    with pytest.raises(UserError, match="not paired: seed 3") as error:
        table_of(collect(tmp_path))
    assert str(ours) in str(error.value) and str(theirs) in str(error.value)


def test_each_method_against_its_own_loss(write_run, tmp_path, table_of):
    """rrm - ce: 1, 2, 3 points, t p = 1 - sqrt(12/14) = .0742; rrm + mse - mse: 2, 4, 6, the same p. Holm over these
    two: .0742 * 2; rrm + gce has no gce to be compared with."""
    for seed in range(3):
        write_run("ce", seed, 0.70)
        write_run("mse", seed, 0.50, loss="mse")
        write_run("rrm", seed, 0.71 + 0.01 * seed)
        write_run("rrm", seed, 0.52 + 0.02 * seed, loss="mse")
        write_run("rrm", seed, 0.60, loss="gce")
    table = table_of(collect(tmp_path), baseline="loss")
    assert table.header[3] == "difference to its loss"
    assert {row[0]: row[2:] for row in table.rows} == {
        "ce": ["70.00 ± 0.00 ≈"] + ["-"] * 9,
        "mse": ["50.00 ± 0.00"] + ["-"] * 9,
        "rrm": ["72.00 ± 1.00", "+2.00", *OF_LILAW],
        "rrm + mse": ["54.00 ± 2.00", "+4.00", "[-0.97, +8.97]", "[+2.00, +6.00]", "+1.13", "6.53", *OF_LILAW[4:]],
        "rrm + gce": ["60.00 ± 0.00"] + ["-"] * 9,
    }
    assert "Differences to plain training on its loss are means" in table.caption
    assert "the 2 comparisons" in table.caption


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"baseline": "rrm"}, "baseline 'rrm'; methods found: ce, focal, lilaw"),
        ({"select": "best"}, "unknown selection rule 'best'; valid: best_val"),
        ({"metric": "test_f1"}, "no finished run has best_val.test_f1"),
    ],
)
def test_what_cannot_be_shown(three_seeds, options, says, table_of):
    with pytest.raises(UserError, match=says):
        table_of(three_seeds, **options)


def test_an_architecture_of_its_own_names_the_model(write_run, tmp_path):
    """The choice's own one does not; both stand in one table, and a pair of runs of one choice is no conflict."""
    for architecture in ("resnet18", "resnet26d"):
        changes = {"config.model.name": "resnet18", "config.model.architecture": architecture}
        write_run("ce", 0, changes=changes)
        write_run("lilaw", 0, changes=changes)
    assert sorted(set(with_names(collect(tmp_path))["setting"])) == ["resnet18", "resnet26d"]


def test_classes_are_called_by_their_names(write_run, table_of, tmp_path, words_only, markdown):
    for method in ("ce", "lilaw"):
        write_run(method, 0, changes={"last.test_f1_class1": 0.5, "class_names": ["<=50K", ">50K"]})
    said = markdown(report(tmp_path, tmp_path / "report", metric="test_f1_class1", selections=["last"]))
    assert "| test f1 (>50K) |" in said.replace("  ", "") and "class1" in (tmp_path / "report/tables.csv").read_text()


def test_a_grids_winner_is_picked_on_validation_and_said_so(write_run, tmp_path, words_only, markdown):
    """On test 0.1 is better; on validation 0.01 is, over the seeds that both have."""
    for lr, val, test in ((0.1, 0.80, 0.95), (0.01, 0.82, 0.70)):
        for seed in range(2 if lr == 0.01 else 3):
            score = 0.99 if seed == 2 else val
            write_run("lilaw", seed, test, changes={"config.method.lr": lr, "best_val.val_accuracy": score})
    write_run("ce", 0, 0.6, changes={"best_val.val_accuracy": 0.5})
    said = markdown(report(tmp_path, tmp_path / "report", selections=["best_val"], pick=["method.lr"]))
    assert "| lilaw  | 2" in said and "70.00 ± 0.00" in said and "95.00" not in said
    assert (
        said.count("Picked on validation (select_by: val) for lilaw, digits, symmetric 0.4, mlp: method.lr=0.01.") == 1
    )
    assert "Mean best_val.val_accuracy of each: method.lr=0.1: 0.8000, method.lr=0.01: 0.8200." in said


@pytest.mark.parametrize(
    "key, says", [("method.nope", "no run has method.nope"), ("method.lr", "best_val.val_accuracy")]
)
def test_what_cannot_be_picked(write_run, tmp_path, key, says):
    write_run("lilaw", 0, changes={"config.method.lr": 0.1})
    with pytest.raises(UserError, match=says):
        report(tmp_path, tmp_path / "report", pick=[key])
