"""The networks of a run as files that anyone can load, and how rows become their inputs."""

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lilawbench.datasets.new_rows.readers import described, reader_of
from lilawbench.engine.checkpoint import changing
from lilawbench.engine.loop import Epoch
from lilawbench.engine.weights_file import on_host, write_weights
from lilawbench.methods.context import Context
from lilawbench.models.preprocessing import FILE
from lilawbench.probes.base import Predictions, Probe, Scene, Seen
from lilawbench.probes.best import BestSoFar
from lilawbench.support.atomic import write_atomic
from lilawbench.support.plain import State, Tree


class Weights(Probe):
    """Keeps the weights of the epoch that `best_val` reports, from when it ended; they are in the checkpoint too.

    files(): last.safetensors and, with validation rows, best.safetensors; preprocess.json. What the checkpoint has is
    on the disk already, so these are not waited for.

    Args:
        keep: False does none of this.
    """

    def __init__(self, keep: bool = True):
        self.keep = keep
        self.best = BestSoFar()
        self.weights: dict[str, dict[str, Tensor]] = {}  # as `changing` has them

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        if self.best.see(self.scene.task, predictions):
            now = changing(self.scene.networks) if self.keep else {}
            self.weights = on_host(now)
        return {}

    def state_dict(self) -> State:
        return {"weights": self.weights, "rank": self.best.rank}

    def load_state_dict(self, state: State) -> None:
        kept: Mapping[str, Mapping[str, Tensor]] = state["weights"]
        self.weights = {key: {name: value.cpu() for name, value in of.items()} for key, of in kept.items()}
        self.best.rank = state["rank"]

    def files(self, folder: Path) -> None:
        if not self.keep:
            return
        write_atomic(folder / FILE, json.dumps(preprocess(self.scene), indent=1) + "\n", flush=False)
        whole = {key: network.state_dict() for key, network in zip(changing(self.scene.networks), self.scene.networks)}
        last = on_host(whole)
        write_weights(folder / "last.safetensors", last)
        if self.weights:
            write_weights(folder / "best.safetensors", {key: of | self.weights[key] for key, of in last.items()})


def preprocess(scene: Scene) -> dict[str, Tree]:
    """All that turns rows into a network's input, and its outputs into names, as plain values."""
    source = scene.source
    return {
        "version": 1,
        "task": scene.task.name,
        "class_names": list(map(str, source.class_names)),
        "positive_class": str(source.class_names[1]) if scene.task.name == "binary" else None,
        "networks": len(scene.networks),
        "input_shape": list(source.input_shape),
        "mean": None if source.mean is None else list(source.mean),
        "std": None if source.std is None else list(source.std),
        "resize_px": source.resize_px,
        "interpolation": source.interpolation,
        "rows": described(reader_of(source)),
    }
