"""Mirror of a run on Weights & Biases, by a process beside the training."""

import hashlib
import os
import shlex
import ssl
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from lilawbench.record.mirror import ChildMirror, Ending, Fields, Say, beside, follow, need
from lilawbench.record.shown import Left, left, values_of

Settings = Any  # wandb.Settings; wandb is imported only in the child
MODES = ("auto", "online", "offline")
PROBE_SECONDS = 2.0  # for the server's first answer
INIT_SECONDS = 15.0  # for wandb.init online; then offline instead
UPLOAD_SECONDS = 60.0  # for what is left to upload when the run has ended
LONGEST_TAG = 64  # characters, W&B's limit
LONGEST_NAME = 128  # likewise


class WandbMirror(ChildMirror):
    """Shows metrics.jsonl, config, tags and group on W&B, or records them offline for `wandb sync`; in the end the
    values of result.json under their names, its tables (confusion, reliability, groups), suspects.csv and pictures.

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
        tags: 1 to 64 characters each, beside those of data set, noise, model, method and experiment.
        finish_seconds: how long `finish` waits for the child, which then goes on alone for about a minute at most.
    Raises:
        ValueError: an impossible mode, project, tag or time.
        UserError: wandb is not installed.
    """

    name = "wandb"

    def __init__(
        self,
        project: str = "lilawbench",
        entity: str | None = None,
        mode: str = "auto",
        tags: list[str] | None = None,
        finish_seconds: float = 5.0,
    ):
        project = str(project)
        super().__init__({"project": project, "entity": entity, "mode": mode}, tags, finish_seconds)
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}; it must be one of {', '.join(MODES)}")
        if not 1 <= len(project) <= 128 or set(project) & set("/\\#?%:"):
            raise ValueError(f"project is {project!r}; it must have 1 to 128 characters and none of / \\ # ? % :")
        if wrong := [tag for tag in self.tags if not 1 <= len(tag) <= LONGEST_TAG]:
            raise ValueError(f"tags must have 1 to {LONGEST_TAG} characters each: {wrong}")
        need("wandb", "wandb")

    def left_alone(self) -> str:
        return f"; if the run is not whole on W&B later: {sync_command(self.folder / 'wandb')}/*run-*"


def sync_command(path: Path) -> str:
    """The command that uploads a folder of W&B's, made offline or online."""
    return f"wandb sync --no-skip-online {shlex.quote(str(path))}"


def sync_of(folders: Iterable[Path]) -> str:
    """The one command that uploads what the runs in these folders have recorded offline; "": nothing is left to."""
    offline = [folder for folder in folders if any(map(_is_waiting, folder.glob("wandb/offline-run-*")))]
    places = dict.fromkeys(shlex.quote(str(folder.parent)) for folder in offline)
    return " ".join(["wandb sync --no-skip-online", *(f"{place}/*/wandb/offline-run-*" for place in places)]) * bool(
        places
    )


def _is_waiting(recorded: Path) -> bool:
    return not any(recorded.glob("*.synced"))


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


def mirror(job: Fields, ending: Ending, online: bool, note: str, say: Say) -> None:
    """One W&B run from its first row to its end.

    Args:
        job: the first message of the run. ending: has the last. note: why not online. say: logs a line in the run.
    Raises: what wandb raises; the rows are on disk for another try.
    """
    import wandb

    folder = Path(job["folder"])
    names = {key: job[key] for key in ("project", "entity", "config")}
    names |= {"id": hashlib.sha256(f"{folder.parent.name}/{folder.name}".encode()).hexdigest()[:16]}
    names |= {"name": job["run"][-LONGEST_NAME:], "group": job["group"][:LONGEST_NAME]}  # the hash comes last
    names["tags"] = [tag[:LONGEST_TAG] for tag in job["tags"]]
    quiet = {"silent": True, "console": "off", "program": "lilawbench.train", "stop_fn": lambda: None}
    light = dict.fromkeys(("disable_git", "disable_code", "label_disable", "x_disable_stats"), True)
    bounds = {"init_timeout": INIT_SECONDS, "finish_timeout": UPLOAD_SECONDS, "finish_timeout_raises": True}
    safe = {"x_transaction_log_flush_interval": 1.0}  # seconds; the file is whole even if the child is killed
    commit = {"git_commit": job["git.commit"]} if "git.commit" in job else {}
    settings = wandb.Settings(**quiet, **light, **bounds, **safe, **commit, x_save_requirements=False)
    mode: Literal["online", "offline"] = "online" if online else "offline"
    run = wandb.init(**names, dir=job["folder"], mode=mode, resume="allow", settings=settings)
    files = Path(run.dir).parent
    say(f"online, {run.url}, and in {files}" if online else f"offline ({note}); to upload it: {sync_command(files)}")
    for axis in ("step", "epoch"):
        run.define_metric(axis, hidden=True)
        run.define_metric(f"{axis}/*", step_metric=axis)
    number = 0
    for number, row in enumerate(follow(folder / "metrics.jsonl", ending.heard), start=1):
        values, axes = values_of(row)
        if values:
            run.log(values | axes, step=number, commit=True)
    found = left(folder, ending.message["summary"])
    if media := _media(found):
        run.log(media, step=number + 1, commit=True)
    run.summary.update(found.values)
    try:
        run.finish(ending.message["exit_code"])
    except TimeoutError:
        say(f"not all was uploaded within {UPLOAD_SECONDS:g} s; to upload the rest: {sync_command(files)}")


def _media(found: Left) -> Fields:
    import wandb

    tables = {name: wandb.Table(columns=table.columns, data=table.rows) for name, table in found.tables.items()}
    return {**tables, **{f"pictures/{name}": wandb.Image(str(path)) for name, path in found.pictures.items()}}


def either(job: Fields, ending: Ending, say: Say) -> None:
    """Online if it can be, else offline."""
    os.environ.pop("WANDB_SERVICE", None)  # a wandb service of its own, which no other process can end
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
    return mirror(job, ending, online=False, note=note, say=say)


def shut_down() -> None:
    """Ends wandb's service process, waiting for it a few seconds at most."""
    if wandb := sys.modules.get("wandb"):
        helper = threading.Thread(target=wandb.teardown, daemon=True)
        helper.start()
        helper.join(5.0)


if __name__ == "__main__":
    beside(either, shut_down)
