"""A second look opens what is new or changed, and the cache never decides what is seen."""

import json
import os

import pytest

from lilawbench.report import cache, collect


@pytest.fixture(autouse=True)
def from_one_run_on(monkeypatch):
    monkeypatch.setattr(cache, "WORTH", 1)


@pytest.fixture
def opened(monkeypatch):
    """The folders whose result.json was opened, in order."""
    folders, read = [], collect._read
    monkeypatch.setattr(collect, "_read", lambda run: folders.append(os.path.basename(run.folder)) or read(run))
    return folders


def test_only_new_and_changed_runs_are_opened(write_run, tmp_path, opened):
    for seed, name in enumerate("abc"):
        write_run("lilaw" if name == "b" else "ce", seed, 0.75, name=name)
    first = collect.collect(tmp_path)
    assert opened == ["a", "b", "c"] and (tmp_path / cache.FILE).exists()
    again = collect.collect(tmp_path)
    assert opened == ["a", "b", "c"]
    assert again.equals(first) and list(again.dtypes) == list(first.dtypes)

    write_run("ce", 3, name="d")
    changed = tmp_path / "outputs" / "b" / "result.json"
    record, stat = json.loads(changed.read_text()), changed.stat()
    record["best_val.test_accuracy"] = 0.85  # as long as 0.75, and at the same time
    (new := changed.with_name("new")).write_text(json.dumps(record))
    new.replace(changed)
    os.utime(changed, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (tmp_path / "outputs" / "c" / "result.json").unlink()
    del opened[:]
    runs = collect.collect(tmp_path)
    assert opened == ["b", "d"]
    assert [os.path.basename(folder) for folder in runs["folder"]] == ["a", "b", "d"]
    assert runs["best_val.test_accuracy"].tolist() == [0.75, 0.85, 0.8]


def test_a_moved_root_names_its_runs_by_where_they_are(write_run, tmp_path, opened):
    write_run(name="a")
    collect.collect(tmp_path / "outputs")
    (tmp_path / "outputs").rename(tmp_path / "elsewhere")
    assert collect.collect(tmp_path / "elsewhere")["folder"].tolist() == [str(tmp_path / "elsewhere" / "a")]
    assert opened == ["a"]


@pytest.mark.parametrize("damage", ["bytes", "truncated", "columns", "folder"])
def test_a_cache_that_cannot_be_read_is_made_anew(write_run, tmp_path, opened, damage):
    import pandas as pd

    write_run(name="a")
    first = collect.collect(tmp_path)
    path = tmp_path / cache.FILE
    whole = path.read_bytes()
    if damage == "columns":
        pd.DataFrame({"folder": ["/outputs/a"]}).to_parquet(path)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(b"PAR1" * 40 if damage == "bytes" else whole[:-30])
    assert collect.collect(tmp_path).equals(first)
    assert opened == ["a", "a"]
    if damage != "folder":
        assert cache.load(tmp_path) == cache.load(tmp_path) != {}
        collect.collect(tmp_path)
        assert opened == ["a", "a"]


def test_a_root_that_cannot_be_written_is_collected_all_the_same(write_run, tmp_path, monkeypatch, no_space):
    write_run(name="a")
    no_space(cache.FILE)
    assert len(collect.collect(tmp_path)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_few_runs_leave_no_cache(write_run, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "WORTH", 3)
    write_run(name="a")
    write_run(name="b")
    collect.collect(tmp_path)
    assert not (tmp_path / cache.FILE).exists()
    write_run(name="c")
    collect.collect(tmp_path)
    assert (tmp_path / cache.FILE).exists()
