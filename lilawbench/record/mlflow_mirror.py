"""Mirror of a run for MLflow, on a server or in a folder, by a process beside the training."""

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.record.mirror import ChildMirror, Ending, Fields, Say, beside, follow, need
from lilawbench.record.shown import left, values_of, written
from lilawbench.support.atomic import write_atomic
from lilawbench.support.plain import Tree

if TYPE_CHECKING:
    from mlflow import MlflowClient

FILE = "mlflow.json"  # in the run's folder: which MLflow run it is, and how many rows that has
STORE = "mlruns"  # beside the folders of experiments
AT_ONCE, FEW = 1000, 100  # metrics and other values in one message, MLflow's limits
LONGEST = 5000  # characters of a value, likewise
SEND_SECONDS = 5.0


class MlflowMirror(ChildMirror):
    """Logs rows of metrics.jsonl as metrics `step/<name>` and `epoch/<name>`, the config as parameters, tags, and in
    the end the values of result.json, tables (CSV) and pictures.

    A resumed run is the same MLflow run, without the rows that it has already.

    Args:
        tracking_uri: a server's address or a folder; None: MLFLOW_TRACKING_URI, else `mlruns` in the output folder.
        experiment: MLflow's name for a group of runs, created if new.
        tags, finish_seconds: see `ChildMirror`.
    Raises:
        UserError: mlflow is not installed. ValueError: an impossible time or name.
    """

    name = "mlflow"

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment: str = "lilawbench",
        tags: list[str] | None = None,
        finish_seconds: float = 5.0,
    ):
        experiment = str(experiment)
        if not experiment.strip():
            raise ValueError("experiment is empty; it must be a name")
        super().__init__({"tracking_uri": tracking_uri, "experiment": experiment}, tags, finish_seconds)
        need("mlflow", "mlflow-skinny")


class Sender:
    """One MLflow run. metrics.jsonl is followed from its first row, and those that MLflow has already are left out."""

    def __init__(self, client: "MlflowClient", job: Fields, uri: str):
        self.client, self.folder, self.uri = client, Path(job["folder"]), uri
        self.run, self.rows = self._known()
        if not self.run:
            self.run = client.create_run(self._experiment(job["experiment"]), run_name=job["run"]).info.run_id
            self.note()
            from lilawbench.record.identity import NOT_IDENTITY, flatten

            known = {key: value for key, value in job["config"].items() if key not in NOT_IDENTITY}
            self.texts("params", flatten(known, "config"))
        tags = {
            "mlflow.source.git.commit": job.get("git.commit"),
            "group": job["group"],
            "tags": ", ".join(job["tags"]),
        }
        self.texts("tags", tags)
        client.update_run(self.run, status="RUNNING")
        self.waiting: list[tuple[str, float, int]] = []
        self.sent = time.monotonic()

    def row(self, number: int, row: Fields) -> None:
        """Takes the n-th row of metrics.jsonl."""
        values, axes = values_of(row)
        if number > self.rows:
            self.rows = number
            for key, value in values.items():
                self.waiting.append((key, value, axes.get("epoch" if key.startswith("epoch/") else "step", 0)))
        if len(self.waiting) >= AT_ONCE or time.monotonic() > self.sent + SEND_SECONDS:
            self.send()

    def send(self) -> None:
        """Sends what waits, and notes how far it got."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for at in range(0, len(self.waiting), AT_ONCE):
            some = [Metric(_key(key), value, now, step) for key, value, step in self.waiting[at : at + AT_ONCE]]
            self.client.log_batch(self.run, metrics=some)
        self.waiting.clear()
        self.sent = time.monotonic()
        self.note()

    def note(self) -> None:
        """Writes down which MLflow run it is and how many rows that has, for when this one is broken off."""
        note = {"uri": self.uri, "run": self.run, "rows": self.rows}
        write_atomic(self.folder / FILE, json.dumps(note) + "\n", flush=False)

    def texts(self, kind: str, values: Mapping[str, Tree]) -> None:
        """Logs "params" or "tags"."""
        from mlflow.entities import Param, RunTag

        make = Param if kind == "params" else RunTag
        made = [make(_key(key), str(value)[:LONGEST]) for key, value in values.items() if value is not None]
        for at in range(0, len(made), FEW):
            self.client.log_batch(self.run, **{kind: made[at : at + FEW]})

    def end(self, ending: Fields) -> None:
        """Logs what the run leaves."""
        found = left(self.folder, ending["summary"])
        numbers = {key: value for key, value in found.values.items() if isinstance(value, int | float)}
        self.waiting += [(key, float(value), 0) for key, value in numbers.items()]
        self.send()
        self.texts("tags", {key: value for key, value in found.values.items() if key not in numbers})
        for name, table in found.tables.items():
            self.client.log_text(self.run, written(table), f"tables/{_key(name)}.csv")
        for path in found.pictures.values():
            self.client.log_artifact(self.run, str(path), "pictures")
        self.client.set_terminated(self.run, "FAILED" if ending["exit_code"] else "FINISHED")

    def _known(self) -> tuple[str, int]:
        """The MLflow run of this folder and how many rows it has; "" and 0: there is none yet, or no longer."""
        try:
            kept = json.loads((self.folder / FILE).read_text(encoding="utf-8"))
            if kept["uri"] == self.uri and self.client.get_run(kept["run"]).info.lifecycle_stage == "active":
                return kept["run"], kept["rows"]
        except Exception:  # no file, a damaged one, a run that MLflow has lost
            pass
        return "", 0

    def _experiment(self, name: str) -> str:
        for _ in range(2):
            if (found := self.client.get_experiment_by_name(name)) is not None:
                return found.experiment_id
            try:
                return self.client.create_experiment(name)
            except Exception as error:  # another run was faster
                problem = error
        raise problem


def mirror(job: Fields, ending: Ending, say: Say) -> None:
    """One run, from its first row to its end."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    folder = Path(job["folder"])
    uri = job["tracking_uri"] or os.environ.get("MLFLOW_TRACKING_URI") or str(folder.parents[1] / STORE)
    if ":" not in uri:
        uri = Path(uri).absolute().as_uri()
    if uri.startswith("file:"):
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # it would rather have a data base, which needs more packages
    from mlflow import MlflowClient

    sender = Sender(MlflowClient(uri), job, uri)
    for number, row in enumerate(follow(folder / "metrics.jsonl", ending.heard), start=1):
        sender.row(number, row)
    sender.end(ending.message)
    say(f"run {sender.run} of experiment {job['experiment']} in {uri}")


def _key(name: str) -> str:
    """A name without what MLflow refuses, such as the = in "last.test_n.sex=Female"."""
    return re.sub(r"[^\w\-./ :]", "_", name, flags=re.ASCII)


if __name__ == "__main__":
    beside(mirror)
