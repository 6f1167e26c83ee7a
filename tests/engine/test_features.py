"""A probe on cached features: the same numbers, one pass for a sweep, and off where features change."""

import logging
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lilawbench import methods as methods_package
from lilawbench.config import build
from lilawbench.engine import features
from lilawbench.engine.features import Features, features_key, stored
from lilawbench.engine.scaling import scaled_for
from lilawbench.record.writer import read_json
from lilawbench.support.errors import DataError
from lilawbench.train import run

PROBE = ["train.finetune=linear_probe", "model.hidden=[24,16,12]", "split.train_samples=300", "train.batch_size=100"]


@pytest.fixture
def passes(monkeypatch):
    """The frozen passes that are made: one entry each."""
    made, compute = [], features._computed
    monkeypatch.setattr(features, "_computed", lambda *args: made.append(1) or compute(*args))
    return made


def agree(one, other):
    """All measures of two runs, to 1e-5."""
    keys = [key for key in other.result if key.endswith(("_loss", "_accuracy")) and other.result[key] is not None]
    assert len(keys) > 6
    for key in keys:
        assert one.result[key] == pytest.approx(other.result[key], abs=1e-5), key


@pytest.mark.parametrize(
    "method", ["lilaw", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rrm", "dynamic_loss"))]
)
def test_same_numbers_as_without(tiny, acting, passes, method):
    """Dropout before the head draws the same masks."""
    same_with_and_without(tiny, passes, [*PROBE, *acting(method), "model.dropout=0.2"])


def test_same_numbers_of_a_head_alone(tiny, passes):
    same_with_and_without(tiny, passes, [*PROBE, "train.finetune=head"])


def same_with_and_without(tiny, passes, options):
    cached, plain = (run(tiny(*options, f"train.cache_features={cache}")) for cache in ("true", "false"))
    assert len(passes) == 1
    agree(cached, plain)
    one, other = (torch.load(r.folder / "checkpoint.pt", weights_only=True)["model"] for r in (cached, plain))
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "method",
    ["co_teaching", *(pytest.param(m, marks=pytest.mark.slow) for m in ("jocor", "dividemix", "elr_plus", "promix"))],
)
def test_same_numbers_with_two_networks(tiny, acting, passes, method):
    """Two heads on one trunk. What mixes rows mixes inputs, with or without a cache: it has none."""
    options = [*PROBE, *acting(method)]
    cached, plain = (run(tiny(*options, f"train.cache_features={cache}")) for cache in ("true", "false"))
    assert len(passes) == (method in ("co_teaching", "jocor"))
    agree(cached, plain)


@pytest.mark.parametrize(
    "options",
    [
        ["train.balanced_samples=60", "method=lilaw"],
        ["train.precision=bf16"],
    ],
)
def test_same_numbers_with_rows_drawn_and_in_bf16(tiny, passes, options):
    cached, plain = (run(tiny(*PROBE, *options, f"train.cache_features={cache}")) for cache in ("true", "false"))
    assert len(passes) == 1
    agree(cached, plain)


def test_official_validation_rows_have_their_own_features(composed, data_dir, passes):
    """BreastMNIST's 546, 78 and 156 rows lie in the table in that order; the meta batches are of the 78."""
    options = [
        "dataset=medmnist", f"paths.data_dir={data_dir}", "model=cnn", "model.channels=[2,3,4]", "model.dense=6",
        "train.finetune=linear_probe", "method=lilaw", "train.epochs=2", "train.batch_size=182",
    ]  # fmt: skip
    cached, plain = (run(composed(*options, f"train.cache_features={cache}")) for cache in ("true", "false"))
    assert len(passes) == 1 and cached.result["num_val"] == 78
    agree(cached, plain)


@pytest.mark.slow
def test_one_file_for_methods_noises_and_splits_and_another_for_other_random_weights(tiny, passes, tmp_path):
    for options in (["method=ce"], ["method=lilaw", "noise.rate=0.2"], ["noise=none", "split.val_fraction=0.3"]):
        run(tiny(*PROBE, *options))
    assert len(passes) == 1
    run(tiny(*PROBE, "seed=1"))
    assert len(passes) == 2
    assert len(list((tmp_path / "outputs" / "features").glob("*.npy"))) == 2


