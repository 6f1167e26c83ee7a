"""The folder of a run: its name, who may write there, and what stands there when the run is done or has failed."""

import functools
import json
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from lilawbench import losses
from lilawbench.record.identity import run_folder, run_name
from lilawbench.support.errors import RunBusy, RunFailed
from lilawbench.train import run


def test_a_finished_run_is_skipped_untouched(tiny, monkeypatch):
    first = run(tiny())
    kept = {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    monkeypatch.setattr("lilawbench.pipeline.check", lambda cfg: pytest.fail("a finished run needs no check"))
    second = run(tiny())
    assert second.status == "skipped" and second.result == first.result
    assert {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()} == kept


def test_options_that_came_later_leave_the_names_of_earlier_runs(tiny):
    """Runs of 0.1.0; a run that uses such an option is another."""
    names = [run_name(tiny(f"method={method}", "paths.output_dir=out")) for method in ("ce", "at")]
    assert names == ["digits-symmetric0.4-mlp-ce-s0-555ca95b", "digits-symmetric0.4-mlp-at-s0-ec5d3c11"]
    assert run_name(tiny("attack.space=unit")) not in names
    assert run_name(tiny("method=at", "method.fgsm.space=unit")) not in names


def test_a_changed_option_is_another_folder_and_a_changed_place_is_not(tiny):
    base = run_name(tiny())
    for changed in ("train.lr=0.01", "seed=1", "noise.exact=false", "model.bias=false"):
        assert run_name(tiny(changed)) != base
    for same in ("logger=wandb", "experiment_name=other", "paths.output_dir=elsewhere", "sweep.retry_failed=true"):
        assert run_name(tiny(same)) == base


def test_the_second_of_two_processes_says_so_and_stops(tiny):
    folder = run_folder(tiny())
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(RunBusy, match="another process is doing this run now"):
        run(tiny())
    assert [path.name for path in folder.iterdir()] in ([".lock"], [])
    assert run(tiny()).status == "done"


def test_a_loss_that_is_not_finite_marks_the_run_failed(tiny, monkeypatch):
    calls, real = [], losses.ce

    @functools.wraps(real)  # a config runs only what is of the package
    def breaks(logits, target):
        calls.append(target)
        return real(logits, target) * (
            float("inf") if len(calls) == 7 else 1
        )  # third step of epoch 2; one call is check's

    monkeypatch.setattr(losses, "ce", breaks)
    with pytest.raises(
        RunFailed, match=r"the loss is inf at epoch 2, step 6 \(batch 2 of the epoch\), training rows \["
    ) as failed:
        run(tiny())
    folder = next(Path(tiny().paths.output_dir).rglob("failed.json")).parent
    assert str(failed.value) == json.loads((folder / "failed.json").read_text())["error"]
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["epoch"] == 1
    assert not (folder / "result.json").exists()
    with pytest.raises(RunFailed, match="failed before: the loss is inf at epoch 2"):
        run(tiny())
    monkeypatch.setattr(losses, "ce", real)
    again = run(tiny("sweep.retry_failed=true"))
    assert again.status == "done" and not (folder / "failed.json").exists()
