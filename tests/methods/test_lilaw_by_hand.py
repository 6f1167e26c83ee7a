"""LiLAW on numbers: Table 4, examples worked by hand, its defaults, and options out of range."""

import inspect
import math

import pytest
import torch

from lilawbench.methods.lilaw import TERMS, LiLAW, agreement, weight_terms


@pytest.mark.parametrize(
    "probs, printed",
    [  # W_alpha, W_delta, W_beta, W, L_W
        ([0.95, 0.05], [0.999, 0.000, 0.130, 1.129, 0.058]),
        ([0.60, 0.40], [0.992, 0.002, 0.231, 1.225, 0.626]),
        ([0.40, 0.60], [0.953, 0.089, 0.354, 1.396, 1.279]),
        ([0.05, 0.95], [0.378, 0.835, 0.690, 1.903, 5.700]),
    ],
    ids=["correct confident", "correct unconfident", "incorrect unconfident", "incorrect confident"],
)
def test_right_half_of_table_4(probs, printed):
    """(alpha, beta, delta) = (9, 3, 7); the label is class 0. The table adds up W from its rounded terms."""
    logits, target = torch.tensor([probs], dtype=torch.float64).log(), torch.tensor([0])
    lilaw = LiLAW(alpha=9, beta=3, delta=7)
    easy, hard, moderate = (w.item() for w in weight_terms(*agreement(logits, target), lilaw.params.double()))
    assert [round(w, 3) for w in (easy, moderate, hard)] == printed[:3]
    assert round(sum(printed[:3]), 3) == printed[3]
    assert lilaw.weights(logits, target).item() == pytest.approx(printed[3], abs=1e-3)
    assert lilaw.weights(logits, target).item() == pytest.approx(easy + hard + moderate, abs=1e-12)
    assert round(lilaw.weighted_loss(logits, target).item(), 3) == printed[4]


def three_samples():
    """Probabilities (.8, .2), (.5, .5), (.2, .8), label 0: easy, tied, hard."""
    probs = torch.tensor([[0.8, 0.2], [0.5, 0.5], [0.2, 0.8]], dtype=torch.float64)
    return probs.log(), torch.zeros(3, dtype=torch.int64)


def test_three_samples_by_hand():
    """alpha, beta, delta = 4, 1, 2; lr 1/2, weight decay 1/10.

    s_y s_max  l        W_alpha  W_beta   W_delta  W         l W_a(1-W_a)s_y  l W_b(1-W_b)s_y  l W_d(2 s_y-s_max)s_y
    .8  .8    .223144   .916827  .500000  .726149  2.142976     .013613          .044629           .103703
    .5  .5    .693147   .817574  .500000  .882497  2.200071     .051690          .086643           .152925
    .2  .8   1.609438   .500000  .645656  .923116  2.068773     .080472          .073643          -.118856
                                            mean of W l 1.777575;   gradient  .048592, -.068305, -.045924
    alpha = 4 - (.048592 + .4)/2 = 3.775704, beta = 1 - (-.068305 + .1)/2 = .984152, delta = 2 - (-.045924 + .2)/2
    """
    logits, target = three_samples()
    lilaw = LiLAW(alpha=4, beta=1, delta=2, lr=0.5, weight_decay=0.1)
    assert lilaw.weights(logits, target).tolist() == pytest.approx([2.142976, 2.200071, 2.068773], abs=1e-6)
    assert lilaw.weighted_loss(logits, target).item() == pytest.approx(1.777575, abs=1e-6)
    lilaw.meta_update(logits, target)
    expected = {"alpha": 3.775704, "beta": 0.984152, "delta": 1.922962}
    assert {name: getattr(lilaw, name).item() for name in TERMS} == pytest.approx(expected, abs=2e-6)


def test_specs_numbers_for_a_detached_weight():
    """10, 2, 6: a confident mislabel (s_y .05, s_max .85) pulls 1.95 times its CE gradient, an easy sample (.95) 1.28.

    With the gradient through W, Algorithm 1 as printed, the mislabel pulls 1.16 times.
    """
    probs = torch.tensor([[0.05, 0.85, 0.10], [0.95, 0.03, 0.02]], dtype=torch.float64)
    target = torch.zeros(2, dtype=torch.int64)

    def pull(detach):
        logits = probs.log().requires_grad_()
        LiLAW(detach_weight=detach).double().weighted_loss(logits, target).backward()
        return 2 * logits.grad[:, 0] / (probs[:, 0] - 1)  # d CE / d logit of the label is s_y - 1

    assert LiLAW().weights(probs.log(), target).tolist() == pytest.approx([1.95, 1.28], abs=5e-3)
    assert pull(detach=True).tolist() == pytest.approx([1.95, 1.28], abs=5e-3)
    assert pull(detach=False).tolist() == pytest.approx([1.16, 1.29], abs=5e-3)


