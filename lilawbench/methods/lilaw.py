"""LiLAW: three learned scalars weight each sample's loss by how easy, moderate or hard it looks.

    W_alpha = sigmoid(alpha s_y - s_max)        easy      (Eq. 2)
    W_beta  = sigmoid(-(beta s_y - s_max))      hard      (Eq. 3)
    W_delta = exp(-(delta s_y - s_max)^2 / 2)   moderate  (Eq. 4)
    W = W_alpha + W_beta + W_delta (Eq. 5),     L_W = mean W l (Eq. 6)

with s = softmax(logits). After each model step one validation batch moves alpha, beta, delta down the gradient of its
own L_W. The weights of the network are constants there, so that gradient has a closed form in the logits and the
validation forward needs no graph.

With several labels a sample (A.6), p = sigmoid(logits) and k observed labels, s_y is the mean of p over these and s_max
the mean of the k largest p. In regression (A.7) of y by f, s_y = f / R and s_max = y / R, with R the targets' range.
The formulas stay as they are.
"""

import functools
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.methods.parts import closed_form
from lilawbench.methods.parts.closed_form import WeightedMean
from lilawbench.methods.parts.lilaw_weights import agreement, meta_gradient, weight_terms
from lilawbench.support.side_stream import SideStream

TERMS = ("alpha", "beta", "delta")
SCALES = ("alpha_scale", "beta_scale", "delta_scale")


