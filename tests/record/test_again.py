"""A run is done again from its folder, and the record says where it came from."""

import subprocess
import sys
from pathlib import Path

import pytest

from lilawbench import train
from lilawbench.experiment.command import again, read
from lilawbench.record import provenance
from lilawbench.record.identity import run_folder, write_outside
from lilawbench.record.writer import write_config
from lilawbench.support import searchpath
from lilawbench.support.errors import ConfigError


@pytest.fixture(autouse=True)
def nothing_in_use(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(searchpath, "_used", [])


@pytest.fixture
def written(composed):
    """written("method=lilaw", ...) -> the folder of that run, with its config."""

    def write(*overrides: str) -> Path:
        folder = run_folder(cfg := composed(*overrides))
        folder.mkdir(parents=True)
        write_config(folder, cfg)
        return folder

    return write


def of(folder: Path, *overrides: str):
    return again(read(["--config-dir", str(folder), *overrides]))


def test_the_folder_is_the_run_wherever_it_lies_now(written, tmp_path, monkeypatch):
    options = ["method=lilaw", "loss=focal", "noise.rate=0", "train.lr=0.01", "seed=3", "sweep.redo=true"]
    folder = written(*options, "attack.eps=[0.1]", "experiment_name=mine")
    cfg = of(folder)
    assert run_folder(cfg) == folder and not cfg.sweep.redo
    moved = (tmp_path / "outputs").rename(tmp_path / "moved") / "mine" / folder.name
    assert run_folder(of(moved)) == moved and of(moved, "sweep.redo=true").sweep.redo
    assert run_folder(of(moved, "train.lr=0.02")).parent == moved.parent != run_folder(of(moved, "train.lr=0.02"))
    monkeypatch.chdir(moved)
    assert run_folder(of(Path("."))) == moved
    assert again(read(["--config-dir", ".", "--config-name", "config"])) is not None


def test_other_data_are_not_that_run(written, tmp_path):
    """They would be another run, whose record a redo would replace."""
    path = tmp_path / "my.csv"
    path.write_text("a,y\n1,p\n2,q\n")
    given = ["dataset=table", f"dataset.path={path}", "dataset.label=y"]
    folder = written(*given)
    write_outside(folder, of(folder))
    path.write_text("a,y\n1,p\n3,q\n")
    with pytest.raises(ConfigError, match=f"my.csv has changed since {folder.name} was made: put back what it was"):
        of(folder, "sweep.redo=true")


REFUSED = [["method=ce"], ["-m", "seed=1,2"], ["seed=1,2"], ["experiment=digits"], ["+loss=ce"]]


@pytest.mark.parametrize("more", [REFUSED[0], *(pytest.param(more, marks=pytest.mark.slow) for more in REFUSED[1:])])
def test_it_is_that_run_alone(written, more):
    with pytest.raises(ConfigError, match="is a run's folder: that run is done again, with KEY=VALUE only"):
        of(written(), *more)


@pytest.mark.parametrize("more", [["train.epoch=1"], ["train.epochs=few"], ["train.epochs=[1"]])
def test_a_bad_value_is_told(written, more):
    with pytest.raises(ConfigError):
        of(written(), *more)


def test_other_folders_are_folders_of_parts(tmp_path):
    (tmp_path / "config.yaml").write_text("defaults: [schema]\ndataset: 1\nmethod: 1\nseed: 1\n")
    assert of(tmp_path) is None and again(read([])) is None
    (tmp_path / "config.yaml").write_text("seed: 1")
    assert of(tmp_path) is None
    (tmp_path / "config.yaml").write_text("- {")
    with pytest.raises(ConfigError, match="config.yaml cannot be read"):
        of(tmp_path)


def test_from_the_command_line(written, monkeypatch, capsys):
    folder = written("debug=fast")
    done = []
    monkeypatch.setattr(train, "run", lambda cfg: done.append(run_folder(cfg)) or train.RunRecord(done[0], "skipped"))
    monkeypatch.setattr(sys, "argv", ["lilawbench", "--config-dir", str(folder)])
    with pytest.raises(SystemExit) as ended:
        train.main()
    assert not ended.value.code and done == [folder]


def test_the_command_is_this_process_or_its_sweeps(monkeypatch):
    monkeypatch.setattr(provenance, "_asked", [])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "lilawbench.train", "dataset.path=a b.csv"])
    assert provenance.command() == "python -m lilawbench.train 'dataset.path=a b.csv'"
    provenance.asked_by("python -m lilawbench.train -m seed=0,1")
    assert provenance.command() == "python -m lilawbench.train -m seed=0,1"


def test_the_commit_is_that_of_the_code_or_of_the_folder(tmp_path, monkeypatch):
    def git(*words: str) -> str:
        given = ["-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(["git", *given], capture_output=True, text=True, check=True).stdout.strip()

    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "nowhere")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    commit = provenance.commit.__wrapped__
    assert commit() == {}
    git("init", "-q")
    Path("a.txt").write_text("1")
    git("add", ".")
    git("commit", "-q", "-m", "a")
    Path("new.txt").write_text("1")
    assert commit() == {"git.commit": git("rev-parse", "HEAD"), "git.dirty": False}
    Path("a.txt").write_text("2")
    assert commit()["git.dirty"] is True
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == {}
