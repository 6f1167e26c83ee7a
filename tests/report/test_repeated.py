import pytest

from lilawbench.report.collect import collect
from lilawbench.report.names import with_names
from lilawbench.report.repeated import refuse_repeated
from lilawbench.support.errors import UserError


def test_every_repeated_run_is_shown_with_what_tells_it_apart(write_run, tmp_path):
    old, new = ({"versions.lilawbench": version, "versions.torch": "2.15.0"} for version in ("0.1.0", "0.2.0"))
    write_run("ce", 0, 0.8, name="old", changes=old)
    write_run("ce", 0, 0.9, name="new", changes={**new, "labels.sha256": "0123456789abcdef"})
    write_run("ce", 1)
    for name in "abc":
        write_run("lilaw", 1, name=name)
    with pytest.raises(UserError) as error:
        refuse_repeated(with_names(collect(tmp_path)))
    lines = str(error.value).replace(str(tmp_path), "").splitlines()
    unknown = "test_accuracy 0.7000 (last), lilawbench unknown, torch unknown, labels labels o"
    assert lines == [
        "2 cells with several runs of one seed:",
        "two runs of ce, seed 0, in one setting (digits, symmetric 0.4, mlp):",
        "  /outputs/new: test_accuracy 0.8000 (last), lilawbench 0.2.0, torch 2.15.0, labels 01234567",
        "  /outputs/old: test_accuracy 0.7000 (last), lilawbench 0.1.0, torch 2.15.0, labels labels o",
        "3 runs of lilaw, seed 1, in one setting (digits, symmetric 0.4, mlp):",
        *(f"  /outputs/{name}: {unknown}" for name in "abc"),
        "Which ones should count? Name their folders, or move the others away (a folder whose name begins with a dot "
        "is not collected).",
    ]  # fmt: skip


def test_of_many_repeated_runs_ten_cells_are_shown(write_run, tmp_path):
    for seed in range(13):
        write_run("ce", seed)
        write_run("ce", seed)
    with pytest.raises(UserError) as error:
        refuse_repeated(with_names(collect(tmp_path)))
    lines = str(error.value).splitlines()
    assert lines[0].startswith("13 cells") and sum(line.startswith("two runs") for line in lines) == 10
    assert lines[-2] == "and 3 more such cells"
