"""Which runs a command asks for, and that they are the ones Hydra would compose."""

import pytest

from lilawbench.config import compose
from lilawbench.experiment.plan import plan
from lilawbench.record.identity import run_folder
from lilawbench.support.errors import ConfigError

EXPERIMENT = """# @package _global_
defaults:
  - override /dataset: digits
experiment_name: tiny
table:
  rows:
    CE: [method=ce]
    LiLAW: [method=lilaw, method.lr=0.01]
    RRM: [method=rrm]
  columns:
    20 %: [noise=symmetric, noise.rate=0.2]
    clean: [noise=none]
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      seed: 0,1
"""


@pytest.fixture
def conf_dir(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "tiny.yaml").write_text(EXPERIMENT)
    (tmp_path / "experiment" / "twins.yaml").write_text(TWINS)
    return str(tmp_path)


def cells(planned):
    return [(run.row, run.column, run.seed) for run in planned.runs]


def test_a_table_is_rows_by_columns_by_seeds_and_a_seed_is_whole_before_the_next(conf_dir):
    planned = plan(["experiment=tiny"], conf_dir)
    names = [(row, column) for column in ("20 %", "clean") for row in ("CE", "LiLAW", "RRM")]
    assert cells(planned) == [(*name, seed) for seed in (0, 1) for name in names]
    assert planned.name == "tiny" and planned.cfg.hydra.mode.name == "MULTIRUN" and "hydra" not in planned.runs[0].cfg
    assert [planned.runs[1].cfg.method.lr, planned.runs[1].cfg.noise.rate] == [0.01, 0.2]
    assert planned.runs[3].cfg.noise.name == "none"


@pytest.mark.every(2)
@pytest.mark.parametrize(
    "given, kept",
    [
        pytest.param(["noise=symmetric"], [("CE", "20 %"), ("LiLAW", "20 %"), ("RRM", "20 %")], marks=pytest.mark.slow),
        pytest.param(["method=lilaw", "noise=none"], [("LiLAW", "clean")], marks=pytest.mark.slow),
        (["method=lilaw,rrm", "noise=none"], [("LiLAW", "clean"), ("RRM", "clean")]),
        (["table.only=[RRM,clean]"], [("RRM", "clean")]),
    ],
)
def test_what_is_given_keeps_the_rows_and_columns_that_agree(conf_dir, given, kept):
    assert cells(plan(["experiment=tiny", "seed=7", *given], conf_dir)) == [(*cell, 7) for cell in kept]


TWINS = """# @package _global_
defaults:
  - override /dataset: digits
table:
  rows:
    LiLAW: [method=lilaw]
    frozen: [method=lilaw, method.lr=0]
  columns:
    all: [noise.rate=0.2]
    clean: [noise.rate=0.2, split.val_labels=clean]
"""


@pytest.mark.parametrize(
    "given, kept",
    [
        ([], {"LiLAW, all", "frozen, all", "LiLAW, clean", "frozen, clean"}),
        (["method.lr=0"], {"frozen, all", "frozen, clean"}),
        (["split.val_labels=clean"], {"LiLAW, clean", "frozen, clean"}),
        (["method.lr=0", "split.val_labels=clean"], {"frozen, clean"}),
        (["split.val_labels=observed"], {"LiLAW, all", "frozen, all"}),
        (["method.lr=0.01", "split.val_labels=observed"], {"LiLAW, all"}),
        (["method.lr=0,0.01", "split.val_labels=observed"], {"LiLAW, all", "frozen, all"}),
    ],
)
def test_no_cell_has_the_runs_of_another_under_its_name(conf_dir, given, kept):
    """An option that one row or column sets, and that another leaves at its default, tells the two apart."""
    planned = plan(["experiment=twins", "method=lilaw", "seed=7", *given], conf_dir)
    assert {f"{run.row}, {run.column}" for run in planned.runs} == kept
    assert len(planned.cells) == len(planned.runs)
    for run in planned.runs:
        assert (run.cfg.method.lr == 0) == ("frozen" in run.row)
        assert (run.cfg.split.val_labels == "clean") == (run.column == "clean")


def test_what_keeps_nothing_says_what_there_is(conf_dir):
    with pytest.raises(ConfigError, match=r"method=focal: none of the table's rows sets this \(CE: method=ce; LiLAW: "):
        plan(["experiment=tiny", "method=focal"], conf_dir)


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["method=ce,lilaw", "noise.rate=0,0.4", "seed=3", "train.epochs=2"], marks=pytest.mark.slow),
        ["dataset=digits,adult", "loss=focal", "train.augment.flip=true"],
        pytest.param(["experiment=digits"], marks=pytest.mark.slow),
    ],
)
def test_runs_are_those_that_hydra_composes(overrides):
    for run in plan(overrides).runs:
        assert run_folder(compose(*run.overrides)) == run.folder


@pytest.mark.parametrize("swept", [["method=ce,lilaw", "seed=0,1"], ["seed=0,1", "method=ce,lilaw"]])
def test_a_sweep_without_a_table_gives_every_cell_its_first_seed_first(swept):
    planned = plan([*swept, "noise.rate=0,0.4"])
    assert [(run.seed, run.cfg.method.name, run.cfg.noise.rate) for run in planned.runs] == [
        (seed, method, rate) for seed in (0, 1) for method in ("ce", "lilaw") for rate in (0, 0.4)
    ]
    assert planned.name == "default"


def test_what_makes_a_plan_another_than_the_experiments():
    own = ["paths.output_dir=there", "sweep.redo=true", "launcher=joblib"]
    assert plan(["experiment=digits", *own]).asked == []
    assert plan(["experiment=digits", *own, "seed=0,1", "noise.rate=0.2"]).asked == ["seed=0,1", "noise.rate=0.2"]


def test_its_command_means_the_same_runs(tmp_path):
    """An experiment need not be a sweep: -m is for one that is not."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "shared.yaml").write_text("# @package _global_\ntrain: {epochs: 2}\n")
    for given, mode in ((["experiment=shared", "seed=0,1"], " -m "), (["experiment=digits", "seed=0,1"], " ")):
        command = plan(given, str(tmp_path)).command
        assert command.startswith(f"python -m lilawbench.train{mode}") and command.endswith(" ".join(given))


@pytest.mark.slow
def test_the_command_line_outdoes_the_experiment():
    assert {run.seed for run in plan(["experiment=digits", "seed=5,6"]).runs} == {5, 6}
    assert len(plan(["experiment=digits", "seed=range(0,3)", "method=rrm"]).runs) == 3


def test_an_option_of_swept_choices_alone():
    """Hydra's sweeper would compose it once without the choices, and refuse."""
    planned = plan(["method=at,a_rrm", "method.fgsm.eps=0.1"])
    assert [run.cfg.method.fgsm.eps for run in planned.runs] == [0.1, 0.1]


def test_equal_runs_are_one():
    assert len(plan(["noise.rate=0.4,0.40", "seed=0,0"]).runs) == 1


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["experiment=digitz"], "experiment=digitz does not exist; did you mean digits?"),
        (["method=ce,lilau"], "method=lilau does not exist; did you mean lilaw?"),
        (["noise.rat=0.1,0.2"], "noise.rat is not an option of symmetric; did you mean rate?"),
        (["train.epochs=many"], "train.epochs is many (text); it must be a whole number"),
        (["seed=0,"], "seed=0,"),
        (["experiment=digits,league"], "a command does one experiment; give each a command of its own"),
    ],
)
def test_bad_input(overrides, message):
    with pytest.raises(ConfigError) as refused:
        plan(overrides)
    assert message in str(refused.value)
