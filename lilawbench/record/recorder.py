"""Turns the epochs of one run into its record on disk, and takes a broken run up again."""

import logging
import math
import platform
import shutil
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

import lilawbench
from lilawbench.config import build
from lilawbench.datasets.base import Source
from lilawbench.engine import checkpoint, runtime
from lilawbench.engine.evaluate import predict
from lilawbench.engine.forward import is_channels_last
from lilawbench.engine.loop import Epoch
from lilawbench.engine.optim import load_optimizer
from lilawbench.loading.resident import Resident
from lilawbench.methods.base import Context, Method
from lilawbench.metrics.measure import headline, measure, memorisation
from lilawbench.metrics.per_sample import per_sample
from lilawbench.noise.rates import noise_rates
from lilawbench.probes.attack import predict_attacked
from lilawbench.probes.groups import GroupRecord
from lilawbench.record.identity import SCHEMA_VERSION, UNKNOWN_CLEAN, cell_name, flatten, recorded
from lilawbench.record.selection import best, select
from lilawbench.record.writer import MetricsWriter, write_config, write_json, write_labels
from lilawbench.support import host
from lilawbench.support.distributed import World
from lilawbench.support.errors import DataError, DiskError, RunFailed
from lilawbench.tasks import TASKS

log = logging.getLogger("lilawbench")


