"""Where a run came from: the command that asked for it, and the commit of the code."""

import functools
import os
import shlex
import subprocess
import sys
from pathlib import Path

from lilawbench.support.plain import Tree
from lilawbench.support.searchpath import PACKAGE

GIT_SECONDS = 5
_asked: list[str] = []  # of a launcher's job: the command of its sweep


def command() -> str:
    """The command line of this process, or of the sweep whose job it is."""
    return _asked[-1] if _asked else shlex.join(sys.orig_argv)


def asked_by(command: str) -> None:
    """Says that this process is a job of a sweep."""
    _asked[:] = [command]


@functools.cache
def commit() -> dict[str, Tree]:
    """`git.commit`, and `git.dirty`: whether tracked files differ from it; empty where git knows of none.

    It is of lilawbench's own checkout, or, where that is installed, of the current folder.
    """
    for place in (PACKAGE, Path.cwd()):
        status = ["git", "-C", str(place), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
        try:
            done = subprocess.run(
                status,
                capture_output=True,
                text=True,
                check=True,
                timeout=GIT_SECONDS,
                env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            )
        except (OSError, subprocess.SubprocessError):  # no git, no repository, another user's
            continue
        lines = done.stdout.splitlines()
        commit = next(line.split()[-1] for line in lines if line.startswith("# branch.oid "))
        return {"git.commit": commit, "git.dirty": any(not line.startswith("#") for line in lines)}
    return {}
