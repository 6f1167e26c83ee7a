"""A mirror of a run: a process beside the training that follows metrics.jsonl and shows it elsewhere.

    run                     start(folder, ...) ------------------------------------------- finish(result.json)
    child   python -m lilawbench.record.NAME_mirror:  rows of metrics.jsonl, as they come; then tables and pictures

A mirror shows only what is on disk, so training passes nothing on. It is a process, not a thread: its Python code would
compete with training for the interpreter lock (steps of 1.4 ms, a row for each, take 2.2 ms with a thread and 1.5 ms
beside the process), and the exit hook of a library may wait minutes for a server that is gone. Both sides import this
file; the child uses no heavy part of lilawbench, so that it starts fast.
"""

import contextlib
import importlib.util
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, ClassVar

from lilawbench.support.plain import Tree

Fields = dict[str, Tree]  # a JSON object
Say = Callable[[str], None]
POLL_SECONDS = 0.5
TAGGED = ("dataset", "noise", "model", "method")

log = logging.getLogger("lilawbench")


class ChildMirror:
    """The side of the run: starts the child, and waits for it a little at the end. Whatever happens to the child, the
    run goes on.

    Args:
        options: of the child, JSON values. tags: beside those of data set, noise, model, method and experiment.
        finish_seconds: how long `finish` waits for the child, which then goes on alone.
    Raises:
        ValueError: an impossible time.
    """

    name: ClassVar[str]  # of the file NAME_mirror.py, and in messages

    def __init__(self, options: Fields, tags: list[str] | None = None, finish_seconds: float = 5.0):
        if not 0 <= finish_seconds <= 86400:
            raise ValueError(f"finish_seconds is {finish_seconds}; it must be from 0 to 86400, a day")
        self.options, self.tags, self.finish_seconds = options, [str(tag) for tag in tags or []], finish_seconds
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path, run: str, group: str, config: Fields) -> None:
        """Starts the child and returns. A resumed run must have cut metrics.jsonl back to its checkpoint.

        Args:
            folder: of the run. run: its name. group: what runs of its kind share. config: resolved, as JSON values.
        """
        from lilawbench.record.provenance import commit

        folder = Path(folder).resolve()
        told = {"folder": str(folder), "run": run, "group": group, "config": config, **commit()}
        self.folder = folder
        try:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", f"lilawbench.record.{self.name}_mirror"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                process_group=0,  # Ctrl-C is for the run; in a session of its own os.nice would have less effect
                env=_environment(),
            )
            _send(child, {**self.options, **told, "tags": tags_of(config, self.tags)})
        except OSError as error:
            log.warning("%s: this run is not mirrored: %s", self.name, error)
            return
        self._child = child
        self._ear = threading.Thread(target=_relay, args=(self.name, child), daemon=True)
        self._ear.start()

    def finish(self, summary: Fields, failed: bool = False) -> None:
        """Tells the child that metrics.jsonl is complete, and waits for it, at most `finish_seconds`.

        Args:
            summary: content of result.json, or empty; `config.*` is left out, since the child has the config.
            failed: the run ended with an error; it is shown as failed.
        """
        if self._child is None:
            return
        child, self._child = self._child, None
        summary = {key: value for key, value in summary.items() if not key.startswith("config.")}
        with contextlib.suppress(OSError):  # the child is gone and has said why
            _send(child, {"summary": summary, "exit_code": int(failed)}, last=True)
        self._ear.join(self.finish_seconds)
        if self._ear.is_alive():
            log.warning("%s: left to finish alone after %g s%s", self.name, self.finish_seconds, self.left_alone())

    def left_alone(self) -> str:
        """What a person can do if the child did not get ready."""
        return ""


def tags_of(config: Fields, more: list[str]) -> list[str]:
    """Data set, noise, model, method and experiment of a run, and the user's own tags, each once."""
    found = [config[group].get("name") for group in TAGGED if isinstance(config.get(group), dict)]
    return list(dict.fromkeys([*map(str, filter(None, [*found, config.get("experiment_name")])), *more]))


def need(module: str, package: str) -> None:
    """Raises: UserError, the module is not installed; a mere folder of that name does not count."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        from lilawbench.support.errors import UserError

        raise UserError(f"{module} is not installed: run `pip install {package}`, or choose logger=none")


def _environment() -> dict[str, str]:
    """The child finds this lilawbench, a checkout that is not installed too."""
    place = Path(__file__).parents[2]
    if place.name in ("site-packages", "dist-packages"):  # of PYTHONPATH they would come before Python's own modules
        return dict(os.environ)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH", "")]))}


def _send(child: subprocess.Popen[bytes], message: Fields, last: bool = False) -> None:
    if child.stdin is not None:
        data = json.dumps(message, default=str).encode() + b"\n"
        while data:
            data = data[child.stdin.write(data) :]
        if last:
            child.stdin.close()


def _relay(name: str, child: subprocess.Popen[bytes]) -> None:
    """Logs what the child says until it ends."""
    if child.stdout is not None:
        with child.stdout as lines:
            for line in lines:
                log.info("%s: %s", name, line.decode(errors="replace").rstrip())
    if child.wait():
        log.warning("%s: the mirror ended with exit code %d, the run goes on", name, child.returncode)


class Ending(threading.Thread):
    """In the child: waits on stdin for the run's last message. A run that dies without one has failed."""

    def __init__(self, stdin: BinaryIO):
        super().__init__(daemon=True)
        self.stdin, self.heard = stdin, threading.Event()
        self.message: Fields = {"summary": {}, "exit_code": 1}

    def run(self) -> None:
        line = self.stdin.readline()
        if line.endswith(b"\n"):
            self.message = json.loads(line)
        self.heard.set()


def follow(path: Path, ended: threading.Event) -> Iterator[Fields]:
    """The rows of a JSON-lines file that grows, from the first one, until `ended` is set and all are read."""
    position, last = 0, False
    while not last:
        last = ended.wait(POLL_SECONDS)
        if not path.exists():
            continue
        with path.open("rb") as file:
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):  # half written
                    break
                position += len(line)
                yield json.loads(line)


def beside(mirror: Callable[[Fields, Ending, Say], None], end: Callable[[], None] = lambda: None) -> None:
    """The child's life: hears what to do, mirrors, leaves no temporary file, and ends soon after the run does.

    Args:
        mirror: shows one run from its first row to its end, given the run's first message, its last one to come, and
            what logs a line in the run. end: what is left to do however it went.
    """
    if hasattr(os, "nice"):  # not on Windows
        os.nice(5)  # training has priority
    status = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a library and its services print elsewhere

    def say(text: str) -> None:
        with contextlib.suppress(OSError):  # the run is gone
            os.write(status, " ".join(text.split()).encode() + b"\n")

    stdin = io.FileIO(0, closefd=False)  # unbuffered: a buffer's lock held by a thread would be fatal at exit
    job = json.loads(stdin.readline())
    ending = Ending(stdin)
    ending.start()
    place = tempfile.tempdir = tempfile.mkdtemp(prefix="lilawbench-")  # of libraries, whose exit hooks do not run
    try:
        mirror(job, ending, say)
    except Exception as error:
        say(f"the mirror stopped, the run goes on: {type(error).__name__}: {error}")
    finally:
        end()
        shutil.rmtree(place, ignore_errors=True)
        os._exit(0)  # an exit hook could wait for a server that does not answer
