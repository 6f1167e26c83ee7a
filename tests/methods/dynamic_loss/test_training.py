"""The look-ahead of Dynamic Loss inside a training loop."""

import copy

import pytest
import torch

from lilawbench.losses import ce
from lilawbench.methods.dynamic_loss import dynamic_loss


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"pseudo_label": "softmax"}, marks=pytest.mark.slow),
        pytest.param({"meta_mode": "eval"}, marks=pytest.mark.slow),
        {"class_wise": False, "meta_net": "vector"},
    ],
    ids=["gumbel", "softmax", "meta eval", "ablated"],
)
def test_two_epochs_are_the_same_by_every_exact_way(begin, small, weights, options, float64):
    """Forward mode with and without a forward of its own, and double backward, in a net with dropout and BatchNorm."""
    ways = [{}, {"reuse_forward": False}, {"hypergradient": "double_backward"}]
    runs = [begin(small(**options, **way)).train(2) for way in ways]
    start = begin(small(**options))
    for part in (lambda run: weights(run.model), lambda run: weights(run.method.nets)):
        moved = part(runs[0]) - part(start)
        for other in runs[1:]:
            assert (part(other) - part(runs[0])).norm() < 1e-8 * moved.norm()
    approximate = begin(small(**options, hypergradient="finite_difference")).train(2)
    error = (weights(approximate.method.nets) - weights(runs[0].method.nets)).norm()
    assert 1e-9 < error / (weights(runs[0].method.nets) - weights(start.method.nets)).norm() < 0.2


@pytest.mark.parametrize("pseudo_label", ["gumbel_hard", "softmax"])
def test_the_real_step_takes_the_moved_nets_and_the_same_pseudo_labels(begin, small, pseudo_label, monkeypatch):
    run, seen = begin(small(pseudo_label=pseudo_label)), []
    batch = next(run.start())
    before = [table.detach().clone() for table in run.method.nets()]
    real = dynamic_loss
    monkeypatch.setattr(
        "lilawbench.methods.dynamic_loss.dynamic_loss",
        lambda logits, *rest: seen.append([logits.detach(), *rest]) or real(logits, *rest),
    )
    out = run.step(batch)
    (virtual, actual), after = seen, run.method.nets()
    bins = run.method.bins[batch.index]
    for call, (g, q) in ((virtual, before), (actual, after)):
        torch.testing.assert_close(call[3], g[bins, batch.target].detach(), check_stride=False)
        torch.testing.assert_close(call[4].detach(), q.detach())
    assert torch.equal(virtual[0], actual[0]) and torch.equal(virtual[2], actual[2])
    assert not torch.equal(before[0], after[0]) and not torch.equal(before[1], after[1])
    probs = out.logits.softmax(1)
    assert torch.equal(actual[2], probs) == (pseudo_label == "softmax")
    assert torch.equal(actual[2].sum(1), torch.ones(16)) or pseudo_label == "softmax"
    torch.testing.assert_close(out.loss, real(*actual).mean().detach(), check_stride=False)


def test_drawn_labels_follow_softmax(begin, small):
    run = begin(small())
    run.start()
    logits = torch.tensor([[2.0, 0.0, -1.0]]).expand(20000, 3)
    run.ctx.batch_size = len(logits)
    drawn = run.method._pseudo_labels(run.ctx, logits)
    assert set(drawn.unique().tolist()) == {0, 1} and torch.equal(drawn.sum(1), torch.ones(20000))
    torch.testing.assert_close(drawn.mean(0), logits[0].softmax(0), rtol=0, atol=0.012)  # four deviations


def test_warm_up_is_the_plain_loss_on_all_rows(begin, small):
    method = small(warmup_epochs=3)
    run = begin(method, epoch=3)
    batch = next(run.start())
    assert len(method.batches(run.ctx)) == 6 and method.logs() == {} and method.sample_values() == {}
    stream, before = torch.get_rng_state(), copy.deepcopy(method.state_dict())
    out = run.step(batch)
    torch.set_rng_state(stream)
    torch.testing.assert_close(out.loss, ce(out.logits, batch.target).mean(), rtol=0, atol=0)
    assert torch.equal(before["nets.margin.layers.4.bias"], method.state_dict()["nets.margin.layers.4.bias"])
    run.ctx.epoch = 4
    assert sum(len(batch.index) for batch in run.start()) == 90 - 3 * method.count