@pytest.mark.slow
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
    sources = [scaled_for(c, source) for c in (cfg, other, cfg)]
    sources.append(replace(sources[0], interpolation="bicubic"))
    keys = {features_key(cfg, one, [torch.zeros(3, 1)], model, torch.device("cpu")) for one in sources}
    assert len(keys) == 3


@pytest.mark.parametrize(
    "options, reason",
    [
        (["train.augment.crop_px=1"], "augmentation changes them"),
        pytest.param(["train.augment.policy=cifar10"], "augmentation changes them", marks=pytest.mark.slow),
        (["split.val_augment=true"], "augmentation changes them"),
        (["attack.eps=[0.1]"], "attacks change the inputs"),
        pytest.param(["method=a_rrm"], "method=a_rrm changes the inputs", marks=pytest.mark.slow),
        (["method=at"], "method=at changes the inputs"),
        (["split.train_samples=100"], "rows would cost more than 1 epoch(s) of 6"),
    ],
)
def test_off_with_a_line_where_features_change_or_cost_more(tiny, caplog, passes, options, reason):
    with caplog.at_level(logging.INFO, "lilawbench"):
        run(tiny(*PROBE, "train.epochs=1", "split.train_samples=null", *options))
    assert "frozen features are not cached: " in caplog.text and reason in caplog.text
    assert not passes


def test_whatever_mixes_rows_says_so():
    """Else a cache would mix features in the place of inputs, without a word."""
    methods = Path(methods_package.__file__).parent.glob("*.py")
    texts = {path.stem: path.read_text(encoding="utf-8") for path in methods}
    mixing = {name for name, text in texts.items() if "methods.parts.mix" in text}
    assert mixing >= {"mixup", "dividemix", "pes", "promix", "elr_plus", "disc"}
    assert {name for name in mixing if "perturbs_inputs = True" not in texts[name]} == set()


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


@pytest.mark.slow
def test_a_change_of_the_frozen_code_is_noticed(tiny, passes, caplog, monkeypatch):
    """The weights are the same and the key too; the first row's features are not."""
    run(tiny(*PROBE))
    monkeypatch.setattr(torch.nn.ReLU, "forward", lambda self, input: input.abs())
    changed = run(tiny(*PROBE, "method=lilaw")).result
    assert len(passes) == 2 and "is damaged or from another version of the code" in caplog.text
    plain = run(tiny(*PROBE, "method=lilaw", "train.cache_features=false")).result
    assert changed["last.test_loss"] == pytest.approx(plain["last.test_loss"], abs=1e-5)


TABLE = torch.tensor([[0.0, 1, 2], [3, 4, 5], [9, 9, 9]])


def two_pieces():
    yield TABLE[:2]
    yield TABLE[2:]


