"""ProMix, in float64, against a second way of writing each step: row by row, with sets of rows in place of masks."""

import math

import pytest
import torch
from torch import nn

from lilawbench.loading.batch import Batch
from lilawbench.loading.resident import Resident
from lilawbench.methods.parts.fmix import FMixer
from lilawbench.methods.parts.mixing import Mixer
from lilawbench.methods.promix import ProMix

B, K = 9, 3


def images(seed):
    return torch.randn(B, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def scene(context):
    """scene(epoch, **options) -> (ctx, method, batch of all rows) with a body, heads, and pi that is not uniform."""

    def make(epoch, **options):
        target = torch.arange(B) % K
        torch.manual_seed(0)
        networks = [
            nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, K)).double() for _ in range(2)
        ]
        ctx = context(*networks, rows=Resident(images(1), target), views=("weak", "strong"), batch_size=B)
        method = ProMix(**{"warmup_epochs": 0, "ramp_epochs": 4, "rho_start": 0.4, "rho_end": 0.4, **options})
        method.setup(ctx)
        method.priors.double().pi.copy_(torch.rand(2, 2, K).double().softmax(-1))
        ctx.epoch, ctx.batch_size = epoch, B
        method.on_epoch_start(ctx)
        return ctx, method, Batch(torch.arange(B), images(1), target, {"strong": images(2)})

    return make


def nll(logits, label):
    return -logits.log_softmax(0)[label]


def by_hand(ctx, method, batch, pi, guessed_labels=({}, {})):
    """The loss of a step, as section 3 of the paper has it; `guessed_labels`: {row: label} of either network."""
    mixer, fmixer, total = Mixer(4.0, at_least_half=True), FMixer(), 0.0
    mixer.start(ctx), fmixer.start(ctx)
    for number, network in enumerate(ctx.networks):
        head = [method.pseudo.heads.get_parameter(f"{part}{number}") for part in "wb"]

        def both(rows, network=network, head=head):
            features = network[:-1](rows)
            return network[-1](features), features @ head[0].T + head[1]

        weak, strong, guess = both(batch.input), both(batch.views["strong"]), guessed_labels[number]
        sure = weak[0].softmax(1)[range(B), batch.target] > method.tau
        label = {row: int(batch.target[row]) for row in range(B) if method.selected[number, row] or sure[row]} | guess
        rows, log_pi, part = sorted(label), pi[number].log(), 0.0
        for z, s in zip(weak, strong):
            part += sum(
                nll(z[row] + method.debias * log_pi[0], label[row])
                + method.rise * nll(s[row] + method.debias * log_pi[0], label[row])
                for row in rows
            )
        for kind in ("mixup", "fmix"):
            patches = fmixer(4, 4, ctx.device) if kind == "fmix" else None
            mix = mixer.among(torch.tensor([row in rows for row in range(B)]))
            share, places = mix.share if patches is None else patches.share, range(len(rows))
            assert sorted(mix.first[: len(rows)].tolist()) == sorted(mix.partner[: len(rows)].tolist()) == rows
            for one, two in ((int(mix.first[place]), int(mix.partner[place])) for place in places):
                x, y = batch.input[one], batch.input[two]
                input = share * x + (1 - share) * y if patches is None else torch.where(patches.mask, x, y)
                for z in both(input[None]):
                    z = z[0] + method.debias * log_pi[0]
                    mixed = share * nll(z, label[one]) + (1 - share) * nll(z, label[two])
                    part += method.rise * mixed
        total += part / len(rows)
        others = [row for row in range(B) if row not in rows]
        rest = 0.0
        for row in others:
            q = (weak[0][row].detach() - method.debias_pseudo * log_pi[1]).softmax(0) ** 2
            for z, scale in ((weak[1], 1.0), (strong[1], method.rise)):
                rest -= scale * (q / q.sum() * (z[row] + method.debias * log_pi[1]).log_softmax(0)).sum()
        total += method.beta * rest / max(1, len(others))
    return total


