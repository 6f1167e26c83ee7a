"""One writer a run: the kernel decides on a host, the owner's heartbeat between hosts."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from lilawbench.record import lock
from lilawbench.record.lock import RunLock
from lilawbench.support.errors import RunBusy

HOLD = """
import sys, time
from pathlib import Path
from lilawbench.record.lock import RunLock
RunLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def soon_settled(monkeypatch):
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.0)


def owned(folder, host="node7", pid=41, age_seconds=0.0):
    """A folder that a process of another host has, or had."""
    folder.mkdir()
    (folder / ".owner").write_text(json.dumps({"host": host, "pid": pid, "started": 0.0}))
    then = time.time() - age_seconds
    os.utime(folder / ".owner", (then, then))
    return folder


def take(folder):
    run = RunLock(folder)
    run.acquire()
    run.release()
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_a_killed_process_leaves_nothing_blocked(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        says = f"doing this run now \\({socket.gethostname()}, process {other.pid}\\): .*run"
        with pytest.raises(RunBusy, match=says):
            RunLock(tmp_path / "run").acquire()
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert (tmp_path / "run" / ".owner").exists()
        take(tmp_path / "run")


@pytest.mark.slow
def test_wherever_it_is_killed_the_next_one_has_the_run(tmp_path):
    """Killed at each line of the lock's own code in turn, until one acquires it before its turn comes."""

    def killed_at(lines_left):
        def trace(frame, event, _):
            nonlocal lines_left
            if frame.f_code.co_filename != lock.__file__:
                return None
            lines_left -= event == "line"
            if lines_left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        if not (child := os.fork()):
            try:
                sys.settrace(trace)
                RunLock(folder).acquire()
            finally:
                os._exit(0)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])

    for number in range(200):
        folder = tmp_path / str(number)
        killed = killed_at(number)
        take(folder)
        if not killed:
            break
    assert 20 < number < 200


def test_another_host_is_let_finish_while_its_heart_beats(tmp_path):
    folder = owned(tmp_path / "run", age_seconds=lock.FRESH_SECONDS - 10)
    with pytest.raises(RunBusy, match=r"node7, process 41"):
        RunLock(folder).acquire()
    assert json.loads((folder / ".owner").read_text())["pid"] == 41
    assert sorted(path.name for path in folder.iterdir()) == [".lock", ".owner"]


def test_a_dead_host_is_taken_over(tmp_path):
    folder = owned(tmp_path / "run", age_seconds=lock.FRESH_SECONDS + 10)
    (folder / "checkpoint.pt.part-node7-41").touch()
    take(folder)
    assert sorted(path.name for path in folder.iterdir()) == [".lock"], "its half-written file is gone too"


def test_of_two_hosts_that_take_over_the_last_to_sign_has_the_run(tmp_path, monkeypatch):
    folder = owned(tmp_path / "run", age_seconds=1000)
    other = {"host": "node8", "pid": 5, "started": 1.0}
    monkeypatch.setattr(lock.time, "sleep", lambda _: (folder / ".owner").write_text(json.dumps(other)))
    with pytest.raises(RunBusy, match="node8, process 5"):
        RunLock(folder).acquire()
    assert json.loads((folder / ".owner").read_text()) == other


@pytest.mark.parametrize("links", [True, False])
def test_of_two_hosts_that_begin_at_once_one_has_the_run(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(lock.os, "link", refused)
    folder = owned(tmp_path / "run")
    run = RunLock(folder)
    looks, read = iter([None]), run._read  # the other signs after this one has looked
    monkeypatch.setattr(run, "_read", lambda: next(looks, read()))
    with pytest.raises(RunBusy, match="node7, process 41"):
        run.acquire()


def test_who_was_suspended_for_too_long_stops(tmp_path):
    run = RunLock(tmp_path / "run")
    run.acquire()
    run.check()
    (tmp_path / "run" / ".owner").write_text(json.dumps({"host": "node7", "pid": 41, "started": 0.0}))
    with pytest.raises(RunBusy, match="node7"):
        run.check()
    run.release()
    assert json.loads((tmp_path / "run" / ".owner").read_text())["host"] == "node7", "not ours to remove"


def test_the_heart_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    run = RunLock(tmp_path / "run")
    run.acquire()
    os.utime(run.owner, (0, 0))
    deadline = time.monotonic() + 5
    while run.owner.stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert time.time() - run.owner.stat().st_mtime < 60
    run.release()


def refused(*_):
    raise OSError(38, "Function not implemented")


def test_a_file_system_without_links(tmp_path, monkeypatch):
    monkeypatch.setattr(lock.os, "link", refused)
    take(tmp_path / "run")


@pytest.mark.parametrize("pid, busy", [(os.getpid(), True), (2**22 + 1, False)], ids=["alive", "dead"])
def test_without_locks_of_the_file_system_the_process_decides(tmp_path, monkeypatch, pid, busy):
    monkeypatch.setattr(lock.fcntl, "flock", refused)
    folder = owned(tmp_path / "run", host=socket.gethostname(), pid=pid)
    if busy:
        with pytest.raises(RunBusy):
            RunLock(folder).acquire()
    else:
        take(folder)
