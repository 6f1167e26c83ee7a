"""Where a path of the user's own is looked for, and what is said if nothing is there."""

import pytest

from lilawbench.datasets.own_path import own_path
from lilawbench.support.errors import DataError


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The current folder, the data folder and the user's home."""
    here, data, home = (tmp_path / name for name in ("here", "data", "home"))
    for folder in (here, data, home):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    return here, data, home


def test_the_current_folder_comes_before_the_data_folder(places):
    here, data, home = places
    (data / "x").touch()
    (home / "x").touch()
    assert own_path("x", data, "o", "") == data / "x" and own_path("~/x", data, "o", "") == home / "x"
    (here / "x").mkdir()
    assert own_path("x", data, "o", "") == data / "x"
    assert own_path("x", data, "o", "", "folder").absolute() == here / "x"
    assert own_path("x", data, "o", "", "either").absolute() == here / "x"


def test_a_path_that_is_not_there_comes_with_the_folders_that_were_looked_into(places):
    here, data, home = places
    (data / "x").mkdir()
    for path, data_dir, said in (
        (
            "y",
            data,
            f"o=y does not exist (looked for in the current folder, {here}, and paths.data_dir, {data}); name a",
        ),
        (
            "y",
            None,
            f"o=y does not exist (looked for in the current folder, {here}; paths.data_dir is not set); name a",
        ),
        ("x", data, f"o=x is a folder (looked for in the current folder, {here}, and paths.data_dir, {data}); name a"),
        (f"{home}/y", data, f"o={home}/y does not exist; name a"),
    ):
        with pytest.raises(DataError) as refused:
            own_path(path, data_dir, "o", "a")
        assert str(refused.value) == said
