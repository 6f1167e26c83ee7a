"""A batch computed in parts is the batch computed whole, for every method that can be."""

import pytest
import torch
from torch import nn

from lilawbench.engine.context import make_context
from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.losses import ELR, ce
from lilawbench.methods.a_rrm import ARRM
from lilawbench.methods.at import AT
from lilawbench.methods.lilaw import LiLAW
from lilawbench.methods.rrm import RRM
from lilawbench.methods.supervised import Supervised
from lilawbench.schema import Train
from lilawbench.train import run

RULES = {
    "ce": Supervised,
    "elr": lambda: Supervised(ELR()),
    "lilaw": lambda: LiLAW(lr=0.5, warmup_epochs=0),
    "rrm": lambda: RRM(gamma=0.5, reweight_every_epochs=1),
    "rrm_seen_losses": lambda: RRM(gamma=0.5, reweight_every_epochs=1, reweight_losses="training", loss_scale="paper"),
    "at": lambda: AT(fgsm={"eps": 0.2}),
    "a_rrm": lambda: ARRM(fgsm={"eps": 0.2}, gamma=0.5, reweight_every_epochs=1),
}


def trained(rule: str, accumulate_steps: int, dtype: torch.dtype = torch.float32, clip: float | None = None):
    """Two epochs of batches of 16, 16 and 5 rows: losses, logits and weights of each step, model, state, parts."""
    generator = torch.Generator().manual_seed(0)
    data = Resident(
        torch.randn(37, 6, generator=generator, dtype=dtype), torch.randint(0, 3, (37,), generator=generator)
    )
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)
    parts, method = [], RULES[rule]()

    def forward(input: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and not input.requires_grad:  # no sweep, no attack
            parts.append(len(input))
        return model(input)

    train = Train(optimizer="sgd", batch_size=16, clip_grad_norm=clip, accumulate_steps=accumulate_steps)
    ctx = make_context([model], data, data, num_classes=3, options=train)
    ctx.forwards = (forward,)
    method.to(dtype).setup(ctx)
    outs = []
    for ctx.epoch in (1, 2):
        method.on_epoch_start(ctx)
        for batch in method.batches(ctx):
            ctx.batch_size = len(batch.index)
            out = train_step(ctx, method, batch, 0.1)
            outs += [value for value in out if value is not None]
        method.on_epoch_end(ctx)
    return outs, model.state_dict(), method.state_dict(), parts


def distance(one, other) -> float:
    """The largest difference between two trees of tensors, relative to the norm of each."""
    if isinstance(one, torch.Tensor):
        one, other = one.double(), other.double()
        return ((one - other).norm() / one.norm().clamp(min=1e-12)).item()
    pairs = one.items() if isinstance(one, dict) else enumerate(one)
    assert len(one) == len(other)
    return max((distance(value, other[key]) for key, value in pairs), default=0.0)


@pytest.mark.every(4)
@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("rule", RULES)
def test_parts_are_the_whole(rule, clip):
    """Losses, logits, sample weights, the model, the method's own state; parts of 6, 5, 5 rows and of 3 and 2."""
    *whole, sizes = trained(rule, 1, clip=clip)
    *parts, part_sizes = trained(rule, 3, clip=clip)
    assert sizes == [16, 16, 5] * 2 and part_sizes == [6, 5, 5, 6, 5, 5, 3, 2] * 2
    assert distance(whole, parts) < 2e-6


@pytest.mark.parametrize("rule", ["ce", "lilaw", "rrm"])
def test_to_the_last_digits_in_double_precision(rule):
    whole, parts = (trained(rule, steps, torch.float64)[:3] for steps in (1, 4))
    assert 0 < distance(whole, parts) < 1e-13


def test_negative_control_a_mean_of_means_differs(monkeypatch):
    """Parts of 6 and 5 rows must not weigh the same."""
    whole = trained("ce", 1, torch.float64)[1]
    monkeypatch.setattr(torch, "full_like", lambda loss, share: torch.ones_like(loss) / round(1 / share))
    assert distance(whole, trained("ce", 3, torch.float64)[1]) > 1e-4


@pytest.mark.parametrize("steps, sizes", [(5, [4, 3, 3, 3, 3, 4, 3, 3, 3, 3, 3, 2]), (8, [2] * 16 + [3, 2])])
def test_no_part_has_one_row(steps, sizes):
    """The last batch has 5 rows: two parts at most."""
    assert trained("ce", steps)[3][: len(sizes)] == sizes


def test_a_run_in_parts_has_the_numbers_of_a_run(tiny):
    options = ["method=lilaw", "method.lr=0.5", "split.train_samples=121", "train.optimizer=sgd"]
    whole, parts = (run(tiny(*options, f"train.accumulate_steps={steps}")).result for steps in (1, 3))
    assert whole["run"] != parts["run"] and whole["steps"] == parts["steps"] == 12
    for key in ("last.val_loss", "last.test_loss"):
        assert parts[key] == pytest.approx(whole[key], rel=1e-6), key


def test_the_loss_of_a_part_is_checked_by_the_batch(monkeypatch):
    """An infinite part makes the loss of its batch infinite."""
    calls = []

    def breaks(logits, target):
        calls.append(target)
        return ce(logits, target) * (torch.inf if len(calls) == 2 else 1)

    monkeypatch.setitem(RULES, "ce", lambda: Supervised(breaks))
    outs = trained("ce", 3)[0]
    assert outs[0] == torch.inf
