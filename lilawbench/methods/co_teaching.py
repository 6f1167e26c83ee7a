"""Co-teaching and its kin: two networks, trained on the rows of each batch that have a small loss.

A label that is hard to fit is probably wrong. In epoch t the share R(t) of a batch with the smallest losses is kept,

    R(t) = 1 - tau min(t^c / T_k, 1),

and a network trains on the rows that its peer keeps (Co-teaching), on those that both keep by a joint loss (JoCoR), or
on its own. Co-teaching+ ranks only the rows whose two predicted classes differ.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.metrics.crossing import selection
from lilawbench.metrics.mixture import estimated_wrong_gmm
from lilawbench.support import host
from lilawbench.support.plain import State
from lilawbench.tasks import CLASSES

ESTIMATE = "estimate"


def smallest(losses: Tensor, keep: Tensor, among: Tensor) -> Tensor:
    """Mask of the floor(keep n) smallest of the n losses in `among`, and of one at least; ties in the order of rows.

    Args:
        losses: [C, B], each of the C lists ranked by itself. keep: [] float64 in [0, 1]. among: [B] bool.
    Returns:
        [C, B] bool.
    """
    order = losses.masked_fill(~among, math.inf).argsort(dim=1, stable=True)
    count = (keep * among.sum() + 1e-9).floor().clamp(min=1)
    places = torch.arange(losses.shape[1], device=losses.device)
    kept = (places < count).expand_as(losses)
    return torch.zeros_like(kept).scatter_(1, order, kept) & among


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL(p || q) + KL(q || p) = sum_k (p_k - q_k) (log p_k - log q_k) of each row, [B], from logits [B, K].

    Source: Wei et al. 2020 (JoCoR), eq. 4 and 5.
    """
    log_p, log_q = first.log_softmax(1), second.log_softmax(1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1)


