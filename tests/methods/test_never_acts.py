"""A run in which a method cannot act is told so, and no small experiment is one."""

import pytest
import torch

from lilawbench.config import bind, build
from lilawbench.experiment.plan import plan
from lilawbench.losses import ce
from lilawbench.losses.correction import ForwardCorrection
from lilawbench.methods.dividemix import DivideMix
from lilawbench.methods.dynamic_loss import DynamicLoss
from lilawbench.methods.lilaw import LiLAW
from lilawbench.methods.pes import PES
from lilawbench.methods.rrm import RRM
from lilawbench.methods.supervised import Supervised
from lilawbench.report.listing import SMOKE, experiments

EPOCHS, STEPS = 4, 3
NEVER = {
    "never re-weighted: method.reweight_every_epochs is 4, of 4 epochs": RRM(reweight_every_epochs=4),
    "never re-weighted: method.contamination is 0": RRM(reweight_every_epochs=1, contamination=0.0),
    "never corrected: method.warmup_epochs is 5, of 4 epochs": DynamicLoss(),
    "never corrected: method.corrector and method.margin are both off": DynamicLoss(
        warmup_epochs=1, corrector=False, margin=False
    ),
    "never re-weighted: method.warmup_epochs is 4, of 4 epochs": LiLAW(warmup_epochs=4),
    "weights never learned: after method.warmup_epochs=1 comes no meta step (method.meta_every_steps=12)": LiLAW(
        meta_every_steps=12
    ),
    "weights never learned: method.lr is too small": LiLAW(lr=1e-9),
    "weights never learned: method.lr is too small, or method.clamp": LiLAW(alpha=1.0, terms=["alpha"]),
    "never divided: method.warmup_epochs is 10, of 4 epochs": DivideMix(),
    "never re-weighted: method.rrm.reweight_every_epochs is 10, of 4 epochs": DivideMix(warmup_epochs=1, rrm={}),
    "never divided: method.warmup_epochs is 20, of 4 epochs": PES(),
    "loss never past its warm-up: loss.warmup_epochs is 5, of 4 epochs": Supervised(ForwardCorrection()),
}
ACTS = (
    RRM(reweight_every_epochs=3),
    RRM(reweight_every_epochs=3, contamination=0.1),
    DynamicLoss(warmup_epochs=3, corrector=False, margin="balanced_softmax"),
    DivideMix(warmup_epochs=3, rrm={"reweight_every_epochs": 3}),
    LiLAW(),
    LiLAW(meta_every_steps=11),
    LiLAW(alpha=1.0),
    LiLAW(alpha=1.0, terms=["alpha"], clamp=False),
    LiLAW(lr=1e-9, scales=True),
    Supervised(ForwardCorrection(warmup_epochs=3)),
    Supervised(ce),
)


@pytest.mark.parametrize("reason", NEVER)
def test_a_method_that_cannot_act_says_why(reason):
    (said,) = NEVER[reason].never_acts(EPOCHS, STEPS)
    assert said.startswith(reason)


@pytest.mark.parametrize("method", ACTS, ids=str)
def test_a_method_that_acts_says_nothing(method):
    assert method.never_acts(EPOCHS, STEPS) == []


def test_what_lilaw_says_it_cannot_learn_stays_the_same():
    for immovable, moved in ((LiLAW(alpha=1.0, terms=["alpha"]), False), (LiLAW(alpha=1.5, terms=["alpha"]), True)):
        before = immovable.params.clone()
        immovable.meta_update(torch.randn(6, 3), torch.arange(6) % 3)
        assert bool((immovable.params != before).any()) is moved


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in experiments() if name.endswith(SMOKE)])
def test_every_method_acts_in_the_small_experiments(name):
    runs = plan([f"experiment={name}", "seed=0"]).runs
    said = {
        (run.row, run.column): build(run.cfg.method, loss=bind(run.cfg.loss)).never_acts(run.cfg.train.epochs, STEPS)
        for run in runs
    }
    assert not any(said.values()), said