def gradients(loss, ctx, method):
    return torch.autograd.grad(loss, [*nn.ModuleList(ctx.networks).parameters(), *method.pseudo.parameters()])


def test_a_step_and_its_gradients_are_those_written_row_by_row(scene):
    """Epoch 3 of ramps of 4 and 5: w = 2/4, beta = .1 * 2/5; at tau .41 some rows are matched."""
    ctx, method, batch = scene(3, tau=0.41, pseudo_ramp_epochs=5, rho_start=0.3, rho_end=0.3)
    assert method.rise == 0.5 and method.beta == pytest.approx(0.04)
    pi = method.priors.pi.clone()
    expected = by_hand(ctx, method, batch, pi)
    out = method.loss(ctx, batch)
    torch.testing.assert_close(out.loss, expected)
    assert method.selected.sum() < (out.weight * 2).sum() < 2 * B  # some matched, some left
    for one, other in zip(gradients(out.loss, ctx, method), gradients(expected, ctx, method), strict=True):
        torch.testing.assert_close(one, other)


def test_guessed_rows_take_the_class_that_both_networks_say(scene):
    """Networks alike, but for the rows of small loss: each guesses what the other may already have."""
    ctx, method, batch = scene(3, tau=0.36, guess_after_epochs=2, guess_share=1.0)
    ctx.networks[1].load_state_dict(ctx.networks[0].state_dict())
    method.selected = torch.stack([torch.arange(B) < 3, torch.arange(B) > 6])
    probs = torch.stack([network(batch.input).softmax(1) for network in ctx.networks])
    score, said = probs.max(2)
    same = (said[0] == said[1]) & (score > 0.36).all(0)
    trusted = method.selected | (probs[:, range(B), batch.target] > 0.36)
    guessed = [{row: int(said[0, row]) for row in range(B) if same[row] and not trusted[n, row]} for n in (0, 1)]
    assert all(guessed) and guessed[0] != guessed[1]
    expected = by_hand(ctx, method, batch, method.priors.pi.clone(), guessed)
    torch.testing.assert_close(method.loss(ctx, batch).loss, expected)


def test_own_mixes_draw_one_for_each_head(scene):
    """Two mixes of both kinds a network in place of one: other numbers, twice the draws, 12 passes in place of 8."""
    losses, shares, costs = [], [], []
    for heads_mixes in ("shared", "own"):
        ctx, method, batch = scene(3, heads_mixes=heads_mixes)
        before = ctx.passes.total
        loss = method.loss(ctx, batch).loss
        loss.backward()
        losses.append(loss.item())
        shares.append(method.mixes.mixer(B, ctx.device).share)
        costs.append((ctx.passes.total - before) / (3 * B))
    assert losses[0] != losses[1] and shares[0] != shares[1]
    assert costs == [8, 12]


def test_schedules_count_from_the_first_epoch(scene):
    found = []
    for epoch in (1, 3, 5, 6, 8):
        _, method, _ = scene(epoch, warmup_epochs=2, pseudo_ramp_epochs=10, pseudo_until_epochs=7, guess_after_epochs=5)
        found.append((method.warming_up, method.rise, round(method.beta, 12), method.guesses))
    assert found == [(True, 0, 0, False), (False, 0.5, 0.02, False), (False, 1, 0.04, False), (False, 1, 0.05, True),
                     (False, 1, 0, True)]  # fmt: skip
    _, method, _ = scene(8, pseudo_ramp_epochs=0, pseudo_until_epochs=None, guess_after_epochs=None)
    assert method.beta == 0.1 and not method.guesses


def test_rho_rises_with_the_ramp(scene):
    """Of 3 rows a class: ceil(.1 * 3) = 1 at first, ceil(.55 * 3) = 2 half-way, all in the end."""
    options = {"rho_start": 0.1, "rho_end": 1.0}
    assert [scene(epoch, **options)[1].selected.sum().item() for epoch in (1, 3, 5)] == [2 * 3, 2 * 6, 2 * 9]


