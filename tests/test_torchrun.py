"""Real torchrun: two processes train what one does, write one record, and end together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from torch import nn

from lilawbench.config import compose
from lilawbench.engine import loop
from lilawbench.methods import dynamic_loss
from lilawbench.record.identity import run_folder
from lilawbench.record.recorder import Recorder
from lilawbench.support.distributed import World, join, leave
from lilawbench.train import run

pytestmark = pytest.mark.slow
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
# three batches of 32 rows and one of 25, which is 13 + 12
TINY = ["split.train_samples=121", "train.batch_size=32", "model.hidden=[16]", "train.threads=1"]
SGD = [*TINY, "train.epochs=3", "train.optimizer=sgd", "train.lr=0.05", "train.log_every_steps=1", "noise.rate=0.2"]
RRM = ["method.reweight_every_epochs=1", "method.gamma=1.0"]
DYNAMIC = ["method=dynamic_loss", "method.num_bins=3", "method.warmup_epochs=1", "method.lr=0.01"]
SAME = {
    "ce": ["method=ce", "train.clip_grad_norm=0.5", "train.schedule=cosine"],
    "rows_for_all": ["method=ce", "split.train_samples=99"],  # a last batch of 3: both ranks do it
    "adam": ["method=ce", "train.optimizer=adam", "train.lr=0.001"],
    "early_stop": ["method=ce", "train.lr=0.1", "train.epochs=20", "train.early_stop_epochs=1"],
    "lilaw": ["method=lilaw", "method.lr=0.5"],
    "accumulate": ["method=lilaw", "method.lr=0.5", "train.accumulate_steps=3"],
    "elr": ["method=ce", "loss=elr", "loss.beta=0.5"],
    "correction": ["method=ce", "loss=forward_correction", "loss.warmup_epochs=1"],
    "cores2": ["loss=cores2", "loss.warmup_epochs=0", "loss.ramp_epochs=2", "loss.sieve_after_epochs=1"],
    "ldam": ["loss=ldam", "loss.scale=4", "loss.drw_after_epochs=1", "dataset.imbalance=5"],
    "gjs": ["method=gjs", "train.augment.crop_px=1"],
    "cdr": ["method=cdr", "method.rate=0.4", "train.weight_decay=0.01"],
    "tau_norm": ["method=tau_norm", "loss=logit_adjustment"],
    "rrm": ["method=rrm", *RRM],
    "rrm_training": ["method=rrm", *RRM, "method.reweight_losses=training", "method.loss_scale=paper"],
    "rrm_elr": ["method=rrm", "loss=elr", *RRM],
    "at": ["method=at", "method.fgsm.eps=0.1", "attack.eps=[0.1]"],
    "a_rrm": ["method=a_rrm", *RRM, "method.fgsm.eps=0.1"],
    "dynamic_loss": DYNAMIC,
    "sop": ["method=sop", "method.lr_u=1", "method.lr_v=1"],
    "l2rw": ["method=l2rw"],
    "mw_net": ["method=mw_net", "method.lr=0.01", "method.normalise=true"],
    "wann": ["method=wann"],
    "clean_first": ["method=clean_first", "method.folds=2"],
    "dynamic_loss_finetune": [*DYNAMIC, "method.finetune_on_meta=true", "method.margin=false"],
}
CO = ["method.ramp_epochs=1", "method.forget_rate=0.3"]
SAME["co_teaching"] = ["method=co_teaching", *CO]
SAME["co_teaching_plus"] = ["method=co_teaching_plus", "method.init_epochs=1", *CO]
SAME["jocor"] = ["method=jocor", "method.ramp_epochs=1"]
SAME["probe_of_two"] = [*SAME["jocor"], "train.finetune=linear_probe", "model.hidden=[16,12,8]"]
FOLDS = ["detect.folds=2", "detect.epochs=[2]", "detect.score=confident_learning"]
SAME["folds"] = ["method=lilaw", "method.lr=0.5", *FOLDS, "detect.scores=[margin_oos,grand,grand_all,tracin,simifeat]"]
CONTROLS = {"no_mean": "ce", "no_meta_mean": "dynamic_loss"}
PROMIX = ["method.warmup_epochs=1", "method.ramp_epochs=2", "method.guess_after_epochs=2", "method.tau=0.3"]
RRM_TOO = "method.rrm.reweight_every_epochs=1"
OWN_PART = {  # each rank pairs the rows of its own part of a batch, or normalises by them: two are not one process
    "batchnorm": ["method=lilaw", "model=cnn", "model.channels=[4,4,4]", "model.dense=8", "method.lr=0.5"],
    "mixup": ["method=mixup"],
    "elr_plus": ["method=elr_plus"],
    "disc": ["method=disc", "method.warmup_epochs=1", "method.momentum=0.5"],
    "pes": ["method=pes", "method.warmup_epochs=1"],
    "dividemix_rrm": ["method=dividemix_rrm", "method.warmup_epochs=1", RRM_TOO],
    "promix_rrm": ["method=promix_rrm", *PROMIX, RRM_TOO],
    "sop_plus": ["method=sop_plus"],
}


def overrides(name: str) -> list[str]:
    chosen = (SAME | OWN_PART)[CONTROLS.get(name, name)]
    base = [option for option in SGD if not (name == "batchnorm" and option.startswith("model."))]
    return [*base, *chosen, f"experiment_name={name}"]


def ranks_run(folder: Path) -> None:
    """What each rank of one torchrun does: all runs of this file, leaving its own state beside each record."""
    world, states, rows = join(), {}, {}
    save, step, look = Recorder.checkpoint, loop.train_step, dynamic_loss.hypergradient

    def checkpoint(recorder, ctx, method, probes):
        states.update(model=nn.ModuleList(ctx.networks).state_dict(), method=method.state_dict())
        save(recorder, ctx, method, probes)

    def train_step(ctx, method, batch, lr):
        rows.setdefault(ctx.epoch, []).append(batch.index)
        return step(ctx, method, batch, lr)

    for name in [*SAME, *CONTROLS, *OWN_PART]:
        rows.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Recorder, "checkpoint", checkpoint)
            patch.setattr(loop, "train_step", train_step)
            if name == "no_mean":
                patch.setattr(World, "mean_", lambda self, tensors, share: None)
            if name == "no_meta_mean":
                patch.setattr(dynamic_loss, "hypergradient", lambda *a, **k: look(*a, **{**k, "world": World()}))
            record = run(compose(f"paths.output_dir={folder}", *overrides(name)))
        kept = {**states, "rows": dict(rows), "result": json.dumps(record.result)}
        torch.save(kept, record.folder / f"rank{world.rank}.pt")
    leave()


def torchrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs to its end, which has to come."""
    process = start(folder, *arguments)
    try:
        out, err = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)  # it ends its ranks
        pytest.fail(f"hangs: {process.communicate(timeout=60)}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*TORCHRUN, *(arguments if arguments[0] == __file__ else ["-m", "lilawbench.train", *arguments])],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def rows_of(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if "seconds" not in key} for row in rows]


def distance(one, other) -> float:
    """The largest difference between two trees of numbers, relative to the larger of 1 and the number."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return max((distance(one[key], other[key]) for key in one), default=0.0)
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        return max(map(distance, one, other), default=0.0)
    if isinstance(one, str | None):
        assert one == other
        return 0.0
    one, other = (torch.as_tensor(value, dtype=torch.float64) for value in (one, other))
    return ((one - other).abs() / one.abs().clamp(min=1)).max().item() if one.numel() else 0.0


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """runs(name) -> folder of a run that two ranks did, folder of the same run by this process."""
    base, one = tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("one")
    two = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "two"  # of all workers
    with FileLock(f"{two}.lock"):
        if not (two / "ended").exists():
            two.mkdir(exist_ok=True)
            done = torchrun(two, __file__, str(two))
            assert done.returncode == 0, done.stderr
            (two / "ended").touch()

    def folders(name: str) -> tuple[Path, Path]:
        cfgs = [compose(f"paths.output_dir={folder}", *overrides(name)) for folder in (two, one)]
        run(cfgs[1])
        return run_folder(cfgs[0]), run_folder(cfgs[1])

    return folders


def states(folder: Path) -> dict:
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    return {"model": saved["model"], "method": saved["method"]}


@pytest.mark.parametrize("name", SAME)
def test_two_ranks_are_one_process(runs, name):
    two, one = runs(name)
    assert distance(rows_of(two), rows_of(one)) < 1e-6
    assert distance(states(two), states(one)) < 1e-6
    assert json.loads((two / "result.json").read_text())["processes"] == 2
    if name == "early_stop":
        assert 1 < rows_of(two)[-1]["epoch"] < 20
    if "rrm" in name:
        assert rows_of(two)[-1]["pruned"] > 0


@pytest.mark.parametrize("name", CONTROLS)
def test_negative_control_without_the_mean_they_differ(runs, name):
    two, one = runs(name)
    assert distance(states(two), states(one)) > 1e-4


@pytest.mark.parametrize("name", [*SAME, *OWN_PART])
def test_ranks_agree_on_the_model_the_method_and_the_result(runs, name):
    two, _ = runs(name)
    first, second = (torch.load(two / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    for part in ("model", "method"):
        assert first[part].keys() == second[part].keys()
        assert all(value.equal(second[part][key]) for key, value in first[part].items() if hasattr(value, "equal"))
    assert json.loads(first["result"]) == json.loads(second["result"]) == json.loads((two / "result.json").read_text())


@pytest.mark.parametrize("name, rows, by_both", [("ce", 121, 0), ("rows_for_all", 99, 3)])
def test_no_row_trains_twice_in_an_epoch(runs, name, rows, by_both):
    two, _ = runs(name)
    first, second = (torch.load(two / f"rank{rank}.pt", weights_only=True)["rows"] for rank in (0, 1))
    for epoch in (1, 2, 3):
        ours, theirs = (torch.cat(part[epoch]).tolist() for part in (first, second))
        assert len(set(ours)) == len(ours) and len(set(theirs)) == len(theirs)
        assert set(ours) | set(theirs) == set(range(rows)) and len(set(ours) & set(theirs)) == by_both
        assert [len(part) for part in first[epoch]][:3] == [16, 16, 16]


def test_one_writer(runs):
    two, one = runs("ce")
    keys = [(row["kind"], row["epoch"], row.get("step")) for row in rows_of(two)]
    assert len(set(keys)) == len(keys) == 3 * (4 + 1)
    assert {path.name for path in two.iterdir()} - {path.name for path in one.iterdir()} == {"rank0.pt", "rank1.pt"}


def test_a_sweep_stays_in_step_whatever_becomes_of_its_runs(tmp_path, monkeypatch):
    """One run is taken by another process, one was finished before, three overflow, one is done: each is said once."""
    monkeypatch.chdir(tmp_path)
    options = [*SGD, "paths.output_dir=out"]
    finished = run(compose(*options, "seed=1")).folder
    before = (finished / "result.json").stat().st_mtime_ns
    busy = run_folder(compose(*options, "seed=0"))
    busy.mkdir()
    with FileLock(busy / ".lock"):
        done = torchrun(tmp_path, "-m", *options, "seed=0,1,2", "train.lr=0.05,1e30")
    assert done.returncode == 1
    assert "1 done, 1 skipped, 3 failed, 1 busy" in done.stdout, done.stdout + done.stderr
    ours = done.stderr[: done.stderr.index("torch/distributed/elastic")]  # then comes torchrun's own summary
    assert done.stdout.count(": the loss is ") == 6 and "Traceback" not in ours  # its line, and again at the end
    assert "another process is doing this run now" in done.stdout
    assert len(list(tmp_path.rglob("result.json"))) == 2 and len(list(tmp_path.rglob("failed.json"))) == 3
    assert (finished / "result.json").stat().st_mtime_ns == before
    assert [path.name for path in busy.iterdir()] in ([".lock"], [])


@pytest.mark.parametrize(
    "option, code, message",
    [
        ("noise.rate=1.5", 2, "lilawbench: the configuration cannot run:\n  - noise=symmetric: rate is 1.5"),
        ("seed=0", 1, "lilawbench: another process is doing this run now"),
    ],
)
def test_a_run_that_cannot_start_is_refused_once_and_ends_all(tmp_path, option, code, message):
    options = [*SGD, "paths.output_dir=out"]
    busy = tmp_path / run_folder(compose(*options))
    busy.mkdir(parents=True)
    with FileLock(busy / ".lock"):
        done = torchrun(tmp_path, *options, option)
    ours, summary = done.stderr.split("torch/distributed/elastic", 1)
    assert done.returncode == 1 and f"exitcode  : {code} " in summary
    assert ours.count(message) == 1 and "Traceback" not in ours
    assert done.stdout.count("\n") == done.stdout.count("preparing ") <= 1  # of one rank
    assert [path.name for path in busy.iterdir()] in ([".lock"], [])


def ranks_of(process: subprocess.Popen) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def broken(folder: Path, how: str, *options: str) -> tuple[int, str]:
    """Starts a run and breaks it after three epochs: kills its second rank, or has Ctrl-C sent."""
    process = start(folder, f"experiment_name={how}", *options)
    deadline = time.monotonic() + 300
    while not any(path.read_text().count('"kind": "epoch"') >= 3 for path in folder.rglob(f"{how}/*/metrics.jsonl")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    if how == "killed":
        os.kill(ranks_of(process)[1], signal.SIGKILL)
    else:
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


def test_a_broken_run_goes_on_to_the_bit(tmp_path):
    options = [*TINY, "method=lilaw", "model.dropout=0.3", "train.epochs=40", "paths.output_dir=."]
    for how in ("killed", "interrupted"):
        code, text = broken(tmp_path, how, *options)
        assert code != 0 and not list(tmp_path.rglob("result.json")) and not list(tmp_path.rglob("failed.json")), text
        assert text.count("lilawbench: interrupted; the same command continues") == (how == "interrupted"), text
    done = torchrun(tmp_path, "-m", "experiment_name=killed,interrupted,whole", *options)
    assert done.returncode == 0 and "3 done, 0 skipped, 0 failed" in done.stdout, done.stdout + done.stderr
    assert sum("going on after epoch" in log.read_text() for log in tmp_path.glob("*/*/train.log")) == 2
    names = ("whole", "killed", "interrupted")
    whole, *others = (next((tmp_path / name).glob("*/result.json")).parent for name in names)
    for other in others:
        assert rows_of(other) == rows_of(whole)
        assert all(
            value.equal(states(other)["model"][key]) and value.isfinite().all()
            for key, value in states(whole)["model"].items()
        )


if __name__ == "__main__":
    ranks_run(Path(sys.argv[1]))
