"""Fake finished runs, written as a run writes them."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from lilawbench.report import grid as grids
from lilawbench.report.cells import fill
from lilawbench.report.compare import compare
from lilawbench.report.measured import of_runs
from lilawbench.report.repeated import with_unique_names
from lilawbench.report.rows import section


@pytest.fixture
def write_run(tmp_path, run_writer):
    """write_run(method, seed, accuracy, **changes) -> folder of a finished run below tmp_path."""
    return run_writer(tmp_path)


@pytest.fixture(scope="session")
def run_writer():
    """run_writer(root) -> write_run, which writes below it.

    accuracy: best_val test accuracy, a fraction; the last one is 0.1 lower. curve: test accuracies per epoch.
    parameters: (alpha, beta, delta) per step. Keys with dots go through `changes={...}`; a value of None removes one.
    epochs: more numbers of each epoch; tables: its row of kind "method". clean: labels of the training samples.
    """

    def write(
        root,
        count,
        method="ce",
        seed=0,
        accuracy=0.8,
        loss=None,
        curve=(0.5, 0.7),
        parameters=(),
        changes=None,
        name=None,
        epochs=(),
        tables=(),
        clean=None,
    ):
        folder = root / "outputs" / (name or f"run{next(count):04d}-{method}-s{seed}")
        folder.mkdir(parents=True)
        file = "supervised" if method in ("ce", "focal") else method
        record = {
            "schema_version": 1,
            "status": "done",
            "run": folder.name,
            "config.seed": seed,
            "config.dataset.name": "digits",
            "config.noise.name": "symmetric",
            "config.noise.rate": 0.4,
            "config.model.name": "mlp",
            "config.model.hidden": [128, 128],
            "config.method.name": method,
            "config.method._target_": f"lilawbench.methods.{file}.Name",
            "config.loss.name": loss or ("focal" if method == "focal" else "ce"),
            "config.train.epochs": 30,
            "config.experiment_name": "digits",
            "config.paths.output_dir": "outputs",
            "best_val.test_accuracy": accuracy,
            "last.test_accuracy": accuracy - 0.1,
            "noise.requested_rate": 0.4,
            "noise.realised_rate": 0.4,
            "labels.sha256": f"labels of seed {seed}",
            **({"config.method.warmup_epochs": 1} if method == "lilaw" else {}),
            **(changes or {}),
        }
        record = {key: value for key, value in record.items() if value is not None}
        lines = [
            {"kind": "step", "epoch": 1, "step": step, "train_loss": 2.0, "alpha": a, "beta": b, "delta": d}
            for step, (a, b, d) in enumerate(parameters, start=1)
        ]
        lines += [{"kind": "method", "epoch": epoch, **table} for epoch, table in enumerate(tables, start=1) if table]
        lines += [
            {"kind": "epoch", "epoch": epoch, "step": epoch * 10, "test_accuracy": value, **more}
            for epoch, (value, more) in enumerate(zip(curve, epochs or [{}] * len(curve), strict=True), start=1)
        ]
        if clean is not None:
            rows = np.arange(len(clean))
            np.savez(folder / "labels.npz", observed=clean, clean=clean, train=rows, val=rows[:0])
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "result.json").write_text(json.dumps(record))
        return folder

    return lambda root: functools.partial(write, root, iter(range(10_000)))


@pytest.fixture
def layout():
    """Asked for by the tests whose pictures are laid out as users see them."""


@pytest.fixture(autouse=True)
def no_layout_unless_asked(request):
    if "layout" not in request.fixturenames:
        request.getfixturevalue("no_layout")


@pytest.fixture
def unsaved(monkeypatch):
    """Figures are drawn and not written: for tests that look at what is in them."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, file, **_: None)


@pytest.fixture
def words_only(monkeypatch):
    """Reports without pictures: for tests of their words and tables."""
    monkeypatch.setattr("lilawbench.report.report.draw_all", lambda *_, **__: ([], {}))
    monkeypatch.setattr("lilawbench.report.report._ranks_drawn", lambda *_: [])


@pytest.fixture
def markdown():
    """markdown(said) -> the text of the .md that a report has written, from what it says."""

    def read(said):
        return Path(said.split("Files:\n  ")[1].split("\n")[0]).read_text(encoding="utf-8")

    return read


@pytest.fixture
def section_of():
    """section_of(runs, ...) -> the section of methods within settings that a report has for one rule and metric."""

    def make(runs, baseline="ce", select="best_val", metric="test_accuracy", rope=None):
        measured = of_runs(metric, select)
        grid = grids.of_runs(with_unique_names(runs), measured, baseline)
        cells = fill(grid, measured)
        compare(grid, cells, rope)
        return section(grid, cells)

    return make


@pytest.fixture
def table_of(section_of):
    """table_of(runs, ...) -> its details."""
    return lambda *args, **options: section_of(*args, **options).tables[-1]
