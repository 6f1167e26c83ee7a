"""SOP: a learned term for each sample explains its label where the network cannot.

    s_i = u_i^2 y_i - v_i^2 (1 - y_i),   p_i = normalised(softmax(z_i) + s_i)

u_i is one number, which can stand in for a label that the network does not predict; v_i has one for each class, which
can take away from what the network predicts instead. Both start at almost 0 and learn by plain gradient descent, whose
bias towards sparse solutions makes s_i the label's noise. Predictions are the network's alone.
"""

import math
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput, only_ce
from lilawbench.methods.context import Context
from lilawbench.methods.parts.learned import Learned
from lilawbench.methods.parts.soft_targets import one_hot
from lilawbench.metrics.crossing import correction
from lilawbench.support import host
from lilawbench.support.lean import lean
from lilawbench.support.seeding import derive_torch
from lilawbench.tasks import CLASSES

LEAST = 1e-4  # a corrected probability; its logarithm is finite
START = 1e-8  # standard deviation of u and v at the start
ASYMMETRIC = 100.0  # lr_v that the authors take for asymmetric noise alone


def noise_of(u: Tensor, v: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """u^2 y and v^2 (1 - y), each clipped to [0, 1], [B, K]; s is their difference.

    Args:
        u: [B, 1]. v: [B, K]. label: y, one-hot [B, K].
    """
    return (u.square() * label).clamp(0, 1), (v.square() * (1 - label)).clamp(0, 1)


def corrected(logits: Tensor, added: Tensor, taken: Tensor) -> Tensor:
    """softmax(z) + s, positive and normalised, [B, K]. No gradient reaches v: `taken` counts as a constant.

    Args:
        logits: z [B, K]. added, taken: of `noise_of`.
    """
    p = (logits.softmax(dim=1) + added - taken.detach()).clamp(min=LEAST)
    return (p / p.sum(dim=1, keepdim=True)).clamp(min=LEAST)


def sop_loss(logits: Tensor, target: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """-log p_y + ||e + s - y||^2 with e the one-hot of the largest logit, a constant; and p.

    Cross-entropy moves the network and u, the squared error u and v. Where u and v are 0 and the network is right, it
    is cross-entropy; where it is wrong, cross-entropy + 2.

    Args:
        logits: z [B, K]. target: observed labels [B]. u: [B, 1]. v: [B, K].
    Returns:
        Losses, [B] >= 0; p of `corrected`, [B, K].
    Source: Liu et al. 2022, section 4; clipping and the squared error's e are those of the authors' code.
    """
    label = one_hot(target, logits)
    added, taken = noise_of(u, v, label)
    p = corrected(logits, added, taken)
    predicted = one_hot(logits.detach().argmax(dim=1), logits)
    squared = (predicted + added - taken - label).square().sum(dim=1)
    return squared - p.gather(1, target[:, None])[:, 0].log(), p


class SOP(Method):
    """Sparse over-parameterisation; with `consistency` and `balance` SOP+.

    Args:
        lr_u, lr_v: of plain gradient descent on u and v, > 0, constant. Gradients are means over a batch, so they go
            with train.batch_size (the authors' 128): half the batch, half of both for the same steps of a sample.
        consistency: weight of KL(p(weak view), a constant || p(strong view)) of the network's predictions, >= 0; above
            0 both views go through the network in one batch. 0: the weak view alone.
        balance: weight of the cross-entropy of the mean corrected prediction of a batch against equal shares of all
            classes, >= 0.
        loss: must be ce: SOP's own takes its place.
    Raises:
        ValueError: any of these out of range.
    Source: Liu et al. 2022. Deviations: the strong view is without Cutout. The authors' code trains on its validation
        rows too; here they never train.
    """

    tasks = CLASSES
    crossings = (correction,)
    suspicion: ClassVar = {"label_noise": 1, "corrected_label": 1}
    u: Learned
    v: Learned

    def __init__(
        self,
        lr_u: float = 10.0,
        lr_v: float = 10.0,
        consistency: float = 0.0,
        balance: float = 0.0,
        loss: Loss = ce,
    ):
        super().__init__(only_ce(loss))
        for name, value in (("lr_u", lr_u), ("lr_v", lr_v)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}; it must be > 0 and finite")
        for name, value in (("consistency", consistency), ("balance", balance)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; it must be >= 0 and finite")
        self.lr_u, self.lr_v, self.consistency, self.balance = lr_u, lr_v, consistency, balance
        if consistency:
            self.views = ("weak", "strong")

    def told(self) -> list[str]:
        return [f"method.lr_v={self.lr_v:g}"] if self.lr_v >= ASYMMETRIC else []

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        self.target = ctx.targets
        generator = derive_torch(ctx.seed, "sop")
        for name, columns, lr in (("u", 1, self.lr_u), ("v", ctx.num_classes, self.lr_v)):
            start = host.send(START * torch.randn(ctx.num_train, columns, generator=generator), ctx.device)
            setattr(self, name, Learned(partial(lean, torch.optim.SGD, lr=lr), value=start))

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        if self.consistency:
            logits, strong = ctx.forward(torch.cat([batch.input, batch.views["strong"]])).chunk(2)
        else:
            logits = ctx.forward(batch.input)
        u, v = (learned.get_parameter("value")[batch.index] for learned in (self.u, self.v))
        losses, p = sop_loss(logits, batch.target, u, v)
        loss = losses.mean()
        if self.consistency:
            weak = logits.detach().log_softmax(dim=1)
            kl = F.kl_div(strong.log_softmax(dim=1), weak, reduction="batchmean", log_target=True)
            loss = loss + self.consistency * kl
        if self.balance:
            loss = loss - self.balance * p.mean(dim=0).log().mean()
        return StepOutput(loss, logits.detach())

    def after_step(self, ctx: Context, batch: Batch, out: StepOutput) -> None:
        self.u.descend(ctx)
        self.v.descend(ctx)

    @torch.no_grad()
    def sample_values(self) -> dict[str, Tensor]:
        """label_noise: u^2 in [0, 1]; corrected_label: the largest of y - s; [N]."""
        u, v = (learned.get_parameter("value") for learned in (self.u, self.v))
        label = one_hot(self.target, v)
        added, taken = noise_of(u, v, label)
        return {"label_noise": added.sum(dim=1), "corrected_label": (label - added + taken).argmax(dim=1)}
