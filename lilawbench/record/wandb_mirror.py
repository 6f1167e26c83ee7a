"""Mirror of a run on Weights & Biases: a process beside the training that follows metrics.jsonl.

W&B only shows what is on disk, so training passes nothing on. It is a process, not a thread: wandb's Python code would
compete with training for the interpreter lock (steps of 1.4 ms, a row for each, take 2.2 ms with a thread and 1.5 ms
beside the process), and its exit hook waits minutes for a server that is gone. This file is both sides: `WandbMirror`
in the run and, started as a script, the child, which imports nothing of lilawbench so that it starts fast.
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import logging
import os
import shlex
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

Fields = dict[str, Any]  # a JSON object
Settings = Any  # wandb.Settings; wandb is imported only in the child
MODES = ("auto", "online", "offline")
PROBE_SECONDS = 2.0  # for the server's first answer
INIT_SECONDS = 15.0  # for wandb.init online; then offline instead
UPLOAD_SECONDS = 60.0  # for what is left to upload when the run has ended
POLL_SECONDS = 0.5

log = logging.getLogger("lilawbench")


class WandbMirror:
    """Shows metrics.jsonl, config, tags and group on W&B, or records them offline for `wandb sync`.

    Rows become `step/<name>` and `epoch/<name>`, drawn over the axes `step` and `epoch`; W&B's own step is the line
    number in metrics.jsonl. Rows of kind "method" hold tables and stay on disk. The W&B run id follows from the names
    of the experiment's and the run's folder, so an interrupted run that goes on is one W&B run. Every start reads
    metrics.jsonl from line 1: W&B drops the lines that it already has (a resumed run writes the same ones again), and
    every offline folder is whole, so the last one is enough to sync. If the run is killed, the child records what is
    on disk and marks the W&B run as failed.

    If anything goes wrong online, the run is recorded offline instead, and one log line says so. It is a mirror only:
    stopping the run on W&B's page does not stop training.

    Args:
        project: W&B project, created if new.
        entity: user or team; None: the key's default.
        mode: `auto` obeys WANDB_MODE (offline, disabled); otherwise it is online if there is a key (WANDB_API_KEY,
            netrc, wandb's settings) and the server (WANDB_BASE_URL) answers within 2 s, and offline if not.
            `online` does not ask the server first, `offline` makes no connection; both overrule WANDB_MODE.
        tags: 1 to 64 characters each.
        finish_seconds: how long `finish` waits for the child, which then goes on alone for about a minute at most.
    Raises:
        ValueError: an impossible mode, project, tag or time.
        UserError: wandb is not installed.
    """

    def __init__(
        self,
        project: str = "lilawbench",
        entity: str | None = None,
        mode: str = "auto",
        tags: list[str] | None = None,
        finish_seconds: float = 5.0,
    ):
        project, tags = str(project), [str(tag) for tag in tags or []]
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}; it must be one of {', '.join(MODES)}")
        if not 1 <= len(project) <= 128 or set(project) & set("/\\#?%:"):
            raise ValueError(f"project is {project!r}; it must have 1 to 128 characters and none of / \\ # ? % :")
        if wrong := [tag for tag in tags if not 1 <= len(tag) <= 64]:
            raise ValueError(f"tags must have 1 to 64 characters each: {wrong}")
        if not 0 <= finish_seconds <= 86400:
            raise ValueError(f"finish_seconds is {finish_seconds}; it must be from 0 to 86400, a day")
        spec = importlib.util.find_spec("wandb")
        if spec is None or spec.origin is None:  # no origin: a mere folder of that name
            from lilawbench.support.errors import UserError

            raise UserError("wandb is not installed: run `pip install wandb`, or choose logger=none")
        self.options = {"project": project, "entity": entity, "mode": mode, "tags": tags}
        self.finish_seconds = finish_seconds
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path, run: str, cell: str, config: Fields) -> None:
        """Starts the child and returns. A resumed run must have cut metrics.jsonl back to its checkpoint.

        Args:
            folder: of the run; W&B's files go to `wandb` inside it. run: its name.
            cell: all but the seed; W&B's group. config: resolved, as JSON values.
        """
        folder = Path(folder).resolve()
        run_id = hashlib.sha256(f"{folder.parent.name}/{folder.name}".encode()).hexdigest()[:16]
        names = {"id": run_id, "name": run[-128:], "group": cell[-128:]}  # W&B's limit; the hash comes last
        try:
            child = subprocess.Popen(
                [sys.executable, "-P", __file__],  # -P: so that files beside this one are not importable
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                process_group=0,  # Ctrl-C is for the run; in a session of its own os.nice would have less effect
            )
            _send(child, {**self.options, **names, "folder": str(folder), "config": config})
        except OSError as error:
            log.warning("wandb: this run is not mirrored: %s", error)
            return
        self._folder, self._child = folder, child
        self._ear = threading.Thread(target=_relay, args=(child,), daemon=True)
        self._ear.start()

    def finish(self, summary: Fields, failed: bool = False) -> None:
        """Tells the child that metrics.jsonl is complete, and waits for it, at most `finish_seconds`.

        Args:
            summary: content of result.json, or empty; `config.*` is left out, since W&B has the config.
            failed: the run ended with an error; W&B shows it as failed.
        """
        if self._child is None:
            return
        child, self._child = self._child, None
        summary = {key: value for key, value in summary.items() if not key.startswith("config.")}
        with contextlib.suppress(OSError):  # the child is gone and has said why
            _send(child, {"summary": summary, "exit_code": int(failed)}, last=True)
        self._ear.join(self.finish_seconds)
        if self._ear.is_alive():
            text = "wandb: left to finish alone after %g s; if the run is not whole on W&B later: %s/*run-*"
            log.warning(text, self.finish_seconds, sync_command(self._folder / "wandb"))


def sync_command(path: Path) -> str:
    """The command that uploads a folder of W&B's, made offline or online."""
    return f"wandb sync --no-skip-online {shlex.quote(str(path))}"


def _send(child: subprocess.Popen[bytes], message: Fields, last: bool = False) -> None:
    if child.stdin is not None:
        data = json.dumps(message, default=str).encode() + b"\n"
        while data:
            data = data[child.stdin.write(data) :]
        if last:
            child.stdin.close()


def _relay(child: subprocess.Popen[bytes]) -> None:
    """Logs what the child says until it ends."""
    if child.stdout is not None:
        with child.stdout as lines:
            for line in lines:
                log.info("wandb: %s", line.decode(errors="replace").rstrip())
    if child.wait():
        log.warning("wandb: the mirror ended with exit code %d, the run goes on", child.returncode)


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


def why_offline(mode: str, settings: Settings) -> str:
    """The reason to make no connection, or an empty text. `settings` are wandb's, from its files and WANDB_*."""
    from wandb.sdk.lib.wbauth import read_netrc_auth  # wandb.login would wait for the server

    if mode == "offline":
        return "as asked"
    if mode == "auto" and settings.mode in ("offline", "dryrun"):
        return f"WANDB_MODE={settings.mode}"
    if not (settings.api_key or settings.identity_token_file or read_netrc_auth(host=settings.base_url)):
        return "no API key: set WANDB_API_KEY or run `wandb login`"
    if mode == "auto" and not answers(settings.base_url):
        return f"no answer from {settings.base_url} within {PROBE_SECONDS:g} s"
    return ""


def answers(url: str) -> bool:
    """Whether an HTTP server answers there, whatever it says."""
    try:
        urllib.request.urlopen(url, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError) as error:
        return isinstance(getattr(error, "reason", None), ssl.SSLError)  # wandb may know the certificate
    return True


def mirror(job: Fields, ending: Ending, online: bool, note: str, say: Callable[[str], None]) -> None:
    """One W&B run from its first row to its end.

    Args:
        job: the first message of the run. ending: has the last. note: why not online. say: logs a line in the run.
    Raises: what wandb raises; the rows are on disk for another try.
    """
    import wandb

    names = {key: job[key] for key in ("project", "entity", "id", "name", "group", "tags", "config")}
    quiet = {"silent": True, "console": "off", "program": "lilawbench.train", "stop_fn": lambda: None}
    light = dict.fromkeys(("disable_git", "disable_code", "label_disable", "x_disable_stats"), True)
    bounds = {"init_timeout": INIT_SECONDS, "finish_timeout": UPLOAD_SECONDS, "finish_timeout_raises": True}
    safe = {"x_transaction_log_flush_interval": 1.0}  # seconds; the file is whole even if the child is killed
    settings = wandb.Settings(**quiet, **light, **bounds, **safe, x_save_requirements=False)
    mode: Literal["online", "offline"] = "online" if online else "offline"
    run = wandb.init(**names, dir=job["folder"], mode=mode, resume="allow", settings=settings)
    files = Path(run.dir).parent
    say(f"online, {run.url}, and in {files}" if online else f"offline ({note}); to upload it: {sync_command(files)}")
    for axis in ("step", "epoch"):
        run.define_metric(axis, hidden=True)
        run.define_metric(f"{axis}/*", step_metric=axis)
    for number, row in enumerate(follow(Path(job["folder"], "metrics.jsonl"), ending.heard), start=1):
        kind = row.pop("kind")
        if kind == "method":
            continue
        axes = {axis: row.pop(axis) for axis in ("step", "epoch") if axis in row}
        values = {f"{kind}/{key}": value for key, value in row.items() if value is not None}
        run.log(values | axes, step=number, commit=True)
    run.summary.update(ending.message["summary"])
    try:
        run.finish(ending.message["exit_code"])
    except TimeoutError:
        say(f"not all was uploaded within {UPLOAD_SECONDS:g} s; to upload the rest: {sync_command(files)}")


def main() -> None:
    """The child: online if it can be, else offline; ends soon after the run does."""
    if hasattr(os, "nice"):  # not on Windows
        os.nice(5)  # training has priority
    status = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # wandb and its service print elsewhere

    def say(text: str) -> None:
        with contextlib.suppress(OSError):  # the run is gone
            os.write(status, " ".join(text.split()).encode() + b"\n")

    stdin = io.FileIO(0, closefd=False)  # unbuffered: a buffer's lock held by a thread would be fatal at exit
    job = json.loads(stdin.readline())
    ending = Ending(stdin)
    ending.start()
    os.environ.pop("WANDB_SERVICE", None)  # a wandb service of its own, which no other process can end
    try:
        import wandb

        wandb_settings = wandb.setup(wandb.Settings(silent=True)).settings
        if job["mode"] == "auto" and wandb_settings.mode == "disabled":
            return say("WANDB_MODE=disabled, the run is not mirrored")
        try:
            note = why_offline(job["mode"], wandb_settings)
            if not note:
                return mirror(job, ending, online=True, note="", say=say)
        except Exception as error:
            note = f"online failed: {type(error).__name__}: {error}"
            shut_down()
        mirror(job, ending, online=False, note=note, say=say)
    except Exception as error:
        say(f"the mirror stopped, the run goes on: {type(error).__name__}: {error}")
    finally:
        shut_down()
        os._exit(0)  # wandb's exit hook would wait for a server that does not answer


def shut_down() -> None:
    """Ends wandb's service process, waiting for it a few seconds at most."""
    if wandb := sys.modules.get("wandb"):
        helper = threading.Thread(target=wandb.teardown, daemon=True)
        helper.start()
        helper.join(5.0)


if __name__ == "__main__":
    main()