def test_a_look_ahead_moves_the_nets_and_nothing_else(begin, small, weights):
    """The random stream and BatchNorm's statistics after `loss` are those of one plain forward; no gradient is left."""
    run, plain = begin(small()), begin(small())
    batch = next(run.start())
    for each in (run, plain):
        torch.manual_seed(2)
        if each is run:
            out = each.loss(batch)
        else:
            logits = each.model(batch.input)
    assert torch.equal(out.logits, logits)
    ends = []
    for each in (run, plain):
        torch.manual_seed(2)
        ends.append(torch.cat([b.double().flatten() for b in each.model.buffers()]))
    assert torch.equal(*ends) and torch.equal(weights(run.model), weights(plain.model))
    assert all(p.grad is None for p in run.model.parameters())
    assert run.ctx.optimizer.state_dict()["state"] == {}
    assert not torch.equal(weights(run.method.nets), weights(plain.method.nets))


def test_the_stream_goes_on_as_after_one_forward(begin, small):
    marks = []
    for look in (True, False):
        run = begin(small())
        batch = next(run.start())
        torch.manual_seed(2)
        run.loss(batch) if look else run.model(batch.input)
        marks.append(torch.get_rng_state())
    assert torch.equal(*marks)


@pytest.mark.parametrize("sampling", ["hierarchical", "lowest_loss", "random"])
def test_the_meta_set_is_balanced_and_does_not_train(begin, small, sampling, asked):
    """The smallest class has 15: M0 = 7, M1 = 3."""
    run, trained = begin(small(meta_sampling=sampling)), []
    sets = []
    for _ in range(2):
        for batch in run.start():
            run.step(batch)
            trained.append(batch.index)
        chosen = run.method.sample_values()["in_meta_set"]
        assert run.data.target[chosen].bincount().tolist() == [3, 3, 3]
        assert not chosen[torch.cat(trained)].any() and chosen[torch.cat(asked)].all()
        assert len(torch.cat(trained)) == 81 and all(len(rows) == 9 for rows in asked)
        sets.append(chosen)
        run.ctx.epoch += 1
        trained.clear(), asked.clear()
    assert sampling == "lowest_loss" or not torch.equal(*sets)


def test_bins_rank_the_swept_losses(begin, small):
    run = begin(small(num_bins=4))
    run.start()
    with torch.no_grad():
        losses = ce(run.model.eval()(run.data.input), run.data.target)
    for c in range(3):
        rows = (run.data.target == c).nonzero()[:, 0]
        order = rows[losses[rows].argsort()]
        expected = [int(rank / (len(rows) + 1) * 4) for rank in range(len(rows))]
        assert run.method.bins[order].tolist() == expected
    agnostic = begin(small(num_bins=4, class_wise=False))
    agnostic.start()
    assert agnostic.method.bins[losses.argsort()].diff().min() >= 0


def test_logs_and_sample_values(begin, small):
    run = begin(small()).train()
    logs, values = run.method.logs(), run.method.sample_values()
    g, q = run.method.nets()
    assert logs["g"].shape == (3, 5) and torch.equal(logs["g"], g.T) and torch.equal(logs["margin"], q)
    assert logs["g_mean"] == pytest.approx(g.mean().item())
    with torch.no_grad():
        g.fill_(0.0)  # nobody trusts a label: corrected labels are the network's own of the sweep
    run.method.nets.forward = lambda: (g, q)
    assert torch.equal(run.method.sample_values()["corrected_label"], run.method.logits.argmax(1))
    g.data.fill_(1.0)
    assert torch.equal(run.method.sample_values()["corrected_label"], run.data.target)
    trusted = [logs["g"][label, rank] for label, rank in zip(run.data.target, run.method.bins)]
    assert torch.equal(values["trust"], torch.stack(trusted))
    assert values["corrected_label"].shape == (90,) and values["in_meta_set"].sum() == 9


def test_restored_it_goes_on_to_the_bit(begin, small, weights):
    whole, first, second = begin(small()).train(3), begin(small()).train(2), begin(small())
    state = copy.deepcopy((first.model.state_dict(), first.ctx.optimizer.state_dict(), first.method.state_dict()))
    for part, values in zip((second.model, second.ctx.optimizer, second.method), state, strict=True):
        part.load_state_dict(values)
    second.ctx.epoch = 12
    second.train(1)
    assert torch.equal(weights(whole.model), weights(second.model))
    assert torch.equal(weights(whole.method.nets), weights(second.method.nets))
