"""Shared by all tests: composed configs, small fast runs, and where real data lie."""

import copy
import errno
import functools
import gc
import logging
import os
from collections import Counter
from dataclasses import is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lilawbench.config import CONF, compose, to_dict
from lilawbench.engine.context import make_context
from lilawbench.experiment import composer
from lilawbench.experiment.defaults import TYPES, Unsupported, raw
from lilawbench.loading.resident import Resident
from lilawbench.schema import Config, Train
from lilawbench.support.hydra_private import apply_values


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is imported and collected stays: looking through it for garbage, then and in each test, takes seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure():
    gc.unfreeze()  # else Triton's bindings call what is left at the end a leak


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Of a function marked every(n) the cases 0, n, 2n ... are default tests, the others are slow."""
    seen = Counter()
    for item in items:
        if every := item.get_closest_marker("every"):
            function = item.nodeid.partition("[")[0]
            if seen[function] % every.args[0]:
                item.add_marker("slow")
            seen[function] += 1


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_real_services(monkeypatch):
    """No test talks to W&B, whatever the developer's environment says."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


@pytest.fixture(autouse=True)
def as_wide_as_a_pipe(monkeypatch):
    """A worker of pytest-xdist has COLUMNS=80; reports wrap their lines by it."""
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(autouse=True)
def quiet_log():
    """Messages reach caplog only; no handler of one test outlives it."""
    log = logging.getLogger("lilawbench")
    handlers = list(log.handlers)
    log.propagate = True
    yield
    log.handlers[:] = handlers
    log.propagate = True  # pytest hears a logger that does not propagate by itself, and then twice


@pytest.fixture(autouse=True, scope="session")
def composed_once():
    """What Hydra composes of the package's own files is kept, by folder: it takes most of the time of a plan."""
    hydra, known = composer.compose, {}

    def compose_once(name, overrides, **options):
        if any("searchpath" in override for override in overrides):
            return hydra(name, overrides, **options)
        key = (os.getcwd(), name, *overrides, *options.items())
        if key not in known:
            known[key] = hydra(name, overrides, **options)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composer, "compose", compose_once)
        yield


@functools.cache
def chosen(groups: tuple[tuple[str, str], ...]) -> DictConfig:
    """The config of these choices of groups, as the package reads their files: Hydra takes ten times as long."""
    try:
        tree = raw(dict(groups))
    except Unsupported:
        return compose(*map("=".join, groups))
    if not groups:
        cfg = OmegaConf.merge(OmegaConf.structured(Config), to_dict(tree))
        OmegaConf.set_struct(cfg, True)
        return cfg
    cfg, usual = copy.deepcopy(chosen(())), raw({})
    for name, block in to_dict(tree).items():
        if repr(block) != repr(to_dict(usual[name])):
            kind = TYPES[name]
            cfg[name] = OmegaConf.merge(OmegaConf.structured(kind), block) if is_dataclass(kind) else block
    return cfg


@pytest.fixture(scope="session")
def composing():
    """`compose`, in a tenth of its time (compared with it in test_config.py and experiment/test_composer.py)."""

    def make(*overrides: str):
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        groups = [override for override in parsed if (CONF / override.key_or_group).is_dir()]
        if not all(override.is_add() is False and isinstance(override.value(), str) for override in groups):
            return compose(*overrides)
        cfg = copy.deepcopy(chosen(tuple((override.key_or_group, override.value()) for override in groups)))
        apply_values([override for override in parsed if override not in groups], cfg)
        return cfg

    return make


@pytest.fixture
def composed(composing, tmp_path):
    """composed("method=lilaw", ...) -> config of a run in a temporary folder."""

    def make(*overrides: str):
        return composing(f"paths.output_dir={tmp_path}/outputs", "train.threads=1", *overrides)

    return make


@pytest.fixture
def tiny(composed):
    """As `composed`, cut down to a fraction of a second: 128 digits, three epochs of four steps."""

    def make(*overrides: str):
        return composed(
            "split.train_samples=128", "train.epochs=3", "train.batch_size=32", "model.hidden=[16]", *overrides
        )

    return make


METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
# Nothing in these methods' checkpoints is missing from those of the method before the colon (test_contract.py), so
# what takes long and looks for lost state does that one alone.
LIKE = {
    "ce": ["at", "cdr", "focal", "gjs", "mixup", "tau_norm", "wann"],
    "rrm": ["a_rrm"],
    "dynamic_loss": ["dynamic_loss_lt"],
    "co_teaching": ["co_teaching_plus", "jocor"],
    "dividemix_rrm": ["dividemix"],
    "promix_rrm": ["promix"],
    "sop_plus": ["sop"],
}


def pytest_generate_tests(metafunc):
    """`method_of_each_state` is one method of each kind of state, `alike` a pair of two that have the same."""
    pairs = [(kept, other) for kept, others in LIKE.items() for other in others]
    if "method_of_each_state" in metafunc.fixturenames:
        others = {other for _, other in pairs}
        metafunc.parametrize("method_of_each_state", [name for name in METHODS if name not in others])
    if "alike" in metafunc.fixturenames:
        metafunc.parametrize("alike", pairs, ids="-".join)


PROMIX = ["method.warmup_epochs=1", "method.ramp_epochs=2", "method.guess_after_epochs=2", "method.tau=0.3"]


@pytest.fixture(scope="session")
def acting():
    """acting("rrm") -> options with which a method does on a few rows and epochs what it does on many."""
    options = {
        "rrm": ["method.reweight_every_epochs=1"],
        "a_rrm": ["method.reweight_every_epochs=1"],
        "dynamic_loss": ["method.num_bins=4", "method.warmup_epochs=1"],
        "dynamic_loss_lt": ["method.num_bins=4", "method.warmup_epochs=1"],
        "cdr": ["method.warmup_epochs=1"],
        "co_teaching": ["method.ramp_epochs=1"],
        "co_teaching_plus": ["method.ramp_epochs=1", "method.init_epochs=1"],
        "jocor": ["method.ramp_epochs=1"],
        "promix": PROMIX,
        "promix_rrm": [*PROMIX, "method.rrm.reweight_every_epochs=1"],
        "dividemix": ["method.warmup_epochs=1"],
        "dividemix_rrm": ["method.warmup_epochs=1", "method.rrm.reweight_every_epochs=1"],
        "pes": ["method.warmup_epochs=1"],
        "disc": ["method.warmup_epochs=1", "method.momentum=0.5"],
        "clean_first": ["method.folds=2"],
    }
    return lambda method: [f"method={method}", *options.get(method, [])]


@pytest.fixture(scope="session")
def context():
    """context(network, rows) -> Context as a run has it, of three classes, plain SGD and batches of six."""

    def make(*networks, rows=None, val=None, num_classes=3, views=("weak",), **options):
        rows = Resident(torch.zeros(12, 1), torch.arange(12) % 3) if rows is None else rows
        plain = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0, "batch_size": 6}
        return make_context(networks, rows, val, num_classes=num_classes, options=Train(**plain | options), views=views)

    return make


@pytest.fixture
def no_layout(monkeypatch):
    """Pictures without a layout, which takes most of their time: for tests of what is plotted, or where."""
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda *_: None)


@pytest.fixture(scope="session")
def data_dir():
    """Folder of real data sets (LILAWBENCH_DATA)."""
    folder = os.environ.get("LILAWBENCH_DATA")
    if not folder:
        pytest.skip("LILAWBENCH_DATA is not set: no real data files")
    return Path(folder)


@pytest.fixture
def no_space(monkeypatch):
    """no_space(NAME, after=0): files whose names begin so cannot be written after that many more times: the disk is
    full; no_space("") makes room again."""
    real, now = os.fsync, {"name": "", "after": 0}

    def fsync(fd):
        if now["name"] and Path(os.readlink(f"/proc/self/fd/{fd}")).name.startswith(now["name"]):
            now["after"] -= 1
            if now["after"] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    return lambda name, after=0: now.update(name=name, after=after)


@pytest.fixture
def stable(monkeypatch):
    """cleanlab with ties in the order of rows: NumPy's own order of them depends on the machine."""
    sort = np.argsort
    monkeypatch.setattr(np, "argsort", lambda values, axis=-1, kind=None: sort(values, axis, kind="stable"))
