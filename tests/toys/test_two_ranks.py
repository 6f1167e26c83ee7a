"""Each toy under torchrun: two processes end with the same networks, and those that may do what one process does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lilawbench.config import compose
from lilawbench.record.identity import run_folder
from lilawbench.record.recorder import Recorder
from lilawbench.support.distributed import join, leave
from lilawbench.train import run

pytestmark = pytest.mark.slow
TOYS = ("Peers", "WeakStrong", "Divided", "Teacher", "PerSample", "Ensemble")
ALIKE = ("WeakStrong", "Divided", "Teacher", "PerSample", "Ensemble")  # Peers pick from what each process sees
# 121 rows in batches of 32: a last one of 25, which is 13 + 12
TINY = ["method=ce", "split.train_samples=121", "train.batch_size=32", "model.hidden=[16]", "train.threads=1",
        "train.epochs=2", "train.optimizer=sgd", "train.lr=0.05", "train.log_every_steps=1"]  # fmt: skip


def config(name: str, folder: Path):
    size = ["+method.size=20", "split.train_samples=120"] if name == "Divided" else []  # every share is a half
    chosen = [f"method._target_=toy_methods.{name}", f"method.name={name.lower()}", *size]
    return compose(f"paths.output_dir={folder}", *TINY, *chosen, config_dir=Path(__file__).parent)


def ranks_run(folder: Path) -> None:
    """What each rank does: all toys, leaving its own networks beside each record."""
    world, save, networks = join(), Recorder.checkpoint, {}

    def checkpoint(recorder, ctx, *rest):
        networks.update({str(number): net.state_dict() for number, net in enumerate(ctx.networks)})
        save(recorder, ctx, *rest)

    Recorder.checkpoint = checkpoint
    for name in TOYS:
        networks.clear()
        record = run(config(name, folder))
        torch.save(networks, record.folder / f"rank{world.rank}.pt")
    leave()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Folder of the runs of two ranks."""
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run([*command, str(folder)], env=env, cwd=folder, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(autouse=True)
def toys_at_hand(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.mark.parametrize("name", TOYS)
def test_both_ranks_end_with_the_same_networks(two, name):
    folder = run_folder(config(name, two))
    first, second = (torch.load(folder / f"rank{rank}.pt") for rank in (0, 1))
    assert first.keys() == second.keys() and len(first) == {"Peers": 2, "Ensemble": 3}.get(name, 1)
    for number, state in first.items():
        for key, value in state.items():
            assert torch.equal(value, second[number][key])
    assert json.loads((folder / "result.json").read_text())["processes"] == 2


@pytest.mark.parametrize("name", ALIKE)
def test_two_ranks_are_one_process(two, name, tmp_path):
    alone = run(config(name, tmp_path))
    rows = [
        [json.loads(line)["train_loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (run_folder(config(name, two)), alone.folder)
    ]
    assert rows[0] == pytest.approx(rows[1], abs=1e-5) and len(rows[0]) > 4


if __name__ == "__main__":
    ranks_run(Path(sys.argv[1]))
