"""The commands of the READMEs run: an epoch of their first two runs, on small stand-ins of the data."""

import copy
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from lilawbench import train
from lilawbench.config import CONF, build, plain
from lilawbench.datasets.base import Source
from lilawbench.datasets.digits import Digits
from lilawbench.datasets.text import Text
from lilawbench.datasets.text_zips import ZippedTexts
from lilawbench.noise.human import Human

# data set -> shape of a sample, outputs, task; classes that the command keeps are kept of these
SMALL = {"vit": {"depth": 2, "embed_dim": 12, "num_heads": 2}, "resnet": {"channels": [8, 8, 16, 16]}}  # options
STAND_INS = {
    "mnist": ((1, 28, 28), 10, "multiclass"),
    "fashion_mnist": ((1, 28, 28), 10, "multiclass"),
    "cifar10": ((3, 32, 32), 10, "multiclass"),
    "cifar10n": ((3, 32, 32), 10, "multiclass"),
    "cifar100_m": ((3, 32, 32), 100, "multiclass"),
    "adult": ((105,), 2, "binary"),
    "medmnist": ((1, 28, 28), 2, "binary"),
    "ecg5000": ((140, 1), 5, "multiclass"),
    "emotions": ((72,), 6, "multilabel"),
    "energy": ((8,), 1, "regression"),
}
STAND_INS |= {f"{name}_m": STAND_INS[name] for name in ("mnist", "fashion_mnist")}
# Scripts that take long, or a network: the test that runs them in small.
ELSEWHERE = {
    "bad_values.py": "test_bad_values.py",
    "bench.py": "test_bench.py",
    "check_gpu.py": "test_check_gpu.py",
    "same_runs.py": "test_same_runs.py",
    "prepare_data.py": "datasets/test_prepare_data.py",
}


def stand_in(shape: tuple[int, ...], outputs: int, task: str) -> Source:
    draw = np.random.default_rng(0)

    def part(rows: int) -> tuple[torch.Tensor, np.ndarray]:
        if len(shape) == 3:
            input = torch.from_numpy(draw.integers(0, 256, (rows, *shape), dtype=np.uint8))
        else:
            input = torch.from_numpy(draw.normal(size=(rows, *shape)).astype(np.float32))
        if task == "multilabel":
            return input, draw.integers(0, 2, (rows, outputs))
        if task == "regression":
            return input, draw.normal(size=rows).astype(np.float32)
        return input, np.arange(rows) % outputs

    rows = max(120, 2 * outputs)
    (train_input, train_clean), (test_input, test_clean) = part(rows), part(40)
    source = Source(train_input, train_clean, test_input, test_clean, tuple(map(str, range(outputs))), clean_known=True)
    if len(shape) == 3:
        return replace(source, mean=(0.5,) * shape[0], std=(0.5,) * shape[0])
    return source


def small(cfg, monkeypatch):
    """The config of a short run, and a stand-in where its data are not part of a library or of the command's own."""
    cfg = copy.deepcopy(plain(cfg))
    kind = type(build(cfg.dataset))
    name = "cifar10" if str(cfg.dataset.get("path", "")).startswith("cifar10-subset") else cfg.dataset.name
    if name in STAND_INS:
        source = stand_in(*STAND_INS[name])
        if kind.official_val:
            source = replace(source, val_input=source.train_input, val_clean=source.train_clean)
        monkeypatch.setattr(kind, "load", lambda self, data_dir=None: source)
    if issubclass(kind, ZippedTexts):
        reviews = Text("reviews.csv", text="review", label="stars")
        monkeypatch.setattr(kind, "load", lambda self, data_dir=None: reviews.load(data_dir))
    cfg.split["train_samples"] = 128 if kind is Digits else None
    cfg.train.update(epochs=1, batch_size=16, threads=1, precision="fp32", resize_px=cfg.train.resize_px and 32)
    if cfg.detect.epochs:  # of an epoch there is no third one
        cfg.detect["epochs"] = cfg.probe["suspects"]["epochs"] = [1]
    if cfg.dataset.get("imbalance"):
        cfg.dataset["imbalance"] = 2  # of classes of a dozen rows
    if "num_bins" in cfg.method:
        cfg.method["num_bins"] = 2
    if cfg.noise.name == "human":  # they are of CIFAR's own rows
        monkeypatch.setattr(Human, "__call__", lambda self, clean, *_, **__: clean * (np.arange(len(clean)) % 5 > 0))
    if "blocks" in cfg.model:
        cfg.model["blocks"] = [1, 1, 1, 1]
        monkeypatch.setattr("lilawbench.models.preact_resnet.WIDTHS", (8, 8, 16, 16))
    if "architecture" in cfg.model:
        family = cfg.model["architecture"].split("_")[0].rstrip("0123456789")
        cfg.model["pretrained"] = False
        cfg.model["architecture"] = cfg.model["architecture"].split(".")[0]
        cfg.model["options"] = SMALL.get(family, {})
    return cfg


