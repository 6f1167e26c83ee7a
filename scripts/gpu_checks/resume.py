"""Compares runs that are killed after two epochs and resumed with uninterrupted ones, to the last bit."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from gpu_checks.checks import Checks
from gpu_checks.runs import PICTURES, TABLE, config, record
from gpu_checks.scenes import CORE, METHODS, acting
from lilawbench.record.recorder import Recorder
from lilawbench.train import run

EPOCHS, BROKEN_AFTER = 4, 2
TRAIN = [f"train.epochs={EPOCHS}", "train.batch_size=64", "train.schedule=cosine", "train.deterministic=true"]


class Died(BaseException):
    """Not an Exception, so that nothing catches it."""


def check(c: Checks) -> None:
    few = TABLE | {"rows": 640}
    cases = {
        method: (TABLE if method in CORE and not c.tiny else few, [*acting(method), "model=mlp", "model.dropout=0.3"])
        for method in METHODS
    }
    if c.tiny:
        cases = {name: case for name, case in cases.items() if name in ("lilaw", "dynamic_loss")}
    else:
        vit = ["model=vit_s16", "+model.options={depth:2,embed_dim:48,num_heads:3}", "train.precision=bf16"]
        cases["lilaw, small ViT, bf16"] = (PICTURES, [*acting("lilaw"), *vit])
        cases["lilaw, resnet32, bf16"] = (PICTURES, [*acting("lilaw"), "model=resnet32", "train.precision=bf16"])
    with tempfile.TemporaryDirectory() as folder:
        given = json.dumps([list(cases.values()), folder, str(c.device)])
        child = [sys.executable, "-c", "from gpu_checks.resume import broken; broken()", given]
        died = subprocess.run(child, stdout=sys.stderr)
        assert died.returncode == 9, f"the process should have ended with 9, not {died.returncode}"
        for name, (source, options) in cases.items():
            with c.attempt(name):
                going_on, whole = (
                    config(source, Path(folder, kind), c.device, *options, *TRAIN) for kind in ("broken", "whole")
                )
                folders = [run(cfg).folder for cfg in (going_on, whole)]
                assert "going on after epoch 2" in (folders[0] / "train.log").read_text(), "it did not resume"
                (rows, model), (other_rows, other) = map(record, folders)
                same = rows == other_rows and all(torch.equal(model[key], other[key]) for key in other)
                c.line(
                    f"{name}: killed after {BROKEN_AFTER} of {EPOCHS} epochs",
                    "every bit" if same else "differs",
                    ok=same,
                )


def broken() -> None:
    """In a separate process: does each run until its second epoch is on disk; then the process exits."""
    cases, folder, device = json.loads(sys.argv[1])
    save = Recorder.checkpoint

    def checkpoint(self: Recorder, ctx, *rest) -> None:
        save(self, ctx, *rest)
        if ctx.epoch == BROKEN_AFTER:
            raise Died

    Recorder.checkpoint = checkpoint
    for data, options in cases:
        try:
            run(config(data, Path(folder, "broken"), torch.device(device), *options, *TRAIN))
        except Died:
            continue
    os._exit(9)
