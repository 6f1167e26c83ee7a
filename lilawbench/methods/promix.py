"""ProMix: two networks each train on as many rows as they can trust; the others teach a head of their own.

A row is trusted if it has one of the smallest losses of its class, or if the network is sure of its label. From the
rest, a second head on the same features learns the first head's own predictions.
"""

import logging
import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.methods.parts.chosen_mixes import ChosenMixes
from lilawbench.methods.parts.fmix import FMixer
from lilawbench.methods.parts.mixing import Mixer
from lilawbench.methods.parts.priors import CHOSEN, OTHERS, Priors
from lilawbench.methods.parts.promix_rows import agreed, class_wise_small_loss, matched
from lilawbench.methods.parts.pseudo_heads import PseudoHeads
from lilawbench.methods.parts.rrm_options import RRMOptions, never_reweights, rockafellians, values_of_both
from lilawbench.methods.parts.soft_targets import negative_entropy, ramp, sharpened, soft_ce
from lilawbench.metrics.crossing import pruning
from lilawbench.support import host
from lilawbench.support.errors import RunFailed
from lilawbench.support.passes import BACKWARD
from lilawbench.tasks import CLASSES

log = logging.getLogger("lilawbench")
OWN, PSEUDO = HEADS = 0, 1
USUAL_RHO = 0.5  # the authors' wherever they did not know that little is wrong


class Labelled(NamedTuple):
    """A batch as one network sees it."""

    row: Tensor  # [B] int64, in the training table
    input: Tensor  # [B, ...] weak view
    label: Tensor  # [B] int64, given or guessed
    chosen: Tensor  # [B] bool
    weight: Tensor  # [B] of the given label
    log_pi: Tensor  # [K] of chosen rows


