"""ELR+: a step worked by hand in float64, whose teacher it is, the ramps, and what the authors' code does besides."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.losses import gce
from lilawbench.losses.elr import pull
from lilawbench.methods.elr_plus import ELRPlus, decay_after, sigmoid_ramp
from lilawbench.methods.parts.averaged import Averaged

D = torch.float64
ROWS = Resident(torch.randn(12, 4, dtype=D, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3)


class Half:
    """Mixes of share .75 with the rows in reverse order."""

    def start(self, ctx):
        pass

    def __call__(self, count, device):
        return lambda rows: 0.75 * rows + 0.25 * rows.flip(0)


def scene(context, method, layers=lambda: nn.Linear(4, 3, dtype=D)):
    torch.manual_seed(0)
    ctx = context(layers(), layers(), rows=ROWS, views=method.views)
    method.setup(ctx)
    method.mixer = Half()
    for memory in method.memories:
        memory.t = memory.t.to(D)
    ctx.batch_size = 6
    method.on_epoch_start(ctx)
    return ctx, next(iter(method.batches(ctx)))


def by_hand(ctx, batch, teachers, memories, lam, beta, multiplied):
    """The loss of both networks from the formulas; teachers and memories: of network 0 and 1."""
    x, total = batch.input, 0
    y = F.one_hot(batch.target, 3).to(D)
    for net, teacher, old in zip(ctx.networks, reversed(teachers), memories):
        p = F.linear(x, *teacher).softmax(1)
        t = beta * old + (1 - beta) * p
        mixed_y, mixed_t = (0.75 * each + 0.25 * each.flip(0) for each in (y, t))
        if multiplied:
            mixed_y = mixed_y * mixed_t / (mixed_y * mixed_t).sum(1, keepdim=True)
        s = net(0.75 * x + 0.25 * x.flip(0)).softmax(1)
        total = total + (-(mixed_y * s.log()).sum(1) + lam * (1 - (s * mixed_t).sum(1)).log()).mean()
    return total


@pytest.mark.parametrize("multiplied", [False, True])
def test_a_step_is_that_of_the_formulas(context, multiplied):
    """Targets of network 0 come from the teacher of network 1, on rows unmixed. On 100 classes the authors' code also
    multiplies labels by targets: that is an option, and off."""
    assert not ELRPlus().label_times_target
    method = ELRPlus(lam=2.0, beta=0.6, label_times_target=multiplied)
    ctx, batch = scene(context, method)
    with torch.no_grad():  # teachers that have gone their own ways
        for number, teacher in enumerate(method.teachers):
            teacher.w0 += 1 + number
    teachers = [teacher.weights() for teacher in method.teachers]
    memories = []
    for seed, memory in enumerate(method.memories):
        memory.t = torch.rand(12, 3, dtype=D, generator=torch.Generator().manual_seed(seed)).softmax(1)
        memories.append(memory.t[batch.index].clone())
    expected = by_hand(ctx, batch, teachers, memories, 2.0, 0.6, multiplied)
    out = method.loss(ctx, batch)
    torch.testing.assert_close(out.loss, expected)
    weights = [p for net in ctx.networks for p in net.parameters()]
    torch.testing.assert_close(*(torch.autograd.grad(loss, weights) for loss in (out.loss, expected)))
    said = torch.stack([F.linear(batch.input, *teacher) for teacher in teachers]).mean(0)
    torch.testing.assert_close(out.logits, said.float(), rtol=1e-5, atol=1e-5)


def test_the_pull_is_elrs():
    log_s = torch.tensor([[0.5, 0.3, 0.2], [1 - 2e-6, 1e-6, 1e-6]], dtype=D).log()
    t = torch.tensor([[0.2, 0.8, 0.0], [1.0, 0.0, 0.0]], dtype=D)
    torch.testing.assert_close(pull(log_s, t), torch.tensor([math.log(1 - 0.34), math.log(1e-4)], dtype=D))


def test_teachers_follow_their_own_network_by_the_ramp(context):
    """After one step of 4: 2/4 of the ramp, exp(-5/4). BatchNorm's statistics are averaged with the same share."""
    method = ELRPlus(decay=0.9, decay_ramp_steps=4)
    layers = lambda: nn.Sequential(nn.Linear(4, 3, dtype=D), nn.BatchNorm1d(3, dtype=D))  # noqa: E731
    ctx, batch = scene(context, method, layers)
    before = [[w.clone() for w in teacher.weights()] for teacher in method.teachers]
    train_step(ctx, method, batch, 0.1)
    decay = 0.9 * math.exp(-5 / 4)
    assert decay_after(1, 0.9, "sigmoid", 4) == pytest.approx(decay)
    for teacher, old, net in zip(method.teachers, before, ctx.networks):
        for mine, was, its in zip(teacher.weights(), old, [*net.parameters(), *net.buffers()], strict=True):
            if its.is_floating_point():
                torch.testing.assert_close(mine, decay * was + (1 - decay) * its.detach())
                assert not torch.equal(mine, was)


