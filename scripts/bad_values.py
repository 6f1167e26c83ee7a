"""Gives the command line bad values, made from the options' own types, and counts how it answers.

    python scripts/bad_values.py                  all, some minutes; prints what went wrong, then the counts
    python scripts/bad_values.py --every 20       a twentieth of them
    python scripts/bad_values.py --only method=   those whose words contain this

Each command runs in this process, in an empty folder, on 64 digits for an epoch; every hundredth in a process of its
own too. Wrong is: a traceback; a bad value that is accepted; a file that a refused command has left; no end within a
minute.

Exit code 0: nothing was wrong; 1: something was.
"""

import argparse
import contextlib
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from bad_commands.commands import TINY, Command, commands

from lilawbench import train

LIMIT_S = 60
WRONG = ("traceback", "accepted", "left files", "hang")


class Hang(BaseException):
    """A command takes longer than LIMIT_S."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="try one command in so many (default: 1)")
    parser.add_argument("--only", default="", help="words that a command must contain")
    parser.add_argument("--processes", type=int, default=100, help="one in so many in its own process too; 0: none")
    args = parser.parse_args(arguments)
    wanted = [c for c in dict.fromkeys(map(_hashable, commands())) if args.only in " ".join(c[0])][:: args.every]
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    with _in_empty_folder():
        for number, (words, bad) in enumerate(wanted):
            command = Command(list(words), bad)
            if number % 200 == 0:
                print(f"{number} of {len(wanted)}", file=sys.stderr, flush=True)
            verdicts = [(judged(command, *in_this_process(command)), "")]
            if args.processes and number % args.processes == 0:
                verdicts.append((judged(command, *in_its_own(command)), "in its own process: "))
            for (verdict, said), where in verdicts:
                counts[verdict] += 1
                if verdict in WRONG:
                    print(f"{where}{verdict}: {' '.join(command.arguments)}\n    {said}", flush=True)
    print(
        f"{len(wanted)} commands: "
        + ", ".join(f"{counts[name]} {name}" for name in ("refused", "failed", "ran", *WRONG))
    )
    return int(any(counts[name] for name in WRONG))


def in_this_process(command: Command) -> tuple[int | str, str]:
    """The exit code, or what was raised, and what was printed."""
    said = io.StringIO()
    handlers = logging.getLogger("lilawbench").handlers
    before, sys.argv = sys.argv, ["lilawbench", *TINY, *command.arguments]
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(LIMIT_S)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            handlers.clear()
            train.main()
        return "no exit", said.getvalue()
    except SystemExit as end:
        return end.code or 0, said.getvalue()
    except Hang:
        return "hang", said.getvalue()
    except BaseException as error:
        return f"{type(error).__name__}: {error}", said.getvalue()
    finally:
        signal.alarm(0)
        sys.argv = before


def in_its_own(command: Command) -> tuple[int | str, str]:
    """As `in_this_process`."""
    words = [sys.executable, "-m", "lilawbench.train", *TINY, *command.arguments]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return "hang", ""
    return done.returncode, done.stdout + done.stderr


def judged(command: Command, code: int | str, said: str) -> tuple[str, str]:
    """What became of a command, and its last words; what it wrote is removed."""
    left = [path for path in Path().iterdir() if path.name not in GIVEN]
    for path in left:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    last = said.strip()[-300:].replace("\n", "\n    ")
    if code == "hang":
        return "hang", last
    if code not in (0, 1, 2) or "Traceback" in said or "HYDRA_FULL_ERROR" in said:
        return "traceback", f"{code} {last}"
    if code == 2:
        return ("left files", f"{left} {last}") if left else ("refused", last)
    if command.bad and (code == 0 or left):
        return "accepted", last
    return ("ran" if code == 0 else "failed"), last


GIVEN = ("numbers.csv", "labels.npz")


@contextlib.contextmanager
def _in_empty_folder() -> Iterator[None]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache, open(os.devnull) as nothing:
        os.chdir(folder)
        os.environ |= {"LILAWBENCH_CACHE": cache, "WANDB_MODE": "offline"}
        rows = np.random.default_rng(0).normal(size=(120, 3))
        table = np.column_stack([rows, (rows[:, 0] > 0).astype(int)])
        np.savetxt("numbers.csv", table, delimiter=",", header="a,b,c,y", comments="", fmt="%.3f")
        np.savez("labels.npz", features=rows.astype(np.float32), target=(rows > 0).astype(np.int64))
        stdin, sys.stdin = sys.stdin, nothing
        try:
            yield
        finally:
            sys.stdin = stdin
            os.chdir(before)


def _stop(*_: object) -> None:
    raise Hang


def _hashable(command: Command) -> tuple[tuple[str, ...], bool]:
    return tuple(command.arguments), command.bad


if __name__ == "__main__":
    sys.exit(main())
