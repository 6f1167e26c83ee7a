"""A run broken at any moment goes on to bitwise the record of an unbroken one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lilawbench.record.recorder import Recorder
from lilawbench.record.writer import MetricsWriter
from lilawbench.support.errors import DataError
from lilawbench.train import CONF, run

METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))


class PowerCut(BaseException):
    """Not an Exception: nothing in the program may catch it."""


def record(folder: Path, untimed) -> tuple[dict, list[dict]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    result = untimed(json.loads((folder / "result.json").read_text()))
    del result["config.paths.output_dir"], result["command"]
    return result, [untimed(json.loads(line)) for line in lines]


@pytest.fixture(scope="session")
def untimed():
    return lambda tree: {key: value for key, value in tree.items() if "seconds" not in key and "memory" not in key}


def cut_at(patch: pytest.MonkeyPatch, place: str) -> None:
    """Breaks the third epoch: in its middle, after its metrics, or inside the writing of its checkpoint."""
    if place == "steps":
        original = Recorder.write

        def write(self, epoch, seen):  # the third epoch trained, nothing of it written
            if epoch.number == 3:
                raise PowerCut
            return original(self, epoch, seen)

        patch.setattr(Recorder, "write", write)
    elif place == "metrics":
        original = Recorder.checkpoint

        def save(self, ctx, *rest):
            if ctx.epoch == 3:
                raise PowerCut
            return original(self, ctx, *rest)

        patch.setattr(Recorder, "checkpoint", save)
    else:
        original = os.fsync

        def torn(fd):
            if place == "checkpoint" and torn.count >= 2 and ".pt.part" in os.readlink(f"/proc/self/fd/{fd}"):
                raise PowerCut
            torn.count += ".pt.part" in os.readlink(f"/proc/self/fd/{fd}")
            return original(fd)

        torn.count = 0
        patch.setattr(os, "fsync", torn)


PLACES = ["steps", "metrics", "checkpoint"]  # each leaves the second epoch's checkpoint, whatever the method
BY_DEFAULT = {("lilaw", "steps"), ("rrm", "metrics"), ("dynamic_loss", "checkpoint")}
IN_TURN = {(method, PLACES[number % 3]) for number, method in enumerate(METHODS)}


@pytest.mark.every(3)
@pytest.mark.parametrize(
    "method, place",
    [
        pytest.param(
            method,
            place,
            marks=[] if (method, place) in BY_DEFAULT else pytest.mark.slow,
        )
        for method, place in sorted({*IN_TURN, *BY_DEFAULT, *(("lilaw", place) for place in PLACES)})
    ],
)
def test_four_epochs_are_two_and_two(tiny, acting, tmp_path, untimed, method, place):
    options = [
        *acting(method),
        "train.epochs=4",
        "model.dropout=0.3",
        "train.schedule=cosine",
        "train.log_every_steps=1",
    ]
    whole = run(tiny(*options, f"paths.output_dir={tmp_path}/whole")).folder
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCut):
        cut_at(patch, place)
        run(tiny(*options))
    again = run(tiny(*options))
    assert again.status == "done"
    assert record(again.folder, untimed) == record(whole, untimed)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param("train.precision=bf16", marks=pytest.mark.slow),
        "train.accumulate_steps=3",
        pytest.param("model=cnn train.channels_last=true", marks=pytest.mark.slow),
        pytest.param("train.optimizer=sgd", marks=pytest.mark.slow),
        pytest.param(
            "dataset=digits model=cnn train.augment.crop_px=1 train.augment.rotate_degrees=10 ~model.hidden",
            marks=pytest.mark.slow,
        ),
        pytest.param("split.val_augment=true", marks=pytest.mark.slow),
        pytest.param("method.meta_mode=train", marks=pytest.mark.slow),
    ],
)
def test_options_resume_too(composed, tmp_path, untimed, options):
    base = ["method=lilaw", "split.train_samples=96", "train.batch_size=32", "train.epochs=4"]
    options = [o for o in options.split() if not o.startswith("~")]
    whole = run(composed(*base, *options, f"paths.output_dir={tmp_path}/whole")).folder
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCut):
        cut_at(patch, "metrics")
        run(composed(*base, *options))
    assert record(run(composed(*base, *options)).folder, untimed) == record(whole, untimed)


PROBE = ["train.finetune=linear_probe", "model.hidden=[16,12,8]", "train.epochs=4"]


@pytest.mark.parametrize("method", ["ce", pytest.param("co_teaching", marks=pytest.mark.slow)])
def test_a_probe_saves_what_trains_and_in_the_end_the_whole(tiny, tmp_path, untimed, acting, method):
    """256-16-12-8-10: 8 x 12 + 8 + 10 x 8 + 10 weights of the last two layers train, in each network."""
    options = [*PROBE, *acting(method)]
    whole = run(tiny(*options, f"paths.output_dir={tmp_path}/whole")).folder
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCut):
        cut_at(patch, "metrics")
        run(tiny(*options))
    path = next((tmp_path / "outputs").rglob("checkpoint.pt"))
    saved = torch.load(path, weights_only=True)["model"]
    assert sum(value.numel() for value in saved.values()) == 194
    assert record(run(tiny(*options)).folder, untimed) == record(whole, untimed)
    final = torch.load(path, weights_only=True)["model"]
    assert final.keys() > saved.keys()
    for name, value in torch.load(whole / "checkpoint.pt", weights_only=True)["model"].items():
        assert torch.equal(final[name], value)


def test_other_frozen_weights_than_the_run_began_with_are_refused(tiny, monkeypatch):
    from lilawbench import pipeline

    with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCut):
        cut_at(patch, "metrics")
        run(tiny(*PROBE))
    monkeypatch.setattr(pipeline, "seed_global", lambda *purpose: torch.manual_seed(99))
    with pytest.raises(DataError, match="the frozen weights are not those that .* began with"):
        run(tiny(*PROBE))


@pytest.mark.parametrize(
    "lost", ["optimizer", *(pytest.param(part, marks=pytest.mark.slow) for part in ("method", "step"))]
)
def test_negative_control_a_resume_that_forgets_differs(tiny, tmp_path, untimed, lost):
    options = ["method=lilaw", "method.lr=0.5", "train.epochs=4", "train.schedule=linear"]
    whole = run(tiny(*options, f"paths.output_dir={tmp_path}/whole")).folder
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCut):
        cut_at(patch, "metrics")
        run(tiny(*options))
    path = next((tmp_path / "outputs").rglob("checkpoint.pt"))
    state = torch.load(path, weights_only=True)
    fresh = {
        "optimizer": lambda s: {**s, "state": {}},
        "step": lambda s: 0,
        "method": lambda s: {"params": torch.tensor([10.0, 2.0, 6.0])},
    }
    state[lost] = fresh[lost](state[lost])
    torch.save(state, path)
    assert record(run(tiny(*options)).folder, untimed)[1] != record(whole, untimed)[1]


def test_early_stopping_survives_a_break(tiny, tmp_path, untimed):
    options = ["train.epochs=12", "train.early_stop_epochs=2", "train.lr=0.05"]
    whole = run(tiny(*options, f"paths.output_dir={tmp_path}/whole"))
    assert 3 < whole.result["epochs"] < 12
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCut):
        cut_at(patch, "steps")
        run(tiny(*options))
    assert record(run(tiny(*options)).folder, untimed) == record(whole.folder, untimed)


def flip(path: Path) -> None:
    """A bit in the middle of the weights: torch reads on without a word."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damaged, epoch",
    [
        (["checkpoint.pt"], 1),
        (["checkpoint.pt", "checkpoint.before.pt"], 0),
        pytest.param(["checkpoint.before.pt"], 2, marks=pytest.mark.slow),
    ],
)
def test_damaged_files_are_set_aside(tiny, tmp_path, untimed, caplog, damaged, epoch):
    """The run goes on from the last good state: of its last two checkpoints, else its start."""
    caplog.set_level("INFO")
    options = ["method=lilaw", "train.epochs=4"]
    whole = run(tiny(*options, f"paths.output_dir={tmp_path}/whole")).folder
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCut):
        cut_at(patch, "metrics")
        run(tiny(*options))
    folder = next(Path(tiny().paths.output_dir).rglob("checkpoint.pt")).parent
    for name in damaged:
        flip(folder / name)
    caplog.clear()
    assert record(run(tiny(*options)).folder, untimed) == record(whole, untimed)
    said = caplog.text
    for name in damaged:
        assert (f"{name} is damaged" in said) == (name != "checkpoint.before.pt" or epoch == 0)
    assert (f"going on after epoch {epoch} of 4" in said) == (epoch > 0) != ("starting over" in said)
    assert sorted(path.name for path in folder.glob("*.pt*")) == ["checkpoint.pt"]


