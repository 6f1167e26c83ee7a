"""RRM as a method: its weighted loss and its rounds, against the algorithm by hand."""

import pytest
import torch
from torch import nn

from lilawbench.loading.resident import Resident
from lilawbench.losses import ce, mse
from lilawbench.methods.rrm import RRM, reweight
from lilawbench.methods.supervised import Supervised
from lilawbench.metrics.crossing import cross

N = 12  # rows of the dozen


class Dictated(nn.Module):
    """A model whose first logit is its input, so that `first_logit` as loss is what the test says."""

    def __init__(self):
        super().__init__()
        self.zero = nn.Parameter(torch.zeros(()))

    def forward(self, input):
        return input + self.zero


def first_logit(logits, target):
    return logits[:, 0]


def dictate(scene, method, *rounds):
    """Re-weights once for each list of losses."""
    rows = Resident(torch.tensor(rounds[0])[:, None], torch.zeros(len(rounds[0]), dtype=torch.int64))
    ctx, method = scene(method, Dictated(), rows)
    for ctx.epoch, losses in enumerate(rounds, start=1):
        rows.input.copy_(torch.tensor(losses)[:, None])
        method.on_epoch_start(ctx)
        method.on_epoch_end(ctx)
    return method


@pytest.mark.parametrize("loss", [ce, mse])
@pytest.mark.parametrize("loss_scale", ["mean", "paper"])
def test_batch_loss_by_hand(scene, loss, loss_scale):
    ctx, method = scene(RRM(loss_scale=loss_scale, loss=loss))
    method.u[:4] = torch.tensor([-1, -0.5, 0.25, 1.25], dtype=torch.float64) / N
    method.on_epoch_start(ctx)
    batch = ctx.fetch(torch.tensor([3, 0, 7, 1, 2]))
    ctx.batch_size = 10  # this rank has half of it
    out, logits = method.loss(ctx, batch), ctx.forward(batch.input)
    l0, l1, l2, l3, l4 = loss(logits, batch.target)
    total = 2.25 * l0 + 0 * l1 + 1 * l2 + 0.5 * l3 + 1.25 * l4
    expected = total / 5 if loss_scale == "mean" else 2 * total / N  # of which the mean over the ranks is taken
    torch.testing.assert_close(out.loss, expected, rtol=1e-12, atol=0)
    assert out.weight.tolist() == [2.25, 0, 1, 0.5, 1.25]
    torch.testing.assert_close(out.logits, logits.detach())
    assert out.loss.requires_grad and not out.logits.requires_grad


def test_loss_scale_paper_is_mean_at_a_smaller_learning_rate(scene, train, weights_of):
    """lr_mean = lr_paper B / N, with the same weights from re-weighting after every epoch."""
    mean, paper = (scene(RRM(0.3, reweight_every_epochs=1, loss_scale=s)) for s in ("mean", "paper"))
    start = weights_of(mean[0])
    train(*mean, 1, 2, 3, lr=0.5)
    train(*paper, 1, 2, 3, lr=0.5 * N / 4)
    assert mean[1].pruned.any() and torch.equal(mean[1].u, paper[1].u)
    assert (weights_of(mean[0]) - start).abs().max() > 0.1
    torch.testing.assert_close(weights_of(mean[0]), weights_of(paper[0]), rtol=0, atol=1e-12)


def test_until_it_reweights_it_is_plain_training(scene, train, weights_of):
    rrm, plain = scene(RRM(0.3, reweight_every_epochs=3)), scene(Supervised())
    for epoch in range(1, 6):
        train(*rrm, epoch)
        train(*plain, epoch)
        assert torch.equal(weights_of(rrm[0]), weights_of(plain[0])) == (epoch <= 3)


def test_it_reweights_after_every_sigma_epochs_exactly(scene, train):
    (ctx, method), rounds = scene(RRM(0.3, reweight_every_epochs=2)), []
    for epoch in range(1, 6):
        before = method.u
        train(ctx, method, epoch)
        rounds.append(method.logs()["reweightings"])
        assert torch.equal(before, method.u) == (epoch % 2 == 1)
    assert rounds == [0, 1, 1, 2, 2]