def test_one_of_several_writers_computes(tmp_path, caplog):
    made, tables = [], []

    def compute():
        made.append(1)
        time.sleep(0.2)
        yield from two_pieces()

    def work():
        tables.append(stored(tmp_path / "deep" / "table.npy", 3, TABLE[:1], compute))

    threads = [threading.Thread(target=work) for _ in range(4)]
    with caplog.at_level(logging.INFO, "lilawbench"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(made) == 1 and len(tables) == 4
    assert all(torch.equal(table, TABLE) for table in tables)
    assert not list((tmp_path / "deep").glob("*.part*"))
    assert caplog.text.count("waiting for another process, which computes the frozen features") == 3


def test_a_writer_that_dies_leaves_no_table(tmp_path):
    def broken():
        yield TABLE[:1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path / "table.npy", 3, TABLE[:1], broken)
    assert not (tmp_path / "table.npy").exists()
    assert torch.equal(stored(tmp_path / "table.npy", 3, TABLE[:1], two_pieces), TABLE)


def damage(content: bytes) -> dict[str, bytes]:
    header, digest = len(content) - TABLE.numel() * 4 - 32, content[-32:]
    return {
        "cut off": content[:-1],
        "empty": b"",
        "no header": b"\0" * len(content),
        "never written": content[:header] + b"\0" * 36 + digest,
        "of fewer rows": content[: header - 60].replace(b"(3, 3)", b"(2, 3)") + content[header - 60 : -44] + digest,
        "of other features": content[:header] + (TABLE + 1).numpy().tobytes() + digest,
        "one bit": content[:-33] + bytes([content[-33] ^ 1]) + digest,
    }


@pytest.mark.parametrize("how", damage(bytes(196)))
def test_a_damaged_table_is_computed_anew(tmp_path, caplog, how):
    path = tmp_path / "table.npy"
    first = TABLE[:1] + 1e-4  # of other kernels: like the table's
    stored(path, 3, first, two_pieces)
    assert np.array_equal(np.load(path), TABLE)
    wrong = damage(path.read_bytes())[how]
    path.write_bytes(wrong)
    assert torch.equal(stored(path, 3, first, two_pieces), TABLE)
    assert "table.npy is damaged or from another version of the code" in caplog.text
    assert torch.equal(stored(path, 3, first, lambda: pytest.fail("it is whole again")), TABLE)


@pytest.mark.parametrize("there", [True, False])
def test_in_a_folder_of_another_user_what_is_there_is_read_and_else_memory_serves(tmp_path, monkeypatch, caplog, there):
    path = tmp_path / "table.npy"
    if there:
        stored(path, 3, TABLE[:1], two_pieces)

    def refused(self, **_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(features.FileLock, "acquire", refused)
    assert torch.equal(stored(path, 3, TABLE[:1], two_pieces), TABLE)
    assert path.exists() == there == ("stay in this process's memory" not in caplog.text)


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(features.os, "fsync", full)
    with pytest.raises(DataError, match=r"No space left on device\. It takes 0\.0 GB; .*train\.cache_features=false"):
        stored(tmp_path / "table.npy", 3, TABLE[:1], two_pieces)
    assert not list(tmp_path.glob("table.[np]*"))


WRITER = """
import sys, time; from pathlib import Path; import torch; from lilawbench.engine.features import stored
def compute():
    Path(sys.argv[1]).with_suffix(f".{sys.argv[2]}").touch()
    for row in range(100):
        time.sleep(float(sys.argv[3]))
        yield torch.full((1, 50_000), float(row))
print(stored(Path(sys.argv[1]), 100, torch.zeros(1, 50_000), compute).double().sum().item())
"""


def writer(path, name, seconds_per_row):
    command = [sys.executable, "-c", WRITER, str(path), name, str(seconds_per_row)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_of_two_processes_one_computes(tmp_path):
    path = tmp_path / "table.npy"
    processes = [writer(path, name, 0.01) for name in ("one", "two")]
    sums = [float(process.communicate(timeout=60)[0]) for process in processes]
    assert sums == [4950 * 50_000] * 2
    assert len([*tmp_path.glob("table.one"), *tmp_path.glob("table.two")]) == 1


@pytest.mark.slow
def test_a_killed_process_leaves_no_table_and_no_lock(tmp_path):
    path = tmp_path / "table.npy"
    process = writer(path, "one", 0.1)
    deadline = time.monotonic() + 60
    while sum(part.stat().st_size for part in tmp_path.glob("*.part-*")) < 1e6:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not path.exists()
    second = writer(path, "two", 0)
    assert float(second.communicate(timeout=60)[0]) == 4950 * 50_000
    assert np.load(path, mmap_mode="r").shape == (100, 50_000) and not list(tmp_path.glob("*.part-*"))


def test_the_table_stays_on_disk_and_rows_are_those_of_the_split(tmp_path):
    values = torch.arange(8.0).view(4, 2)
    table = stored(tmp_path / "table.npy", 4, values[:1], lambda: [values])
    data = Features(table, torch.tensor([3, 1]), torch.tensor([7, 8]))
    assert data.input.data_ptr() == table.data_ptr()
    batch = data.batch(torch.tensor([1, 0]))
    assert batch.input.tolist() == [[2.0, 3.0], [6.0, 7.0]] and batch.target.tolist() == [8, 7]
    assert [b.index.tolist() for b in data.in_order()] == [[0, 1]] and data.normalised() is data