class CoTeaching(Method):
    """Co-teaching, Co-teaching+ and JoCoR.

    Args:
        select: whose small losses a network trains on: "peer", the other's; "own", its own; "joint", both on the rows
            of the smallest (1 - lambda) (l_1 + l_2) + lambda (KL(p_1 || p_2) + KL(p_2 || p_1)), which is the loss too.
        disagreement: rank only the rows whose two predicted classes differ.
        forget_rate: tau, in [0, 1), the share to be forgotten, which the papers set to the true noise rate; "estimate":
            the share of labels that are wrong by a mixture of two Gaussians over the cross-entropies of all training
            rows, the mean of both networks. It is asked at the start of the epochs 2 to T_k, of epoch 2 at least, and
            stays from then on: networks that fit wrong labels later would find fewer. Epoch 1 forgets nothing.
        ramp_epochs: T_k, >= 1. exponent: c, > 0.
        double_by: epoch by which tau has doubled, after T_k; None: it stays.
        init_epochs: epochs that rank all rows before `disagreement` begins, >= 0.
        agreement: lambda of "joint", in [0, 1].
        none_differ: what a batch trains on in which no two predictions differ: "all" of it, or "nothing".
        loss: per-sample loss.
    Raises:
        ValueError: any of these out of range.
    Source: Han et al. 2018, algorithm 1; Yu et al. 2019, algorithm 1, for double_by its second schedule; Wei et al.
        2020, algorithm 1. Deviations: one row is kept at least; one optimiser steps both networks, which have no
        weight in common; under torchrun the batch of all processes is ranked, so that their number changes nothing.
    """

    networks = 2
    splits_batches = False  # a batch is ranked as a whole
    tasks = CLASSES
    crossings = (selection,)
    suspicion: ClassVar = {"forgotten": 1}
    idle = "never forgot"
    steps_differ: str | None = None
    keep: Tensor  # R(t)
    chosen: Tensor  # in this epoch, by so many of the networks; [N], as those below
    passed: Tensor  # in this epoch ranked, and by so many of the networks not chosen
    seen: Tensor  # in this epoch, so many times
    passed_sum: Tensor  # in all epochs
    seen_sum: Tensor

    def __init__(
        self,
        select: str = "peer",
        disagreement: bool = False,
        forget_rate: float | str = ESTIMATE,
        ramp_epochs: int = 10,
        exponent: float = 1.0,
        double_by: int | None = None,
        init_epochs: int = 0,
        agreement: float = 0.9,
        none_differ: str = "all",
        loss: Loss = ce,
    ):
        super().__init__(loss)
        for name, value, allowed in (
            ("select", select, ("peer", "joint", "own")),
            ("disagreement", disagreement, (True, False)),
            ("none_differ", none_differ, ("all", "nothing")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(map(str, allowed))}")
        if forget_rate != ESTIMATE and (isinstance(forget_rate, str) or not 0 <= forget_rate < 1):
            raise ValueError(f"forget_rate is {forget_rate}; it must be {ESTIMATE}, or a number in [0, 1)")
        for name, number, least in (("ramp_epochs", ramp_epochs, 1), ("init_epochs", init_epochs, 0)):
            if not isinstance(number, int) or number < least:
                raise ValueError(f"{name} is {number}; it must be a whole number >= {least}")
        if not 0 < exponent < math.inf:
            raise ValueError(f"exponent is {exponent}; it must be > 0")
        if double_by is not None and not (isinstance(double_by, int) and double_by > ramp_epochs):
            raise ValueError(f"double_by is {double_by}; it must be a whole number > ramp_epochs ({ramp_epochs})")
        if not 0 <= agreement <= 1:
            raise ValueError(f"agreement is {agreement}; it must lie in [0, 1]")
        self.select, self.disagreement, self.none_differ = select, disagreement, none_differ
        self.given = None if isinstance(forget_rate, str) else float(forget_rate)
        self.tau = self.given or 0.0
        self.ramp_epochs, self.exponent, self.double_by = ramp_epochs, exponent, double_by
        self.init_epochs, self.agreement = init_epochs, agreement

    def told(self) -> list[str]:
        return [f"method.forget_rate={self.given}"] if self.given else []

    def never_acts(self, epochs: int, steps: int) -> list[str]:
        found = super().never_acts(epochs, steps)
        if self.given == 0 and not self.disagreement and not (self.select == "joint" and self.agreement):
            found.append(f"{self.idle}: method.forget_rate is 0")
        if self.given is None and epochs < 2:
            found.append(f"{self.idle}: method.forget_rate is estimated from epoch 2 on, of {epochs} epochs")
        if self.disagreement and self.init_epochs >= epochs:
            found.append(f"never disagreed: method.init_epochs is {self.init_epochs}, of {epochs} epochs")
        return found

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        self.register_buffer("keep", torch.ones((), dtype=torch.float64, device=ctx.device), persistent=False)
        for name in ("chosen", "passed", "seen"):
            self.register_buffer(name, torch.zeros(ctx.num_train, device=ctx.device), persistent=False)
        for name in ("passed_sum", "seen_sum"):
            self.register_buffer(name, torch.zeros(ctx.num_train, device=ctx.device))

    def forgotten_share(self, epoch: int) -> float:
        """1 - R(t), by the present tau."""
        grown = 0.0 if self.double_by is None else (epoch - self.ramp_epochs) / (self.double_by - self.ramp_epochs)
        ramp = min(epoch**self.exponent / self.ramp_epochs, 1 + min(max(grown, 0.0), 1.0))
        return min(self.tau * ramp, 1.0)

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        self.warming_up = self.disagreement and ctx.epoch <= self.init_epochs
        if self.given is None and 2 <= ctx.epoch <= max(2, self.ramp_epochs):
            self.tau = ctx.world.agree(self._estimate(ctx))
        self.share = self.forgotten_share(ctx.epoch)
        self.keep.fill_(1 - self.share)
        for tally in (self.chosen, self.passed, self.seen):
            tally.zero_()

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        logits = [ctx.forward(batch.input, number) for number in range(self.networks)]
        losses = torch.stack([self.sample_losses(z, batch) for z in logits])
        if self.select == "joint":
            joint = (1 - self.agreement) * losses.sum(0) + self.agreement * divergence(*logits)
            losses = joint[None]
        whole = len(batch.index) == ctx.batch_size  # else this rank has a part of it
        with torch.no_grad():
            differ = logits[0].argmax(1) != logits[1].argmax(1)
            ranked = torch.cat([losses.detach(), differ[None]])
            kept, among = self._ranked(ranked if whole else self._of_all(ctx, ranked))
            count = kept.sum(1).clamp(min=1) * (1.0 if whole else ctx.share)
            if not whole:
                kept, among = ctx.world.share(kept.T).T, ctx.world.share(among)
            if self.select == "peer":
                kept, count = kept.flip(0), count.flip(0)
            weight = kept.to(losses.dtype).mean(0)
            self.chosen.index_copy_(0, batch.index, weight.to(self.chosen.dtype))
            self.passed.index_copy_(0, batch.index, (among * (1 - weight)).to(self.passed.dtype))
            self.seen.index_fill_(0, batch.index, 1)
        total = (losses.where(kept, 0.0).sum(1) / count).sum()
        return StepOutput(total, torch.stack(logits).mean(0).detach(), weight)

    def on_epoch_end(self, ctx: Context) -> None:
        super().on_epoch_end(ctx)
        for tally in (self.chosen, self.passed, self.seen):
            ctx.world.sum_(tally)
        self.passed_sum += self.passed
        self.seen_sum += self.seen
        self.chosen /= self.seen.clamp(min=1)

    def logs(self) -> dict[str, float | Tensor]:
        return {"forget_rate": self.tau, "forgotten_share": self.share}

    def sample_values(self) -> dict[str, Tensor]:
        """`chosen`, by what share of the networks in the last epoch; `forgotten`, of all epochs the share, over both
        networks, in which a row was ranked and not chosen."""
        forgotten = self.passed_sum / self.seen_sum.clamp(min=1)
        return {**super().sample_values(), "chosen": self.chosen, "forgotten": forgotten}

    def get_extra_state(self) -> State:
        return {"tau": self.tau}

    def set_extra_state(self, state: State) -> None:
        self.tau = float(state["tau"])

    def _ranked(self, ranked: Tensor) -> tuple[Tensor, Tensor]:
        """Which rows of a whole batch are kept, [C, B], and which are ranked, [B].

        Args:
            ranked: their losses, and in the last row whether predictions differ, [C + 1, B].
        """
        losses, differ = ranked[:-1], ranked[-1] > 0
        if not self.disagreement or self.warming_up:
            every = torch.ones_like(differ)
            return smallest(losses, self.keep, every), every
        some, keep = differ.any(), self.keep
        if self.none_differ == "all":
            keep, differ = torch.where(some, keep, 1.0), differ | ~some
        return smallest(losses, keep, differ), differ

    def _of_all(self, ctx: Context, rows: Tensor) -> Tensor:
        """[C, B] of the whole batch, from this rank's columns of it."""
        columns = ctx.world.share(torch.arange(ctx.batch_size, device=rows.device))
        return ctx.world.sum_(rows.new_zeros(len(rows), ctx.batch_size).index_copy_(1, columns, rows))

    def _estimate(self, ctx: Context) -> float:
        """The share of wrong labels by the mixture."""
        losses = [ce(self.predict_train(ctx, number), ctx.targets) for number in range(self.networks)]
        found = host.bring(torch.stack(losses).mean(0), "losses to divide")
        return estimated_wrong_gmm(found) / len(found)
