"""The command line as a user meets it: messages, exit codes, nothing written, sweeps that end."""

import json
import os
import pty
import re
import subprocess
import sys
import termios

import pytest

from lilawbench import train
from lilawbench.train import CONF

FAST = ["split.train_samples=64", "train.epochs=2", "train.batch_size=32", "model.hidden=[8]", "train.threads=1"]


@pytest.fixture
def lilawbench(tmp_path):
    def call(*overrides: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "lilawbench.train", *overrides], cwd=tmp_path, capture_output=True, text=True
        )

    return call


@pytest.fixture
def in_process(tmp_path, monkeypatch, capsys):
    """As `lilawbench` without a process of its own, and its three seconds."""

    def call(*overrides: str) -> subprocess.CompletedProcess:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["lilawbench", *overrides])
        with pytest.raises(SystemExit) as ended:
            train.main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(sys.argv, ended.value.code, said.out, said.err)

    return call


def test_bad_input_is_two_and_writes_nothing(in_process, tmp_path):
    done = in_process("noise.rate=1.5", "+typo=1", "dataset=digits")
    assert done.returncode == 2
    assert done.stderr == (
        "lilawbench: the configuration cannot run:\n  - typo is not an option (valid: dataset, noise, model, loss, "
        "method, logger, probe, train, split, attack, detect, keep, paths, sweep, launcher, table, seed, "
        "experiment_name)\n"
    )
    assert done.stdout == "" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_an_unknown_choice_is_told_the_closest_or_all(in_process, tmp_path, sweep):
    done = in_process("method=lilau", "loss=no_such", *sweep)
    assert done.returncode == 2 and "method=lilau does not exist; did you mean lilaw?" in done.stderr
    assert all(path.stem in done.stderr for path in (CONF / "loss").glob("*.yaml"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("override", ["hydra.run.dir=here", "hydra.sweep.dir=here"])
def test_hydras_own_folders_are_refused(in_process, tmp_path, override):
    done = in_process(override, "-m", "seed=0,1")
    assert done.returncode == 2 and f"{override} would have no effect" in done.stderr
    assert "paths.output_dir=FOLDER" in done.stderr and list(tmp_path.iterdir()) == []


@pytest.mark.every(3)
@pytest.mark.parametrize("given", [("seed=3",), ("-m", "seed=3,4"), ("experiment=digits", "seed=3")])
def test_a_dry_run_writes_nothing(in_process, tmp_path, given):
    done = in_process("--dry-run", *given)
    assert done.returncode == 0 and done.stdout.endswith("nothing was run (--dry-run)\n"), done.stderr
    assert "not begun" in done.stdout and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_an_experiment_that_waits_says_for_what(in_process, tmp_path, sweep):
    file = tmp_path / "mine/experiment/later.yaml"
    file.parent.mkdir(parents=True)
    content = "defaults: [digits, _self_]\nexperiment_name: later\ntable: {waiting: {table: photographs}}\n"
    file.write_text("# @package _global_\n" + content)
    done = in_process("--config-dir", "mine", "experiment=later", *sweep)
    assert done.returncode == 2 and "experiment=later cannot run yet: it needs photographs" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.slow
def test_a_run_from_any_folder_and_then_skipped(lilawbench, in_process, tmp_path):
    first, second = lilawbench("method=lilaw", *FAST), in_process("method=lilaw", *FAST)
    assert first.returncode == second.returncode == 0, first.stderr
    lines = [line for line in first.stdout.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 2 and lines[1].startswith("epoch 2/2  loss ")
    assert re.search(
        r"^done, test accuracy \S+% \(best_val\), \S+% \(last\): outputs/.+/result\.json$", first.stdout, re.M
    )
    assert first.stderr == "", "no progress bar where stderr is not a terminal"
    assert second.stdout.startswith("skipped, finished before: outputs/default/digits-symmetric0.4-mlp-lilaw-s0-")
    folder = next((tmp_path / "outputs" / "default").iterdir())
    assert {path.name for path in folder.iterdir()} - {".lock"} == {
        "config.yaml", "labels.npz", "metrics.jsonl", "checkpoint.pt", "train.log", "result.json", "best.safetensors",
        "last.safetensors", "preprocess.json", "predictions.npz", "predictions.csv", "per_class.csv",
        "confusion.csv", "weighing.npz"}  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


@pytest.mark.slow
def test_a_sweep_compares_and_one_bad_run_does_not_stop_it(lilawbench, tmp_path):
    done = lilawbench("-m", "method=ce,lilaw", "seed=0,1", "split.val_fraction=0.15,0", *FAST)
    assert done.returncode == 1  # LiLAW without validation data cannot run; the other six can
    assert "6 done, 0 skipped, 2 failed" in done.stdout
    assert "failed, 2 runs alike: the configuration" in done.stdout and "split.val_fraction must be > 0" in done.stdout
    assert sum(line.startswith("  outputs/default/digits-") for line in done.stdout.splitlines()) == 2
    assert "\n  lilaw " in done.stdout and "difference to ce [95 %]  p (Holm)" in done.stdout
    report = tmp_path / "outputs" / "default" / "report"
    assert {"tables.md", "accuracy.png", "parameters.png"} <= {path.name for path in report.iterdir()}
    again = lilawbench("-m", "method=ce,lilaw", "seed=0,1", *FAST)
    assert again.returncode == 0 and "0 done, 4 skipped, 0 failed" in again.stdout


@pytest.mark.slow
def test_the_main_job_is_fifteen_paired_runs(lilawbench, tmp_path):
    done = lilawbench("experiment=digits", *FAST)
    assert done.returncode == 0 and "15 done, 0 skipped, 0 failed" in done.stdout, done.stderr
    results = [json.loads(path.read_text()) for path in (tmp_path / "outputs" / "digits").rglob("result.json")]
    assert {(r["config.method.name"], r["config.seed"]) for r in results} == {
        (method, seed) for method in ("ce", "focal", "lilaw") for seed in range(5)
    }
    assert all(r["noise.requested_rate"] == 0.4 for r in results)
    for seed in range(5):  # paired: one set of labels per seed
        assert len({r["labels.sha256"] for r in results if r["config.seed"] == seed}) == 1
    assert len({r["labels.sha256"] for r in results}) == 5
    for path in ("tables.md", "accuracy.png", "parameters.png"):
        assert f"outputs/digits/report/{path}" in done.stdout


def test_a_loss_that_overflows_is_one_and_says_where(in_process, tmp_path):
    done = in_process("train.lr=1e30", "train.optimizer=sgd", *FAST)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "lilawbench: the loss is nan at epoch 1, step 2" in done.stderr
    assert len(list(tmp_path.rglob("failed.json"))) == 1


@pytest.mark.slow
def test_a_terminal_gets_a_bar_instead_of_a_line_per_epoch(tmp_path):
    screen, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 100))  # a terminal without width gets no bar
    command = [sys.executable, "-m", "lilawbench.train", *FAST]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=end, text=True)
    shown = os.read(screen, 1 << 16).decode()
    os.close(end)
    os.close(screen)
    assert done.returncode == 0 and "%|" in shown and "| 0/4 [" in shown
    assert "epoch 1/2" not in done.stdout and "done, test accuracy" in done.stdout
    assert "epoch 2/2" in next(tmp_path.rglob("train.log")).read_text()
