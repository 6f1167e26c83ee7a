"""A disk that is full: the run says so in one line, nothing damaged stays, and with room again it goes on."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from lilawbench.record.identity import run_folder
from lilawbench.support.errors import DiskError
from lilawbench.train import attempt, run

FILES = {  # what is there when the second writing of a file fails; the first of those written once
    "labels.npz": set(),
    "config.yaml": {"labels.npz"},
    "metrics.jsonl": {"labels.npz", "config.yaml", "metrics.jsonl", "checkpoint.pt", "train.log"},
    "checkpoint.pt": {"labels.npz", "config.yaml", "metrics.jsonl", "checkpoint.pt", "train.log"},
    "result.json": {
        *("labels.npz", "config.yaml", "metrics.jsonl", "checkpoint.pt", "train.log", "best.safetensors"),
        *(
            "last.safetensors",
            "preprocess.json",
            "predictions.npz",
            "predictions.csv",
            "per_class.csv",
            "confusion.csv",
        ),
    },
}


def untimed(folder: Path) -> list[dict]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if "seconds" not in key} for line in lines]


@pytest.mark.parametrize(
    "file",
    [pytest.param(file, marks=[pytest.mark.slow] * (file not in ("metrics.jsonl", "checkpoint.pt"))) for file in FILES],
)
def test_wherever_the_disk_is_full_the_run_goes_on_later(tiny, tmp_path, no_space, file):
    options = ["train.epochs=3", "train.log_every_steps=1"]
    whole = run(tiny(*options, f"paths.output_dir={tmp_path}/whole")).folder
    no_space(file, after=1 if file in ("metrics.jsonl", "checkpoint.pt") else 0)
    with pytest.raises(DiskError, match=rf"{file} cannot be written: No space left on device \(.* MB free") as error:
        run(tiny(*options))
    assert "\n" not in str(error.value)
    folder = run_folder(tiny(*options))
    assert {path.name for path in folder.iterdir()} == FILES[file] | {".lock"}
    if file == "metrics.jsonl":
        assert untimed(folder) == untimed(whole)[: len(untimed(whole)) // 3], "the first epoch, whole"
        assert torch.load(folder / "checkpoint.pt", weights_only=True)["epoch"] == 1
    no_space("")
    assert run(tiny(*options)).status == "done"
    assert untimed(folder) == untimed(whole)


def test_what_a_crash_has_torn_is_cut_back(tiny, tmp_path, no_space):
    whole = run(tiny("train.epochs=3", f"paths.output_dir={tmp_path}/whole")).folder
    no_space("checkpoint.pt", after=1)
    with pytest.raises(DiskError):
        run(tiny("train.epochs=3"))
    no_space("")
    folder = run_folder(tiny("train.epochs=3"))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "epoch", "epo')
    (folder / "checkpoint.pt.part-node7-41").write_bytes(b"half")
    run(tiny("train.epochs=3"))
    assert untimed(folder) == untimed(whole)
    assert not list(folder.glob("*.part*"))


def test_a_sweep_goes_on_and_what_is_finished_stays(tiny, no_space):
    first = attempt(tiny("seed=0"), in_sweep=True)
    before = {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    no_space("checkpoint.pt")
    second = attempt(tiny("seed=1"), in_sweep=True)
    assert (second.status, second.exit_code) == ("failed", 1) and "checkpoint.pt cannot be written" in second.error
    no_space("")
    assert attempt(tiny("seed=2"), in_sweep=True).status == "done"
    assert attempt(tiny("seed=0"), in_sweep=True).status == "skipped"
    assert {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()} == before
    assert attempt(tiny("seed=1"), in_sweep=True).status == "done", "without sweep.retry_failed"


@pytest.mark.slow
def test_a_disk_of_one_megabyte(tiny, tmp_path):
    """A real one, mounted where that is allowed: a checkpoint fits, the next one beside it does not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        options = ["model.hidden=[220]", "method=ce", "train.epochs=3", f"paths.output_dir={disk}"]
        (disk / "filler").write_bytes(bytes(650_000))
        record = attempt(tiny(*options), in_sweep=True)
        assert record.status == "failed" and "cannot be written: No space left on device (" in record.error
        folder = record.folder
        assert not list(folder.glob("*.part*")) and not (folder / "failed.json").exists()
        kept = untimed(folder) if (folder / "metrics.jsonl").exists() else []
        assert all(line["epoch"] <= 2 for line in kept)
        (disk / "filler").unlink()
        options[-1] = f"paths.output_dir={tmp_path}/roomy"
        shutil.copytree(disk, tmp_path / "roomy")
        assert attempt(tiny(*options), in_sweep=True).status == "done"
    finally:
        subprocess.run(["umount", str(disk)], check=True)
