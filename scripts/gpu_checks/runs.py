"""Whole runs on random data."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks.scenes import composed
from omegaconf import DictConfig, OmegaConf

from lilawbench.support import searchpath
from lilawbench.train import run

TABLE = {"shape": [105], "rows": 2560, "tests": 512, "num_classes": 2}  # a row of Adult
PICTURES = {"shape": [3, 32, 32], "rows": 512, "tests": 128}


def config(data: dict[str, Any], folder: Path, device: torch.device, *overrides: str) -> DictConfig:
    """Of a run on `Drawn(**data)`."""
    fixed = [f"paths.output_dir={folder}", f"train.device={device}", "split.val_fraction=0.2"]
    searchpath.use([Path(__file__).parents[1]])  # where gpu_checks is, which the config names
    cfg = OmegaConf.create(composed(*overrides, *fixed))
    cfg.dataset = {"name": "drawn", "_target_": "gpu_checks.data.Drawn", **data}
    return cfg


def result(data: dict[str, Any], folder: Path, device: torch.device, *overrides: str) -> dict[str, Any]:
    return run(config(data, folder, device, *overrides)).result


def record(folder: Path) -> tuple[Sequence[dict], dict[str, torch.Tensor]]:
    """What a finished run has written of its epochs, less times and memory, and its network."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [{k: v for k, v in row.items() if "seconds" not in k and "memory" not in k} for row in rows]
    return rows, torch.load(folder / "checkpoint.pt", weights_only=True, map_location="cpu")["model"]