def test_pi_follows_mean_predictions_of_both_kinds_of_rows(scene):
    ctx, method, batch = scene(3, tau=0.45)
    before, probs = method.priors.pi.clone(), [network(batch.input).softmax(1) for network in ctx.networks]
    method.loss(ctx, batch)
    for number in (0, 1):
        chosen = method.selected[number] | (probs[number][range(B), batch.target] > 0.45)
        for kind, rows in enumerate((chosen, ~chosen)):
            expected = 0.9999 * before[number, kind] + 0.0001 * probs[number][rows].mean(0)
            torch.testing.assert_close(method.priors.pi[number, kind], expected)


def test_where_no_row_is_chosen_or_left_the_loss_is_finite_and_pi_stays(scene):
    """The authors' code takes means of no rows there: NaN."""
    for chosen in (False, True):
        ctx, method, batch = scene(3, tau=1.0)
        method.selected = torch.full_like(method.selected, chosen)
        before = method.priors.pi.clone()
        out = method.loss(ctx, batch)
        assert out.loss.isfinite() and all(found.isfinite().all() for found in gradients(out.loss, ctx, method))
        stayed = (method.priors.pi == before).all(2)
        assert stayed.tolist() == [[not chosen, chosen]] * 2


def test_ranks_losses_add_up_to_that_of_all_rows(scene, monkeypatch):
    """Epoch 1, where nothing is mixed: parts of 5 and 4 rows, each divided by the number of rows that both chose."""
    ctx, method, batch = scene(1, pseudo_ramp_epochs=0)
    whole = method.loss(ctx, batch).loss
    counts = torch.stack([method.selected.sum(1), (~method.selected).sum(1)], dim=1).clamp(min=1)
    monkeypatch.setattr(method.priors, "follow", lambda *given: counts)
    method.priors.pi.copy_(scene(1)[1].priors.pi)
    total = 0.0
    for start, size in ((0, 5), (5, 4)):
        ctx.share = size / B
        part = batch.each(lambda tensor, start=start, size=size: tensor[start : start + size])
        total += ctx.share * method.loss(ctx, part).loss
    torch.testing.assert_close(total, whole)


def test_rrm_weights_given_labels_and_no_guessed_ones(scene, monkeypatch):
    """Weights of 2 double the loss of chosen rows; with every label guessed they change nothing."""
    plain = scene(3, tau=1.0, pseudo_weight=0.0)
    ctx, method, batch = scene(3, tau=1.0, pseudo_weight=0.0, rrm={"gamma": 1.0})
    for one in method.reweighted:
        one.weight = torch.full_like(one.weight, 2.0)
    torch.testing.assert_close(method.loss(ctx, batch).loss, 2 * plain[1].loss(plain[0], plain[2]).loss)
    monkeypatch.setattr("lilawbench.methods.promix.matched", lambda probs, target, tau: torch.zeros(2, B).bool())
    losses = []
    for rrm in (None, {"gamma": 1.0}):
        ctx, method, batch = scene(3, tau=0.0, guess_after_epochs=0, guess_share=1.0, rrm=rrm)
        for one in method.reweighted:
            one.weight = torch.full_like(one.weight, 2.0)
        method.selected = torch.zeros_like(method.selected)
        losses.append(method.loss(ctx, batch).loss)
    torch.testing.assert_close(losses[0], losses[1])


@pytest.mark.parametrize("over", ["all", "labelled"])
def test_rrm_moves_by_each_networks_losses(scene, over):
    """Every second epoch, before its first step, over all rows or those of small losses."""
    ctx, method, _ = scene(2, rrm={"contamination": 0.3, "reweight_every_epochs": 2, "over": over})
    assert [int(one.round) for one in method.reweighted] == [0, 0]
    ctx.epoch = 3
    method.on_epoch_start(ctx)
    assert [int(one.round) for one in method.reweighted] == [1, 1]
    for one, selected in zip(method.reweighted, method.selected):
        rows = selected if over == "labelled" else torch.ones_like(selected)
        assert one.pruned.sum() == math.ceil(0.3 * rows.sum()) and not one.pruned[~rows].any()
    assert method.sample_values().keys() == {"chosen", "weight", "pruned", "lowest_weight"}


