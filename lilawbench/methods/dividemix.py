"""DivideMix: two networks divide the rows for each other, into labelled and unlabelled ones, and train by MixMatch.

Each epoch both networks score all rows. A mixture of two Gaussians over a network's losses gives w of each row, the
probability that its label is right; rows of w above a threshold are labelled for the *other* network. Then network 1
trains on one pass over its labelled rows, and after it network 2, whose division was made before. The target of a
labelled row is w y + (1 - w) p, that of an unlabelled one the guess of both networks, both sharpened.
"""

import logging
import math
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.loading.batches import Batches
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.methods.parts.divide import TWO_VIEWS, half_and_half, right_probability, scaled, too_few
from lilawbench.methods.parts.mixmatch import MixMatch, mean_probs, views_of
from lilawbench.methods.parts.rrm_options import RRMOptions, never_reweights, rockafellians, values_of_both
from lilawbench.methods.parts.soft_targets import negative_entropy, one_hot, sharpened
from lilawbench.metrics.crossing import pruning
from lilawbench.support import host
from lilawbench.support.errors import RunFailed
from lilawbench.tasks import CLASSES

log = logging.getLogger("lilawbench")
LAMBDA_U = (25.0, 150.0)  # what the authors take at most noise rates, for CIFAR-10 and CIFAR-100
THRESHOLD = 0.5
MOST_HISTORY = 100


