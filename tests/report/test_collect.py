import json

import pytest

from lilawbench.report import collect as collect_module
from lilawbench.report.collect import collect, logged_at_steps, read_metrics, reading_once, unfinished
from lilawbench.report.names import text, with_names
from lilawbench.support.errors import DataError


def test_one_row_per_finished_run(write_run, tmp_path):
    write_run("ce", 0, 0.75)
    write_run("lilaw", 3, 0.8125)
    runs = collect(tmp_path)
    assert len(runs) == 2
    assert list(runs["config.seed"]) == [0, 3]
    assert list(runs["best_val.test_accuracy"]) == [0.75, 0.8125]
    assert runs["config.model.hidden"][0] == [128, 128]
    assert runs["config.method.warmup_epochs"].isna().tolist() == [True, False]
    assert runs["folder"][1].endswith("-lilaw-s3")


def test_a_run_reached_twice_counts_once(write_run, tmp_path):
    folder = write_run()
    assert len(collect([tmp_path, folder, str(folder)])) == 1


def test_nothing_found(tmp_path):
    assert len(collect(tmp_path)) == 0
    with pytest.raises(DataError, match="no folder .*missing"):
        collect(tmp_path / "missing")


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "not JSON"), ("[1]", "a JSON object"), ("{}", "schema_version"), ('{"schema_version": 1}', "config.seed")],
)
def test_a_damaged_result_is_left_out_and_named(write_run, tmp_path, caplog, content, says):
    write_run(name="good")
    folder = write_run()
    (folder / "result.json").write_text(content)
    assert [name[-4:] for name in collect(tmp_path)["folder"]] == ["good"]
    assert "1 of 2 runs are left out" in caplog.text and says in caplog.text and str(folder) in caplog.text


def test_all_unusable_results_are_named_by_their_fault(write_run, tmp_path, caplog):
    write_run(name="good")
    for name in "abcd":
        write_run(name=name, changes={"schema_version": 2, "versions.lilawbench": "0.9.0"})
    (write_run(name="torn") / "result.json").write_text('{"schema')
    (folder := write_run(name="folder") / "result.json").unlink()
    folder.mkdir()
    assert len(collect(tmp_path)) == 1
    lines = caplog.messages[0].splitlines()
    assert lines[0] == "6 of 7 runs are left out, since they cannot be read:"
    assert lines[1].startswith("- 4 runs: result.json has schema_version 2 (lilawbench 0.9.0), this lilawbench reads 1")
    assert [line.strip() for line in lines[2:5]] == [str(tmp_path / "outputs" / name) for name in "abc"]
    assert lines[5].strip() == "and 1 more"
    assert lines[6].startswith("- 1 run: result.json cannot be read: Is a directory")
    assert lines[8].startswith("- 1 run: result.json: not JSON") and lines[9].endswith("torn")


def test_skipped_results_are_listed_with_the_unfinished(write_run, tmp_path):
    write_run(name="good")
    write_run(name="new", changes={"schema_version": 2})
    (write_run(name="open") / "result.json").unlink()
    runs = collect(tmp_path)
    assert [folder[-4:] for folder in runs["folder"]] == ["good"]
    found = unfinished(tmp_path, runs)
    assert [(run.folder.name, run.state) for run in found] == [("open", "unfinished"), ("new", "unreadable")]
    assert found[1].reason.startswith("result.json has schema_version 2 (lilawbench unknown)")
    assert len(unfinished(tmp_path)) == 1


def test_runs_without_a_result_are_listed(write_run, tmp_path):
    broken, failed = write_run(name="broken"), write_run(name="failed")
    write_run(name="done")
    (broken / "result.json").unlink()
    (failed / "result.json").unlink()
    (failed / "failed.json").write_text(json.dumps({"error": "loss is nan at epoch 2"}))
    (broken / "wandb" / "files").mkdir(parents=True)
    (broken / "wandb" / "files" / "config.yaml").write_text("")
    found = unfinished(tmp_path)
    assert [(run.folder.name, run.state) for run in found] == [("broken", "unfinished"), ("failed", "failed")]
    assert found[1].reason == "loss is nan at epoch 2"
    assert len(collect(tmp_path)) == 1


def test_metrics_by_kind(write_run):
    folder = write_run("lilaw", curve=(0.5, 0.75), parameters=[(10, 2, 6), (9.5, 2.5, 6)])
    assert list(read_metrics(folder, "epoch")["test_accuracy"]) == [0.5, 0.75]
    steps = read_metrics(folder, "step")
    assert list(steps["step"]) == [1, 2]
    assert list(steps["alpha"]) == [10.0, 9.5]


