"""The folder of one run: opened under its lock, written to after each epoch, finished with result.json."""

import logging
import platform
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

import lilawbench
from lilawbench.config import build
from lilawbench.engine import checkpoint, folds, runtime
from lilawbench.engine.forward import is_channels_last
from lilawbench.engine.loop import Epoch
from lilawbench.engine.optim import load_optimizer
from lilawbench.methods.base import Method
from lilawbench.methods.context import Context
from lilawbench.noise.rates import told
from lilawbench.probes.base import Probe, Scene, Seen
from lilawbench.probes.gather import results
from lilawbench.record.identity import SCHEMA_VERSION, UNKNOWN_CLEAN, cell_name, flatten, recorded
from lilawbench.record.provenance import command, commit
from lilawbench.record.selection import as_shown, reached, select
from lilawbench.record.writer import MetricsWriter, finite, write_config, write_json, write_labels
from lilawbench.support.atomic import writable
from lilawbench.support.console import FOR_FILES, OF_RUN
from lilawbench.support.distributed import World
from lilawbench.support.errors import ConfigError, DataError, DiskError, PartError, RunFailed
from lilawbench.support.plain import State, Tree
from lilawbench.tasks import TASKS, Task

log = logging.getLogger("lilawbench")
SAVED = {  # of a checkpoint; it has more
    **dict.fromkeys(("model", "method", "probes", "optimizer"), dict),
    **dict.fromkeys(("epoch", "step", "metrics_bytes", "threads"), int),
    "seconds": float,
    "stopped": list,
}


class Mirror(Protocol):
    """What `logger` in the config names: it shows the run elsewhere, see `mirror.ChildMirror`."""

    def start(self, folder: Path, run: str, group: str, config: Tree) -> None: ...
    def finish(self, summary: dict[str, Tree], failed: bool = False) -> None: ...


