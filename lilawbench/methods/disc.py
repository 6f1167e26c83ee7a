"""DISC: each sample has thresholds of its own, which rise with the network's confidence, and is sorted by them.

After every epoch, with p the probabilities of a weak and a strong view as training saw them and tau_w, tau_s running
means of their largest:

    trusted   p_y > tau in both views         cross-entropy (the paper's clean set)
    hard      p_y > tau in one of them        generalised cross-entropy
    purified  neither, but the mean of both views is surer than (tau_w + tau_s) / 2 + sigma: it takes that class

All three are mixed among themselves (mixup); other rows do not train.
"""

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce, gce
from lilawbench.methods.base import Loss, Method, StepOutput, only_ce
from lilawbench.methods.context import Context
from lilawbench.methods.parts.mixing import Mixer
from lilawbench.methods.parts.soft_targets import one_hot, soft_ce
from lilawbench.metrics.crossing import correction
from lilawbench.support import host
from lilawbench.tasks import CLASSES

BY_NOISE = {"momentum": 0.95, "hard_weight": 0.2}  # what the authors take for some kinds and rates of noise alone


class Sets(NamedTuple):
    """Which rows are in which set, [N] bool each; no row is in two."""

    trusted: Tensor
    hard: Tensor
    purified: Tensor


def sets_of(given: Tensor, surest: Tensor, thresholds: Tensor, sigma: float = 0.5, cap: float = 0.9) -> Sets:
    """Sorts rows by their thresholds.

    Args:
        given: probability of the given label in the weak and the strong view, [N, 2].
        surest: largest probability of the mean of both views, [N].
        thresholds: tau_w and tau_s, [N, 2]. sigma, cap: a label is replaced above min(mean of both + sigma, cap).
    Source: Li et al. 2023, section 3; `cap` is the authors' code's.
    """
    above = given > thresholds
    some, every = above.any(dim=1), above.all(dim=1)
    sure = surest > (thresholds.mean(dim=1) + sigma).clamp(max=cap)
    return Sets(every, some & ~every, sure & ~some)


