"""scripts/same_runs.py: the same runs are the same, and one changed number is found."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def as_the_script_finds_them(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")


@pytest.fixture
def twice(tmp_path):
    """Folders of one run that was done twice."""
    from golden.runs import METHODS, options
    from golden.worker import do

    def make(name: str, **how: bool) -> list[Path]:
        chosen = options(METHODS[name], str(tmp_path))
        first = do([*chosen, f"paths.output_dir={tmp_path}/first"])
        return [first, do([*chosen, f"paths.output_dir={tmp_path}/second"], **how)]

    return make


def test_a_run_is_the_same_as_itself_and_every_changed_number_is_found(twice):
    from golden.compare import differences

    one, other = twice("rrm")
    assert list(differences(one, other)) == []

    lines = (other / "metrics.jsonl").read_text().splitlines()
    row = json.loads(lines[-1])
    row["val_loss"] = float(np.nextafter(row["val_loss"], 9))
    row["epoch_seconds"] = 77.0
    (other / "metrics.jsonl").write_text("\n".join([*lines[:-1], json.dumps(row)]))
    [found] = differences(one, other)
    assert found.startswith(f"metrics.jsonl line {len(lines)}, val_loss: ") and found.endswith(f" / {row['val_loss']}")

    (other / "metrics.jsonl").write_text("\n".join(lines))
    with np.load(other / "labels.npz") as file:
        labels = dict(file)
    labels["observed"][0] += 1
    np.savez(other / "labels.npz", **labels)
    assert [line.split(":")[0] for line in differences(one, other)] == ["labels.npz, observed"]


@pytest.mark.slow
def test_weights_are_compared(twice):
    import torch
    from golden.compare import differences

    one, other = twice("ce")
    saved = torch.load(other / "checkpoint.pt", weights_only=True)
    next(iter(saved["model"].values())).view(-1)[0] += 1e-3
    torch.save(saved, other / "checkpoint.pt")
    [found] = differences(one, other)
    assert found.startswith("checkpoint.pt, weights of the networks: 4 tensors")


@pytest.mark.slow
def test_a_run_that_was_broken_off_goes_on(twice):
    from golden.compare import differences

    one, other = twice("ce", stop_first=True)
    assert "going on after epoch 1" in (other / "train.log").read_text()
    assert list(differences(one, other)) == []


@pytest.mark.slow
def test_what_was_renamed_on_purpose_is_the_same(twice, monkeypatch):
    from golden import compare

    one, other = twice("ce")
    result = json.loads((other / "result.json").read_text())
    result["config.optim.lr"] = result.pop("config.train.lr")
    result["config.method._target_"] = "elsewhere.Supervised"
    (other / "result.json").write_text(json.dumps(result))
    assert len(list(compare.differences(one, other))) == 2  # missing in either
    monkeypatch.setattr(compare, "RENAMED", {"config.train.lr": "config.optim.lr"})
    assert list(compare.differences(one, other)) == []
    assert compare.in_old_words("optim.lr=1e-3") == "train.lr=1e-3"


def test_every_choice_is_among_the_runs(tmp_path):
    """Each is named with options in which it does its work; one that is not, such as a new one, runs as it is."""
    from golden.runs import unnamed

    for folder in (tmp_path / "here", tmp_path / "there"):
        shutil.copytree(ROOT / "conf" / "loss", folder / "conf" / "loss")
        (folder / "conf" / "loss" / "new.yaml").touch()
    (tmp_path / "here" / "conf" / "loss" / "newer.yaml").touch()
    found = unnamed(tmp_path / "here", tmp_path / "there")
    assert found["loss new"] == "loss=new" and not {"loss newer", "loss elr"} & found.keys()


@pytest.mark.slow
def test_the_script_compares_two_checkouts(tmp_path):
    command = [sys.executable, ROOT / "scripts" / "same_runs.py", ROOT, "--only", ": ce", "--keep", tmp_path / "kept"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "two ranks: ce: same" in done.stdout and "resumed: ce: same" in done.stdout
    assert len(list((tmp_path / "kept").rglob("result.json"))) == 2 * done.stdout.count(": same")
