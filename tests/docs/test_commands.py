"""Every command of the READMEs composes, plans or parses, by default the first of each README that trains and script.

test_commands_run.py runs them at a small size.
"""

import argparse
import dataclasses
import functools
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lilawbench import train
from lilawbench.check import check
from lilawbench.config import CONF
from lilawbench.record.identity import RunRecord
from lilawbench.schema import Config

ROOT = CONF.parent
SKIPPED = RunRecord(Path("-"), "skipped")


@pytest.fixture
def nothing_runs(monkeypatch):
    """Commands end where training would begin: configs are checked, of a plan the first of each cell."""

    def launch(planned, *_):
        for run in {(run.row, run.column): run for run in reversed(planned.runs)}.values():
            check(run.cfg)
        return [SKIPPED]

    monkeypatch.setattr(train, "launch", launch)
    monkeypatch.setattr(train, "run", lambda cfg: check(cfg) or SKIPPED)


REPORT = "lilawbench/report/__main__.py"


def arguments_of(words: list[str]) -> list[str] | None:
    """Of a command that trains, in one process or several."""
    return words[words.index("lilawbench.train") + 1 :] if "lilawbench.train" in words else None


def is_experiment(arguments: list[str]) -> bool:
    """Whether nothing but an experiment is named that there is; tests/experiment/test_counts.py plans all of them."""
    match = re.fullmatch(r"experiment=(\w+)", " ".join(arguments))
    return bool(match) and (CONF / "experiment" / f"{match[1]}.yaml").exists()


class Parsed(Exception):
    """A script has read its arguments."""


def parses(script: str, arguments: list[str], monkeypatch) -> argparse.Namespace:
    """What a script makes of its arguments; it goes no further."""
    with monkeypatch.context() as patch:
        for name in ("parse_args", "parse_intermixed_args"):
            patch.setattr(argparse.ArgumentParser, name, _then_stop(getattr(argparse.ArgumentParser, name)))
        patch.syspath_prepend(str(ROOT / "scripts"))
        patch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(Parsed) as found:
            runpy.run_path(str(ROOT / script), run_name="__main__")
    return found.value.args[0]


def _then_stop(parse):
    def stop(*given):
        raise Parsed(parse(*given))

    return stop


@pytest.mark.every(3)
def test_it_is_right(command, mine, small_files, command_line, nothing_runs, monkeypatch):
    words = command.words
    if (arguments := arguments_of(words)) is not None:
        assert words[0] in ("python", "torchrun")
        if not is_experiment(arguments):
            command_line(*arguments)
    elif words[:3] == ["python", "-m", "pytest"]:
        assert all((ROOT / word).exists() for word in words[3:] if not word.startswith("-"))
    elif words[:2] == ["python", "-c"]:
        compile(words[2], "README", "exec")
    elif words[:3] == ["python", "-m", "lilawbench.status"]:
        assert words[3] == "outputs" or is_experiment([f"experiment={words[3]}"])
    elif words[:3] == ["python", "-m", "lilawbench.report"]:
        assert all(str(name).startswith("outputs") for name in parses(REPORT, words[3:], monkeypatch).folders)
    elif words[:3] == ["python", "-m", "lilawbench.suspects"]:
        parses("lilawbench/suspects.py", words[3:], monkeypatch)
    elif words[:3] == ["python", "-m", "lilawbench.predict"]:
        parses("lilawbench/predict.py", words[3:], monkeypatch)
    elif words[0] == "python":
        options = parses(words[1], words[2:], monkeypatch)
        if words[1] == "scripts/make_tables.py":
            for name in options.names:
                if not (re.match("[A-Z]", name) or "/" in name or "=" in name or name == "outputs"):
                    assert is_experiment([f"experiment={name}"]) or Path("mine", "experiment", f"{name}.yaml").exists()
    elif words[0] == "make":
        done = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif words[0] == "pip":
        known = subprocess.run([sys.executable, "-m", "pip", words[1], "--help"], capture_output=True, text=True)
        assert known.returncode == 0 and all(word in known.stdout for word in words if word.startswith("--"))
    elif words[0] == "grep":
        (mine.parent / "scripts").symlink_to(ROOT / "scripts")
        subprocess.run(command.text, shell=True, check=True)
        names = words[2].strip("^()=").split("|")
        wanted = Path("wanted.txt").read_text().splitlines()
        assert sorted(line.split("==")[0].lower() for line in wanted) == sorted(names)
    else:
        pytest.fail("no test runs commands of this kind: add one, or call the block text")


@pytest.mark.parametrize("target", ["run", "test"])
def test_make_does_what_its_head_says(target):
    """Without the set-up, which is a package index's matter."""
    command = ["make", "--no-print-directory", "--dry-run", "--old-file=.venv/.installed", target]
    outside_make = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=ROOT, env=outside_make, capture_output=True, text=True, check=True)
    said = {"run": "-m lilawbench.train experiment=digits", "test": "-m pytest -n 2"}
    assert [line.strip() for line in done.stdout.splitlines()][-1] == f".venv/bin/python {said[target]}"


def test_wheels_are_those_of_the_list(readmes):
    """Both lists of packages in scripts/README.md name the same ones."""
    blocks, _ = readmes[ROOT / "scripts" / "README.md"]
    lines = [shlex.split(line) for block in blocks for line in block.text.splitlines()]
    (grep,) = (line for line in lines if line[0] == "grep")
    (pip,) = (line for line in lines if line[:2] == ["pip", "install"])
    assert grep[2].strip("^()=").split("|") == pip[pip.index("wheels") + 1 :]


GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
OPTION = re.compile(
    rf"^(?:{'|'.join([*GROUPS, 'train', 'split', 'attack', 'detect', 'keep', 'paths', 'sweep'])})(?:\.\w+)+$"
)


RESULTS = {"noise.requested_rate", "noise.realised_rate", "train.log"}  # keys of result.json, files: no options


@functools.cache
def options_there_are() -> set[str]:
    """Dotted keys of the root and of every choice."""

    def keys(tree, name: str) -> set[str]:
        items = tree.items() if isinstance(tree, dict) else ()
        return {name}.union(*(keys(value, f"{name}.{key}" if name else key) for key, value in items))

    found = keys(dataclasses.asdict(Config()), "")
    for path in [*CONF.glob("*/*.yaml"), *CONF.glob("preset/*/*.yaml")]:
        tree, group = yaml.safe_load(path.read_text(encoding="utf-8")) or {}, path.parent.name
        found |= keys(tree, "") if "@package _global_" in path.read_text(encoding="utf-8") else keys(tree, group)
    return found


def test_choices_and_options_within_a_line_exist(readme, readmes):
    """`loss=gce`, `train.epochs`, `method=ce loss=gce`; names in capitals stand for something."""
    prose, known = readmes[readme][1], options_there_are()
    for code in re.findall(r"`([^`\n]+)`", prose):
        for word in code.split():
            key, _, value = word.partition("=")
            if OPTION.match(key) and key not in RESULTS:
                assert key in known, code
            elif key in GROUPS and value:
                for name in value.strip("[]").split(","):
                    places = "preset/*" if key == "preset" else key
                    assert re.match("[A-Z]", name) or list(CONF.glob(f"{places}/{name}.yaml")), code
