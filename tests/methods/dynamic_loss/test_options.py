"""What the options of Dynamic Loss change in training, and what it does on other networks and optimisers."""

import logging

import pytest
import torch

from lilawbench.losses import ce
from lilawbench.models.lstm import LSTM
from lilawbench.support.errors import ConfigError


def test_without_corrector_labels_stay_and_without_margin_logits_do(begin, small):
    run = begin(small(corrector=False))
    batch = next(run.start())
    out = run.step(batch)
    _, q = run.method.nets()
    torch.testing.assert_close(out.loss, ce(out.logits + q, batch.target).mean().detach())
    run = begin(small(margin=False))
    run.train()
    assert torch.equal(run.method.logs()["margin"], torch.zeros(3))
    assert not torch.equal(run.method.logs()["g"], begin(small(margin=False)).method.nets()[0].T)


def test_balanced_softmax_alone_learns_nothing_and_trains_on_all(begin, small):
    run = begin(small(corrector=False, margin="balanced_softmax"))
    batch = next(run.start())
    assert len(run.method.batches(run.ctx)) == 6
    out = run.step(batch)
    counts = torch.tensor([45.0, 30.0, 15.0])
    torch.testing.assert_close(out.loss, ce(out.logits + counts.log(), batch.target).mean())


def test_finetuning_steps_on_the_meta_set_after_the_epoch(begin, small, weights, asked):
    run, plain = begin(small(finetune_on_meta=True)), begin(small())
    for each in (run, plain):
        torch.manual_seed(3)
        for batch in each.start():
            each.step(batch)
    assert torch.equal(weights(run.model), weights(plain.model))
    asked.clear()
    for each in (run, plain):
        each.method.on_epoch_end(each.ctx)
    assert sorted(torch.cat(asked).tolist()) == run.method.in_meta_set.nonzero()[:, 0].tolist()
    assert not torch.equal(weights(run.model), weights(plain.model))
    assert all(p.grad is None for p in run.model.parameters())


def test_a_forward_that_cannot_be_repeated_is_not_reused(begin, small, weights, caplog, float64):
    """As under a compiler that draws dropout from a stream of its own: then every look-ahead has its own forward."""
    caplog.set_level(logging.INFO, "lilawbench")
    runs = [begin(small(reuse_forward=reuse)) for reuse in (True, False)]
    for run in runs:

        def forward(input, run=run):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(99)
                return run.model(input)

        run.ctx.forwards = (forward,)
        run.train()
    assert caplog.text.count("looks ahead on its own forward from now on: a second forward") == 1
    assert torch.equal(weights(runs[0].method.nets), weights(runs[1].method.nets))


@pytest.mark.every(2)
@pytest.mark.parametrize("meta_mode", ["train", "eval"])
def test_recurrent_networks(begin, small, weights, meta_mode):
    runs = [
        begin(
            small(meta_mode=meta_mode, hypergradient=how), lambda: LSTM(3, (6, 2), hidden=5, dropout=0.2), shape=(6, 2)
        )
        for how in ("jvp", "double_backward")
    ]
    ours, expected = (weights(run.train().method.nets) for run in runs)
    torch.testing.assert_close(ours, expected, rtol=0, atol=2e-3)
    assert (ours - weights(begin(small()).method.nets)).abs().max() > 0.005


@pytest.mark.every(2)
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_other_optimizers(begin, small, weights, name, float64):
    options = {"optimizer": name, "weight_decay": 0.01, "clip_grad_norm": 0.5}
    runs = [begin(small(hypergradient=how), **options).train(2) for how in ("jvp", "double_backward")]
    torch.testing.assert_close(weights(runs[0].method.nets), weights(runs[1].method.nets), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"meta_fraction": 0.06}, r"method.meta_fraction=0.06: the smallest class \(2\) has 15 training samples, too"),
    ],
)
def test_data_too_small_for_the_options(begin, small, options, message):
    with pytest.raises(ConfigError, match=message):
        begin(small(**options))
    begin(small(**{**options, "corrector": False, "margin": False}))  # which learns nothing and needs neither


@pytest.mark.parametrize("class_wise, bins", [(True, 40), (False, 200)])
def test_more_bins_than_samples_leave_some_empty(begin, small, weights, class_wise, bins, float64):
    """The paper's R = 50 on classes of five: r = floor(rank / (n + 1) R) still, exact, and both nets learn."""
    runs = [begin(small(num_bins=bins, class_wise=class_wise, hypergradient=how)) for how in ("jvp", "double_backward")]
    for run in runs:
        before = weights(run.method.nets).clone()
        run.train(2)
        assert (weights(run.method.nets) != before).any()
        sizes = run.data.target.bincount() if class_wise else torch.tensor([len(run.data)])
        for c, size in enumerate(sizes.tolist()):
            rows = (run.data.target == c) if class_wise else slice(None)
            expected = sorted(int(rank / (size + 1) * bins) for rank in range(size))
            assert sorted(run.method.bins[rows].tolist()) == expected
            assert len(set(expected)) < bins
    torch.testing.assert_close(weights(runs[0].method.nets), weights(runs[1].method.nets), rtol=0, atol=1e-8)