class ProMix(Method):
    """Class-wise small-loss and high-confidence selection, debiased losses, a second head for what is left.

    After the warm-up network n trains, for the rows that it chose, on

        l(weak) + w (l(strong) + l(mixup) + l(FMix))   with both heads, l on the logits z + debias log pi_n,

    and, for the others, its second head alone on beta (CE(weak, q) + w CE(strong, q)); q is the sharpened
    softmax(z - debias_pseudo log pi'_n) of the first head. pi_n and pi'_n are moving averages of its mean predictions
    for chosen and other rows. Each sum is divided by the number of its rows in the batch.

    Args:
        warmup_epochs: of the plain loss on all rows. ramp_epochs: over which w rises from 0 to 1 and rho from
            rho_start to rho_end; both count from the run's first epoch.
        rho_start, rho_end: share of N / K rows that each class gives, in [0, 1].
        tau: probability above which a network is sure, in [0, 1].
        guess_after_epochs: epochs after which rows on whose class both networks are sure get that class as label,
            until guess_share of a batch is chosen; None: never.
        debias, debias_pseudo: >= 0, 0 switches it off. pi_decay: in [0, 1). temperature: of sharpening, > 0.
        pseudo_weight: beta, reached after pseudo_ramp_epochs; 0 from pseudo_until_epochs on (None: never).
        mix_alpha: of mixup, share ~ Beta(alpha, alpha), at least 1/2. fmix: whether images are FMixed too.
        fmix_alpha, fmix_decay: see `FMixer`. heads_mixes: "shared", both heads see one mix | "own", one each, as in
            the authors' code.
        penalty: weight of the predictions' negative entropy in the warm-up, >= 0.
        rrm: weights of RRM for every loss after the warm-up that uses a given label, a set for each network, moved by
            the cross-entropies that its rows are chosen by; `over` labelled are those of small losses. None: without.
        loss: per-sample l.
    Raises:
        ValueError: any of these out of range.
    Source: Wang et al. 2023 (ProMix), section 3; rrm: RRM, Table 1.
    Deviations: strong views are AutoAugment's, not RandAugment's. A guessed label is the class that both networks say;
        the authors' code takes each network's after debiasing. Where nothing is chosen, the loss is 0 and pi stays; in
        the code both are NaN.
    """

    networks = 2
    views = ("weak", "strong")
    perturbs_inputs = True
    splits_batches = False  # rows of a batch are mixed with each other
    tasks = CLASSES
    crossings = (pruning,)
    suspicion: ClassVar = {"chosen": -1}
    selected: Tensor  # [2, N] bool, by small losses
    chosen: Tensor  # [N] share of the networks that train on the given label
    seen: Tensor  # [N] float, 1 where `chosen` is of this epoch's batch

    def __init__(
        self,
        warmup_epochs: int = 10,
        ramp_epochs: int = 50,
        rho_start: float = USUAL_RHO,
        rho_end: float = USUAL_RHO,
        tau: float = 0.99,
        guess_after_epochs: int | None = 350,
        guess_share: float = 0.9,
        debias: float = 0.8,
        debias_pseudo: float = 0.8,
        pi_decay: float = 0.9999,
        temperature: float = 0.5,
        pseudo_weight: float = 0.1,
        pseudo_ramp_epochs: int = 100,
        pseudo_until_epochs: int | None = 100,
        mix_alpha: float = 4.0,
        fmix: bool = True,
        fmix_alpha: float = 1.0,
        fmix_decay: float = 3.0,
        heads_mixes: str = "shared",
        penalty: float = 0.0,
        rrm: RRMOptions | None = None,
        loss: Loss = ce,
    ):
        super().__init__(loss)
        self.warmup_epochs, self.ramp_epochs = warmup_epochs, ramp_epochs
        self.rho_start, self.rho_end, self.tau = rho_start, rho_end, tau
        self.guess_after_epochs, self.guess_share = guess_after_epochs, guess_share
        self.debias, self.debias_pseudo, self.temperature = debias, debias_pseudo, temperature
        self.pseudo_weight, self.pseudo_ramp_epochs = pseudo_weight, pseudo_ramp_epochs
        self.pseudo_until_epochs = pseudo_until_epochs
        self.heads_mixes, self.penalty = heads_mixes, penalty
        _check_options(self)
        fmixer = FMixer(fmix_alpha, fmix_decay) if fmix else None
        self.mixes = ChosenMixes(Mixer(mix_alpha, at_least_half=True), fmixer)
        self.pseudo, self.priors = PseudoHeads(), Priors(pi_decay)
        self.reweight_every_epochs, self.over, self.reweighted = rockafellians(rrm)
        for number, one in enumerate(self.reweighted, start=1):
            self.add_module(f"rrm{number}", one)

    def never_acts(self, epochs: int, steps: int) -> list[str]:
        found = super().never_acts(epochs, steps)
        if self.reweighted and not found:
            found += never_reweights(self.reweight_every_epochs, self.warmup_epochs, epochs)
        return found

    def told(self) -> list[str]:
        usual = {"rho_start": USUAL_RHO, "rho_end": USUAL_RHO, "penalty": 0.0}
        changed = {name: getattr(self, name) for name in usual if getattr(self, name) != usual[name]}
        if self.reweighted and self.reweighted[0].contamination is not None:
            changed["rrm.contamination"] = self.reweighted[0].contamination
        return [f"method.{name}={value}" for name, value in changed.items()]

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        self.pseudo.setup(ctx, "promix")
        self.priors.setup(ctx)
        count, device = ctx.num_train, ctx.device
        self.register_buffer("selected", torch.ones(2, count, dtype=torch.bool, device=device), persistent=False)
        for name in ("chosen", "seen"):
            self.register_buffer(name, torch.ones(count, device=device), persistent=False)
        for one in self.reweighted:
            one.allocate(count, device)
        if self.mixes.fmixer is not None and ctx.pixels is None:
            log.info("method=promix: rows that are no images are mixed by mixup alone, not by FMix")

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        self.mixes.start(ctx)
        for one in self.reweighted:
            one.restore()
        done = ctx.epoch - 1
        self.warming_up = done < self.warmup_epochs
        self.rise = ramp(done, self.ramp_epochs)
        over = self.pseudo_until_epochs is not None and done >= self.pseudo_until_epochs
        self.beta = 0.0 if over else self.pseudo_weight * ramp(done, self.pseudo_ramp_epochs)
        self.guesses = self.guess_after_epochs is not None and done >= self.guess_after_epochs
        self.seen = torch.zeros_like(self.seen)
        if not self.warming_up:
            rho = self.rho_start + (self.rho_end - self.rho_start) * self.rise
            losses = [ce(self.predict_train(ctx, network), ctx.targets) for network in (0, 1)]
            classes = ctx.targets, rho, ctx.num_classes
            self.selected = torch.stack([class_wise_small_loss(each, *classes) for each in losses])
            self.chosen = self.selected.float().mean(0)
            self._reweight(ctx, losses)

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        if self.warming_up:
            return self._warm_up(ctx, batch)
        weak = [self.pseudo.logits(ctx, batch.input, network) for network in (0, 1)]
        strong = [self.pseudo.logits(ctx, batch.views["strong"], network) for network in (0, 1)]
        log_pi = self.priors.log()
        with torch.no_grad():
            probs = torch.stack([own.softmax(1) for own, _ in weak])
            trusted = self.selected[:, batch.index] | matched(probs, batch.target, self.tau)
            guessed = torch.zeros_like(trusted)
            if self.guesses:
                guessed = agreed(probs, trusted, self.tau, self.guess_share)
            labels = torch.where(guessed, probs.argmax(2), batch.target)
            chosen = trusted | guessed
            counts = self.priors.follow(ctx, probs, chosen)
            share = trusted.to(probs.dtype).mean(0)
            self.chosen = self.chosen.index_copy(0, batch.index, share.to(self.chosen.dtype))
            self.seen = self.seen.index_fill(0, batch.index, 1)
        total = probs.new_zeros(())
        for network in (0, 1):
            weight = torch.ones_like(share)
            if self.reweighted:
                weight = self.reweighted[network].weight[batch.index].to(share.dtype).masked_fill(guessed[network], 1)
            labelled = batch.index, batch.input, labels[network], chosen[network], weight, log_pi[network, CHOSEN]
            on_chosen = self._on_chosen(ctx, network, Labelled(*labelled), weak[network], strong[network])
            total = total + on_chosen / counts[network, CHOSEN]
            if self.beta:
                on_others = self._on_others(~chosen[network], weak[network], strong[network], log_pi[network, OTHERS])
                total = total + self.beta * on_others / counts[network, OTHERS]
        mean = torch.stack([own.detach() for own, _ in weak]).mean(0)
        return StepOutput(total / ctx.share, mean, share)

    def after_step(self, ctx: Context, batch: Batch, out: StepOutput) -> None:
        super().after_step(ctx, batch, out)
        if not self.warming_up:
            self.pseudo.descend(ctx)

    def on_epoch_end(self, ctx: Context) -> None:
        super().on_epoch_end(ctx)
        if ctx.world.size > 1:
            found = ctx.world.sum_(torch.stack([self.chosen * self.seen, self.seen]))
            self.chosen = torch.where(found[1] > 0, found[0] / found[1].clamp(min=1), self.chosen)

    def logs(self) -> dict[str, float | Tensor]:
        return {} if not self.reweighted else self.reweighted[0].said()

    def sample_values(self) -> dict[str, Tensor]:
        return {**super().sample_values(), "chosen": self.chosen, **values_of_both(self.reweighted)}

    def _reweight(self, ctx: Context, losses: Sequence[Tensor]) -> None:
        """A round of RRM of each network, after every `reweight_every_epochs` epochs."""
        if ctx.epoch == 1 or (ctx.epoch - 1) % self.reweight_every_epochs:
            return
        for one, own, selected in zip(self.reweighted, losses, self.selected):
            rows = None
            if self.over == "labelled":
                size = host.read(selected.sum(), "how many rows are labelled")
                rows = torch.nonzero_static(selected, size=size)[:, 0]
            try:
                one.move(own if rows is None else own[rows], rows)
            except ValueError as error:
                raise RunFailed(f"re-weighting in epoch {ctx.epoch}: {error}; lower train.lr") from error

    def _warm_up(self, ctx: Context, batch: Batch) -> StepOutput:
        logits = [ctx.forward(batch.input, network) for network in (0, 1)]
        total = sum((self.sample_losses(each, batch).mean() for each in logits), torch.zeros((), device=ctx.device))
        if self.penalty:
            total = total + self.penalty * sum(negative_entropy(each).mean() for each in logits)
        return StepOutput(total, torch.stack(logits).mean(0).detach())

    def _on_chosen(
        self, ctx: Context, network: int, rows: Labelled, weak: Sequence[Tensor], strong: Sequence[Tensor]
    ) -> Tensor:
        """The sum over chosen rows of the losses that use a label, [], for both heads."""
        everyone = torch.arange(len(rows.row), device=ctx.device)
        total = rows.weight.new_zeros(())
        for head in HEADS:
            losses = self._losses(weak[head], rows, everyone, update=head == OWN)
            total = total + (rows.chosen * (losses + self.rise * self._losses(strong[head], rows, everyone))).sum()
        if not self.rise:
            return total
        for heads in [HEADS] if self.heads_mixes == "shared" else [(head,) for head in HEADS]:
            for mix in self.mixes(rows.input, rows.chosen):
                logits = self.pseudo.logits(ctx, mix.input, network)
                ctx.passes.add(BACKWARD * len(mix.input) * (OWN not in heads))  # a backward that the first head misses
                for head in heads:
                    first, second = (self._losses(logits[head], rows, of) for of in (mix.first, mix.second))
                    total = total + self.rise * (mix.counts * (mix.share * first + (1 - mix.share) * second)).sum()
        return total

    def _losses(self, logits: Tensor, rows: Labelled, of: Tensor, update: bool = False) -> Tensor:
        """Weighted losses [B] of logits [B, K] against the labels of the rows `of`, [B] int64."""
        labels = Batch(rows.row[of], rows.input, rows.label[of])
        return rows.weight[of] * self.sample_losses(logits + self.debias * rows.log_pi, labels, update)

    def _on_others(self, others: Tensor, weak: Sequence[Tensor], strong: Sequence[Tensor], log_pi: Tensor) -> Tensor:
        """The sum of the second head's losses over the rows `others`, [B] bool, against the first head's guesses."""
        guess = (weak[OWN].detach() - self.debias_pseudo * log_pi).softmax(1)
        target, shift = sharpened(guess, self.temperature), self.debias * log_pi
        losses = soft_ce(weak[PSEUDO] + shift, target) + self.rise * soft_ce(strong[PSEUDO] + shift, target)
        return (others * losses).sum()


def _check_options(method: ProMix) -> None:
    """Raises: ValueError, an option out of range."""
    for name in ("rho_start", "rho_end", "tau", "guess_share"):
        if not 0 <= (value := getattr(method, name)) <= 1:
            raise ValueError(f"{name} is {value}; it must lie in [0, 1]")
    for name in ("warmup_epochs", "ramp_epochs", "debias", "debias_pseudo", "pseudo_weight", "pseudo_ramp_epochs",
                 "penalty"):  # fmt: skip
        if not 0 <= (value := getattr(method, name)) < math.inf:
            raise ValueError(f"{name} is {value}; it must be >= 0")
    for name in ("guess_after_epochs", "pseudo_until_epochs"):
        if (value := getattr(method, name)) is not None and value < 0:
            raise ValueError(f"{name} is {value}; it must be >= 0, or null")
    if not 0 < method.temperature < math.inf:
        raise ValueError(f"temperature is {method.temperature}; it must be > 0")
    if method.heads_mixes not in ("shared", "own"):
        raise ValueError(f"heads_mixes is {method.heads_mixes!r}; it must be shared or own")
