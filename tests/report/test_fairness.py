"""Fairness in reports: rows of fake runs."""

from lilawbench.metrics.fairness import LARGEST, MEASURES
from lilawbench.report.collect import collect
from lilawbench.report.fairness import fairness_section
from lilawbench.report.repeated import with_unique_names
from lilawbench.report.report import report


def row(group, gap, reference=False, n=10):
    figures = {f"{name}{end}": None if reference else gap + shift for name in MEASURES
               for end, shift in (("", 0.0), ("_low", -0.1), ("_high", 0.1))}  # fmt: skip
    return {"attribute": "sex", "group": group, "reference": reference, "n": n, **figures}


def rows(gap):
    return [row("Male", None, reference=True, n=30), row("Female", -gap), row(LARGEST, gap, n=40)]


def test_the_table_shows_means_over_seeds(write_run, tmp_path):
    for seed, gap in enumerate([0.2, 0.3]):
        write_run("ce", seed, changes={"best_val.fairness": rows(gap), "class_names": ["poor", "rich"]})
    write_run("lilaw", 0, changes={"best_val.fairness": rows(0.1)})
    section = fairness_section(with_unique_names(collect(tmp_path / "outputs")))
    [table], [short] = section.tables, section.short.tables
    assert table.header == ["attribute", "group", "method", "seeds", "n", *(f"{name} gap" for name in MEASURES)]
    assert [line[:5] for line in table.rows] == [
        ["sex", "Female", "ce", "2", "10"], ["sex", "Female", "lilaw", "1", "10"],
        ["sex", LARGEST, "ce", "2", "40"], ["sex", LARGEST, "lilaw", "1", "40"],
    ]  # fmt: skip
    assert table.rows[0][5] == "-0.2500 [-0.350, -0.150]" and table.rows[3][9] == "0.1000 [0.000, 0.200]"
    assert [line[5] for line in short.rows] == ["-0.2500", "-0.1000", "0.2500", "0.1000"]
    assert "Positive is the class rich. DP: share" in table.caption
    assert "sex: Male" in table.caption and "sex: Male" in section.short.title and "Male" not in str(table.rows)


def test_a_gap_that_no_resample_changes_has_no_interval(write_run, tmp_path):
    same = [row("Male", None, reference=True), {**row("Female", 0.0), "ACC_low": 0.0, "ACC_high": 0.0}]
    write_run("ce", 0, changes={"best_val.fairness": same})
    [table] = fairness_section(with_unique_names(collect(tmp_path / "outputs"))).tables
    assert dict(zip(table.header, table.rows[0]))["ACC gap"] == "+0.0000" and "[" in table.rows[0][5]
    assert table.records[0]["ACC_low"] != table.records[0]["ACC_low"]


def test_without_groups_there_is_no_table(write_run, tmp_path):
    write_run("ce", 0)
    assert fairness_section(with_unique_names(collect(tmp_path / "outputs"))) is None
    report(tmp_path / "outputs", tmp_path / "report")
    assert not (tmp_path / "report" / "fairness.csv").exists()


def test_the_report_has_the_table_and_its_numbers(write_run, tmp_path, words_only):
    write_run("ce", 0, changes={"best_val.fairness": rows(0.2)})
    said = report(tmp_path / "outputs", tmp_path / "report")
    assert "Gaps to the reference group (sex: Male) at best_val" in said and "-0.2000" in said
    written = (tmp_path / "report" / "tables.md").read_text(encoding="utf-8")
    assert "## best_val, groups" in written and "-0.2000 [-0.300, -0.100]" in written
    lines = (tmp_path / "report" / "fairness.csv").read_text().splitlines()
    assert lines[0].startswith("select,setting,attribute,group,method") and len(lines) == 3
