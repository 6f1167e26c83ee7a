"""Runs of methods with each kind of state, killed again and again: at a random time, or at a random one of their
writes, then started again until they end. Each record is that of an unbroken run, to the bit."""

import faulthandler
import json
import os
import random
import re
import signal
import sys
import time
import traceback
from pathlib import Path

import pytest
import torch

from lilawbench.train import run

KILLS = 10  # of each method
MOST_IN_A_ROW = 4  # then a run is left to end
LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT
EVENTS = {"open", "os.link", "os.rename", "os.remove", "os.mkdir", "os.truncate"}


def run_in_child(cfg, events_left: int = 1 << 30) -> tuple[int, int]:
    """Starts a run in a copy of this process, which kills itself at one of its writes.

    Returns:
        Id of the process, and a pipe that brings how many writes there were, if it ends by itself.
    """
    read, write = os.pipe()
    if child := os.fork():
        os.close(write)
        return child, read
    code, left = 1, events_left

    def count() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: str, arguments: tuple) -> None:
        if event in EVENTS and str(arguments[0]).startswith(cfg.paths.output_dir):
            count()

    try:
        faulthandler.dump_traceback_later(180, exit=True)  # where it hangs
        fsync = os.fsync
        os.fsync = lambda file: (count(), fsync(file))
        sys.addaudithook(hear)
        code = 0 if run(cfg).status in ("done", "skipped") else 3  # skipped: killed after its last write
        os.write(write, str(events_left - left).encode())
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int, pipe: int) -> tuple[bool, int]:
    """Whether it was killed, and how many writes there were if not."""
    _, status = os.waitpid(child, 0)
    with os.fdopen(pipe) as brought:
        writes = brought.read()
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or os.WEXITSTATUS(status) == 0, "an error of the run: see the output"
    return killed, int(writes or 0)


def content(folder: Path) -> tuple:
    """All that a run records, less times, places and the commands that were given."""

    def lasting(tree: dict) -> dict:
        return {k: v for k, v in tree.items() if not re.search("seconds|memory|output_dir|command|commit", k)}

    lines = (folder / "metrics.jsonl").read_text().splitlines()
    result = lasting(json.loads((folder / "result.json").read_text()))
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    weights = {key: tensor.tolist() for key, tensor in saved["model"].items()}
    return result, [lasting(json.loads(line)) for line in lines], weights


@pytest.mark.slow
def test_whenever_it_is_killed_a_run_goes_on_to_the_same_record(tiny, acting, tmp_path, method_of_each_state):
    method = method_of_each_state
    rng, kills, chains = random.Random(method), 0, 0
    options = [*acting(method), "train.epochs=4", "train.log_every_steps=1", "model.dropout=0.2"]
    run(tiny(*options, f"paths.output_dir={tmp_path}/first"))  # what it imports late, its copies need not import again
    start = time.monotonic()
    child, pipe = run_in_child(cfg := tiny(*options, f"paths.output_dir={tmp_path}/whole"))
    killed, writes = ended(child, pipe)
    assert not killed
    seconds, whole = time.monotonic() - start, content(folder_of(cfg))
    while kills < KILLS:
        chains += 1
        cfg = tiny(*options, f"paths.output_dir={tmp_path}/{chains}")
        for number in range(MOST_IN_A_ROW + 1):
            last, at_a_write = number == MOST_IN_A_ROW, rng.random() < 0.5
            child, pipe = run_in_child(cfg, rng.randint(1, writes) if at_a_write and not last else 1 << 30)
            if not at_a_write and not last:
                until = time.monotonic() + rng.uniform(0, min(seconds, 2.0))
                while time.monotonic() < until and not os.waitid(os.P_PID, child, LOOK):
                    time.sleep(0.005)
                os.kill(child, signal.SIGKILL)
            killed, _ = ended(child, pipe)
            kills += killed
            if not killed:
                break
        assert not killed and content(folder_of(cfg)) == whole, f"chain {chains}"
    print(f"{method}: {kills} kills, {chains} runs, all the same; a run has {writes} writes and takes {seconds:.2f} s")


def folder_of(cfg) -> Path:
    return next(Path(cfg.paths.output_dir).rglob("result.json")).parent
