"""Every way that a command has of finding a stranger's parts: one YAML and one .py each."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lilawbench import train
from lilawbench.check import check
from lilawbench.config import compose, plain
from lilawbench.experiment.composer import composer
from lilawbench.experiment.plan import plan
from lilawbench.record.identity import run_name
from lilawbench.support import searchpath

FAST = ["split.train_samples=64", "train.epochs=2", "train.batch_size=32", "train.threads=1"]


def as_searchpath(folder: Path) -> str:
    return searchpath.override_of([folder])[0]


def results(folder: Path) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in folder.rglob("result.json")}


@pytest.mark.parametrize(
    "way", ["relative", *(pytest.param(way, marks=pytest.mark.slow) for way in ("--config-dir", "hydra.searchpath"))]
)
def test_a_run_of_own_parts_alone(own, parts, main, tmp_path, way):
    choices = [f"{group}={name}" for group, name in parts.items()]
    ways = {
        "--config-dir": ["--config-dir", str(own)],
        "hydra.searchpath": [as_searchpath(own)],
        "relative": ["--config-dir", os.path.relpath(own, tmp_path)],
    }
    code, _, err = main(*ways[way], *choices, *FAST)
    assert code == 0, err
    ((name, result),) = results(tmp_path).items()
    assert name.startswith("own_dataset-own_noise0.25-own_model-own_method+own_loss-s0-")
    assert result["config.dataset._target_"] == "own_dataset.Own" and result["own_rows"] == 64
    digests = {key for key in result if key.endswith("._code_")}
    assert digests == {f"config.{group}._code_" for group in parts}
    assert main(*ways[way], *choices, *FAST)[1].startswith("skipped, finished before: ")


@pytest.mark.slow
def test_a_sweep_of_a_table(own, main, no_layout):
    code, out, err = main("--config-dir", str(own), "experiment=own_table", *FAST)
    assert code == 0 and "2 done, 0 skipped, 0 failed" in out and "\n  own" in out, err


@pytest.mark.slow
def test_a_sweep_by_either_flag(own, main):
    swept = ["loss=ce,own_loss", "method=own_method", "model.hidden=[8]", *FAST]
    code, out, err = main("-m", "--config-dir", str(own), *swept)
    assert code == 0 and "2 done, 0 skipped, 0 failed" in out, err
    code, out, _ = main("-m", as_searchpath(own), *swept)
    assert code == 0 and "0 done, 2 skipped, 0 failed" in out


@pytest.mark.slow
@pytest.mark.parametrize("way", ["--config-dir", "hydra.searchpath"])
def test_joblibs_processes_find_the_folder_from_another_one(own, tmp_path, way):
    given = ["--config-dir", str(own)] if way == "--config-dir" else [as_searchpath(own)]
    swept = ["-m", "loss=own_loss", "method=own_method", "noise=own_noise", "seed=0,1", "model.hidden=[8]"]
    command = [sys.executable, "-m", "lilawbench.train", *given, *swept, *FAST, "launcher=joblib"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "2 done" in done.stdout, done.stdout + done.stderr
    assert all(name.startswith("digits-own_noise0.25-mlp-own_method+own_loss") for name in results(tmp_path))


@pytest.mark.every(3)
@pytest.mark.parametrize("group", ["method", "loss", "model", "dataset", "noise", "probe"])
def test_what_is_composed_quickly_is_what_hydra_composes(own, parts, group, monkeypatch):
    from lilawbench.experiment import composer as module

    theirs = compose(f"{group}={parts[group]}", "seed=3", config_dir=own)
    monkeypatch.setattr(module, "compose", lambda *given, **how: pytest.fail(f"left to Hydra: {given}"))
    with composer([own]) as composed:
        ours = composed.plain([f"{group}={parts[group]}", "seed=3"])
    assert json.dumps(ours, sort_keys=True) == json.dumps(plain(theirs), sort_keys=True)
    assert run_name(ours) == run_name(theirs)


def test_a_package_may_hold_them(own, add, monkeypatch):
    """pkg://NAME in the search path is the folder of an importable package."""
    package = own.parent / "own_package"
    add(package, "loss", "own_packed", "", "\n        def own(logits, target):\n            return logits[:, 0]\n")
    (package / "__init__.py").touch()
    (package / "loss" / "own_packed.yaml").write_text("name: own_packed\n_target_: own_package.own_packed.own\n")
    monkeypatch.syspath_prepend(str(own.parent))
    (run,) = plan(["loss=own_packed", "hydra.searchpath=[pkg://own_package]"]).runs
    check(run.cfg)
    assert run.cfg == plain(compose("loss=own_packed", "hydra.searchpath=[pkg://own_package]"))
    assert run_name(run.cfg) != run_name(plain(compose("loss=ce"))) and "_code_" not in run.cfg.loss


@pytest.mark.slow
def test_help_and_hydras_own_questions_see_it(own, main):
    assert "own_loss" in main("--config-dir", str(own), "--help", "loss=own_loss")[1]
    for way in (["--config-dir", str(own)], [as_searchpath(own)]):
        code, out, err = main("--cfg", "job", *way, "loss=own_loss")
        assert code == 0 and "_target_: own_loss.own" in out, err
    command = [sys.executable, "-m", "lilawbench.train", "--info", "config", *way, "loss=own_loss"]
    done = subprocess.run(command, capture_output=True, text=True)  # alone: it sets up Python's logging
    assert done.returncode == 0 and "_target_: own_loss.own" in done.stdout + done.stderr


def test_tab_completes_its_choices(own, add, main, monkeypatch):
    plain_folder = own.parent / "own_tab"  # TAB's line is not parsed as a shell does
    add(plain_folder, "loss", "own_tabbed", "", "\n        def own(logits, target):\n            return logits[:, 0]\n")
    for way in (f"--config-dir {plain_folder}", f"hydra.searchpath=[{plain_folder}]"):
        line = f"lilawbench {way} loss=own_t"
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        assert "loss=own_tabbed" in main("-sc", "query=bash")[1]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["--config-dir", pytest.param("hydra.searchpath", marks=pytest.mark.slow)])
def test_make_tables_takes_the_same_flags(own, main, capsys, way):
    assert main("--config-dir", str(own), "experiment=own_table", "seed=0", *FAST)[0] == 0
    script = Path(train.__file__).parents[1] / "scripts" / "make_tables.py"
    spec = importlib.util.spec_from_file_location("make_tables", script)
    make_tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_tables)
    given = ["--config-dir", str(own)] if way == "--config-dir" else [as_searchpath(own)]
    assert make_tables.main(["own_table", *FAST, "seed=0", *given]) == 0
    assert "\n  own" in capsys.readouterr().out
    assert make_tables.main(["--list", "own_table", *given]) == 0
    said = capsys.readouterr().out
    assert "own_table: done 0 of 2 runs, runnable here" in said and "Mine against plain training." in said