class DISC(Method):
    """Dynamic instance-specific selection and correction.

    Args:
        warmup_epochs: of cross-entropy on all rows in both views, >= 0; thresholds are learned meanwhile.
        momentum: of the thresholds, in [0, 1); they start at 1/N. In a run of a tenth of the authors' 200 epochs,
            momentum^10 has the same memory.
        hard_weight: weight of the hard rows' loss, >= 0. q: of `gce`, in (0, 1].
        sigma, cap: see `sets_of`; in [0, 1] and (0, 1].
        alpha: of the mixes, whose share is max(l, 1 - l) with l ~ Beta(alpha, alpha), > 0.
        loss: must be ce: DISC's own takes its place.
    Raises:
        ValueError: any of these out of range.
    Source: Li et al. 2023; settings and order of steps of the authors' code. Deviations: the mixed rows of a batch are
        repeated until they fill it, so that every step has the same shapes; only the first of each count, and BatchNorm
        sees the repeated ones too. A batch without any chosen row takes a step of weight decay and momentum alone
        (theirs takes none). The strong view is without Cutout. Processes of one run mix within their own rows.
    """

    views = ("weak", "strong")
    perturbs_inputs = True
    tasks = CLASSES
    crossings = (correction,)
    suspicion: ClassVar = {"given_margin": -1, "distrusted": 1, "corrected_label": 1}
    idle = "never selected"
    thresholds: Tensor  # [N, 2]
    given: Tensor  # [N, 2], p_y of the two views as a row was last seen in training
    top: Tensor  # [N, 2], max p, likewise
    probs: Tensor  # [N, K], the mean of both views, likewise
    trusted: Tensor
    hard: Tensor
    purified: Tensor
    seen: Tensor  # [N], by this process in this epoch

    def __init__(
        self,
        warmup_epochs: int = 20,
        momentum: float = 0.99,
        hard_weight: float = 1.0,
        q: float = 0.7,
        sigma: float = 0.5,
        cap: float = 0.9,
        alpha: float = 5.0,
        loss: Loss = ce,
    ):
        super().__init__(only_ce(loss))
        if not isinstance(warmup_epochs, int) or warmup_epochs < 0:
            raise ValueError(f"warmup_epochs is {warmup_epochs}; it must be a whole number >= 0")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}; it must lie in [0, 1)")
        if not 0 <= hard_weight < math.inf:
            raise ValueError(f"hard_weight is {hard_weight}; it must be >= 0 and finite")
        if not 0 < q <= 1:
            raise ValueError(f"q is {q}; it must lie in (0, 1]")
        if not (0 <= sigma <= 1 and 0 < cap <= 1):
            raise ValueError(f"sigma is {sigma} and cap {cap}; they must lie in [0, 1] and (0, 1]")
        self.warmup_epochs, self.momentum, self.hard_weight = warmup_epochs, momentum, hard_weight
        self.q, self.sigma, self.cap = q, sigma, cap
        self.mixer = Mixer(alpha, at_least_half=True)

    def told(self) -> list[str]:
        return [f"method.{name}={value:g}" for name, value in BY_NOISE.items() if getattr(self, name) == value]

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        self.target = ctx.targets
        count, device = ctx.num_train, ctx.device
        self.register_buffer("thresholds", torch.full((count, 2), 1 / count, device=device))
        for name in ("given", "top"):
            self.register_buffer(name, torch.zeros(count, 2, device=device))
        self.register_buffer("probs", torch.zeros(count, ctx.num_classes, device=device))
        for name in Sets._fields:
            self.register_buffer(name, torch.zeros(count, dtype=torch.bool, device=device))
        self.register_buffer("seen", torch.zeros(count, device=device), persistent=False)

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        self.warming_up = ctx.epoch <= self.warmup_epochs
        self.labels = self._labels()
        self.mixer.start(ctx)

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        strong_input = batch.views["strong"]
        weak, strong = ctx.forward(torch.cat([batch.input, strong_input])).chunk(2)
        self._note(batch, weak.detach(), strong.detach())
        plain = ce(weak, batch.target) + ce(strong, batch.target)
        if self.warming_up:
            return StepOutput(plain.mean(), weak.detach())
        trusted, hard, purified = (mask[batch.index] for mask in (self.trusted, self.hard, self.purified))
        robust = gce(weak, batch.target, self.q) + gce(strong, batch.target, self.q)
        loss = (trusted * plain + self.hard_weight * hard * robust).mean()
        label = one_hot(self.labels[batch.index], weak.detach())
        for input in (batch.input, strong_input):
            mix = self.mixer.among(trusted | hard | purified)
            loss = loss + (mix.weight * soft_ce(ctx.forward(mix(input)), mix(label))).sum()
        return StepOutput(loss, weak.detach())

    def on_epoch_end(self, ctx: Context) -> None:
        """Sorts the rows for the next epoch; then the thresholds of those seen move."""
        super().on_epoch_end(ctx)
        if ctx.world.size > 1:
            self._gather(ctx)
        self.trusted, self.hard, self.purified = sets_of(
            self.given, self.probs.amax(dim=1), self.thresholds, self.sigma, self.cap
        )
        moved = torch.lerp(self.top, self.thresholds, self.momentum)
        self.thresholds = torch.where(self.seen[:, None] > 0, moved, self.thresholds)
        self.seen = torch.zeros_like(self.seen)

    def logs(self) -> dict[str, float | Tensor]:
        """Shares of the rows in each set."""
        shares = torch.stack([mask.double().mean() for mask in (self.trusted, self.hard, self.purified)])
        return dict(zip(Sets._fields, host.read(shares, "shares of the sets"), strict=True))

    def sample_values(self) -> dict[str, Tensor]:
        """given_margin: p_y above its threshold, mean of both views; distrusted: neither trusted nor hard; [N]."""
        margin = (self.given - self.thresholds).mean(dim=1)
        distrusted = ~(self.trusted | self.hard)
        return {"given_margin": margin, "distrusted": distrusted, "corrected_label": self._labels()}

    def _labels(self) -> Tensor:
        """Of purified rows the network's class, of the others the given one, [N]."""
        return torch.where(self.purified, self.probs.argmax(dim=1), self.target)

    @torch.no_grad()
    def _note(self, batch: Batch, weak: Tensor, strong: Tensor) -> None:
        probs = torch.stack([weak, strong], dim=1).softmax(dim=2).to(self.probs.dtype)  # [B, 2, K]
        self.given.index_copy_(0, batch.index, probs[torch.arange(len(probs), device=probs.device), :, batch.target])
        self.top.index_copy_(0, batch.index, probs.amax(dim=2))
        self.probs.index_copy_(0, batch.index, probs.mean(dim=1))
        self.seen.index_fill_(0, batch.index, 1)

    def _gather(self, ctx: Context) -> None:
        """Gives every process what all have seen; of a row that several saw, the mean."""
        mine, times = self.seen[:, None], ctx.world.sum_(self.seen.clone())[:, None]
        for name in ("given", "top", "probs"):
            value = self.get_buffer(name)
            total = ctx.world.sum_(value * mine) / times.clamp(min=1)
            setattr(self, name, torch.where(times > 0, total, value))
        self.seen = times[:, 0]
