"""Several processes as one: the arithmetic of shares, and messages and training steps between two real processes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lilawbench.engine import runtime
from lilawbench.engine.context import make_context
from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.methods.lilaw import LiLAW
from lilawbench.methods.supervised import Supervised
from lilawbench.schema import Train
from lilawbench.support.distributed import World, join, leave
from lilawbench.support.errors import ConfigError, RunBusy


def ranks(size: int) -> list[World]:
    return [World(rank, size) for rank in range(size)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_shares_are_a_partition_and_weigh_what_they_hold(size):
    for count in range(1, 60):
        rows = torch.arange(count)
        shares, weights = [w.share(rows) for w in ranks(size)], [w.fraction(count) for w in ranks(size)]
        assert sum(weights) == pytest.approx(1, abs=1e-15)
        if count < 2 * size:  # BatchNorm wants two rows on every rank
            assert all(share.equal(rows) for share in shares)
            assert weights == [1 / size] * size
        else:
            assert torch.cat(shares).equal(rows)
            assert weights == [len(share) / count for share in shares]
            assert min(map(len, shares)) >= 2 and max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 4, 9, 1030])
def test_an_evaluation_meets_each_row_on_one_rank(size, count):
    data = Resident(torch.arange(count).float()[:, None], torch.zeros(count, dtype=torch.int64))
    met = [batch.index for world in ranks(size) for batch in data.in_order(world=world)]
    assert torch.cat(met).equal(torch.arange(count))


def test_one_process_sends_nothing():
    """Without torchrun there is no process group: any message would raise."""
    world, tensor = World(), torch.tensor([1.0, 2.0])
    world.mean_([tensor], 0.5)
    world.copy_from_main_([tensor])
    assert world.sum_(tensor) is tensor and tensor.tolist() == [1, 2]
    assert world.agree("yes") == "yes" and world.main_does(lambda: 3) == 3 and world.is_main


def test_without_torchrun_nothing_is_joined(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join() == World() and not torch.distributed.is_initialized()
    leave()


@pytest.mark.parametrize(
    "name, processes, devices, chosen",
    [
        ("auto", 4, 8, "cuda:3"),
        ("cuda", 4, 4, "cuda:3"),
        ("cpu", 4, 8, "cpu"),
        ("cuda:1", 1, 2, "cuda:1"),
        ("auto", 4, 2, None),
        ("cuda:1", 4, 8, None),
    ],
)
def test_each_process_has_a_cuda_device_of_its_own(monkeypatch, name, processes, devices, chosen):
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    if chosen is None:
        with pytest.raises(ConfigError, match=f"{processes} processes on {devices} CUDA"):
            runtime.choose_device(name)
    else:
        assert runtime.choose_device(name) == torch.device(chosen)
    assert current == ([torch.device(chosen)] if chosen == "cuda:3" else [])


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def rows(count: int) -> Resident:
    generator = torch.Generator().manual_seed(count)
    input = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return Resident(input, torch.randint(0, 2, (count,), generator=generator))


def step(world: World, model: nn.Module, method, count: int, epoch: int = 9, **options) -> torch.Tensor:
    """One step on this rank's share of `count` rows; the loss of all of them."""
    train = Train(optimizer="sgd", momentum=0.0, batch_size=count, **options)
    ctx = make_context([model], rows(count), rows(16), num_classes=2, options=train, world=world)
    ctx.epoch, ctx.batch_size, ctx.share = epoch, count, world.fraction(count)
    model.train()
    method.on_epoch_start(ctx)
    return train_step(ctx, method, ctx.fetch(world.share(torch.arange(count))), 1.0).loss.detach()