class Recorder:
    """Files of a run, and what a resumed run reads from them.

    A context manager: however the run ends, its files are closed, and a RunFailed leaves failed.json. Under torchrun
    only the main process writes.

    Args:
        arrays: content of labels.npz (`Labels.arrays`). task: of the data.
    Raises:
        DataError: the folder is of another version, or does not fit these labels.
    """

    def __init__(
        self,
        folder: Path,
        cfg: DictConfig,
        arrays: Mapping[str, np.ndarray],
        task: Task,
        device: torch.device,
        world: World,
    ):
        self.folder, self.cfg, self.task, self.device, self.world = folder, cfg, task, device, world
        self.result: dict[str, Tree] = {}
        path, self.damaged = world.main_does(lambda: checkpoint.newest(folder))
        self.saved = checkpoint.load(path, device) if path else None
        if self.saved is not None and not _is_whole(self.saved):
            raise DataError(
                f"{path} is no checkpoint of this version of lilawbench: use the one that wrote it, or delete the "
                f"folder {folder} to start over"
            )
        # a resumed run keeps its number of threads: sums that are split otherwise have other last bits
        self.threads = self.saved["threads"] if self.saved else runtime.choose_threads(cfg.train.threads)
        self.seconds = self.saved["seconds"] if self.saved else 0.0
        self.mirror: Mirror | None = None
        world.main_does(lambda: self._open(arrays))

    def _open(self, arrays: Mapping[str, np.ndarray]) -> None:
        commit()  # now, not when the run ends
        self.labels_sha256 = write_labels(self.folder, **arrays)
        write_config(self.folder, self.cfg)
        with writable(failed := self.folder / "failed.json"):
            failed.unlink(missing_ok=True)
        self.metrics = MetricsWriter(self.folder / "metrics.jsonl", **_kept_metrics(self.saved))
        self.epochs = self.metrics.rows("epoch")
        try:
            self.mirror = build(self.cfg.logger) if "_target_" in self.cfg.logger else None
            self.log_file = runtime.log_to_file(self.folder / "train.log")
        except BaseException:
            self.metrics.close()
            raise
        for line in self.damaged:
            log.warning(line)

    def __enter__(self) -> "Recorder":
        if self.mirror:
            config = OmegaConf.to_container(self.cfg, resolve=True)
            group, _, _ = cell_name(self.cfg).rpartition("-")  # less the hash
            self.mirror.start(folder=self.folder, run=self.folder.name, group=group, config=config)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.world.is_main:
            return
        self.metrics.close()
        if isinstance(error, RunFailed):
            with suppress(DiskError):  # without the file the run is tried again
                write_json(self.folder / "failed.json", {"error": str(error)})
        worked = self.epochs or (self.folder / folds.FOLDER).exists()
        refused = isinstance(error, DataError | ConfigError | PartError) and not worked
        if isinstance(error, KeyboardInterrupt):
            log.info("stopped: interrupted", extra=FOR_FILES)  # the command itself says so on the terminal
        elif error is not None and not refused:
            log.error("stopped: %s", ": ".join(filter(None, (type(error).__name__, str(error)))), extra=OF_RUN)
        if self.mirror:
            self.mirror.finish(self.result, failed=error is not None)
        runtime.stop_log(self.log_file)
        if refused:  # nothing is lost, and nothing was to be written
            shutil.rmtree(self.folder, ignore_errors=True)

    def resume(self, ctx: Context, method: Method, probes: Mapping[str, Probe], scene: Scene) -> None:
        """Logs what begins, and loads the checkpoint of an interrupted run into freshly built parts."""
        parameters = _parameters(ctx)
        self.class_names = list(map(str, scene.source.class_names))
        self.rows = {"num_train": len(scene.train), "num_val": len(scene.val), "num_test": len(scene.test)}
        rows = "{num_train} train, {num_val} validation, {num_test} test rows".format(**self.rows)
        machine = f"{runtime.device_name(self.device)}, {self.threads} thread(s)"
        if self.world.size > 1:
            machine = f"{self.world.size} processes, each {machine}"
        self.frozen = checkpoint.digest_of_frozen(ctx.networks)
        log.info("%s: %s, %s parameters, %s", self.folder, rows, f"{parameters:,}", machine)
        log.info(told(self.cfg.noise, scene.labels))
        if not scene.labels.clean_known:
            log.info("the clean labels are unknown: %s", UNKNOWN_CLEAN)
        if self.saved is None:
            if self.damaged:
                log.warning("starting over: there is no other checkpoint")
            return
        path = self.folder / checkpoint.FILE
        try:
            checkpoint.restore(ctx.networks, self.saved, path)
            load_optimizer(ctx.optimizer, self.saved["optimizer"])
            method.load_state_dict(self.saved["method"])
            for name, probe in probes.items():
                probe.load_state_dict(self.saved["probes"][name])
                probe.stop = probe.stop or name in self.saved["stopped"]
        except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
            said = f"{path} does not fit this run ({type(error).__name__}: {error})"
            raise DataError(f"{said}; delete the folder {self.folder} to start over") from error
        ctx.epoch, ctx.step = self.saved["epoch"], self.saved["step"]
        log.info("going on after epoch %d of %d", ctx.epoch, self.cfg.train.epochs)
        self.saved = None

    def write(self, epoch: Epoch, seen: Seen) -> None:
        """Writes the epoch's rows: its steps, arrays and numbers; `seen` is what the probes measured."""
        self.world.main_does(lambda: self._write(epoch, seen))

    def _write(self, epoch: Epoch, seen: Seen) -> None:
        arrays = {name: value for name, value in seen.items() if isinstance(value, torch.Tensor | list)}
        numbers = {name: value for name, value in seen.items() if name not in arrays}
        row: dict[str, Tree] = {"kind": "epoch", "epoch": epoch.number, "step": epoch.step, "lr": epoch.lr}
        row = finite({**row, **numbers, "epoch_seconds": epoch.seconds})
        listed = {name: v.tolist() if isinstance(v, torch.Tensor) else v for name, v in arrays.items()}
        array_rows = [{"kind": "method", "epoch": epoch.number, **listed}] if listed else []
        self.metrics_bytes = self.metrics.write([*finite([*self._step_rows(epoch), *array_rows]), row])
        self.seconds += epoch.seconds
        self.epochs.append(row)
        log.info(_line(row, self.cfg.train.epochs), extra={"per_epoch": True})

    def checkpoint(self, ctx: Context, method: Method, probes: Mapping[str, Probe]) -> None:
        """Saves everything that the next epoch needs."""
        self.world.main_does(lambda: self._checkpoint(ctx, method, probes))

    def _checkpoint(self, ctx: Context, method: Method, probes: Mapping[str, Probe]) -> None:
        own = {"method": method.state_dict(), "probes": {name: probe.state_dict() for name, probe in probes.items()}}
        checkpoint.check_plain(own, "state_dict")
        state = {
            **own,
            "stopped": [name for name, probe in probes.items() if probe.stop],
            **checkpoint.changing(ctx.networks),
            "frozen": self.frozen,
            "optimizer": ctx.optimizer.state_dict(),
            "epoch": ctx.epoch,
            "step": ctx.step,
            "metrics_bytes": self.metrics_bytes,
            "metrics_crc32": self.metrics.crc32,
            "seconds": self.seconds,
            "threads": self.threads,
        }
        checkpoint.save(self.folder / checkpoint.FILE, state, before=self.folder / checkpoint.BEFORE)

    def finish(self, ctx: Context, probes: Mapping[str, Probe]) -> dict[str, Tree]:
        """Completes the checkpoint, writes the probes' files and result.json, and returns the content of the latter."""
        return self.world.main_does(lambda: self._finish(ctx, probes))

    def _finish(self, ctx: Context, probes: Mapping[str, Probe]) -> dict[str, Tree]:
        own = {
            "schema_version": SCHEMA_VERSION,
            "status": "done",
            "run": self.folder.name,
            "cell": cell_name(self.cfg),
            **finite(flatten(recorded(self.cfg), "config")),
            "command": command(),
            **commit(),
            "task": self.task.name,
            "class_names": self.class_names,
            **select(self.epochs, self.task),
            "labels.sha256": self.labels_sha256,
            **self.rows,
            "num_parameters": _parameters(ctx),
            "epochs": ctx.epoch,
            "steps": ctx.step,
            "seconds_per_step": self.seconds / ctx.step,
            "seconds_total": self.seconds,
            "peak_memory_bytes": runtime.peak_memory_bytes(self.device),
            "device": runtime.device_name(self.device),
            "channels_last": is_channels_last(ctx.model),
            "threads": self.threads,
            "processes": self.world.size,
            "versions.lilawbench": lilawbench.__version__,
            "versions.python": platform.python_version(),
            "versions.torch": torch.__version__,
            "versions.numpy": np.__version__,
        }
        self.result = {**own, **finite(results(probes, own))}
        checkpoint.complete(self.folder / checkpoint.FILE, ctx.networks)
        checkpoint.keep_last(self.folder)
        for probe in probes.values():
            probe.files(self.folder)
        write_json(self.folder / "result.json", self.result)
        log.info("done, %s: %s", reached(self.result), self.folder / "result.json")
        return self.result

    def _step_rows(self, epoch: Epoch) -> list[dict[str, Tree]]:
        """Every train.log_every_steps-th step of the run, counted from 1."""
        first, every = epoch.step - len(epoch.losses), self.cfg.train.log_every_steps
        losses = epoch.losses.tolist()
        return [
            {"kind": "step", "epoch": epoch.number, "step": first + i + 1, "train_loss": losses[i]}
            | {name: values[i] for name, values in epoch.trace.items()}
            for i in range(len(losses))
            if (first + i + 1) % every == 0
        ]


def _kept_metrics(saved: State | None) -> dict[str, Tree]:
    return {} if saved is None else {"keep_bytes": saved["metrics_bytes"], "crc32": saved.get("metrics_crc32")}


def _is_whole(saved: object) -> bool:
    return isinstance(saved, dict) and all(isinstance(saved.get(key), kind) for key, kind in SAVED.items())


def _parameters(ctx: Context) -> int:
    return sum(p.numel() for network in ctx.networks for p in network.parameters())


def _line(row: Mapping[str, Tree], epochs: int) -> str:
    """An epoch in one line of the log."""
    text = f"epoch {row['epoch']}/{epochs}  loss {row['train_loss']:.4f}"
    measures = [f"{split}_{task.measure}" for task in TASKS.values() for split in ("train", "val", "test")]
    for key in dict.fromkeys([*measures, "memorised"]):
        if row.get(key) is not None:
            text += f"  {key} {as_shown(key, row[key])}"
    return f"{text}  {row['epoch_seconds']:.1f} s"