class LiLAW(Method):
    """Lightweight learnable adaptive weighting (Moturu et al.), for classes, several labels a sample and values.

    It also works in a training loop of your own: `weighted_loss` for the training batch, then `meta_update` with the
    logits of one validation batch; the target's shape and type say which kind it is.

    Args:
        alpha, beta, delta: initial values (A.9: 10, 2, 6).
        lr: step size of the three, one number or one per parameter (alpha, beta, delta), >= 0. With 0 a parameter and
            its scale stay at their initial values, clamp or not; with 0 for all there are no meta steps.
        weight_decay: one number or three, >= 0; added to the gradient (Algorithm 1, lines 16-18).
        loss: per-sample base loss, (logits, target) -> [B].
        terms: which of the three are in the sum (Table 6); the others are left out and not updated.
        scales: True gives each included term a learned factor, n softmax(theta) over the n of them, theta = 0 at the
            start and learned as the others: never negative, mean 1, so that with all three terms five parameters are
            free. Unconstrained factors would fall without bound, since their gradient is mean(W l).
        clamp: keep alpha >= 1, then delta >= beta, after each update (Section 3); moves included terms only.
        detach_weight: True stops the model's gradient at W; False, Algorithm 1 as printed, lets it through.
        meta_mode: "eval" | "train", BatchNorm and dropout in the validation forward.
        meta_every_steps: model steps per meta step, >= 1.
        warmup_epochs: epochs of plain loss without meta steps, >= 0.
        target_range: R of regression (A.7), > 0; None: the data set's.
        regression_delta: W_delta of regression: "gaussian", as A.7's text keeps it | "sigmoid", Eq. 37 as printed.
    Raises:
        ValueError: any of these out of range.
    Source: LiLAW, Eq. 2-6, Algorithm 1, A.6, A.7, A.9. Deviations: none that is not an option.
    """

    uses_meta = True
    idle = "never re-weighted"
    params: Tensor  # alpha, beta, delta
    lr: Tensor  # [3], as all that follow; 0 for a term left out
    weight_decay: Tensor
    included: Tensor
    factors: Tensor
    rows: Tensor  # closed_form.ROWS
    theta: Tensor | None

    def __init__(
        self,
        alpha: float = 10.0,
        beta: float = 2.0,
        delta: float = 6.0,
        lr: float | Sequence[float] = 0.005,
        weight_decay: float | Sequence[float] = 1e-4,
        loss: Loss = ce,
        terms: Sequence[str] = TERMS,
        scales: bool = False,
        clamp: bool = True,
        detach_weight: bool = False,
        meta_mode: str = "eval",
        meta_every_steps: int = 1,
        warmup_epochs: int = 1,
        target_range: float | None = None,
        regression_delta: str = "gaussian",
    ):
        super().__init__(loss)
        self.cross_entropy = getattr(loss, "func", loss) is ce
        if not terms or set(terms) - set(TERMS) or len(set(terms)) < len(terms):
            raise ValueError(f"terms is {terms}; it must be a non-empty subset of {list(TERMS)}")
        if meta_mode not in ("eval", "train"):
            raise ValueError(f"meta_mode is {meta_mode!r}; it must be eval or train")
        for name, value, least in (("meta_every_steps", meta_every_steps, 1), ("warmup_epochs", warmup_epochs, 0)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value}; it must be a whole number >= {least}")
        if target_range is not None and not 0 < target_range < math.inf:
            raise ValueError(f"target_range is {target_range}; it must be null or > 0 and finite")
        if regression_delta not in ("gaussian", "sigmoid"):
            raise ValueError(f"regression_delta is {regression_delta!r}; it must be gaussian or sigmoid")
        self.target_range, self.regression_delta = target_range, regression_delta
        self.terms = tuple(name for name in TERMS if name in terms)
        self.clamp, self.detach_weight, self.meta_mode = clamp, detach_weight, meta_mode
        self.meta_every_steps, self.warmup_epochs = meta_every_steps, warmup_epochs
        self.beside: SideStream | None = None  # while a meta step may be running there
        self.constants: closed_form.Constants | None = None
        self.formed: tuple[Tensor, int, closed_form.Form] | None = None  # parameters, their version, what `form` made
        self.steps_differ = None if meta_every_steps == 1 else "not every step has a meta step"
        if meta_mode == "train":
            self.steps_differ = "method.meta_mode=train rewinds the random stream"
        if not all(math.isfinite(value) for value in (alpha, beta, delta)):
            raise ValueError(f"alpha, beta, delta are {alpha}, {beta}, {delta}; they must be finite")
        learns = torch.tensor([float(name in terms) for name in TERMS])
        self.register_buffer("params", torch.tensor([float(alpha), float(beta), float(delta)]))
        self.register_buffer("lr", learns * _per_parameter("lr", lr), persistent=False)
        self.learned = tuple(name for name, step in zip(TERMS, self.lr.tolist()) if step)
        self.register_buffer("weight_decay", _per_parameter("weight_decay", weight_decay), persistent=False)
        self.register_buffer("included", learns.bool(), persistent=False)
        self.register_buffer("factors", learns, persistent=False)
        self.register_buffer("rows", torch.tensor(closed_form.ROWS), persistent=False)
        self.register_buffer("theta", torch.zeros(3) if scales else None)
        self.movable = self._can_move()  # asked here, where the parameters are on the host

    @property
    def alpha(self) -> Tensor:
        return self.params[0]

    @property
    def beta(self) -> Tensor:
        return self.params[1]

    @property
    def delta(self) -> Tensor:
        return self.params[2]

    @property
    def scales(self) -> Tensor | None:
        """Factors of W_alpha, W_beta, W_delta, [3]; 0 for a term left out, the others sum to their number."""
        return None if self.theta is None else self._scales(self.theta)

    def never_acts(self, epochs: int, steps: int) -> list[str]:
        found = super().never_acts(epochs, steps)
        if found or not self.learned:
            return found
        every, first, last = self.meta_every_steps, self.warmup_epochs * steps, epochs * steps - 1
        if last // every == first // every:  # what the last step learns is not used
            after = f"after method.warmup_epochs={self.warmup_epochs} comes no meta step"
            found.append(f"weights never learned: {after} (method.meta_every_steps={every}) before the last step")
        elif not self.movable:
            found.append("weights never learned: method.lr is too small, or method.clamp holds alpha at 1")
        return found

    def _can_move(self) -> bool:
        """Whether a step can change anything, with a gradient of 1, about the largest. That of alpha only lowers it."""
        moves = self.params != self.params - self.lr * (1 + self.weight_decay * self.params)
        if self.clamp and self.alpha <= 1:
            moves[0] = False
        return bool(moves.any()) or self.theta is not None

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        if self.target_range is None:
            self.target_range = ctx.target_range

    def weights(self, logits: Tensor, target: Tensor) -> Tensor:
        """W of Eq. 5 for each sample, [B], from logits and observed targets; differentiable in the logits."""
        self._follow(logits)
        agreed = agreement(logits, target, self.target_range)
        weights: Sequence[Tensor] = weight_terms(*agreed, self.params, self._gaussian(target))
        if self.theta is not None:
            weights = [scale * weight for scale, weight in zip(self._scales(self.theta), weights, strict=True)]
        return functools.reduce(torch.add, [w for name, w in zip(TERMS, weights, strict=True) if name in self.terms])

    def weighted_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """L_W of Eq. 6, [], the mean over the batch."""
        return self._weighted(logits, target, lambda: self.per_sample(logits, target))[0]

    @torch.no_grad()
    def meta_update(self, val_logits: Tensor, val_target: Tensor) -> None:
        """One descent step on alpha, beta, delta from validation logits [B, K] and their observed targets."""
        self._follow(val_logits)
        params = self.params
        if val_logits.dtype != params.dtype:
            val_logits = val_logits.to(params.dtype)
        if self._of_classes(val_logits, val_target):
            given = None if self.cross_entropy else self.per_sample(val_logits, val_target)
            gradient, mean_terms = closed_form.meta_gradient(val_logits, val_target, self._form(), given)
        else:
            loss = self.per_sample(val_logits, val_target)
            agreed, gaussian = agreement(val_logits, val_target, self.target_range), self._gaussian(val_target)
            gradient = meta_gradient(loss, *agreed, params, gaussian)

            def mean_terms() -> Tensor:
                return torch.stack(weight_terms(*agreed, params, gaussian)) @ loss / len(loss)

        if self.theta is not None:
            scales = self._scales(self.theta)
            gradient *= scales
            slopes = scales * mean_terms()
            slopes -= scales / len(self.terms) * slopes.sum()  # through the softmax
            self.theta = self.theta - self.lr * (slopes + self.weight_decay * self.theta)
        # p - lr (g + wd p), in new tensors: a graph that holds the old ones can still be back-propagated
        gradient = torch.addcmul(gradient, self.weight_decay, params)
        self.params = params = torch.addcmul(params, self.lr, gradient, value=-1)
        if self.clamp:
            first, second, third = params.unbind()
            if "alpha" in self.learned:
                first.clamp_(min=1)
            if "delta" in self.learned:
                torch.maximum(third, second, out=third)

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        self.warming_up = ctx.epoch <= self.warmup_epochs

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        logits = ctx.forward(batch.input)
        self._settle()
        if self.warming_up:
            return StepOutput(self.sample_losses(logits, batch).mean(), logits.detach())
        loss, weight = self._weighted(logits, batch.target, lambda: self.sample_losses(logits, batch))
        return StepOutput(loss, logits.detach(), weight)

    def after_step(self, ctx: Context, batch: Batch, out: StepOutput) -> None:
        if self.warming_up or ctx.step % self.meta_every_steps or not self.learned:
            return
        # the next forward reads the same weights; in train mode both would write the same buffers
        self.beside = ctx.beside if self.meta_mode == "eval" else None
        with self.beside((self.params, self.theta)) if self.beside else nullcontext():
            val = ctx.meta(ctx.full_batch_size)
            with ctx.side_pass(self.meta_mode):
                self.meta_update(ctx.forward(val.input), val.target)

    def on_epoch_end(self, ctx: Context) -> None:
        self._settle()
        super().on_epoch_end(ctx)

    def trace(self) -> tuple[tuple[str, ...], Tensor]:
        if self.theta is not None:
            self._settle()
            return TERMS + SCALES, torch.cat([self.params, self._scales(self.theta)])
        return TERMS, self.params

    def _weighted(self, logits: Tensor, target: Tensor, losses: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        if self._of_classes(logits, target):
            self._follow(logits)
            p = closed_form.picked(logits, target)
            return WeightedMean.apply(p, None if self.cross_entropy else losses(), self._form(), self.detach_weight)
        weight = self.weights(logits, target)
        return ((weight.detach() if self.detach_weight else weight) * losses()).mean(), weight.detach()

    def _of_classes(self, logits: Tensor, target: Tensor) -> bool:
        """Whether the closed form applies; not where autograd is to see the parameters."""
        one_label = target.ndim == 1 and not target.is_floating_point()
        return one_label and logits.dtype == self.params.dtype and not self.params.requires_grad

    def _form(self) -> closed_form.Form:
        """From the present parameters; an update replaces them, a loaded state overwrites them."""
        params = self.params
        if self.formed is None or self.formed[0] is not params or self.formed[1] != params._version:
            kept = self.constants if self.theta is None else None  # learned factors change at every step
            if kept is None or kept.turn.dtype != params.dtype or kept.turn.device != params.device:
                factors = self.factors if self.theta is None else self._scales(self.theta)
                kept = self.constants = closed_form.constants(self.rows, factors)
            self.formed = params, params._version, closed_form.form(params, kept)
        return self.formed[2]

    def _scales(self, theta: Tensor) -> Tensor:
        return len(self.terms) * theta.masked_fill(~self.included, -math.inf).softmax(0)

    def _settle(self) -> None:
        """Waits for a meta step that may still be running."""
        if self.beside is not None:
            self.beside.join((self.params, self.theta))
            self.beside = None

    def _gaussian(self, target: Tensor) -> bool:
        return self.regression_delta == "gaussian" or not target.is_floating_point()

    def _follow(self, logits: Tensor) -> None:
        """Moves the parameters to the logits' device, so that a loop of the user's own need not."""
        if self.params.device != logits.device:
            self.to(logits.device)


def _per_parameter(name: str, value: float | Sequence[float]) -> Tensor:
    """[3] from one number for all or from one each."""
    try:
        values = [float(v) for v in value] if isinstance(value, Sequence) else [float(value)] * 3
    except (TypeError, ValueError):
        values = []
    if len(values) != 3 or not all(0 <= v < math.inf for v in values):
        raise ValueError(f"{name} is {value}; it must be one number >= 0, or three (alpha, beta, delta)")
    return torch.tensor(values)