@pytest.mark.parametrize("content, error", [("", "shorter than its checkpoint says"), (None, "is damaged; delete")])
def test_damaged_metrics_are_named(tmp_path, content, error):
    """They are nowhere else."""
    path = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(path)
    length = writer.write([{"kind": "epoch", "epoch": 1}])
    writer.close()
    if content is None:
        flip(path)
    else:
        path.write_text(content)
    with pytest.raises(DataError, match=error):
        MetricsWriter(path, length, writer.crc32)


def test_other_labels_than_the_run_began_with_are_refused(tiny, monkeypatch):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCut):
        cut_at(patch, "metrics")
        run(tiny("train.epochs=4"))
    monkeypatch.setattr("lilawbench.noise.labels.derive", lambda seed, *purpose: np.random.default_rng(5))
    with pytest.raises(DataError, match="holds other labels"):
        run(tiny("train.epochs=4"))


def command(folder: Path, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "lilawbench.train", f"paths.output_dir={folder}", "train.threads=1", *overrides]


def wait_for_epochs(process: subprocess.Popen, folder: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        files = list(folder.rglob("metrics.jsonl"))
        if files and files[0].read_text().count('"kind": "epoch"') >= count:
            return
        time.sleep(0.02)
    pytest.fail(f"no {count} epochs: {process.stdout.read() if process.poll() is not None else 'too slow'}")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_real_process_killed_and_started_again(composed, tmp_path, untimed, how):
    options = ["method=lilaw", "train.epochs=40", "train.log_every_steps=7"]
    broken = tmp_path / "broken"
    listening = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is deaf to it
    process = subprocess.Popen(command(broken, *options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    signal.signal(signal.SIGINT, listening)
    wait_for_epochs(process, broken, 3)
    process.send_signal(signal.SIGSTOP)  # it holds the run and cannot finish it
    if how == signal.SIGKILL:
        second = subprocess.run(command(broken, *options), capture_output=True, text=True)
        assert second.returncode == 1 and "another process is doing this run now" in second.stderr
    process.send_signal(how)
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == (-9 if how == signal.SIGKILL else 130), output
    assert not list(broken.rglob("result.json"))
    assert "Traceback" not in output
    again = subprocess.run(command(broken, *options), capture_output=True, text=True)
    assert again.returncode == 0 and "going on after epoch" in again.stdout, again.stdout + again.stderr
    whole = run(composed(*options)).folder
    assert record(next(broken.rglob("result.json")).parent, untimed) == record(whole, untimed)
