"""Marks of cells whose method had not acted or was told something, and what rows cost."""

from lilawbench.report.collect import collect
from lilawbench.report.report import report


def test_a_row_whose_method_never_acted_is_marked(write_run, tmp_path, words_only, markdown):
    why = "never re-weighted: method.reweight_every_epochs is 10, of 3 epochs"
    for rate in (0.2, 0.4):
        write_run("ce", 0, changes={"config.noise.rate": rate})
        write_run("rrm", 0, changes={"config.noise.rate": rate, "never_acts": why if rate == 0.2 else None})
    said = markdown(report(tmp_path, tmp_path / "report", selections=["last"]))
    assert "| symmetric 0.2 | rrm (never re-weighted) |" in said and "| symmetric 0.4 | rrm  " in said
    assert said.count("70.00 †") == 2 and "† never re-weighted, see the notes." in said
    assert f"Not a result of the method: rrm, symmetric 0.2: {why}." in said


def test_a_row_whose_epoch_was_chosen_before_the_method_acted_is_marked(write_run, tmp_path, markdown):
    for seed, chosen in enumerate((1, 2, 3)):
        idle = {"idle_epochs": 2, "idle_reason": "never re-weighted: method.warmup_epochs is 2"}
        epochs = {"best_val.epoch": chosen, "last.epoch": 5}
        write_run("ce", seed, changes=epochs)
        write_run("lilaw", seed, changes=idle | epochs)
    said = {rule: markdown(report(tmp_path, tmp_path / rule, selections=[rule])) for rule in ("best_val", "last")}
    by = "never re-weighted by the epoch of best_val"
    assert f"| lilaw ({by} in some runs) |" in said["best_val"] and said["best_val"].count(" †") == 1
    note = f"(2 of 3 runs): {by}: method.warmup_epochs is 2."
    assert note in said["best_val"] and "Not a result of the method: lilaw" in said["best_val"]
    assert "†" not in said["last"] and "never" not in said["last"]


def test_many_ways_of_not_acting_are_said_in_one(write_run, tmp_path, words_only):
    write_run("ce", 0)
    for method, what in (("rrm", "never re-weighted"), ("pes", "never divided"), ("cdr", "never masked")):
        write_run(method, 0, changes={"never_acts": f"{what}: method.warmup_epochs is 9, of 3 epochs"})
    said = " ".join(report(tmp_path, tmp_path / "report", selections=["last"]).split())
    assert "†: the method had not begun all that it does by the epoch that counts, in some runs or all." in said


def test_a_run_that_was_told_the_rate_is_marked(write_run, tmp_path, words_only, markdown):
    write_run("ce", 0)
    write_run("rrm", 0, changes={"told": "method.contamination=0.4"})
    said = report(tmp_path, tmp_path / "report", selections=["last"])
    why = "‡: told how noisy the labels are (method.contamination=0.4)."
    assert why in said and why in markdown(said)
    assert said.count("70.00 ‡") == 1 and markdown(said).count("70.00 ‡") == 1


def test_what_rows_cost_is_shown_where_they_differ(write_run, tmp_path, section_of):
    for seed, cost in enumerate((2.25, 2.5)):
        write_run("ce", seed, changes={"cost_ce": 1.0})
        write_run("dividemix", seed, changes={"cost_ce": cost})
    found = section_of(collect(tmp_path))
    (brief,), (*_, details) = found.short.tables, found.tables
    assert [row[brief.header.index("cost")] for row in brief.rows] == ["1.00", "2.38"]
    assert [row[details.header.index("cost")] for row in details.rows] == ["1.00", "2.38"]
    assert [record["cost"] for record in details.records] == [1.0, 2.375]
    explained = "Cost: passes of rows through networks in training, by those of plain training."
    assert explained in details.caption and explained in found.short.legend
    write_run("focal", 0)  # by a version that counted none
    table = section_of(collect(tmp_path)).tables[-1]
    assert [row[table.header.index("cost")] for row in table.rows] == ["1.00", "2.38", "-"]
