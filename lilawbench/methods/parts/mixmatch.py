"""MixMatch: one step on labelled and unlabelled rows, mixed with each other."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.methods.context import Context
from lilawbench.methods.parts.mixing import Mixer
from lilawbench.methods.parts.soft_targets import ramp, soft_ce, towards_uniform


def views_of(batch: Batch) -> list[Tensor]:
    """All views of a batch, [B, ...] each."""
    return [batch.input, *batch.views.values()]


def mean_probs(logits: Sequence[Tensor]) -> Tensor:
    """The mean of the softmax of several predictions of the same rows, [B, K] each."""
    return torch.stack([z.softmax(dim=1) for z in logits]).mean(dim=0)


class MixMatch:
    """L_X + lambda_u(t) L_U + prior L_reg on rows mixed with each other; `start` it in `on_epoch_start`.

        L_X     cross-entropy, mean over the views of labelled rows
        L_U     squared error of probabilities, mean over the views of unlabelled rows and over classes
        L_reg   KL(uniform || mean prediction) over all of them

    lambda_u(t) grows linearly from 0 to lambda_u in `ramp_epochs`.

    Args:
        alpha: one share for a batch, Beta(alpha, alpha), of which the larger of it and 1 - it is taken.
        lambda_u: >= 0. ramp_epochs: >= 0. prior: weight of L_reg, >= 0.
    Raises:
        ValueError: any of these out of range.
    Source: Berthelot et al. 2019, eq. 2-12; L_reg and the ramp: Li et al. 2020 (DivideMix), eq. 8-11 and its code.
        Deviations: each of several processes mixes its own share of a batch.
    """

    def __init__(self, alpha: float, lambda_u: float, ramp_epochs: float = 16.0, prior: float = 0.0):
        for name, value in (("lambda_u", lambda_u), ("ramp_epochs", ramp_epochs), ("prior", prior)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; it must be >= 0 and finite")
        self.mixer = Mixer(alpha, at_least_half=True)
        self.lambda_u, self.ramp_epochs, self.prior = lambda_u, ramp_epochs, prior

    def start(self, ctx: Context) -> None:
        """Starts the mixes of this epoch."""
        self.mixer.start(ctx)

    def __call__(
        self,
        forward: Callable[[Tensor], Tensor],
        views: Sequence[Sequence[Tensor]],
        targets: Sequence[Tensor],
        epochs: float,
        scale: Tensor | None = None,
    ) -> Tensor:
        """The loss of one step, [].

        Args:
            forward: inputs [R, ...] -> logits [R, K].
            views: of the labelled rows, [L, ...] each, and of the unlabelled ones, [U, ...] each.
            targets: of the labelled rows, [L, K], and of the unlabelled ones, [U, K]; rows sum to 1.
            epochs: since the ramp began, such as 2.5.
            scale: what the terms of L_X are multiplied by: [L + U, 1], weights of rows, of which a mixed row takes
                part with each of its two; or [1, K], of classes.
        """
        inputs = torch.cat([view for piece in views for view in piece])
        target = torch.cat([one for one, piece in zip(targets, views) for _ in piece])
        count = len(targets[0]) * len(views[0])
        mix = self.mixer(len(inputs), inputs.device)
        logits, mixed = forward(mix(inputs)), mix(target)
        supervised = mixed
        if scale is not None:
            rows = scale.expand(len(targets[0]) + len(targets[1]), -1).split([len(one) for one in targets])
            whole = torch.cat([one for one, piece in zip(rows, views) for _ in piece])
            supervised = mix(target * whole)
        loss = soft_ce(logits[:count], supervised[:count]).mean()
        squared = (logits[count:].softmax(dim=1) - mixed[count:]).square().mean()
        loss = loss + self.lambda_u * ramp(epochs, self.ramp_epochs) * squared
        return loss + self.prior * towards_uniform(logits) if self.prior else loss