def test_lines_of_other_kinds_are_not_parsed(write_run, monkeypatch):
    folder, parsed, parse = write_run("lilaw", parameters=[(10, 2, 6)] * 50), [], collect_module._parse
    monkeypatch.setattr(collect_module, "_parse", lambda line, where: parsed.append(where) or parse(line, where))
    assert len(read_metrics(folder, "epoch")) == len(parsed) == 2
    assert logged_at_steps(folder)[-3:] == ["alpha", "beta", "delta"] and len(parsed) == 3


def test_damaged_metrics_line_is_named(write_run):
    folder = write_run()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "ep')
    with pytest.raises(DataError, match="line 3"):
        read_metrics(folder, "epoch")
    (folder / "metrics.jsonl").unlink()
    with pytest.raises(DataError, match="cannot read .*metrics.jsonl"):
        read_metrics(folder, "epoch")


def test_one_setting_is_named_in_full(write_run, tmp_path):
    write_run("ce", 0)
    write_run("ce", 1, changes={"config.experiment_name": "other", "config.paths.output_dir": "x"})
    named = with_names(collect(tmp_path))
    assert set(named["scene"]) == set(named["setting"]) == {"digits, symmetric 0.4, mlp"}


def test_settings_are_named_by_what_differs(write_run, tmp_path):
    write_run(changes={"config.noise.rate": 0.2})
    write_run()
    write_run(changes={"config.noise.name": "none", "config.noise.rate": None})
    write_run(changes={"config.train.epochs": 100})
    write_run(changes={"config.train.epochs": 100.0, "config.seed": 1})
    named = with_names(collect(tmp_path))
    assert list(named["setting"]) == [
        "symmetric 0.2",
        "symmetric 0.4, train.epochs=30",
        "no noise",
        "symmetric 0.4, train.epochs=100",
        "symmetric 0.4, train.epochs=100",
    ]
    assert named["scene"][2] == "digits, no noise, mlp"


def test_leaves_that_only_follow_the_data_set_do_not_name_it(write_run, tmp_path):
    write_run()
    write_run(changes={"config.dataset.name": "mnist", "config.train.epochs": 5, "config.dataset.root": "x"})
    assert list(with_names(collect(tmp_path))["setting"]) == ["digits", "mnist"]


def test_where_equal_data_lie_does_not_name_them(write_run, tmp_path):
    data = {"config.dataset.name": "table", "config.dataset._data_": "a1"}
    write_run("ce", changes={**data, "config.dataset.path": "patients.csv"})
    write_run("lilaw", changes={**data, "config.dataset.path": "/home/me/patients.csv"})
    assert set(with_names(collect(tmp_path))["scene"]) == {"table, symmetric 0.4, mlp"}
    write_run("rrm", changes={**data, "config.dataset.path": "patients.csv", "config.dataset._data_": "b2"})
    scenes = list(with_names(collect(tmp_path))["scene"])
    assert scenes[0] == scenes[1] != scenes[2]


def test_paths_without_a_digest_name_their_data(write_run, tmp_path):
    for path in ("a.csv", "b.csv"):
        write_run(changes={"config.dataset.path": path})
    assert list(with_names(collect(tmp_path))["setting"]) == ["dataset.path=a.csv", "dataset.path=b.csv"]


def test_method_labels(write_run, tmp_path):
    for method, loss in [("ce", None), ("focal", None), ("lilaw", None), ("lilaw", "focal")]:
        write_run(method, loss=loss)
    assert list(with_names(collect(tmp_path))["method"]) == ["ce", "focal", "lilaw", "lilaw + focal"]


def test_methods_of_one_label_are_told_apart(write_run, tmp_path):
    write_run("lilaw")
    write_run("lilaw", changes={"config.method.warmup_epochs": 2})
    write_run("focal", changes={"config.loss.gamma": 1.0})
    write_run("focal", changes={"config.loss.gamma": 2.5})
    write_run("ce")
    assert list(with_names(collect(tmp_path))["method"]) == [
        "lilaw (warmup_epochs=1)",
        "lilaw (warmup_epochs=2)",
        "focal (loss.gamma=1)",
        "focal (loss.gamma=2.5)",
        "ce",
    ]


def test_one_spelling_per_value():
    values = [1, 1.0, 0.4, True, None, float("nan"), [1, 2], "x", 5e-5]
    assert [text(value) for value in values] == ["1", "1", "0.4", "true", None, None, "[1,2]", "x", "5e-05"]


def test_epochs_are_read_once_while_a_report_is_drawn(write_run):
    folder = write_run("ce", 0)
    with reading_once():
        first = read_metrics(folder, "epoch")
        (folder / "metrics.jsonl").unlink()
        assert read_metrics(folder, "epoch").equals(first)
    with pytest.raises(DataError, match=r"metrics\.jsonl"):
        read_metrics(folder, "epoch")
