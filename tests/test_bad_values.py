"""scripts/bad_values.py: the command line answers bad values with one message, and leaves nothing."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def as_the_script_finds_them(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "scripts")


def test_there_are_bad_values_for_every_group_block_and_launcher():
    from bad_commands.commands import commands

    made = list(commands())
    bad = {" ".join(command.arguments) for command in made if command.bad}
    assert len(bad) >= 2000 and len(made) >= 4000
    blocks = ("dataset", "noise", "model", "loss", "method", "logger", "train", "split", "attack", "sweep", "table")
    assert all(any(f"{block}." in words for words in bad) for block in (*blocks, "launcher", "paths"))


def test_a_sample_of_them_is_answered(capsys):
    import bad_values

    assert bad_values.main(["--every", "60", "--processes", "40"]) == 0, capsys.readouterr().out
    assert "0 traceback, 0 accepted, 0 left files, 0 hang" in capsys.readouterr().out