class Recorder:
    """The folder of one run: opened under its lock, measured into after each epoch, finished with result.json.

    A context: however the run ends, its files are closed, and a RunFailed is marked with failed.json. Under torchrun
    every rank measures, and the main one alone writes.

    Args:
        labels: observed, clean [N]; train, val: rows (see pipeline.draw_labels). Without clean labels all measures that
            need them are left out.
    """

    def __init__(
        self,
        folder: Path,
        cfg: DictConfig,
        source: Source,
        labels: dict[str, np.ndarray],
        device: torch.device,
        world: World,
    ):
        self.folder, self.cfg, self.labels, self.device, self.world = folder, cfg, labels, device, world
        self.clean = torch.from_numpy(labels["clean"][labels["train"]]) if "clean" in labels else None
        self.task, self.num_test = TASKS[source.task], len(source.test_clean)
        self.groups = GroupRecord(source) if source.test_groups else None
        self.result: dict[str, Any] = {}
        path = folder / "checkpoint.pt"
        self.saved = checkpoint.load(path, device) if path.exists() else None
        # a resumed run keeps its number of threads: sums split in another way have other last bits
        self.threads = self.saved["threads"] if self.saved else runtime.choose_threads(cfg.train.threads)
        self.seconds = self.saved["seconds"] if self.saved else 0.0
        if self.groups and self.saved:
            self.groups.logits = self.saved["test_logits"]
        self.mirror = None
        world.main_does(self._open)

    def _open(self) -> None:
        self.labels_sha256 = write_labels(self.folder, **self.labels)
        write_config(self.folder, self.cfg)
        (self.folder / "failed.json").unlink(missing_ok=True)
        self.metrics = MetricsWriter(self.folder / "metrics.jsonl", self.saved["metrics_bytes"] if self.saved else 0)
        self.epochs = self.metrics.rows("epoch")
        self.mirror = build(self.cfg.logger) if "_target_" in self.cfg.logger else None
        self.log_file = runtime.log_to_file(self.folder / "train.log")

    def __enter__(self) -> "Recorder":
        if self.mirror:
            config = OmegaConf.to_container(self.cfg, resolve=True)
            self.mirror.start(folder=self.folder, run=self.folder.name, cell=cell_name(self.cfg), config=config)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if not self.world.is_main:
            return
        self.metrics.close()
        if isinstance(error, RunFailed):
            with suppress(DiskError):  # then the run is tried again without being asked to
                write_json(self.folder / "failed.json", {"error": str(error)})
        if error is not None:
            log.error("stopped: %s: %s", kind.__name__, error)
        if self.mirror:
            self.mirror.finish(self.result, failed=error is not None)
        runtime.stop_log(self.log_file)
        if isinstance(error, DataError) and not self.epochs:  # nothing was learnt, and mended data are another run's
            shutil.rmtree(self.folder, ignore_errors=True)

    def resume(self, ctx: Context, method: Method) -> None:
        """Loads the checkpoint of a broken run into freshly built parts."""
        parameters = sum(p.numel() for p in ctx.model.parameters())
        rows = f"{len(self.labels['train'])} train, {len(self.labels['val'])} validation, {self.num_test} test rows"
        machine = f"{runtime.device_name(self.device)}, {self.threads} thread(s)"
        if self.world.size > 1:
            machine = f"{self.world.size} processes, each {machine}"
        self.frozen = checkpoint.digest_of_frozen(ctx.model)
        log.info("%s: %s, %s parameters, %s", self.folder, rows, f"{parameters:,}", machine)
        if self.clean is None:
            log.info("the clean labels are unknown: %s", UNKNOWN_CLEAN)
        if self.saved is None:
            return
        checkpoint.restore(ctx.model, self.saved, self.folder / "checkpoint.pt")
        load_optimizer(ctx.optimizer, self.saved["optimizer"])
        method.load_state_dict(self.saved["method"])
        ctx.epoch, ctx.step = self.saved["epoch"], self.saved["step"]
        log.info("going on after epoch %d of %d", ctx.epoch, self.cfg.train.epochs)
        self.saved = None

    def measure(self, epoch: Epoch, ctx: Context, train: Resident, val: Resident, test: Resident) -> None:
        """Evaluates the model and writes the epoch's lines."""
        evaluated = self._evaluate(ctx, val, test)
        self.world.main_does(lambda: self._write(_on_host(epoch), train, evaluated))

    def _write(self, epoch: Epoch, train: Resident, evaluated: dict[str, float]) -> None:
        row: dict[str, Any] = {"kind": "epoch", "epoch": epoch.number, "step": epoch.step, "lr": epoch.lr}
        seen, observed, weight = epoch.seen, host.bring(train.target, "labels to measure against"), epoch.weight
        row |= {"train_loss": epoch.losses.double().mean().item()}
        row |= {f"train_{self.task.measure}": headline(epoch.logits[seen], observed[seen])}
        numbers, tables = {}, {}
        if self.clean is not None:
            row |= memorisation(
                epoch.logits[seen], observed[seen], self.clean[seen], None if weight is None else weight[seen]
            )
            numbers, tables = per_sample(epoch.sample_values, observed, self.clean)
        row |= evaluated
        for name, value in epoch.logs.items():
            (tables if isinstance(value, torch.Tensor) else numbers)[name] = (
                value.tolist() if isinstance(value, torch.Tensor) else value
            )
        row |= numbers
        row |= {name: values[-1] for name, values in epoch.trace.items()}
        row |= {"epoch_seconds": epoch.seconds}
        # an overflow in evaluation alone is null: JSON has no infinity
        row = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
        }
        table_rows = [{"kind": "method", "epoch": epoch.number, **tables}] if tables else []
        self.metrics_bytes = self.metrics.write([*self._step_rows(epoch), *table_rows, row])
        self.seconds += epoch.seconds
        self.epochs.append(row)
        log.info(_line(row, self.cfg.train.epochs), extra={"per_epoch": True})

    def _evaluate(self, ctx: Context, val: Resident, test: Resident) -> dict[str, float]:
        """Measures of the validation and test rows; under attack too if this may be the epoch a run reports."""
        out = {}
        for name, data in (("val", val), ("test", test)):
            if len(data):
                logits = host.bring(predict(ctx, data), "logits to measure")
                target = host.bring(data.target, "labels to measure against")
                out |= {f"{name}_{key}": value for key, value in measure(logits, target).items()}
        if self.groups and self.world.is_main:
            key = f"val_{self.task.measure}"
            self.groups.see(logits, best_val=key in out and self._is_best({key: out[key]}, key))
        attack = self.cfg.attack
        if attack.eps and self.world.agree(self._selectable(out.get(f"val_{self.task.measure}"), ctx.epoch)):
            attacked = predict_attacked(ctx, test, list(attack.eps), attack.sign, attack.clip, attack.space)
            attacked = host.bring(attacked, "attacked logits to measure")
            for eps, logits in zip(attack.eps, attacked, strict=True):
                out[f"test_attacked_{eps:g}_{self.task.measure}"] = headline(logits, target)
        return out

    def _selectable(self, value: float | None, epoch: int) -> bool:
        """Whether `last` or `best_val` may choose this epoch: attacks cost more than an epoch of a small net."""
        if epoch == self.cfg.train.epochs or self.cfg.train.early_stop_epochs is not None:
            return True
        if value is None:
            return False
        key = f"val_{self.task.measure}"
        return self.world.is_main and self._is_best({key: value}, key)

    def _is_best(self, row: dict[str, float], key: str) -> bool:
        """Whether a new epoch is the best so far; the first of equal ones stays."""
        return best([*self.epochs, row], key, self.task.maximise) is row

    def checkpoint(self, ctx: Context, method: Method) -> None:
        self.world.main_does(lambda: self._checkpoint(ctx, method))

    def _checkpoint(self, ctx: Context, method: Method) -> None:
        state = {
            "model": checkpoint.changing(ctx.model),
            "frozen": self.frozen,
            "optimizer": ctx.optimizer.state_dict(),
            "method": method.state_dict(),
            "epoch": ctx.epoch,
            "step": ctx.step,
            "metrics_bytes": self.metrics_bytes,
            "seconds": self.seconds,
            "threads": self.threads,
        }
        if self.groups:
            state["test_logits"] = self.groups.logits
        checkpoint.save(self.folder / "checkpoint.pt", state)

    def stopped_early(self) -> bool:
        """Whether val_loss has not fallen for train.early_stop_epochs epochs."""
        patience = self.cfg.train.early_stop_epochs
        if patience is None:
            return False
        losses = []
        if self.world.is_main:
            losses = [math.inf if row.get("val_loss") is None else row["val_loss"] for row in self.epochs]
        stop = len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])
        return self.world.agree(stop)

    def finish(self, ctx: Context) -> dict[str, Any]:
        """Makes the checkpoint whole, writes result.json and returns its content."""
        return self.world.main_does(lambda: self._finish(ctx))

    def _finish(self, ctx: Context) -> dict[str, Any]:
        self.result = {
            "schema_version": SCHEMA_VERSION,
            "status": "done",
            "run": self.folder.name,
            "cell": cell_name(self.cfg),
            **flatten(recorded(self.cfg), "config"),
            "task": self.task.name,
            **select(self.epochs, self.task),
            **(self.groups.result(self.cfg.seed) if self.groups else {}),
            **noise_rates(self.cfg.noise, self.labels),
            "labels.sha256": self.labels_sha256,
            "num_train": len(self.labels["train"]),
            "num_val": len(self.labels["val"]),
            "num_test": self.num_test,
            "num_parameters": sum(p.numel() for p in ctx.model.parameters()),
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
        checkpoint.complete(self.folder / "checkpoint.pt", ctx.model)
        write_json(self.folder / "result.json", self.result)
        key = f"test_{self.task.measure}"
        reached = [
            f"{_shown(key, self.result[f'{rule}.{key}'])} ({rule})"
            for rule in ("best_val", "last")
            if self.result.get(f"{rule}.{key}") is not None
        ]
        log.info("done, test %s %s: %s", self.task.measure, ", ".join(reached), self.folder / "result.json")
        return self.result

    def _step_rows(self, epoch: Epoch) -> list[dict[str, Any]]:
        """Every train.log_every_steps-th step of the run, counted from 1."""
        first = epoch.step - len(epoch.losses)
        losses = epoch.losses.tolist()
        return [
            {"kind": "step", "epoch": epoch.number, "step": first + i + 1, "train_loss": losses[i]}
            | {name: values[i] for name, values in epoch.trace.items()}
            for i in range(len(losses))
            if (first + i + 1) % self.cfg.train.log_every_steps == 0
        ]


def _on_host(epoch: Epoch) -> Epoch:
    """With all its tensors on the host, where they are measured and written."""

    def brought(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: brought(value) for name, value in part.items()}
        return host.bring(part, "epoch to measure") if isinstance(part, torch.Tensor) else part

    return replace(epoch, **{field.name: brought(getattr(epoch, field.name)) for field in fields(epoch)})


def _line(row: dict[str, Any], epochs: int) -> str:
    """An epoch in one line for people."""
    text = f"epoch {row['epoch']}/{epochs}  loss {row['train_loss']:.4f}"
    measures = [f"{split}_{task.measure}" for task in TASKS.values() for split in ("train", "val", "test")]
    for key in dict.fromkeys([*measures, "memorised"]):
        if row.get(key) is not None:
            text += f"  {key} {_shown(key, row[key])}"
    return f"{text}  {row['epoch_seconds']:.1f} s"


def _shown(name: str, value: float) -> str:
    """Shares in percent, other measures as they are."""
    return f"{100 * value:.2f}%" if name.endswith(("accuracy", "memorised")) else f"{value:.4f}"