class DivideMix(Method):
    """DivideMix. An epoch of it has a pass for each network; in a step, one of them moves.

    Args:
        warmup_epochs: of the plain loss on all rows, >= 0.
        penalty: adds the mean of sum_k p_k log p_k in warm-up; the authors do so for asymmetric noise alone.
        p_threshold: rows of larger w are labelled, in (0, 1).
        temperature: T of sharpening, > 0.
        alpha, lambda_u, ramp_epochs, prior: see `MixMatch`.
        loss_history: epochs whose scaled losses are averaged for the mixture, in 1..100: all are kept in memory and
            in the checkpoint. The authors take 5 at 90 % noise.
        guess_mode: of the network that trains while it guesses, "eval" | "train", as in the authors' code, which moves
            BatchNorm's statistics by all four views too. The other network is in eval mode.
        rrm: weights of RRM for the terms of L_X, a set for each network, from its own losses; None: none.
        loss: per-sample loss of the warm-up; division and L_X are by cross-entropy.
    Raises:
        ValueError: any of these out of range.
    Source: Li et al. 2020, Algorithm 1, eq. 3-12; settings that it leaves open from the authors' code. rrm: RRM, tables
        1 and 2. Deviations: w of rows is that of un-augmented inputs at the epoch's start, of all rows also with
        train.balanced_samples; where either part has fewer than two rows, the network has a plain epoch; RRM does not
        say over which rows it re-weights, nor when: here before each division that follows `reweight_every_epochs`
        epochs.
    """

    networks = 2
    views = TWO_VIEWS
    perturbs_inputs = True
    splits_batches = False  # rows of a batch are mixed with each other
    tasks = CLASSES
    idle = "never divided"
    steps_differ = "its batches differ in size, and its networks take turns"
    crossings = (pruning,)
    suspicion: ClassVar = {"high_loss": 1, "weight": -1, "pruned": 1, "lowest_weight": -1}
    history: Tensor  # scaled losses of the last epochs, [loss_history, 2, N]; NaN: not yet

    def __init__(
        self,
        warmup_epochs: int = 10,
        penalty: bool = False,
        p_threshold: float = THRESHOLD,
        temperature: float = 0.5,
        alpha: float = 4.0,
        lambda_u: float = LAMBDA_U[0],
        ramp_epochs: float = 16.0,
        prior: float = 1.0,
        loss_history: int = 1,
        guess_mode: str = "eval",
        rrm: RRMOptions | None = None,
        loss: Loss = ce,
    ):
        super().__init__(loss)
        if not isinstance(warmup_epochs, int) or warmup_epochs < 0:
            raise ValueError(f"warmup_epochs is {warmup_epochs}; it must be a whole number >= 0")
        if not isinstance(loss_history, int) or not 1 <= loss_history <= MOST_HISTORY:
            raise ValueError(f"loss_history is {loss_history}; it must be a whole number in 1..{MOST_HISTORY}")
        if not 0 < p_threshold < 1:
            raise ValueError(f"p_threshold is {p_threshold}; it must lie in (0, 1)")
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature is {temperature}; it must be > 0 and finite")
        if guess_mode not in ("eval", "train"):
            raise ValueError(f"guess_mode is {guess_mode!r}; it must be eval or train")
        self.warmup_epochs, self.penalty, self.p_threshold = warmup_epochs, penalty, p_threshold
        self.temperature, self.loss_history, self.guess_mode = temperature, loss_history, guess_mode
        self.mixmatch = MixMatch(alpha, lambda_u, ramp_epochs, prior)
        self.reweight_every_epochs, self.over, self.reweighted = rockafellians(rrm)
        for number, one in enumerate(self.reweighted, start=1):
            self.add_module(f"rrm{number}", one)
        self.right: Tensor | None = None  # w by each network, [2, N]; None: not divided in this epoch
        self.labelled: list[Tensor | None] = [None, None]  # for each network, [N] on the host; None: a plain epoch
        self.turn, self.position = 0, 0.0  # the network that trains, and the share of its pass that is done

    def told(self) -> list[str]:
        lambda_u = self.mixmatch.lambda_u
        found = [] if lambda_u in LAMBDA_U else [f"method.lambda_u={lambda_u}"]
        found += [] if self.p_threshold == THRESHOLD else [f"method.p_threshold={self.p_threshold}"]
        found += ["method.penalty=true"] if self.penalty else []
        found += [f"method.loss_history={self.loss_history}"] if self.loss_history > 1 else []
        shares = {one.contamination for one in self.reweighted if one.contamination is not None}
        return found + [f"method.rrm.contamination={share}" for share in shares]

    def never_acts(self, epochs: int, steps: int) -> list[str]:
        found = super().never_acts(epochs, steps)
        if self.reweighted and not found:
            found += never_reweights(self.reweight_every_epochs, self.warmup_epochs, epochs)
        return found

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        if self.loss_history > 1:
            start = torch.full((self.loss_history, 2, ctx.num_train), math.nan, device=ctx.device)
            self.register_buffer("history", start)
        for one in self.reweighted:
            one.allocate(ctx.num_train, ctx.device)

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        self.mixmatch.start(ctx)
        self.warming_up = ctx.epoch <= self.warmup_epochs
        self.right, self.labelled = None, [None, None]
        if self.warming_up:
            return
        losses = torch.stack([ce(self.predict_train(ctx, number), ctx.targets) for number in range(2)])
        found = ctx.world.agree(right_probability(self._remembered(losses)))
        for number, by_peer in enumerate(found.flip(0) > self.p_threshold):
            if why := too_few(by_peer):
                log.warning("dividemix, epoch %d: network %d has %s: a plain epoch", ctx.epoch, number + 1, why)
            else:
                self.labelled[number] = by_peer
        self.right = host.send(found, ctx.device)
        self._reweight(ctx, losses)

    def batches(self, ctx: Context) -> Batches:
        passes = [self._pass(ctx, labelled) for labelled in self.labelled]
        return Batches(sum(map(len, passes)), self._in_turn(passes))

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        if self.labelled[self.turn] is None:
            return self._plain(ctx, batch)
        assert self.right is not None
        labelled, unlabelled = batch.pieces()
        own, guess, logits = self._guesses(ctx, labelled, unlabelled)
        w = self.right[1 - self.turn, labelled.index, None]
        refined = w * one_hot(labelled.target, own) + (1 - w) * own
        targets = [sharpened(probs, self.temperature) for probs in (refined, guess)]
        epochs = ctx.epoch - 1 + self.position - self.warmup_epochs
        scale = None
        if self.reweighted:
            rows = self.reweighted[self.turn].weight[batch.index]
            others = torch.ones_like(unlabelled.index, dtype=rows.dtype)
            scale = torch.cat([rows[: len(labelled.index)], others])[:, None]
        views = [views_of(piece) for piece in (labelled, unlabelled)]
        loss = self.mixmatch(lambda input: ctx.forward(input, self.turn), views, targets, epochs, scale)
        return StepOutput(loss, logits)

    def logs(self) -> dict[str, float | Tensor]:
        if self.right is None:
            return {}
        shares = [1.0 if one is None else one.float().mean().item() for one in self.labelled]  # on the host
        first = self.reweighted[0].said() if self.reweighted else {}
        return {"labelled": sum(shares) / 2, **first}

    def sample_values(self) -> dict[str, Tensor]:
        found = super().sample_values()
        if self.right is None:
            return found
        wrong = 1 - self.right.mean(dim=0)
        found |= {"high_loss": wrong, "unlabelled": wrong >= 1 - self.p_threshold}
        return found | values_of_both(self.reweighted)

    def _remembered(self, losses: Tensor) -> Tensor:
        """Scaled losses, [2, N]: their mean over the last `loss_history` epochs."""
        now = scaled(losses)
        if self.loss_history == 1:
            return now
        self.history = torch.cat([self.history[1:], now[None]])
        return self.history.nanmean(dim=0)

    def _reweight(self, ctx: Context, losses: Tensor) -> None:
        """A round of RRM of each network, after every `reweight_every_epochs` epochs."""
        due = (ctx.epoch - 1) % self.reweight_every_epochs == 0
        for one, own, labelled in zip(self.reweighted, losses, self.labelled):
            one.restore()
            if not due or ctx.epoch == 1 or (self.over == "labelled" and labelled is None):
                continue
            rows = None
            if self.over == "labelled" and labelled is not None:
                rows = host.send(labelled.nonzero()[:, 0], ctx.device)
            try:
                one.move(own if rows is None else own[rows], rows)
            except ValueError as error:
                raise RunFailed(f"re-weighting in epoch {ctx.epoch}: {error}; lower train.lr") from error

    def _pass(self, ctx: Context, labelled: Tensor | None) -> Batches:
        if labelled is None:
            return ctx.training_batches(views=("weak",))
        half = max(2, ctx.full_batch_size // 2)
        return half_and_half(ctx, labelled, (half, half))

    def _in_turn(self, passes: list[Batches]) -> Iterator[Batch]:
        for self.turn, batches in enumerate(passes):
            for step, batch in enumerate(batches):
                self.position = step / len(batches)
                yield batch

    def _plain(self, ctx: Context, batch: Batch) -> StepOutput:
        logits = ctx.forward(batch.input, self.turn)
        loss = self.sample_losses(logits, batch).mean()
        if self.penalty and self.warming_up:
            loss = loss + negative_entropy(logits).mean()
        return StepOutput(loss, logits.detach())

    @torch.no_grad()
    def _guesses(self, ctx: Context, labelled: Batch, unlabelled: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Own p of labelled rows [L, K], the guess of both networks for unlabelled ones [U, K], and own logits of the
        first view of both, [L + U, K]."""
        views = [*views_of(unlabelled), *views_of(labelled)]
        sizes = [len(view) for view in views]
        if self.guess_mode == "train":
            own = [ctx.forward(view, self.turn) for view in views]
        with ctx.side_pass():
            if self.guess_mode == "eval":
                own = list(ctx.forward(torch.cat(views), self.turn).split(sizes))
            peer = ctx.forward(torch.cat(views[:2]), 1 - self.turn).split(sizes[:2])
        return mean_probs(own[2:]), mean_probs([*own[:2], *peer]), torch.cat([own[2], own[0]])
