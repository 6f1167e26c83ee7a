import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from lilawbench.record.identity import RunRecord
from lilawbench.report.conclude import conclude
from lilawbench.report.place import place
from lilawbench.report.report import report
from lilawbench.support.errors import UserError

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_tables.py"


@pytest.fixture(scope="module")
def make_tables():
    spec = importlib.util.spec_from_file_location("make_tables", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def two_methods(write_run, tmp_path):
    for seed in range(2):
        write_run("ce", seed, 0.7)
        write_run("lilaw", seed, 0.75, parameters=[(10, 2, 6), (9, 3, 6)])
    return tmp_path / "outputs"


def test_the_end_of_a_large_sweep_draws_nothing_and_says_how(two_methods, tmp_path, layout, markdown, monkeypatch):
    """A report that is asked for draws everything; figures of fewer runs do not stay beside tables of more."""
    out = tmp_path / "report"
    report(two_methods, out)
    drawn = sorted(path.name for path in out.glob("*.png"))
    assert "accuracy.png" in drawn
    monkeypatch.setattr("lilawbench.report.report.MANY", 3)
    command = f"python -m lilawbench.report {two_methods}"
    note = f"No figures of 4 runs at the end of a sweep, for they take long; this draws them: {command}"
    assert note in markdown(report(two_methods, out)) and not [*out.glob("*.png")]
    assert "No figures" not in report(two_methods, out, whole=True)
    assert sorted(path.name for path in out.glob("*.png")) == drawn


def test_report_writes_what_it_names(two_methods, tmp_path, layout, markdown):
    out = tmp_path / "report"
    said = report([two_methods], out, whole=True)
    body, files = markdown(said), said.split("Files:\n")[1]
    assert body.index("## best_val") < body.index("## last")
    assert all("difference to ce" in text and "+5.00" in text for text in (said, body))
    paths = [Path(line.strip()) for line in files.splitlines()]
    names = ["tables.md", "tables.csv", "tables.tex", "report.html", "accuracy.png", "parameters.png"]
    assert [path.name for path in paths] == names
    vectors = [path.with_suffix(".svg") for path in paths[-2:]]
    assert sorted(out.iterdir()) == sorted(paths + vectors) and all(path.stat().st_size > 200 for path in out.iterdir())
    assert len((out / "tables.csv").read_text().splitlines()) == 1 + 2 * 2
    assert (out / "report.html").read_text(encoding="utf-8").count("<table") >= 2


def test_without_ce_the_first_method_is_the_baseline(write_run, tmp_path, words_only):
    write_run("lilaw", 0, 0.75)
    write_run("focal", 0, 0.7)
    assert "difference to focal" in report(tmp_path, tmp_path / "report")


def test_no_parameters_removes_an_older_picture(write_run, tmp_path):
    write_run("ce", 0)
    out = tmp_path / "report"
    out.mkdir()
    for name in ("parameters.png", "accuracy.svg"):  # an SVG that was not asked for would be of other runs
        (out / name).write_bytes(b"old")
    assert "parameters.png" not in report(tmp_path, out)
    assert not (out / "parameters.png").exists() and not (out / "accuracy.svg").exists()


@pytest.mark.slow
def test_what_methods_logged_is_drawn_and_goes_with_them(write_run, tmp_path, layout):
    """pruning.png and corrector.png are listed and shown; without their runs, older ones are removed."""
    histogram = {"weight_histogram": [[0, 2, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]]}
    rrm = write_run("rrm", 0, epochs=[{"reweightings": 1, "pruned": 0.3}] * 2, tables=[histogram] * 2)
    learned = {"g": [[0.9, 0.1]] * 2, "margin": [1.0, 0.9]}
    dynamic = write_run("dynamic_loss", 0, tables=[learned] * 2, clean=[0, 0, 1])
    write_run("ce", 0)
    out = tmp_path / "report"
    said = report(tmp_path / "outputs", out)
    for name in ("pruning.png", "corrector.png"):
        assert f"  {out / name}" in said.splitlines() and (out / name).read_bytes()[:4] == b"\x89PNG"
        assert f'data-picture="{name}"' in (out / "report.html").read_text(encoding="utf-8")
    for run in (rrm, dynamic):
        (run / "result.json").unlink()
    said = report(tmp_path / "outputs", out)
    assert "pruning.png" not in said and "corrector.png" not in said and "accuracy.png" in said
    assert not (out / "pruning.png").exists() and not (out / "corrector.png").exists()
    assert "pruning.png" not in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_method_around_another_loss_is_compared_with_that_loss(write_run, tmp_path, words_only):
    """rrm + mse against mse, +4 points, not against ce, where it would be -16; told no baseline, report finds it."""
    for method, loss, accuracy in [("ce", None, 0.7), ("mse", "mse", 0.5), ("rrm", None, 0.72), ("rrm", "mse", 0.54)]:
        write_run(method, 0, accuracy, loss=loss)
    said = report(tmp_path / "outputs", tmp_path / "report", selections=("last",))
    assert "difference to its loss" in said and "+2.00" in said and "+4.00" in said and "16.00" not in said
    said = report(tmp_path / "outputs", tmp_path / "report", baseline="ce", selections=("last",))
    assert "difference to ce" in said and "-16.00" in said


def test_other_losses_without_a_method_around_them_are_compared_with_ce(write_run, tmp_path, words_only):
    write_run("ce", 0, 0.7)
    write_run("focal", 0, 0.72)
    write_run("rrm", 0, 0.75)
    said = report(tmp_path / "outputs", tmp_path / "report")
    assert "difference to ce" in said and "difference to its loss" not in said


def test_accuracy_under_attack(write_run, tmp_path, words_only):
    for method, attacked in (("at", 0.4), ("a_rrm", 0.45)):
        changes = {"best_val.test_attacked_0.1_accuracy": attacked, "last.test_attacked_0.1_accuracy": attacked - 0.1}
        write_run(method, 0, changes=changes)
    said = report(tmp_path / "outputs", tmp_path / "report", baseline="at", metric="test_attacked_0.1_accuracy")
    assert "test attacked 0.1 accuracy [%]" in said
    assert "45.00" in said and "35.00" in said and "+5.00" in said and "80.00" not in said


def test_a_rule_nobody_can_follow_is_noted(write_run, tmp_path, words_only):
    write_run("ce", 0, changes={"best_val.test_accuracy": None})
    said = report(tmp_path, tmp_path / "report")
    assert "] at best_val\n" not in said and "accuracy [%] at last\n" in said
    assert "No table at best_val: no run has a value for it." in said


def test_unfinished_runs_are_counted_and_named_in_the_file(two_methods, write_run, tmp_path, words_only, markdown):
    for seed in (8, 9):
        (write_run("ce", seed, name=f"broken{seed}") / "result.json").unlink()
    said = report(two_methods, tmp_path / "report")
    told = f"Runs in no table: 2 unfinished; which and why: {tmp_path / 'report' / 'tables.md'}"
    assert told in " ".join(said.split()) and "broken9" not in said
    assert f"Not in the tables, unfinished: {two_methods / 'broken9'}" in markdown(said)
    for result in two_methods.rglob("result.json"):
        result.unlink()
    with pytest.raises(UserError, match=r"(?s)no finished run.*unfinished: .*broken"):
        report(two_methods, tmp_path / "report")


def test_script_prints_the_report(two_methods, make_tables, capsys, monkeypatch):
    monkeypatch.chdir(two_methods.parent)
    assert make_tables([]) == 0
    said = capsys.readouterr().out
    assert "at best_val\n" in said and "at last\n" in said
    assert str(Path("outputs/report/tables.md")) in said
    assert Path("outputs/report/accuracy.png").exists()


def test_a_part_never_replaces_the_report_of_a_folder(two_methods, make_tables, write_run, tmp_path, words_only):
    """Not by what make_tables is told to select, nor by a sweep that comes later; that renews it."""
    whole = two_methods / "report" / "tables.md"
    both = [RunRecord(folder, "skipped") for folder in sorted(two_methods.glob("run*"))]
    conclude(both)
    before = whole.read_text(encoding="utf-8")
    assert make_tables([str(two_methods), "--select", "last"]) == 0
    assert whole.read_text(encoding="utf-8") == before
    assert "## best_val" not in (two_methods / "report" / "select=last" / "tables.md").read_text(encoding="utf-8")

    conclude([RunRecord(write_run("rrm", seed, 0.9), "done") for seed in range(2)])
    assert all(f"| {method} " in whole.read_text(encoding="utf-8") for method in ("ce", "lilaw", "rrm"))


def test_one_fault_of_many_runs_is_said_once(tmp_path, capsys):
    """And no empty table is drawn of runs none of which finished."""
    lost = [RunRecord(tmp_path / f"run{i}", "failed", error="x.npz does not exist\nmore") for i in range(9)]
    (tmp_path / "run0").mkdir()
    (tmp_path / "run0" / "train.log").touch()
    other = RunRecord(tmp_path / "other", "failed", error="loss is not finite")
    settings = SimpleNamespace(logger=SimpleNamespace(name="none"))
    conclude([*lost, other], SimpleNamespace(cfg=settings, table=SimpleNamespace(rows={"CE": []}, pick=[])))
    said = capsys.readouterr().out
    assert said.splitlines() == [
        "",
        "0 done, 0 skipped, 10 failed",
        "failed, 9 runs alike: x.npz does not exist",
        f"  its log: {tmp_path / 'run0' / 'train.log'}",
        *(f"  {tmp_path / f'run{i}'}" for i in range(2)),
        f"  {tmp_path / 'run2'} and 6 more",
        f"failed: {tmp_path / 'other'}: loss is not finite",
    ]
    conclude(lost)  # of one fault alone, the whole message
    assert "failed, 9 runs alike: x.npz does not exist\nmore\n" in capsys.readouterr().out


@pytest.mark.parametrize(("logger", "lines"), [("wandb", 1), ("none", 0)])
def test_a_sweep_ends_with_one_line_for_wandb(tmp_path, capsys, logger, lines):
    runs = [RunRecord(tmp_path / "digits" / name, "failed", error="e") for name in "abc"]
    for run in runs[:2]:
        (run.folder / "wandb" / "offline-run-1").mkdir(parents=True)
    settings = SimpleNamespace(logger=SimpleNamespace(name=logger))
    conclude(runs, SimpleNamespace(cfg=settings, table=SimpleNamespace(rows={}, pick=[])))
    said = [line for line in capsys.readouterr().out.splitlines() if "wandb sync" in line]
    assert len(said) == lines
    assert all(line.endswith(f"--no-skip-online {tmp_path}/digits/*/wandb/offline-run-*") for line in said)


def test_a_narrowed_table_has_a_place_of_its_own(write_run, make_tables, tmp_path, words_only):
    write_run("ce", 0, name="digits/a")
    root = ["--root", str(tmp_path / "outputs")]
    cut = ["noise.rate=0.4", "seed=0,1"]
    assert make_tables(["lilaw_table5_fashion", *cut, *root]) == 0
    (written,) = (tmp_path / "outputs" / "fashion_cnn" / "report").iterdir()
    assert written.name == "noise.rate=0.4_seed=0,1" and (written / "lilaw_table5_fashion.md").exists()


@pytest.mark.slow
def test_script_options(two_methods, make_tables, capsys, tmp_path):
    out = tmp_path / "here"
    assert make_tables([str(two_methods), "--select", "last", "--baseline", "lilaw", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "at best_val" not in said and "difference to lilaw" in said and "-5.00" in said
    assert (out / "tables.md").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "error: there is no folder and no experiment nowhere; there are "),
        (["no/where"], "error: there is no folder no/where"),
        (["lilaw_tabel18"], "error: there is no folder and no experiment lilaw_tabel18; did you mean "),
        (["seed=0"], "error: seed=0 needs an experiment: name one"),
        (["outputs", "--baseline", "rrm"], "error: no finished run of"),
    ],
)
def test_script_errors_are_messages(two_methods, make_tables, capsys, monkeypatch, arguments, says):
    monkeypatch.chdir(two_methods.parent)
    assert make_tables(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(says) and "Traceback" not in captured.err
    assert captured.out == "" and not Path("outputs/report").exists()


@pytest.mark.parametrize("rope", ["-1", "nan", "inf", "half"])
def test_a_region_is_a_size(make_tables, capsys, rope):
    with pytest.raises(SystemExit, match="2"):
        make_tables(["outputs", "--rope", rope])
    assert (
        f"argument --rope: {rope!r} is not a size; give a number of 0 or more, such as 0.5" in capsys.readouterr().err
    )


@pytest.mark.parametrize("name, says", [("digits", "difference to ce"), ("lilaw_table5_fashion", "Done 0 of 6 runs")])
@pytest.mark.parametrize("where", ["--root=", "paths.output_dir="])
def test_script_takes_names_of_experiments(write_run, make_tables, capsys, tmp_path, name, says, where, words_only):
    """Of one without a table, the report of its folder; of one with, the table, here cut down to two cells."""
    write_run("ce", 0, name="digits/a")
    write_run("lilaw", 0, name="digits/b")
    cut = ["noise.rate=0.4", "seed=0,1"] if name != "digits" else []
    assert make_tables([name, *cut, f"{where}{tmp_path / 'outputs'}"]) == 0
    assert says in capsys.readouterr().out


def test_where_a_report_is_written():
    assert place(Path("runs"), []) == Path("runs/report")
    name = place(Path("runs"), ["noise.rate=0.2", "method.terms=[alpha,'b/c']"]).name
    assert name == "noise.rate=0.2_method.terms=_alpha,_b_c"
    assert len(place(Path("runs"), ["seed=" + ",".join(map(str, range(99)))]).name) == 100
