"""best.safetensors holds the weights of the epoch that best_val reports, whatever happened after it."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lilawbench.engine.weights_file import on_host, read_weights, write_weights
from lilawbench.probes.best import BestSoFar
from lilawbench.probes.weights import Weights
from lilawbench.record.recorder import Recorder
from lilawbench.support.errors import DataError
from lilawbench.train import run


@pytest.fixture
def probe(scene):
    """A probe, and the one weight of its run's network."""
    from dataclasses import replace

    network = nn.Linear(1, 3)
    made = Weights()
    made.setup(replace(scene(), networks=(network,)))
    return made, network.weight


def test_the_first_of_the_best_epochs_is_kept(probe, predicted, epoch, tmp_path):
    """Validation accuracies .5 .7 .7 .6 in epochs whose weights are 1 2 3 4."""
    made, weight = probe
    for number, accuracy in enumerate([0.5, 0.7, 0.7, 0.6], start=1):
        with torch.no_grad():
            weight.fill_(number)
        now = epoch()
        now.number = number
        made.see(None, now, predicted(accuracy=accuracy))
    again = Weights()
    again.setup(made.scene)
    again.load_state_dict(made.state_dict())
    again.files(tmp_path)
    found = {name: load_file(tmp_path / f"{name}.safetensors")["weight"].unique().tolist() for name in ("best", "last")}
    assert found == {"best": [2], "last": [4]}


def test_without_validation_rows_there_is_no_best(probe, predicted, epoch, tmp_path):
    made, _ = probe
    made.see(None, epoch(), predicted())
    made.files(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"last.safetensors", "preprocess.json"}


class PowerCut(BaseException):
    """Nothing in the program may catch it."""


@pytest.mark.parametrize("method", ["ce", pytest.param("dynamic_loss", marks=pytest.mark.slow)])
def test_a_run_killed_after_its_best_epoch_keeps_its_weights(tiny, acting, tmp_path, monkeypatch, method):
    """Of three epochs the first counts as the best; the run is killed after the second."""

    def first(self, *given):
        before, self.rank = self.rank, 0.0
        return before is None

    monkeypatch.setattr(BestSoFar, "see", first)
    options = [*acting(method), "split.train_samples=64"]
    whole = run(tiny(*options, f"paths.output_dir={tmp_path}/whole")).folder
    save = Recorder.checkpoint

    def cut(self, ctx, *rest):
        save(self, ctx, *rest)
        if ctx.epoch == 2:
            raise PowerCut

    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        patch.setattr(Recorder, "checkpoint", cut)
        run(tiny(*options))
    again = run(tiny(*options)).folder
    for name in ("best.safetensors", "last.safetensors", "preprocess.json"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()
    assert (whole / "best.safetensors").read_bytes() != (whole / "last.safetensors").read_bytes()


def test_a_run_may_keep_neither(tiny):
    folder = run(tiny("keep.weights=false", "keep.predictions=false", "train.epochs=1")).folder
    kept = {path.name for path in folder.iterdir()} - {".lock"}
    assert kept == {"config.yaml", "labels.npz", "metrics.jsonl", "checkpoint.pt", "train.log", "result.json"}


def test_several_networks_and_tied_weights(tmp_path):
    first, second = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.BatchNorm1d(2)
    first[1].weight = first[0].weight
    states = {"model": first.state_dict(), "model2": second.state_dict()}
    write_weights(tmp_path / "two.safetensors", on_host(states))
    found = read_weights(tmp_path / "two.safetensors", 2)
    torch.testing.assert_close(found, {key: dict(state) for key, state in states.items()}, rtol=0, atol=0)
    first.load_state_dict(found["model"])
    with pytest.raises(DataError, match="holds 2 networks, not 3"):
        read_weights(tmp_path / "two.safetensors", 3)


def test_a_copy_is_no_view_of_what_trains():
    network = nn.Linear(1, 1)
    copy = on_host({"model": network.state_dict()})["model"]["weight"]
    with torch.no_grad():
        network.weight.add_(1)
    assert copy != network.weight
