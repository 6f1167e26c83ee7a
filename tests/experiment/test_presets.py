"""preset=NAME: a method's settings for a data set, after the defaults and before what an experiment or a user sets."""

import json
import os

import pytest
from omegaconf import OmegaConf

import lilawbench
from lilawbench.config import CONF, check_keys
from lilawbench.experiment import composer as module
from lilawbench.experiment.command import completed, help_asked, read
from lilawbench.experiment.composer import composer
from lilawbench.experiment.plan import plan
from lilawbench.record.identity import run_name
from lilawbench.support.errors import ConfigError
from lilawbench.support.plain import to_plain

FILES = sorted(CONF.glob("preset/*/*.yaml"))
OWN = """# @package _global_
defaults:
  - override /model: cnn
  - _self_
method: {{gamma: {gamma}}}
train: {{epochs: 7, lr: 1}}
"""


@pytest.fixture
def mine(tmp_path):
    """A folder with presets of RRM (shop) and A-RRM, and an experiment that chooses its method."""
    for method, gamma in (("rrm", 0.25), ("a_rrm", 0.75)):
        (tmp_path / "preset" / method).mkdir(parents=True)
        (tmp_path / "preset" / method / "shop.yaml").write_text(OWN.format(gamma=gamma))
    (tmp_path / "preset" / "rrm" / "cafe.yaml").write_text("# @package _global_\nmethod: {mu: 0.1}\n")
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults: [override /method: rrm, _self_]\ntrain: {epochs: 9}\nexperiment_name: own\n"
    (tmp_path / "experiment" / "own.yaml").write_text(text)
    return tmp_path


@pytest.fixture
def compose(mine):
    with composer([mine]) as composed:
        yield composed


def values(cfg):
    return cfg.method.gamma, cfg.model.name, cfg.train.epochs, cfg.train.lr


WINS = pytest.mark.parametrize(
    "overrides, expected",
    [
        (["method=rrm", "preset=shop"], (0.25, "cnn", 7, 1.0)),
        (["method=a_rrm", "+preset=shop", "dataset=mnist_m"], (0.75, "cnn", 7, 1.0)),
        (["method=rrm", "preset=rrm/shop", "model=mlp", "method.gamma=2"], (2, "mlp", 7, 1.0)),
        (["experiment=own", "preset=shop"], (0.25, "cnn", 9, 1.0)),
        (["experiment=own", "preset=shop", "method=a_rrm", "train.epochs=1"], (0.75, "cnn", 1, 1.0)),
    ],
)


@WINS
def test_what_comes_later_wins(compose, overrides, expected, monkeypatch):
    monkeypatch.setattr(module, "compose", lambda *given, **how: pytest.fail(f"left to Hydra: {given}"))
    assert values(compose.plain(overrides)) == expected


@pytest.mark.slow
@WINS
def test_hydra_says_the_same_to_the_last_value(compose, overrides, expected):
    hydras = to_plain(OmegaConf.to_container(compose(overrides), resolve=True))
    assert values(hydras) == expected and json.dumps(hydras) == json.dumps(compose.plain(overrides))


@pytest.mark.parametrize(
    "preset, gamma",
    [
        ("'${dataset}'", 0.5),  # the data set's name
        ('"${case:${dataset},{digits:shop,mnist:cafe}}"', 0.25),
        ('"${case:${dataset},{mnist:cafe}}"', 0.4),  # none
    ],
)
def test_a_row_can_name_the_preset_by_the_data_of_its_column(compose, mine, preset, gamma):
    (mine / "preset" / "rrm" / "digits.yaml").write_text("# @package _global_\nmethod: {gamma: 0.5}\n")
    assert compose.plain(["method=rrm", f"preset={preset}"]).method.gamma == gamma


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_preset_composes(path):
    """Each sets something that there is, without Hydra's help, and neither data nor noise."""
    with composer() as compose:
        given, method = compose.plain([f"method={path.parent.name}", f"preset={path.stem}"]), path.parent.name
        plain = compose.plain([f"method={method}"])
        check_keys(given)
        assert given != plain
        assert (given.dataset, given.noise, given.seed) == (plain.dataset, plain.noise, plain.seed)
        assert "${noise" not in path.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES[::5], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_preset_is_the_same_by_hydra(path):
    overrides = [f"method={path.parent.name}", f"+preset={path.stem}"]
    hydras = OmegaConf.to_container(lilawbench.compose(*overrides), resolve=True)
    with composer() as compose:
        assert json.dumps(compose.plain(overrides)) == json.dumps(to_plain(hydras))


