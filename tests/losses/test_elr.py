"""ELR against a plain transcription of its two formulas."""

import math

import numpy as np
import pytest
import torch

from lilawbench.losses import ELR, ce

N, K = 20, 5
CPU = torch.device("cpu")


def ready(num_train=N, num_classes=K, **options):
    loss = ELR(**options)
    loss.setup(num_train, num_classes, CPU)
    return loss


def batches(epochs=3, size=4):
    """(logits, index) of each step: every row once an epoch, in a new order."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for index in torch.randperm(N, generator=generator).split(size):
            yield 4 * torch.randn(len(index), K, dtype=torch.float64, generator=generator), index


def test_by_hand():
    """s = (1/4, 3/4), beta .7. After one update t = .3 s, <s, t> = .3 * 10/16; after two .51 * 10/16."""
    logits, index = torch.tensor([[0.0, math.log(3)]]), torch.tensor([1])
    loss = ready(2, 2)
    assert loss(logits, torch.tensor([0]), index).item() == pytest.approx(math.log(4), abs=1e-6)  # t = 0
    loss.update(logits, index)
    assert loss.t.tolist() == [[0, 0], pytest.approx([0.075, 0.225], abs=1e-6)]
    assert loss(logits, torch.tensor([0]), index).item() == pytest.approx(math.log(4) + 3 * math.log(0.8125), abs=1e-6)
    loss.update(logits, index)
    assert loss(logits, torch.tensor([0]), index).item() == pytest.approx(math.log(4) + 3 * math.log(0.68125), abs=1e-6)


def test_three_epochs_equal_the_formulas_in_float64():
    loss, lam, beta, target = ready(lam=2.0, beta=0.6), 2.0, 0.6, torch.arange(N) % K
    t = np.zeros((N, K))
    for logits, index in batches():
        exps = np.exp(logits.numpy())
        s = np.clip(exps / exps.sum(1, keepdims=True), 1e-4, 1 - 1e-4)
        t[index] = beta * t[index] + (1 - beta) * s / s.sum(1, keepdims=True)
        expected = ce(logits, target[index]).numpy() + lam * np.log(1 - (s * t[index]).sum(1))
        loss.update(logits, index)
        np.testing.assert_allclose(loss(logits, target[index], index).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(loss.t.numpy(), t, atol=1e-6)


def test_gradient_takes_the_target_as_a_constant():
    """d/dz = s - y - lam s (t - <s, t>) / (1 - <s, t>)."""
    loss = ready()
    logits, index = next(batches())
    logits = logits / 4
    loss.update(logits.flip(1), index)  # so that t is not s
    s, t, y = logits.softmax(1), loss.t[index].double(), torch.eye(K, dtype=torch.float64)[[0, 1, 2, 3]]
    inner = (s * t).sum(1, keepdim=True)
    assert ((s > 1e-4) & (s < 1 - 1e-4)).all()  # nothing is clipped
    logits.requires_grad_()
    loss(logits, torch.arange(4), index).sum().backward()
    torch.testing.assert_close(logits.grad, s - y - 3 * s * (t - inner) / (1 - inner), rtol=0, atol=1e-12)
    assert not loss.t.requires_grad


def test_an_update_moves_its_own_rows_only_and_a_loss_none():
    loss = ready()
    (logits, index), (other, rows) = list(batches())[:2]
    loss.update(logits, index)
    before = loss.t.clone()
    loss(other, torch.zeros(4, dtype=torch.int64), rows)
    torch.testing.assert_close(loss.t, before, rtol=0, atol=0)
    loss.update(other, rows)
    moved = (loss.t != before).any(1).nonzero().flatten()
    assert moved.tolist() == sorted(rows.tolist())
    torch.testing.assert_close(loss.t[rows].sum(1), torch.full((4,), 0.3))


def test_without_an_index_it_is_cross_entropy():
    loss = ready()
    logits, index = next(batches())
    loss.update(logits, index)
    torch.testing.assert_close(loss(logits, torch.arange(4)), ce(logits, torch.arange(4)), rtol=0, atol=0)
    torch.testing.assert_close(ELR()(logits, torch.arange(4)), ce(logits, torch.arange(4)), rtol=0, atol=0)


@pytest.mark.parametrize("num_classes", [2, 3, 1000])
def test_the_term_stays_finite_where_model_and_target_agree_for_ever(num_classes):
    loss = ready(1, num_classes, lam=1.0)
    logits, index = torch.zeros(1, num_classes), torch.tensor([0])
    logits[0, 1] = 900
    for _ in range(200):
        loss.update(logits, index)
    value = loss(logits, torch.tensor([1]), index).item()
    assert -9 < value < -2  # <s, t> cannot pass 1 - 1e-4


def test_state_is_the_table_and_a_resumed_loss_goes_on_alike():
    steps = list(batches())
    whole, first = ready(), ready()
    for step in steps:
        whole.update(*step)
    for step in steps[:7]:
        first.update(*step)
    assert list(first.state_dict()) == ["t"]
    second = ready()
    second.load_state_dict(first.state_dict())
    for step in steps[7:]:
        second.update(*step)
    assert torch.equal(second.t, whole.t)


def test_processes_that_share_an_epoch_end_with_the_table_of_one():
    """Rows of even and odd steps on two of them; row 0 is never drawn, the last step is done by both."""
    one, two = ready(), [ready(), ready()]
    for loss in (one, *two):
        loss.t.fill_(0.1)
    steps = [(logits[index > 0], index[index > 0]) for logits, index in batches(epochs=1)]
    for i, step in enumerate(steps):
        one.update(*step)
        for rank, loss in enumerate(two):
            if i % 2 == rank or i == len(steps) - 1:
                loss.update(*step)
    parts = [[two[0].t * two[0].seen[:, None], two[0].seen], [two[1].t * two[1].seen[:, None], two[1].seen]]
    totals = [parts[0][i] + parts[1][i] for i in range(2)]
    for loss in two:
        answers = iter([total.clone() for total in totals])
        loss.end_epoch(lambda tensor, answers=answers: tensor.copy_(next(answers)))
        torch.testing.assert_close(loss.t, one.t, rtol=0, atol=1e-7)
        assert loss.t[0].tolist() == pytest.approx([0.1] * K) and not loss.seen.any()


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"lam": -1}, "lam is -1; it must be >= 0 and finite"),
        ({"lam": math.nan}, "lam is nan; it must be >= 0 and finite"),
        ({"beta": 1}, r"beta is 1; it must lie in \[0, 1\)"),
        ({"beta": -0.1}, r"beta is -0.1; it must lie in \[0, 1\)"),
    ],
)
def test_options_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ELR(**wrong)