def test_decay_can_pull_beta_down():
    lilaw = LiLAW(beta=2, weight_decay=10.0, lr=0.01)
    lilaw.meta_update(*three_samples())
    assert lilaw.beta < 2


def test_perfect_logits_leave_finite_parameters():
    """Loss 0 and s_y = 1 for every sample: only weight decay moves anything."""
    lilaw = LiLAW(lr=0.5, weight_decay=0.01)
    lilaw.meta_update(torch.tensor([[900.0, 0.0]] * 4), torch.zeros(4, dtype=torch.int64))
    assert lilaw.params.tolist() == pytest.approx([9.95, 1.99, 5.97], abs=1e-6)
    assert not math.isnan(lilaw.weighted_loss(torch.tensor([[900.0, 0.0]]), torch.tensor([1])).item())


def test_clamp_moves_no_parameter_whose_term_is_left_out():
    lilaw = LiLAW(alpha=0.5, beta=6.0, delta=6.0, terms=("beta",))
    lilaw.meta_update(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(8, dtype=torch.int64))
    assert lilaw.params[[0, 2]].tolist() == [0.5, 6.0] and lilaw.beta > 6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_meta_update_takes_logits_of_any_precision_and_keeps_its_own(dtype):
    lilaw = LiLAW()
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    lilaw.meta_update(logits.to(dtype), torch.zeros(8, dtype=torch.int64))
    assert lilaw.params.dtype == torch.float32 and lilaw.alpha < 10 and lilaw.beta > 2


@pytest.mark.parametrize(
    "options, message",
    [
        ({"terms": []}, r"terms is \[\]; it must be a non-empty subset of \['alpha', 'beta', 'delta'\]"),
        ({"terms": ["alpha", "gamma"]}, r"terms is \['alpha', 'gamma'\]"),
        ({"terms": ["alpha", "alpha"]}, r"terms is \['alpha', 'alpha'\]"),
        ({"meta_mode": "test"}, "meta_mode is 'test'; it must be eval or train"),
        ({"meta_every_steps": 0}, "meta_every_steps is 0; it must be a whole number >= 1"),
        ({"warmup_epochs": -1}, "warmup_epochs is -1; it must be a whole number >= 0"),
        ({"lr": [0.1, 0.1, float("inf")]}, "lr is .*inf.*; it must be one number >= 0, or three"),
        ({"lr": [0.1, 0.1, -0.1]}, "lr is .*-0.1.*; it must be one number >= 0"),
        ({"lr": [0.1, 0.1]}, r"lr is \[0\.1, 0\.1\]"),
        ({"weight_decay": -1e-4}, "weight_decay is -0.0001; it must be one number >= 0"),
        ({"weight_decay": [0.0] * 4}, "weight_decay is"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": "fast"}, "lr is fast"),
        ({"lr": None}, "lr is None"),
        ({"weight_decay": float("inf")}, "weight_decay is inf"),
        ({"alpha": float("nan")}, "they must be finite"),
        ({"meta_every_steps": 1.5}, "meta_every_steps is 1.5"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        LiLAW(**options)


def test_defaults_are_the_specifications():
    """A.9's numbers, and the reading of SPEC section 1 that is marked as the default."""
    taken = inspect.signature(LiLAW).parameters
    given = {name: parameter.default for name, parameter in taken.items() if name != "loss"}
    numbers = {"alpha": 10.0, "beta": 2.0, "delta": 6.0, "lr": 0.005, "weight_decay": 1e-4, "warmup_epochs": 1}
    switches = {"clamp": True, "detach_weight": False, "scales": False, "meta_mode": "eval", "meta_every_steps": 1}
    regression = {"target_range": None, "regression_delta": "gaussian"}
    assert given == numbers | switches | regression | {"terms": ("alpha", "beta", "delta")}