def test_mixing_by_hand(scene):
    """gamma .4, mu .5. Losses (0, .3, 1): u* = (1, 0, -1)/3, u = (2, 0, -2)/12. Then (0, 1, .3): u* = (1, -1, 0)/3,
    u = (3, -2, -1)/12, so N p = (1.75, .5, .75)."""
    method = dictate(scene, RRM(0.4, mu=0.5, reweight_every_epochs=1, loss=first_logit), [0, 0.3, 1], [0, 1, 0.3])
    assert method.u.tolist() == pytest.approx([3 / 12, -2 / 12, -1 / 12], abs=1e-15)
    values = method.sample_values()
    assert values["weight"].tolist() == pytest.approx([1.75, 0.5, 0.75])
    assert values["lowest_weight"].tolist() == pytest.approx([1, 0.5, 0.5])
    assert values["pruned"].tolist() == [False, True, False]
    assert method.logs() == {"reweightings": 2, "pruned": pytest.approx(1 / 3)}


def test_contamination_sets_mu_to_one(scene):
    rounds = [0, 0.3, 1, 2.0], [0, 2, 0.3, 1.0]
    method = dictate(scene, RRM(contamination=0.5, mu=0.5, reweight_every_epochs=1, loss=first_logit), *rounds)
    assert method.mu == 1 and torch.equal(method.u, reweight(torch.tensor(rounds[1]), contamination=0.5))
    assert method.u.tolist() == [0.5, -0.25, 0, -0.25]


def test_a_weight_that_fell_and_came_back_is_a_close_call(scene):
    """mu 1. Sample 2 is pruned, then is the best; sample 3 is pruned for good; sample 1 was never pruned."""
    rounds = [0.0, 1.0, 1.0], [0.3, 0.0, 1.0]
    method = dictate(scene, RRM(0.4, mu=1.0, reweight_every_epochs=1, loss=first_logit), *rounds)
    clean = torch.zeros(3, dtype=torch.int64)
    found = cross(method.crossings, method.sample_values(), clean, clean)
    assert (found["close_calls"], found["pruned_for_good"]) == (1, 1)
    assert found["weight_histogram"] == [[1, 1, 0, 0, 0, 1], [0] * 6]


@pytest.mark.parametrize("mu", [0.2, 0.3, 0.7, 1.0])
def test_u_stays_a_change_of_a_distribution(scene, mu):
    """Also where the last bits would not: mu x + (1 - mu) x < x for x = -1/5 and mu = .2."""
    rounds = torch.rand(180, 5, generator=torch.Generator().manual_seed(0))
    rounds[:, 4] += 9  # is pruned every time
    method = dictate(scene, RRM(0.4, mu=mu, reweight_every_epochs=1, loss=first_logit), *rounds.tolist())
    assert abs(method.u.sum().item()) < 1e-12 and method.u.min() >= -1 / 5
    weight = method.sample_values()["weight"]
    assert weight.min() == weight[4] >= 0 and weight[4] < 1e-7 and weight.mean().item() == pytest.approx(1)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"gamma": -1}, "gamma is -1; it must be > 0"),
        ({"gamma": None}, "gamma is None; it must be > 0"),
        ({"mu": 0}, r"mu is 0; it must lie in \(0, 1\]"),
        ({"mu": 1.5}, r"mu is 1.5; it must lie in \(0, 1\]"),
        ({"contamination": 1.0}, r"contamination is 1.0; it must lie in \[0, 1\)"),
        ({"penalty_scale": -0.5}, "penalty_scale is -0.5; it must be > 0"),
        ({"reweight_every_epochs": 0}, "reweight_every_epochs is 0; it must be a whole number >= 1"),
        ({"reweight_every_epochs": 1.5}, "reweight_every_epochs is 1.5; it must be a whole number >= 1"),
        ({"reweight_losses": "both"}, "reweight_losses is 'both'; it must be sweep or training"),
        ({"loss_scale": "sum"}, "loss_scale is 'sum'; it must be mean or paper"),
    ],
)
def test_options_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        RRM(**wrong)
