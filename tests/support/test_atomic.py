"""Files that are whole or absent, and no litter of killed writers."""

import os
import time

import pytest

from lilawbench.support.atomic import STALE_SECONDS, check_place, replacing, write_atomic
from lilawbench.support.errors import DiskError


def test_what_a_killed_writer_left_goes_when_it_is_a_day_old(tmp_path):
    names = ["a.md.part-node7-1", "a.md.part-node7-2", "b.md.part-node7-1"]
    then = time.time() - STALE_SECONDS - 10
    for name in names:
        (tmp_path / name).touch()
        if name != names[1]:  # still being written
            os.utime(tmp_path / name, (then, then))
    write_atomic(tmp_path / "a.md", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", *names[1:]]


def test_an_error_leaves_the_old_file(tmp_path):
    write_atomic(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a") as file:
        file.write(b"ne")
        raise ZeroDivisionError
    assert (tmp_path / "a").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_folder_in_its_place_is_told(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(DiskError, match="a cannot be written: Is a directory"):
        write_atomic(tmp_path / "a", "new")


@pytest.mark.parametrize("name, wrong", [("mine.csv", "other content"), ("folder", "a folder"), ("no/p.csv", "folder")])
def test_a_named_file_is_written_over_nothing_else(tmp_path, name, wrong):
    (tmp_path / "mine.csv").write_text("row,age\n")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DiskError, match=wrong):
        check_place(tmp_path / name, "row,predicted")


@pytest.mark.parametrize("content", [None, "", "row,predicted,p(a)\n"])
def test_a_named_file_may_be_new_or_of_its_kind(tmp_path, content):
    if content is not None:
        (tmp_path / "p.csv").write_text(content)
    check_place(tmp_path / "p.csv", "row,predicted")