def test_teachers_speak_in_eval_mode_and_keep_their_statistics(context):
    """The authors' stay in train mode, so that the batches of the peer move their BatchNorm."""
    method = ELRPlus()
    layers = lambda: nn.Sequential(nn.Linear(4, 3, dtype=D), nn.BatchNorm1d(3, dtype=D))  # noqa: E731
    ctx, batch = scene(context, method, layers)
    before = [w.clone() for teacher in method.teachers for w in teacher.weights()]
    logits = method.loss(ctx, batch).logits
    assert all(torch.equal(*pair) for pair in zip(before, [w for t in method.teachers for w in t.weights()]))
    first = method.teachers[0].weights()
    plain = F.linear(batch.input, *first[:2])  # statistics of the start: mean 0, variance 1
    assert not torch.allclose(logits, ((plain - plain.mean(0)) / plain.std(0)).float(), atol=0.1)
    with ctx.side_pass():
        torch.testing.assert_close(method.teachers[0](ctx, batch.input), (plain / math.sqrt(1 + 1e-5)).float())


def test_where_a_teacher_starts_is_forgotten_at_once():
    """The authors' teachers start at random weights: of them .0067^2 is left after two steps."""
    left = math.prod(decay_after(step, 0.997, "sigmoid", 40000) for step in (1, 2))
    assert left == pytest.approx((0.997 * math.exp(-5)) ** 2, rel=1e-2) and left < 5e-5


def test_ramps():
    assert sigmoid_ramp(0, 10) == pytest.approx(0.0067, abs=1e-4)
    assert sigmoid_ramp(5, 10) == pytest.approx(math.exp(-1.25)) and sigmoid_ramp(10, 10) == sigmoid_ramp(99, 10) == 1
    assert sigmoid_ramp(0, 0) == 1
    assert [decay_after(step, 0.75, "mean", 0) for step in (1, 2, 9)] == pytest.approx([1 / 2, 2 / 3, 0.75])


def test_lam_rises(context):
    """In the first of 2 steps lam is exp(-5/4) of what it will be."""
    losses = []
    for steps, lam in ((2, 1.0), (0, math.exp(-5 / 4))):
        method = ELRPlus(lam=lam, lam_ramp_steps=steps)
        ctx, batch = scene(context, method)
        losses.append(method.loss(ctx, batch).loss)
    torch.testing.assert_close(*losses)


def test_a_mean_ramp_is_the_plain_mean_of_weights(context):
    net = nn.Linear(1, 1, bias=False)
    ctx, teacher = context(net), Averaged(0.999, at=lambda step: decay_after(step, 0.999, "mean", 0))
    nn.init.zeros_(net.weight)
    teacher.setup(ctx)
    for ctx.step, value in ((1, 3.0), (2, 6.0), (3, 3.0)):
        nn.init.constant_(net.weight, value)
        teacher.update(ctx)
    assert teacher.w0.item() == pytest.approx((0 + 3 + 6 + 3) / 4)


def test_options_out_of_range_and_what_only_the_noise_type_justifies():
    for options, said in (({"lam": -1}, "lam is -1"), ({"beta": 1}, "beta is 1"), ({"alpha": 0}, "alpha is 0"),
                          ({"decay": 1}, "decay is 1"), ({"decay_ramp": "no"}, "decay_ramp is 'no'"),
                          ({"lam_ramp_steps": -1}, "lam_ramp_steps is -1"),
                          ({"loss": gce}, "take loss=ce")):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            ELRPlus(**options)
    assert ELRPlus().told() == ELRPlus(lam=7, beta=0.9).told() == []
    assert ELRPlus(lam=1, beta=0.9).told() == ["method.lam=1", "method.beta=0.9"]