@pytest.fixture
def runs_small(monkeypatch):
    run = train.run
    monkeypatch.setattr(train, "run", lambda cfg: run(small(cfg, monkeypatch)))

    def launch(planned, attempt, *_):
        return [attempt(small(run.cfg, monkeypatch)) for run in planned.runs[:2]]

    monkeypatch.setattr(train, "launch", launch)


def called(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def done(tmp_path_factory):
    return tmp_path_factory.mktemp("done")


@pytest.fixture
def trained(done, command_line, runs_small):
    """trained(*arguments) leaves what this command trains in outputs/; it is done once."""

    def call(*arguments: str) -> None:
        kept = done / re.sub(r"\W+", "_", " ".join(arguments))
        if not kept.exists():
            command_line(*arguments)
            shutil.copytree("outputs", kept)
        shutil.copytree(kept, "outputs", dirs_exist_ok=True)

    return call


@pytest.mark.slow
def test_it_runs(command, small_files, command_line, trained):
    words = command.words
    if "lilawbench.train" in words:
        arguments = words[words.index("lilawbench.train") + 1 :]
        if words[0] == "torchrun":
            options = words[1 : words.index("-m")]
            called("-m", "torch.distributed.run", *options, "-m", "lilawbench.train", *arguments, "train.epochs=1")
        else:
            command_line(*arguments)
        asked = {"--help", "--cfg", "--version", "--dry-run"} & set(arguments)
        assert asked or list(Path("outputs").rglob("result.json"))
    elif words[0] == "python" and words[1].startswith("scripts/"):
        script = Path(words[1]).name
        if script in ELSEWHERE:
            assert (CONF.parent / "tests" / ELSEWHERE[script]).exists()
        elif "--metric" in words:
            pytest.skip("names a group that no data at hand have")
        else:
            trained("experiment=digits", "seed=0")
            (first, *_) = Path("outputs/digits").glob("digits-*")
            Path("RUN_FOLDER").symlink_to(first)
            called(str(CONF.parent / words[1]), *words[2:])
    elif words[:3] == ["python", "-m", "lilawbench.suspects"]:
        table = ["dataset=table", "dataset.path=patients.csv", "dataset.label=diagnosis"]
        trained(*table)
        assert "labels are probably wrong" in called(*words[1:])
    elif words[:3] == ["python", "-m", "lilawbench.predict"]:
        trained("dataset=table", "dataset.path=patients.csv", "dataset.label=diagnosis")
        (first,) = Path("outputs/default").glob("table-*")
        Path("RUN_FOLDER").symlink_to(first)
        Path("new.csv").write_text(Path("patients.csv").read_text())
        if "--export" in words and find_spec("onnxscript") is None:
            pytest.skip("onnxscript is not installed")
        said = called(*words[1:])
        assert ("90 rows" in said) == ("--data" in words)
    else:
        pytest.skip("test_commands.py does all that can be done")
