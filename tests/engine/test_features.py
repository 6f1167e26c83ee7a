"""A probe on cached features: the same numbers, one pass for a sweep, and off where features change."""

import logging
import threading
import time

import numpy as np
import pytest
import torch

from lilawbench.config import build
from lilawbench.engine import features
from lilawbench.engine.features import Features, features_key, stored
from lilawbench.results.writer import read_json
from lilawbench.train import run

PROBE = ["train.finetune=linear_probe", "model.hidden=[24,16,12]", "split.train_samples=600", "train.batch_size=100"]


@pytest.fixture
def passes(monkeypatch):
    """The frozen passes that are made: one entry each."""
    made, compute = [], features._computed
    monkeypatch.setattr(features, "_computed", lambda *args: made.append(1) or compute(*args))
    return made


@pytest.mark.parametrize("method", ["ce", "lilaw", "rrm", "dynamic_loss"])
def test_same_numbers_as_without(tiny, acting, passes, method):
    """Dropout before the head draws the same masks."""
    options = [*PROBE, *acting(method), "model.dropout=0.2"]
    cached, plain = (run(tiny(*options, f"train.cache_features={cache}")) for cache in ("true", "false"))
    assert len(passes) == 1
    keys = [key for key in plain.result if key.endswith(("_loss", "_accuracy")) and plain.result[key] is not None]
    assert len(keys) > 6
    for key in keys:
        assert cached.result[key] == pytest.approx(plain.result[key], abs=1e-5), key
    one, other = (torch.load(r.folder / "checkpoint.pt", weights_only=True)["model"] for r in (cached, plain))
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)


def test_one_file_for_methods_noises_and_splits_and_another_for_other_random_weights(tiny, passes, tmp_path):
    for options in (["method=ce"], ["method=lilaw"], ["noise.rate=0.2"], ["noise=none"], ["split.val_fraction=0.3"]):
        run(tiny(*PROBE, *options, "train.epochs=3"))
    assert len(passes) == 1
    run(tiny(*PROBE, "seed=1"))
    assert len(passes) == 2
    assert len(list((tmp_path / "outputs" / "features").glob("*.npy"))) == 2


def test_scaled_images_have_a_file_of_their_own_and_the_same_numbers(tiny, passes):
    """At 10 px the first layer has 100 inputs in the place of 64."""
    options = [*PROBE, "train.resize_px=10", "train.epochs=3", "method=lilaw"]
    cached, plain = (run(tiny(*options, f"train.cache_features={cache}")) for cache in ("true", "false"))
    assert cached.result["last.test_loss"] == pytest.approx(plain.result["last.test_loss"], abs=1e-5)
    shapes = [torch.load(r.folder / "checkpoint.pt", weights_only=True)["model"] for r in (cached, plain)]
    assert all(next(iter(shape.values())).shape == (24, 100) for shape in shapes)
    run(tiny(*PROBE, "train.epochs=3"))
    assert len(passes) == 2


def test_the_key_tells_sides_apart(tiny):
    """A network for any size has the same weights at each."""
    cfg, other = (tiny(f"train.resize_px={side}") for side in (32, 64))
    source, model = build(cfg.dataset).source(None, np.random.default_rng(0)), torch.nn.Linear(2, 2)
    keys = {features_key(c, source, [torch.zeros(3, 1)], model, torch.device("cpu")) for c in (cfg, other, cfg)}
    assert len(keys) == 2


@pytest.mark.parametrize(
    "options, reason",
    [
        (["train.augment.crop_px=1"], "augmentation changes them"),
        (["train.augment.policy=cifar10"], "augmentation changes them"),
        (["split.val_augment=true"], "augmentation changes them"),
        (["attack.eps=[0.1]"], "attacks change the inputs"),
        (["method=a_rrm"], "attacks change the inputs"),
        (["method=at"], "attacks change the inputs"),
        (["split.train_samples=100"], "rows would cost more than 1 epoch(s) of 6"),
    ],
)
def test_off_with_a_line_where_features_change_or_cost_more(tiny, caplog, passes, options, reason):
    with caplog.at_level(logging.INFO, "lilawbench"):
        run(tiny(*PROBE, "train.epochs=1", "split.train_samples=null", *options))
    assert "frozen features are not cached: " in caplog.text and reason in caplog.text
    assert not passes


def test_off_for_a_network_that_cannot_be_cut(composed, caplog):
    with caplog.at_level(logging.INFO, "lilawbench"):
        run(composed("model=lstm", "model.hidden=8", "train.finetune=linear_probe", "train.epochs=1"))
    assert "model=lstm cannot be cut before its last two layers" in caplog.text


def test_resumed_on_the_file(tiny, passes):
    """A second run of the command after a break reads the file."""
    first = run(tiny(*PROBE)).folder
    result = read_json(first / "result.json")
    (first / "result.json").unlink()
    (first / "checkpoint.pt").unlink()
    again = run(tiny(*PROBE)).result
    assert len(passes) == 1 and again["last.test_loss"] == result["last.test_loss"]


def test_one_of_several_writers_computes(tmp_path):
    made, tables = [], []

    def compute():
        made.append(1)
        time.sleep(0.2)
        yield torch.arange(6.0).view(2, 3)
        yield torch.full((1, 3), 9.0)

    def work():
        tables.append(stored(tmp_path / "deep" / "table.npy", 3, compute))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(tables) == 4
    expected = torch.tensor([[0.0, 1, 2], [3, 4, 5], [9, 9, 9]])
    assert all(torch.equal(table, expected) for table in tables)
    assert not list((tmp_path / "deep").glob("*.part"))


def test_a_writer_that_dies_leaves_no_table(tmp_path):
    def broken():
        yield torch.zeros(1, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path / "table.npy", 2, broken)
    assert not (tmp_path / "table.npy").exists()
    assert torch.equal(stored(tmp_path / "table.npy", 2, lambda: [torch.ones(2, 2)]), torch.ones(2, 2))


def test_the_table_stays_on_disk_and_rows_are_those_of_the_split(tmp_path):
    table = stored(tmp_path / "table.npy", 4, lambda: [torch.arange(8.0).view(4, 2)])
    data = Features(table, torch.tensor([3, 1]), torch.tensor([7, 8]))
    assert data.input.data_ptr() == table.data_ptr()
    batch = data.batch(torch.tensor([1, 0]))
    assert batch.input.tolist() == [[2.0, 3.0], [6.0, 7.0]] and batch.target.tolist() == [8, 7]
    assert [b.index.tolist() for b in data.in_order()] == [[0, 1]] and data.normalised() is data