@pytest.mark.slow
def test_a_sweep_takes_each_methods_own(mine):
    """A plan's name of a run is that of the same values without a preset."""
    runs = plan(["method=rrm,a_rrm", "+preset=shop", "seed=0,1"], mine).runs
    assert [values(run.cfg)[0] for run in runs] == [0.25, 0.75, 0.25, 0.75]
    told = ["method=rrm", "model=cnn", "method.gamma=0.25", "train.epochs=7", "train.lr=1"]
    with composer() as compose:
        assert run_name(compose.plain(told)) == run_name(runs[0].cfg)
    with pytest.raises(ConfigError, match="method=a_rrm has no preset cafe; it has: shop"):
        plan(["method=rrm,a_rrm", "preset=cafe"], mine)
    swept = plan(["method=rrm", "preset=shop,cafe"], mine).runs
    assert [(run.cfg.method.mu, run.cfg.train.epochs) for run in swept] == [(0.5, 7), (0.1, 30)]


@pytest.mark.slow
def test_rows_of_a_table_choose_theirs(mine):
    """On a command line too, where the experiment's own method has none of that name."""
    rows = "table: {rows: {A: [method=rrm, preset=cafe], B: [method=a_rrm, +preset=shop], C: [method=ce]}}\n"
    (mine / "experiment" / "rows.yaml").write_text(f"# @package _global_\nexperiment_name: rows\n{rows}")
    runs = {run.row: run.cfg for run in plan(["experiment=rows"], mine).runs}
    assert (runs["A"].method.mu, runs["B"].method.gamma, runs["C"].train.epochs) == (0.1, 0.75, 30)
    only = plan(["experiment=rows", "table.only=[A,B]", "preset=shop"], mine).runs
    assert [run.row for run in only] == ["B"]


@pytest.mark.parametrize(
    "overrides, said",
    [
        (["method=a_rrm", "preset=shp"], "method=a_rrm has no preset shp; it has: shop"),
        (["method=a_rrm", "preset=cafe"], "method=a_rrm has no preset cafe; it has: shop"),
        (["method=lilaw", "+preset=shop"], "method=lilaw has no preset shop; it has none; "),
        (["method=rrm", "preset=a_rrm/shop"], "method=rrm has no preset a_rrm/shop; it has: cafe, "),
        (["method=rrm", "+preset="], "preset= lacks the name of a preset of method=rrm; it has: cafe, "),
        (["method=lilaw", "preset=''"], "preset= lacks the name of a preset of method=lilaw; it has none; "),
        (["method=rrm", "preset=[shop]"], "preset=[shop]: the name of a preset is expected, preset=NAME"),
    ],
)
def test_a_preset_that_the_method_has_not_is_refused_with_those_it_has(compose, overrides, said):
    with pytest.raises(ConfigError) as refused:
        compose.plain(overrides)
    assert said in str(refused.value)


def test_no_preset_is_the_default(compose):
    assert compose.plain(["method=rrm", "preset=null"]) == compose.plain(["method=rrm"])


def test_damaged_presets_are_named(mine, compose):
    path = mine / "preset" / "rrm" / "cafe.yaml"
    path.write_text("method: {")
    os.utime(path, ns=(1, 1))
    with pytest.raises(ConfigError, match=r"cafe\.yaml cannot be read"):
        compose.plain(["method=rrm", "preset=cafe"])


@pytest.mark.slow
def test_from_python(mine):
    cfg = lilawbench.compose("method=rrm", "+preset=shop", "train.lr=2", config_dir=mine)
    assert values(cfg) == (0.25, "cnn", 7, 2.0)
    assert lilawbench.compose("method=rrm", "+preset=null") == lilawbench.compose("method=rrm")
    with pytest.raises(ConfigError, match="method=rrm has no preset none_such"):
        lilawbench.compose("method=rrm", "preset=none_such", config_dir=mine)
    with pytest.raises(ConfigError, match="preset= lacks the name of a preset of method=rrm; it has: cafe, "):
        lilawbench.compose("method=rrm", "+preset=", config_dir=mine)


def test_help_and_tab_list_them(mine):
    assert "+preset of method=rrm: cafe, " in help_asked(read(["--config-dir", str(mine), "--help"]))
    assert completed("lilawbench method=rrm +preset=s", [mine]) == ["+preset=shop"]
    assert completed("lilawbench method=a_rrm preset=", [mine]) == ["preset=shop"]
    assert completed("lilawbench method=rrm +pres", [mine]) == ["+preset="]
    assert completed("lilawbench method=rrm preset=s ", [mine]) is None and completed("lilawbench mo", []) is None
