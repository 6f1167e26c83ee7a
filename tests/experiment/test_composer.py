"""What is composed quickly is what Hydra composes, to the last value and name."""

import json
import os

import pytest

from lilawbench.config import CONF, compose, plain
from lilawbench.experiment import composer as module
from lilawbench.experiment.composer import composer
from lilawbench.experiment.plan import plan
from lilawbench.experiment.products import expanded
from lilawbench.record.identity import run_folder

OWN = """# @package _global_
defaults:
  - {entry}
  - _self_
experiment_name: own
train: {{lr: 1, augment: {{flip: true}}}}
"""
MANY = [
    pytest.param([f"{path.parent.relative_to(CONF)}={path.stem}"], marks=[] if number % 72 == 0 else pytest.mark.slow)
    for number, path in enumerate(sorted(CONF.glob("*/*.yaml")))
]


def same(cfg, hydras):
    """Equal with equal types: 1 is not 1.0, and the hash of a run tells them apart; tables expanded."""
    hydras = plain(hydras)
    hydras["table"] = expanded(hydras.table)
    return json.dumps(cfg, sort_keys=True) == json.dumps(hydras, sort_keys=True)


def quick(overrides):
    with composer() as composed:
        return composed.plain(overrides)


@pytest.fixture
def no_hydra(monkeypatch):
    """Fails where a plan leaves a config to Hydra that it should read by itself."""
    monkeypatch.setattr(module, "compose", lambda *given, **how: pytest.fail(f"left to Hydra: {given}"))


@pytest.mark.every(2)
@pytest.mark.parametrize("overrides", MANY)
def test_every_file_of_every_group(overrides, no_hydra):
    assert same(quick(overrides), compose(*overrides))


@pytest.mark.every(4)
@pytest.mark.parametrize(
    "overrides",
    [
        ["dataset=adult", "method=focal", "seed=3", "train.lr=1"],  # a float by its type
        ["method=focal", "loss=gce", "noise.rate=1", "loss.q=1"],  # whole numbers by theirs
        ["method=rrm", "noise=symmetric_inclusive", "method.contamination=${noise.rate}", "noise.rate=0.3"],
        ["method=dynamic_loss", "dataset=mnist_m", 'method.num_bins="${case:${dataset.name},{mnist_m:50},100}"'],
        ["experiment=league_smoke", "method=pes", 'method.late_epoch="${share:${train.epochs},0.5}"', "train.epochs=9"],
        ["noise=asymmetric", "noise.pairs={9:1,2:0}", "model.hidden=[1,2]", "train.device='cpu'", "loss=ce"],
        ["experiment=digits", "experiment_name=x", "dataset=mnist_m", "paths.output_dir=a/b c", "train.threads=null"],
        ["launcher=joblib", "launcher.processes=2", "debug=fast", "logger=wandb"],
        ["experiment=digits", "train.milestones_epochs=[1,2]", "attack.eps=[1,0.5]", "table.only=[CE]"],
    ],
)
def test_values_of_all_kinds(overrides, no_hydra):
    cfg, hydras = quick(overrides), compose(*overrides)
    assert same(cfg, hydras) and run_folder(cfg) == run_folder(hydras)


@pytest.mark.every(4)
@pytest.mark.parametrize(
    "overrides",
    [
        ["+model.extra=3", "~model.dropout"],
        ["train.augment={flip:true,crop_px:2}", "train.lr=1"],  # merged into what is there
        pytest.param(["train.milestones_epochs=[1,2]", "train.batch_size=${train.epochs}"], marks=pytest.mark.slow),
        pytest.param(["dataset=adult", 'dataset.name="${oc.select:loss.name}"'], marks=pytest.mark.slow),
        [
            "dataset=adult",
            "noise=symmetric",
            "method=rrm",
            'method.contamination="${noise.${loss.name}}"',
            "+noise.ce=1",
        ],
        ["launcher=slurm", "hydra.launcher.name=x"],
    ],
)
def test_what_is_left_to_hydra(overrides):
    assert same(quick(overrides), compose(*overrides))


@pytest.mark.parametrize(
    "entry",
    [
        "override /method: lilaw",
        pytest.param("override /method@loss: ce", marks=pytest.mark.slow),
        "/model@method: cnn",
    ],
)
def test_a_further_folder_is_searched_and_its_strange_files_left_to_hydra(entry, tmp_path):
    """The first entry is in a wrong place of its list, which Hydra refuses, and so does a plan, in its words."""
    from hydra.errors import HydraException

    (tmp_path / "experiment").mkdir()
    path = tmp_path / "experiment" / "own.yaml"
    path.write_text(OWN.format(entry=entry))
    with composer([tmp_path]) as composed:
        try:
            expected = composed._hydra(["experiment=own"])
        except HydraException:
            with pytest.raises(HydraException):
                composed.plain(["experiment=own"])
        else:
            assert same(composed.plain(["experiment=own"]), expected)
    path.write_text(OWN.format(entry="digits"))
    os.utime(path, ns=(1, 1))  # a file that has changed is read again
    with composer([tmp_path]) as composed:
        cfg = composed.plain(["experiment=own"])
        assert same(cfg, composed._hydra(["experiment=own"]))
        assert (cfg.train.lr, cfg.train.augment.flip, cfg.experiment_name) == (1.0, True, "own")


@pytest.mark.slow
@pytest.mark.parametrize(
    "experiment", ["dynamic_loss_table3_smoke", pytest.param("rrm_table4", marks=pytest.mark.slow)]
)
def test_the_runs_of_a_table(experiment, monkeypatch):
    """A plan's own config has a hydra block, which Hydra alone can make; its runs have none."""
    real = module.compose

    def with_its_block_alone(*given, return_hydra_config):
        assert return_hydra_config, given
        return real(*given, return_hydra_config=True)

    monkeypatch.setattr(module, "compose", with_its_block_alone)
    planned = plan([f"experiment={experiment}"])
    for run in planned.runs[:: max(1, len(planned.runs) // 3)]:
        hydras = compose(*run.overrides)
        assert same(run.cfg, hydras) and run.folder == run_folder(hydras)