def test_predictions_are_those_of_the_primary_heads(scene):
    """The authors' log file has the pseudo head of the first network."""
    ctx, method, batch = scene(3)
    mean = (ctx.networks[0](batch.input) + ctx.networks[1](batch.input)) / 2
    torch.testing.assert_close(method.predict(ctx, batch.input), mean)


def test_the_penalty_is_of_probabilities_and_not_of_clamped_logits(scene):
    """At logits (-1, -2, -3) the code's clamp at 1e-12 makes all zero, and the term -log 3 without a gradient."""
    ctx, method, batch = scene(1, warmup_epochs=1, penalty=1.0)
    for network in ctx.networks:
        nn.init.zeros_(network[-1].weight)
        network[-1].bias.data = torch.tensor([-1.0, -2.0, -3.0], dtype=torch.float64)
    probs = torch.tensor([-1.0, -2.0, -3.0], dtype=torch.float64).softmax(0)
    entropy = -(probs * probs.log()).sum()
    expected = 2 * (-probs.log().mean() - entropy)
    torch.testing.assert_close(method.loss(ctx, batch).loss, expected)
    assert entropy < math.log(3) - 0.1


def test_the_second_head_follows_the_optimiser_of_the_networks(scene):
    """Plain SGD at the learning rate of the step, .25 here; its gradients reach the body."""
    ctx, method, batch = scene(3, pseudo_ramp_epochs=0)
    before = method.pseudo.heads.w0.detach().clone()
    out = method.loss(ctx, batch)
    out.loss.backward()
    expected = before - 0.25 * method.pseudo.heads.w0.grad
    ctx.optimizer.param_groups[0]["lr"] = 0.25
    method.after_step(ctx, batch, out)
    torch.testing.assert_close(method.pseudo.heads.w0.detach(), expected)
    own, second = method.pseudo.logits(ctx, batch.input, 0)
    torch.testing.assert_close(own, ctx.networks[0](batch.input))
    (found,) = torch.autograd.grad(second.sum(), ctx.networks[0][1].weight)
    assert found.abs().sum() > 0


def test_what_never_happens_is_said():
    assert ProMix(warmup_epochs=3, rrm={}).never_acts(11, 10) == []  # before epoch 11
    said = ["never re-weighted: method.rrm.reweight_every_epochs is 10, of 10 epochs"]
    assert ProMix(warmup_epochs=3, rrm={}).never_acts(10, 10) == said
    assert ProMix(warmup_epochs=3).never_acts(10, 10) == []
    assert ProMix(warmup_epochs=3).never_acts(3, 10) == [
        "never past its warm-up: method.warmup_epochs is 3, of 3 epochs"
    ]


def test_what_it_was_told():
    assert ProMix().told() == []
    told = ProMix(rho_start=0.7, rho_end=0.7, penalty=1.0, rrm={"contamination": 0.4}).told()
    assert told == ["method.rho_start=0.7", "method.rho_end=0.7", "method.penalty=1.0", "method.rrm.contamination=0.4"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rho_end": 1.5}, "rho_end is 1.5; it must lie in"),
        ({"tau": -0.1}, "tau is -0.1"),
        ({"debias": -1.0}, "debias is -1.0; it must be >= 0"),
        ({"guess_after_epochs": -1}, "guess_after_epochs is -1"),
        ({"pi_decay": 1.0}, "pi_decay is 1.0"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"heads_mixes": "both"}, "heads_mixes is 'both'"),
        ({"mix_alpha": 0.0}, "alpha is 0.0"),
        ({"rrm": {"mu": 2.0}}, "rrm: mu is 2.0"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        ProMix(**options)
