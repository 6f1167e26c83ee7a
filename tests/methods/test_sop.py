"""SOP against an independent float64 implementation and numbers worked by hand; who learns from which term."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.losses import gce
from lilawbench.methods.sop import SOP, corrected, noise_of, sop_loss

D = torch.float64


def leaf(*shape, scale=1.0, seed=0):
    return (scale * torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))).requires_grad_()


def by_rows(z, target, u, v):
    """Row by row, from the formulas: cross-entropy with v a constant, squared error with the prediction a constant."""
    losses = []
    for row, y in enumerate(target.tolist()):
        s, others = z[row].softmax(0), [k for k in range(z.shape[1]) if k != y]
        given = u[row, 0] ** 2
        taken = {k: min(v[row, k].item() ** 2, 1) for k in others}
        mass = [torch.clamp(s[k] - taken[k], min=1e-4) for k in others]
        p = (s[y] + given) / (s[y] + given + sum(mass))
        right = z[row].argmax().item()
        squared = sum((int(k == right) - v[row, k] ** 2) ** 2 for k in others) + (int(y == right) + given - 1) ** 2
        losses.append(squared - p.log())
    return torch.stack(losses)


def test_losses_and_gradients_are_those_of_the_formulas():
    """No entry of u^2 or v^2 leaves (0, 1); in some rows v takes more than the network gives."""
    z, u, v = leaf(40, 5), leaf(40, 1, scale=0.25, seed=1), leaf(40, 5, scale=0.3, seed=2)
    target = torch.arange(40) % 5
    assert max(u.abs().max(), v.abs().max()) < 1
    losses, _ = sop_loss(z, target, u, v)
    expected = by_rows(z, target, u, v)
    torch.testing.assert_close(losses, expected)
    found, wanted = (torch.autograd.grad(each.sum(), [z, u, v]) for each in (losses, expected))
    torch.testing.assert_close(found, wanted)
    assert all(each.abs().max() > 0.1 for each in found)


def test_two_samples_by_hand():
    """Two classes, label 0 in both, softmax (.8, .2) and (.2, .8), u^2 = .5, v^2 of class 1 = .1.

    s = (.5, -.1): (1.3, .1) / 1.4 and (.7, .7) / 1.4, so that p_y is 13/14 and 1/2. The squared error is of
    (1 + .5, -.1) - (1, 0): .26, and of (.5, 1 - .1) - (1, 0): .25 + .81 = 1.06. v of the label itself has no say.
    """
    z = torch.tensor([[0.8, 0.2], [0.2, 0.8]], dtype=D).log()
    u, v = torch.full((2, 1), 0.5, dtype=D).sqrt(), torch.tensor([[0.7, 0.1], [0.3, 0.1]], dtype=D).sqrt()
    losses, p = sop_loss(z, torch.zeros(2, dtype=torch.int64), u, v)
    torch.testing.assert_close(p, torch.tensor([[13 / 14, 1 / 14], [0.5, 0.5]], dtype=D))
    torch.testing.assert_close(losses, torch.tensor([0.26 + math.log(14 / 13), 1.06 + math.log(2)], dtype=D))


def test_without_noise_terms_it_is_cross_entropy_and_2_where_the_network_is_wrong():
    z, target = leaf(30, 4).detach(), torch.arange(30) % 4
    nothing = torch.zeros(30, 4, dtype=D)
    losses, p = sop_loss(z, target, nothing[:, :1], nothing)
    wrong = z.argmax(1) != target
    torch.testing.assert_close(losses, F.cross_entropy(z, target, reduction="none") + 2 * wrong)
    torch.testing.assert_close(p, z.softmax(1))
    assert wrong.any() and not wrong.all()


def test_u_learns_from_both_terms_and_v_from_the_squared_error_alone():
    """d/du of -log((s_y + u^2) / (1 + u^2)) is 2u (1 / (1 + u^2) - 1 / (s_y + u^2)); of (a + u^2 - 1)^2, 4u (...).

    With the network wrong (a = 0) v of the predicted class k has 4 v (v^2 - 1), whatever s is.
    """
    z = torch.tensor([[0.2, 0.5, 0.3]], dtype=D).log().requires_grad_()
    u, v = torch.full((1, 1), 0.4, dtype=D, requires_grad=True), torch.zeros(1, 3, dtype=D)
    v[0, 1] = 0.3
    v.requires_grad_()
    losses, _ = sop_loss(z, torch.tensor([0]), u, v)
    of_u, of_v = torch.autograd.grad(losses.sum(), [u, v])
    total = 1 + 0.16 - 0.09
    assert of_u.item() == pytest.approx(0.8 * (1 / total - 1 / 0.36) + 4 * 0.4 * (0.16 - 1))
    torch.testing.assert_close(of_v, torch.tensor([[0.0, 4 * 0.3 * (0.09 - 1), 0.0]], dtype=D))


def test_what_leaves_its_range_is_clipped_and_learns_no_more():
    u, v = torch.full((1, 1), 1.5, dtype=D, requires_grad=True), torch.full((1, 3), 2.0, dtype=D, requires_grad=True)
    label = torch.tensor([[1.0, 0.0, 0.0]], dtype=D)
    added, taken = noise_of(u, v, label)
    assert added.tolist() == [[1, 0, 0]] and taken.tolist() == [[0, 1, 1]]
    assert [each.abs().max() for each in torch.autograd.grad((added - taken).square().sum(), [u, v])] == [0, 0]
    p = corrected(torch.zeros(1, 3, dtype=D), added, taken)  # (4/3, 1e-4, 1e-4), normalised
    assert p[0, 0].item() == pytest.approx((4 / 3) / (4 / 3 + 2e-4)) and p.min() >= 1e-4


def scene(context, method, model=None):
    rows = Resident(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3)
    torch.manual_seed(0)
    ctx = context(nn.Linear(4, 3) if model is None else model, rows=rows, views=method.views)
    method.setup(ctx)
    ctx.batch_size = 6
    return ctx, next(iter(method.batches(ctx)))


def test_u_and_v_take_plain_steps_and_only_training_rows_have_any(context):
    """Two steps on one batch: no momentum, no decay; other rows stay where they began, within 1e-7 of 0."""
    method = SOP(lr_u=3.0, lr_v=5.0)
    ctx, batch = scene(context, method)
    assert len(method.u.value) == ctx.num_train == 12 and list(method.v.value.shape) == [12, 3]
    with torch.no_grad():
        for learned in (method.u.value, method.v.value):
            assert 0 < learned.abs().max() < 1e-7
            learned[batch.index] = 0.5
    rest = torch.ones(12, dtype=torch.bool).index_fill_(0, batch.index, False)
    before = method.v.value.detach().clone()
    for _ in range(2):
        u, v = (each.value.detach()[batch.index].requires_grad_() for each in (method.u, method.v))
        losses, _ = sop_loss(ctx.forward(batch.input), batch.target, u, v)
        of_u, of_v = torch.autograd.grad(losses.mean(), [u, v])
        train_step(ctx, method, batch, 0.1)
        torch.testing.assert_close(method.u.value[batch.index], u - 3 * of_u)
        torch.testing.assert_close(method.v.value[batch.index], v - 5 * of_v)
    assert torch.equal(method.v.value[rest], before[rest]) and not torch.equal(method.v.value, before)


def test_starts_depend_on_the_seed_alone(context):
    one, other = SOP(), SOP(lr_u=1.0)
    scene(context, one), torch.rand(9), scene(context, other)
    assert torch.equal(one.u.value, other.u.value) and torch.equal(one.v.value, other.v.value)


def test_sop_plus_sees_both_views_in_one_batch_and_adds_its_terms(context):
    """Of rows that are no images both views are one: KL is 0, and moves nothing."""
    sizes = []

    class Net(nn.Linear):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x) * torch.linspace(1, 2, len(x))[:, None]  # so that the second half differs

    torch.manual_seed(0)
    net = Net(4, 3)
    method = SOP(consistency=0.9, balance=0.1)
    ctx, batch = scene(context, method, net)
    loss = method.loss(ctx, batch).loss
    assert sizes == [12]
    weak, strong = net(torch.cat([batch.input, batch.views["strong"]])).chunk(2)
    losses, p = sop_loss(weak, batch.target, torch.zeros(6, 1), torch.zeros(6, 3))
    kinds = torch.distributions.Categorical
    kl = torch.distributions.kl_divergence(kinds(logits=weak.detach()), kinds(logits=strong)).mean()
    balance = F.cross_entropy(p.mean(0).log()[None], torch.full((1, 3), 1 / 3))
    assert kl > 1e-3
    torch.testing.assert_close(loss, losses.mean() + 0.9 * kl + 0.1 * balance)
    of_bias = [torch.autograd.grad(each, net.bias)[0] for each in (method.loss(ctx, batch).loss, loss)]
    torch.testing.assert_close(*of_bias)


def test_what_it_says_of_samples(context):
    """u^2 = .81 and v^2 = .36 of class 1: y - s = (.19, .36, 0), so the label 0 is corrected to 1."""
    method = SOP()
    ctx, _ = scene(context, method)
    with torch.no_grad():
        method.u.value[0], method.v.value[0, 1] = 0.9, 0.6
    values = method.sample_values()
    assert values["label_noise"][0].item() == pytest.approx(0.81) and values["label_noise"][1] < 1e-9
    assert values["corrected_label"].tolist() == [1, *ctx.targets[1:].tolist()]


def test_options_out_of_range_and_what_only_the_noise_type_justifies():
    for options, said in (({"lr_u": 0}, "lr_u is 0"), ({"lr_v": math.inf}, "lr_v is inf"),
                          ({"consistency": -1}, "consistency is -1"), ({"balance": math.nan}, "balance is nan"),
                          ({"loss": gce}, "take loss=ce")):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            SOP(**options)
    assert SOP().told() == [] and SOP(lr_u=1, lr_v=100).told() == ["method.lr_v=100"]
