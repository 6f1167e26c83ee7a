"""scripts/bench.py measures every method of the config, and goes on where one cannot run."""

from pathlib import Path

import pytest
import torch

from lilawbench.loading.batch import Batch
from lilawbench.methods.rrm import reweight


@pytest.fixture(autouse=True)
def as_the_script_finds_them(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "scripts")


def test_steps_has_every_method_and_a_scene_for_every_limit():
    from benchmarks import steps
    from benchmarks.scenes import SCENES

    assert {"ce", "focal", "lilaw", "rrm", "a_rrm", "at", "dynamic_loss"} <= set(steps.METHODS)
    models = {scene.model for scene in SCENES}
    assert all(model in models and method in steps.METHODS for model, method in steps.LIMITS)


@pytest.mark.slow
def test_a_method_that_cannot_run_gets_a_dash_and_its_reason(monkeypatch, capsys):
    """Batches of 1 make 32 samples: too few of a class for Dynamic Loss's meta set."""
    from benchmarks import steps
    from benchmarks.scenes import Scene, Setup

    monkeypatch.setattr(steps, "SCENES", [Scene("mlp", (1, 4, 4), 1, 1), Scene("cnn", (1, 4, 4), 1, 1)])
    steps.bench_steps(Setup(torch.device("cpu"), 1, ["mlp"]))
    _, _, *rows = capsys.readouterr().out.splitlines()
    cells = {row.split(" | ")[2]: row.split(" | ")[3] for row in rows}
    assert {row.split(" | ")[0] for row in rows} == {"| mlp (1)"}
    assert len(cells) == len(steps.METHODS) - 1 + 2
    assert cells["dynamic_loss"].startswith("- (") and "method.meta_fraction=0.25" in cells["dynamic_loss"]
    assert all(float(value) > 0 for name, value in cells.items() if not name.startswith("dynamic_loss"))


def test_batches_for_ever_are_of_one_size_whatever_was_asked_for():
    from benchmarks.scenes import forever

    sizes = iter([[4, 4, 2], [4, 2], []])
    stream = forever(lambda: [Batch(torch.arange(n), torch.zeros(n), torch.zeros(n)) for n in next(sizes)])
    assert [len(next(stream).index) for _ in range(3)] == [4, 4, 4]
    with pytest.raises(ValueError, match="has no batch"):
        next(stream)


def test_times_are_paired_by_round_and_the_warm_up_is_left_out():
    from benchmarks.timing import interleaved, ratio

    calls = []
    work = {name: lambda n=name: calls.append(n) for name in "ab"}
    times = interleaved(work, rounds=2, repeats=3, device=torch.device("cpu"))
    assert [len(seconds) for seconds in times.values()] == [2, 2]
    assert "".join(calls) == "aaabbb" + "bbbaaa" + "aaabbb"
    assert ratio([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == 2.0


def test_the_linear_program_has_the_optimum_of_the_closed_form():
    from benchmarks.rrm import GAMMA, linear_program

    losses = torch.empty(50, dtype=torch.float64).exponential_(generator=torch.Generator().manual_seed(0))
    assert linear_program(losses.numpy()) == pytest.approx(reweight(losses, gamma=GAMMA).numpy(), abs=1e-12)


def test_memory_is_that_of_the_peak():
    """64 MB held beside 32 MB: the peak is 96 MB above the level before, whatever was in use earlier."""
    from benchmarks.memory import growth

    earlier = torch.ones(200_000_000, dtype=torch.uint8)
    del earlier

    def work():
        held = torch.ones(64_000_000, dtype=torch.uint8)
        return len(held) + len(torch.ones(32_000_000, dtype=torch.uint8))

    assert growth(work, torch.device("cpu")) == 96e6


@pytest.mark.slow
def test_a_probe_goes_through_the_data_once_for_all_runs(monkeypatch, tmp_path):
    from benchmarks import probe
    from benchmarks.scenes import Setup

    monkeypatch.setattr(probe, "SIDE", 32)
    monkeypatch.setattr(probe, "ROWS", {"train": 12, "val": 8, "test": 8})
    setup, small = Setup(torch.device("cpu"), 1), "+model.options={depth:1,embed_dim:12,num_heads:2}"
    first, again, lilaw, without = (
        probe._run(setup, str(tmp_path), small, "train.threads=1", *options).rows
        for options in (
            ["method=ce"],
            ["method=ce", "noise.rate=0.2"],
            ["method=lilaw"],
            ["train.cache_features=false", "train.epochs=1"],
        )
    )
    checks = 4  # one of the model's for small images, three whether the cut and the table are right
    assert (first, again, lilaw, without) == (28 + checks, checks, checks, 28 + 1)
