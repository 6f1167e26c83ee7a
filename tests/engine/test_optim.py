"""Learning rates at named steps, and the optimiser that the options describe."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from lilawbench.engine.optim import build_optimizer, build_schedule, load_optimizer
from lilawbench.schema import Train

CPU = torch.device("cpu")


def train(**options):
    return OmegaConf.structured(Train(**options))


@pytest.mark.parametrize(
    "schedule, rates",
    [  # 4 epochs: at the start, after each, after the last
        ("constant", [0.2, 0.2, 0.2, 0.2, 0.2]),
        ("linear", [0.2, 0.15, 0.1, 0.05, 0.0]),
        ("cosine", [0.2, 0.1 * (1 + math.sqrt(0.5)), 0.1, 0.1 * (1 - math.sqrt(0.5)), 0.0]),
        ("multistep", [0.2, 0.02, 0.02, 0.002, 0.002]),
    ],
)
def test_schedules(schedule, rates):
    lr_at = build_schedule(train(epochs=4, lr=0.2, schedule=schedule, milestones_epochs=[1, 3]))
    assert [lr_at(epochs) for epochs in (0, 1, 2, 3, 4)] == pytest.approx(rates, abs=1e-15)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "multistep"])
def test_options_are_read_once(schedule):
    """Looking one up in a config takes longer than any schedule's arithmetic: in a small head's step it showed."""
    options = train(epochs=4, lr=0.2, schedule=schedule, milestones_epochs=[1])
    lr_at = build_schedule(options)
    before = [lr_at(epochs) for epochs in (0.5, 1.5)]
    options.update(lr=0.7, epochs=9, schedule="constant", milestones_epochs=[])
    assert [lr_at(epochs) for epochs in (0.5, 1.5)] == before


def test_linear_decay_may_begin_late():
    """Co-teaching's: the rate is held for 80 of 200 epochs, then is lr (200 - t) / 120."""
    lr_at = build_schedule(train(epochs=200, lr=1e-3, schedule="linear", decay_from_epoch=80))
    assert [lr_at(t) for t in (0, 79.9, 80)] == [1e-3] * 3
    assert [lr_at(t) for t in (80.5, 140, 199, 200)] == pytest.approx([1e-3 * (1 - 0.5 / 120), 5e-4, 1e-3 / 120, 0])


def test_multistep_falls_with_the_milestone_epoch_and_not_before():
    """LiLAW's A.9: x 0.1 at epochs 50 and 75 of 100; in any order."""
    for milestones in ([50, 75], [75, 50]):
        lr_at = build_schedule(train(epochs=100, lr=1e-4, schedule="multistep", milestones_epochs=milestones))
        rates = [lr_at(epochs) for epochs in (49 + 6 / 7, 50 + 0 / 7, 74 + 6 / 7, 75 + 0 / 7, 99 + 6 / 7)]
        assert rates == pytest.approx([1e-4, 1e-5, 1e-5, 1e-6, 1e-6], rel=1e-12)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_falling_schedules_fall_at_every_step_and_stay_positive(schedule):
    lr_at = build_schedule(train(epochs=3, lr=0.1, schedule=schedule))
    rates = [lr_at(epoch + step / 11) for epoch in range(3) for step in range(11)]
    assert all(a > b > 0 for a, b in pairwise(rates))
    assert rates[0] == 0.1


@pytest.mark.parametrize(
    "name, kind, options",
    [
        ("adam", torch.optim.Adam, {}),
        ("adamw", torch.optim.AdamW, {}),
        ("sgd", torch.optim.SGD, {"momentum": 0.7, "nesterov": True}),
    ],
)
def test_optimizer_has_the_options(name, kind, options):
    model = nn.Linear(3, 2)
    optimizer = build_optimizer(model.parameters(), train(optimizer=name, lr=0.03, weight_decay=0.2, **options), CPU)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    expected = {"lr": 0.03, "weight_decay": 0.2, "fused": True, **options}
    assert {key: group[key] for key in expected} == expected
    assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters()]


def test_frozen_parameters_are_left_out():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    optimizer = build_optimizer(model.parameters(), train(), CPU)
    assert optimizer.param_groups[0]["params"] == list(model[1].parameters())


def test_fused_is_for_devices_that_have_it():
    optimizer = build_optimizer(nn.Linear(3, 2).parameters(), train(), torch.device("mps"))
    assert optimizer.param_groups[0]["fused"] is False


def test_one_sgd_step_by_hand():
    """Gradient 2 on p = 1, weight decay 0.5, lr 0.1: p - 0.1 (2 + 0.5), then momentum 0.9 on top of it."""
    p = nn.Parameter(torch.tensor([1.0]))
    optimizer = build_optimizer([p], train(optimizer="sgd", lr=0.1, weight_decay=0.5, momentum=0.9), CPU)
    p.grad = torch.tensor([2.0])
    optimizer.step()
    assert p.item() == pytest.approx(0.75, abs=1e-6)
    optimizer.step()  # velocity 0.9 * 2.5 + (2 + 0.5 * 0.75) = 4.625
    assert p.item() == pytest.approx(0.75 - 0.4625, abs=1e-6)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_moments_follow_the_layout_of_their_weights(name):
    """A run begun with channels last (CUDA) and taken up without (CPU): fused steps would mix moments up unheard."""

    def begun(layout: torch.memory_format) -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Conv2d(3, 4, 3).to(memory_format=layout)
        return model, build_optimizer(model.parameters(), train(optimizer=name, lr=0.1), CPU)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        generator = torch.Generator().manual_seed(1)
        for p in model.parameters():
            p.grad = torch.empty_like(p).copy_(torch.randn(p.shape, generator=generator))
        optimizer.step()

    there, first = begun(torch.channels_last)
    here, second = begun(torch.contiguous_format)
    step(there, first)
    here.load_state_dict(there.state_dict())
    load_optimizer(second, copy.deepcopy(first.state_dict()))
    moments = [v for v in second.state[here.weight].values() if isinstance(v, torch.Tensor) and v.ndim == 4]
    assert moments and all(v.is_contiguous() for v in moments)
    step(there, first)
    step(here, second)
    torch.testing.assert_close(here.weight, there.weight, rtol=1e-6, atol=1e-7)
