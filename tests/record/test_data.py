"""Edited data are another run, moved data the same one, and nothing is read twice."""

import json
import os
import time
from pathlib import Path

import pytest

from lilawbench.config import plain
from lilawbench.record import data
from lilawbench.record.identity import cell_name, changed, changed_since, outside, run_folder, run_name, write_outside
from lilawbench.record.writer import write_config
from lilawbench.support.errors import DataError


@pytest.fixture
def named(composing, tmp_path, monkeypatch):
    """named("dataset=folder", ...) -> the name of that run, as a new process gives it; the current folder is empty."""
    monkeypatch.chdir(tmp_path)

    def name(*overrides: str) -> str:
        data._read.clear()
        return run_name(composing(*overrides))

    return name


@pytest.fixture
def reads(monkeypatch):
    """The paths that are read, each time one is."""
    paths, real = [], data._digest
    monkeypatch.setattr(data, "_digest", lambda path, files: paths.append(path) or real(path, files))
    return paths


def table(path: Path, text: str = "a,y\n1,p\n2,q\n") -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


def images(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return str(folder)


def test_a_table_is_its_content_wherever_it_lies(named, tmp_path):
    given = ["dataset=table", "dataset.label=y"]
    mine = named(*given, f"dataset.path={table(tmp_path / 'a' / 'my.csv')}")
    assert mine == named(*given, "dataset.path=a/my.csv") == named(*given, "dataset.path=my.csv", "paths.data_dir=a")
    assert mine == named(*given, f"dataset.path={table(tmp_path / 'b' / 'other.csv')}")
    assert mine != named(*given, f"dataset.path={table(tmp_path / 'b' / 'my.tsv')}"), "it is read otherwise"
    assert mine != named(*given, f"dataset.path={table(tmp_path / 'c' / 'my.csv', 'a,y,1,p,2,p')}")
    tested = named(*given, "dataset.path=a/my.csv", "dataset.test_path=b/other.csv")
    assert tested != named(*given, "dataset.path=a/my.csv", "dataset.test_path=c/my.csv") != mine
    assert named(*given, "dataset.path=nowhere.csv") != named(*given, "dataset.path=elsewhere.csv")


def test_an_edit_that_leaves_size_and_time_is_seen(named, tmp_path):
    given = ["dataset=table", "dataset.label=y", f"dataset.path={table(tmp_path / 'my.csv')}"]
    before, times = run_name_twice(named, given), os.stat("my.csv")
    table(tmp_path / "my.csv", "a,y\n1,q\n2,p\n")
    os.utime("my.csv", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert named(*given) != before


def run_name_twice(named, given: list[str]) -> str:
    first, second = named(*given), named(*given)
    assert first == second
    return first


@pytest.mark.parametrize(
    "edit, differs",
    [
        (lambda root: (root / "cat" / "1.png").write_text("painted over"), True),
        (lambda root: (root / "cat" / "1.png").rename(root / "cat" / "2.png"), True),
        (lambda root: (root / "cat" / "1.png").rename(root / "dog" / "1.png"), True),
        (lambda root: (root / "cat" / "9.png").write_text("new"), True),
        (lambda root: (root / "cat" / ".9.png").write_text("hidden"), False),
        (lambda root: images(root / ".ipynb_checkpoints", "1.png"), False),
        (lambda root: images(root / "outputs" / "default", "result.json"), False),
        (lambda root: (root / "cat" / "all").symlink_to(root), False),
        (lambda root: (root / "cat" / "gone").symlink_to(root / "nothing"), False),
        (lambda root: os.mkfifo(root / "cat" / "pipe"), False),
        (lambda root: os.utime(root / "cat" / "1.png", (1, 1)), False),
    ],
)
def test_a_folder_is_its_names_and_bytes(named, tmp_path, edit, differs):
    given = ["dataset=folder", "dataset.path=photos", "paths.output_dir=photos/outputs"]
    images(tmp_path / "photos", "cat/1.png", "dog/0.png")
    before = named(*given)
    edit(tmp_path / "photos")
    assert (named(*given) != before) == differs


def test_a_folder_of_many_files_is_its_names_sizes_and_times(named, tmp_path, monkeypatch, reads):
    monkeypatch.setattr(data, "MOST_FILES", 3)
    images(tmp_path / "photos", "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    given = ["dataset=folder", "dataset.path=photos"]
    before = run_name_twice(named, given)
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert named("dataset=folder", "dataset.path=moved") == before
    os.utime(tmp_path / "moved" / "cat" / "1.png", (1, 1))
    assert named("dataset=folder", "dataset.path=moved") != before and not reads


@pytest.mark.parametrize(
    "overrides",
    [
        ["noise=file", "noise.path={}.csv"],
        pytest.param(["noise=kernel", "noise.kernel={}.csv"], marks=pytest.mark.slow),
        pytest.param(["model=resnet18", "model.checkpoint={}.pt"], marks=pytest.mark.slow),
        ["dataset=embeddings", "dataset.sources={{a:{}.npz}}", "dataset.train=[a]", "dataset.test=[a]"],
        pytest.param(["dataset=clothing1m", "dataset.path={}"], marks=pytest.mark.slow),
        ["+dataset.anything={}.xyz"],  # of a stranger's data set
        pytest.param(["+probe.mine.file={}.txt"], marks=pytest.mark.slow),
    ],
)
def test_every_option_that_names_a_file_counts(named, tmp_path, overrides):
    given = [override.format("my") for override in overrides]
    names = [named(*given)]
    for text in ("1", "2"):
        for ending in ("csv", "pt", "npz", "xyz", "txt"):
            (tmp_path / f"my.{ending}").write_text(text)
        images(tmp_path / "my", f"{text}.txt")
        names.append(named(*given))
    assert len(set(names)) == 3


def test_words_that_are_names_of_folders_by_chance_do_not_count(named, tmp_path):
    before = named("model=resnet18", "model.architecture=resnet18"), named("dataset=medmnist", "dataset.flag=pathmnist")
    images(tmp_path, "resnet18/a.txt", "pathmnist/a.txt", "medmnist/a.txt", "mlp/a.txt")
    after = named("model=resnet18", "model.architecture=resnet18"), named("dataset=medmnist", "dataset.flag=pathmnist")
    assert after == before


def test_labels_of_a_run_are_its_labels_alone(named, tmp_path):
    given = ["noise=file", "noise.path=run"]
    images(tmp_path / "run", "labels.npz", "config.yaml", "train.log")
    before = named(*given)
    (tmp_path / "run" / "train.log").write_text("done again")
    assert named(*given) == before == named("noise=file", "noise.path=run/labels.npz")
    (tmp_path / "run" / "labels.npz").write_text("others")
    assert named(*given) != before


def test_a_plan_looks_once_and_a_later_process_reads_nothing(named, composing, tmp_path, monkeypatch, reads):
    monkeypatch.setattr(data, "WORTH_SECONDS", 0)
    monkeypatch.setattr(data, "SETTLED_SECONDS", -1)
    looks, real = [], data._state
    monkeypatch.setattr(data, "_state", lambda *place: looks.append(place) or real(*place))
    cfg = plain(composing("dataset=table", f"dataset.path={table(tmp_path / 'my.csv')}", "dataset.label=y"))
    with data.looked_at_once():
        for seed in range(100):
            run_name(type(cfg)(cfg | {"seed": seed}))
    assert len(looks) == len(reads) == 1 and not Path("outputs").exists(), "nothing is written where nothing is"
    Path("outputs").mkdir()
    names = [named("dataset=table", "dataset.path=my.csv", "dataset.label=y") for _ in range(3)]
    assert len(set(names)) == 1 and len(reads) == 2 and len(looks) == 4
    for content in ("", "[]", '{"a": 1}', "{", json.dumps({str(tmp_path / "my.csv"): ["0", "1"]})):
        Path("outputs", data.CACHE).write_text(content)
        assert named("dataset=table", "dataset.path=my.csv", "dataset.label=y") == names[0]


def test_a_file_changed_a_moment_ago_is_not_cached(named, tmp_path, monkeypatch):
    """Another change may leave its times as they are: clocks of file systems tick every few milliseconds."""
    monkeypatch.setattr(data, "WORTH_SECONDS", 0)
    Path("outputs").mkdir()
    given = ["dataset=table", "dataset.label=y", f"dataset.path={table(tmp_path / 'my.csv')}"]
    named(*given)
    assert not Path("outputs", data.CACHE).exists()
    monkeypatch.setattr(time, "time", lambda: os.stat("my.csv").st_ctime + 5)
    named(*given)
    assert Path("outputs", data.CACHE).exists()


def test_it_is_said_which_data_have_changed(composing, tmp_path):
    cfg = composing(
        "dataset=table",
        f"dataset.path={table(tmp_path / 'my.csv')}",
        "dataset.label=y",
        f"paths.output_dir={tmp_path}/out",
    )
    assert changed(cfg) is None
    first = run_folder(cfg)
    first.mkdir(parents=True)
    write_outside(first, cfg)
    assert changed(cfg) is None and outside(cfg).data.keys() == {"dataset"}
    cell = cell_name(cfg)
    table(tmp_path / "my.csv", "a,y\n5,p\n2,q\n")
    assert run_folder(cfg) != first and cell_name(cfg) != cell
    assert changed(cfg) == (first.name, [str(tmp_path / "my.csv")])
    write_config(first, cfg)
    assert changed_since(cfg, first) == [str(tmp_path / "my.csv")]
    cfg.dataset.path = table(tmp_path / "other.csv", "a,y\n5,p\n2,q\n")
    assert changed(cfg) is None, "another file is not a changed one"


def test_data_that_change_while_they_are_read_are_refused(composing, tmp_path):
    cfg = plain(composing("dataset=table", f"dataset.path={table(tmp_path / 'my.csv')}", "dataset.label=y"))
    with data.looked_at_once():
        run_name(cfg)
        data.check_unchanged(cfg)
        table(tmp_path / "my.csv", "a,y\n5,p\n2,q\n")
        with pytest.raises(DataError, match="my.csv has changed while it was being read: start the same command"):
            data.check_unchanged(cfg)
