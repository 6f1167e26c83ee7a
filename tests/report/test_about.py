"""What a page says of the runs themselves, and the lists of suspects on it."""

import json

import pytest

from lilawbench.report.about import about, summary
from lilawbench.report.collect import collect, unfinished
from lilawbench.report.repeated import with_unique_names
from lilawbench.report.suspected import suspected


def named(folder):
    return with_unique_names(collect(folder))


def test_runs_options_commands_and_what_is_missing(write_run, tmp_path):
    for rate in (0.2, 0.4):
        for method in ("ce", "lilaw"):
            changes = {"config.noise.rate": rate, "command": f"train rate={rate}", "git.commit": "a" * 40}
            write_run(method, 0, changes=changes | {"git.dirty": True, "versions.torch": "2.11"})
    failed = write_run("rrm", 0, name="broken")
    (failed / "result.json").unlink()
    (failed / "failed.json").write_text(json.dumps({"error": "NaN"}))
    outputs = tmp_path / "outputs"
    (outputs / ".sweep.json").write_text(json.dumps({"command": "c", "runs": ["broken", "never"]}))
    runs, lacking = named(outputs), unfinished(outputs, named(outputs))
    assert summary(runs, lacking) == "4 finished runs of 2 methods in 2 settings, 1 seed; 1 failed."
    sections = {section.heading: section.tables for section in about(runs, lacking, [outputs])}
    (listed,) = sections["Runs"]
    assert [row[:2] for row in listed.rows] == [
        [method, f"symmetric {rate}"] for rate in (0.2, 0.4) for method in ("ce", "lilaw")
    ]
    assert listed.rows[0][3:7] == ["aaaaaaaa+", "0", "80.00", "70.00"]
    (options,) = sections["How the configs differ"]
    assert options.rows == [["method.name", "ce (2), lilaw (2)"], ["noise.rate", "0.2 (2), 0.4 (2)"]]
    commands, versions = sections["Commands and versions"]
    assert commands.rows == [["train rate=0.2", "2"], ["train rate=0.4", "2"]]
    assert versions.rows == [["-", "-", "2.11", "-", "-", "a" * 40, "4"]]
    (missing,) = sections["Failed and missing runs"]
    assert missing.rows == [
        ["failed", "broken", "NaN"],
        ["not begun", "never", "the last sweep was to do it; the same command does"],
    ]


def test_the_first_list_of_each_setting_is_shown(write_run, tmp_path):
    """Up to the score that ranks; of two runs with a list that of the lower seed."""
    for seed in range(2):
        changes = {"suspects_rows": 1200, "suspects_estimated": 30, "suspects_estimated_by": "GMM on losses"}
        folder = write_run("ce", seed, changes=changes)
        lines = [f"{rank},r{seed}-{rank},a,b,0.9,1,2.5,0.1" for rank in range(1, 80)]
        head = "rank,row,given,suggested,suggested_prob,probably_wrong,score,loss"
        (folder / "suspects.csv").write_text("\n".join([head, *lines]))
    found = suspected(named(tmp_path))
    (table,) = found.tables
    assert table.header[-1] == "score" and table.numbers == 3
    assert len(table.rows) == 50 and table.rows[0] == ["1", "r0-1", "a", "b", "0.9", "1", "2.5"]
    assert found.lines[0].endswith("about 30 of 1,200 labels are probably wrong, estimated by GMM on losses.")
    assert found.pictures == []
    (folder / "suspects.png").write_text("junk")
    assert suspected(named(tmp_path)).pictures == []


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff\xfe", b"rank,row,given,suggested,score\n1,2"])
def test_a_damaged_list_is_named_and_left_out(write_run, tmp_path, content):
    (write_run("ce", 0) / "suspects.csv").write_bytes(content)
    found = suspected(named(tmp_path))
    assert not found.tables and "suspects.csv cannot be read. The file is damaged" in found.lines[0]


def test_without_lists_there_is_no_section(write_run, tmp_path):
    write_run("ce", 0)
    assert suspected(named(tmp_path)) is None