def weights(model: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def two_ranks(folder: Path) -> None:
    """What each of the two processes does; it leaves what came out in folder/RANK.pt."""
    torch.set_num_threads(1)
    world, out = join(), {}
    mine = [torch.tensor([1.0, 2.0]) * (world.rank + 1), torch.tensor(float(world.rank), dtype=torch.float64)]
    mine.append(torch.full((2, 2), 10.0 * world.rank).T)
    world.mean_(mine, [0.25, 0.75][world.rank])
    world.mean_([], 0.5)
    out["mean"] = mine
    out["sum"] = world.sum_(torch.tensor([1, world.rank]))
    main = [torch.tensor(0.1 + world.rank), torch.full((2,), 1 / 3 + world.rank, dtype=torch.float64)]
    world.copy_from_main_(main)
    out["main"] = main
    out["agree"] = world.agree({"rank": world.rank})
    out["does"] = world.main_does(lambda: f"by {world.rank}")
    for error in (RunBusy("the folder is taken"), OSError(28, "disk full")):

        def fails(error=error):
            raise error

        try:
            world.main_does(fails)
        except type(error) as raised:
            out[type(error).__name__] = str(raised)
    for count in (8, 7, 3):  # equal shares, 4 + 3, and all rows on both
        for clip in (None, 0.01):
            model = net()
            loss = step(world, model, Supervised(), count, clip_grad_norm=clip)
            out[f"step {count} {clip}"] = (loss, weights(model))
    torch.manual_seed(0)
    model, lilaw = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)).double(), LiLAW(lr=0.5)
    out["statistics"] = []
    for count in (8, 7, 3):
        step(world, model, lilaw, count)
        out["statistics"].append(model[0].running_mean.clone())
    out["lilaw"], out["model"] = lilaw.params, model.state_dict()
    torch.save(out, folder / f"{world.rank}.pt")
    leave()


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    place = {**os.environ, "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen([sys.executable, __file__, str(folder)], env={**place, "RANK": str(rank)}) for rank in (0, 1)
    ]
    try:
        assert [process.wait(timeout=60) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.slow
def test_a_mean_is_weighted_and_in_place(both):
    for out in both:
        vector, scalar, table = out["mean"]
        assert vector.tolist() == [1.75, 3.5] and vector.dtype == torch.float32
        assert scalar.item() == 0.75 and scalar.shape == ()
        assert table.tolist() == [[7.5, 7.5], [7.5, 7.5]]
        assert out["sum"].tolist() == [2, 1]


@pytest.mark.slow
def test_the_main_process_is_copied_to_the_bit(both):
    for out in both:
        assert out["main"][0].equal(torch.tensor(0.1)) and out["main"][1].tolist() == [1 / 3, 1 / 3]
        assert out["agree"] == {"rank": 0} and out["does"] == "by 0"


@pytest.mark.slow
def test_an_error_of_the_main_process_is_everyones(both):
    for out in both:
        assert out["RunBusy"] == "the folder is taken" and out["OSError"] == "[Errno 28] disk full"


@pytest.mark.parametrize("clip", [None, 0.01])
@pytest.mark.parametrize("count", [8, 7, 3])
@pytest.mark.slow
def test_a_step_of_two_ranks_is_the_step_of_one(both, count, clip):
    """The gradient is that of the mean over all rows, and only then it is clipped."""
    model = net()
    before = weights(model)
    loss = step(World(), model, Supervised(), count, clip_grad_norm=clip)
    assert clip is None or (weights(model) - before).norm().item() == pytest.approx(clip, rel=1e-3)
    for out in both:
        both_loss, both_weights = out[f"step {count} {clip}"]
        assert both_loss.item() == pytest.approx(loss.item(), rel=1e-14)
        torch.testing.assert_close(both_weights, weights(model), rtol=1e-13, atol=1e-15)


@pytest.mark.slow
def test_batchnorm_has_the_main_ranks_statistics_after_every_step(both):
    """So ranks agree on whatever looks at the model between steps: here LiLAW's meta forward in eval mode."""
    expected = torch.zeros(3, dtype=torch.float64)
    for count, statistics in zip((8, 7, 3), both[1]["statistics"], strict=True):
        expected = 0.9 * expected + 0.1 * World(0, 2).share(rows(count).input).mean(0)
        torch.testing.assert_close(statistics, expected, rtol=1e-12, atol=0)
    first, second = both
    assert first["lilaw"].equal(second["lilaw"]) and first["lilaw"][0] < 10
    assert all(first["model"][name].equal(value) for name, value in second["model"].items())


if __name__ == "__main__":
    two_ranks(Path(sys.argv[1]))
