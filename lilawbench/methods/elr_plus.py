"""ELR+: early-learning regularisation by the averaged peer of two networks, on mixed inputs.

Each network has an averaged copy, its teacher. What the teacher of the other network says of a sample goes into the
sample's target t_i, as in ELR; the network trains on mixed rows, with labels and targets mixed as they are:

    -<mixed y, log s> + lam log(1 - <s, mixed t>)
"""

import math
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.losses.elr import CLIP, ELR, pull
from lilawbench.methods.base import Loss, Method, StepOutput, only_ce
from lilawbench.methods.context import Context
from lilawbench.methods.parts.averaged import Averaged
from lilawbench.methods.parts.mixing import Mixer
from lilawbench.methods.parts.soft_targets import one_hot, soft_ce
from lilawbench.tasks import CLASSES

BY_TYPE = (1.0, 0.9)  # lam and beta that the authors take for CIFAR-10 with asymmetric noise alone


def sigmoid_ramp(position: float, length: float) -> float:
    """exp(-5 (1 - position / length)^2), from .0067 up to 1 at `length`, and 1 from there on; 1 where length is 0.

    Source: Laine and Aila 2017, section 3.
    """
    return 1.0 if length <= 0 else math.exp(-5 * (1 - min(max(position / length, 0), 1)) ** 2)


def decay_after(step: int, decay: float, ramp: str, ramp_steps: int) -> float:
    """Decay of a teacher after a number of steps, from 1.

    Args:
        decay: where it ends. ramp: "sigmoid", `sigmoid_ramp` over ramp_steps; "mean", 1 - 1 / (step + 1): the mean of
            all weights until it reaches `decay`.
    """
    if ramp == "mean":
        return min(1 - 1 / (step + 1), decay)
    return decay * sigmoid_ramp(step + 1, ramp_steps)


class ELRPlus(Method):
    """ELR+ of two networks; what is predicted is the mean of their logits.

    Args:
        lam: strength of the pull, >= 0. beta: memory of the targets, in [0, 1). As in `losses.elr.ELR`.
        lam_ramp_steps: over which `lam` rises by `sigmoid_ramp`; 0: at once.
        alpha: the share of a mix is max(l, 1 - l) with l ~ Beta(alpha, alpha), > 0.
        decay: of the teachers, in [0, 1). decay_ramp, decay_ramp_steps: how it rises, see `decay_after`.
        label_times_target: the authors' code on 100 classes, not in the paper: mixed labels are multiplied by the mixed
            target and normalised before cross-entropy.
        loss: must be ce: ELR+'s own takes its place.
    Raises:
        ValueError: any of these out of range.
    Source: Liu et al. 2020, section 4.3 and appendix. Deviations: both networks see the same rows in a step, each in a
        weak view and a mix of its own (theirs go through the rows one network after the other); teachers start as
        their networks, not at random weights of their own (of which .0067^2 is left after two steps), and
        teach in eval mode with averaged statistics of BatchNorm (theirs in train mode, on statistics of the batch). The
        logits of training rows that are recorded are the teachers', of the rows unmixed.
    """

    networks = 2
    views = ("weak", "weak")
    perturbs_inputs = True
    tasks = CLASSES
    suspicion: ClassVar = {"elr_target": -1}

    def __init__(
        self,
        lam: float = 3.0,
        beta: float = 0.7,
        lam_ramp_steps: int = 0,
        alpha: float = 1.0,
        decay: float = 0.997,
        decay_ramp: str = "sigmoid",
        decay_ramp_steps: int = 40000,
        label_times_target: bool = False,
        loss: Loss = ce,
    ):
        super().__init__(only_ce(loss))
        if decay_ramp not in ("sigmoid", "mean"):
            raise ValueError(f"decay_ramp is {decay_ramp!r}; it must be sigmoid or mean")
        for name, steps in (("lam_ramp_steps", lam_ramp_steps), ("decay_ramp_steps", decay_ramp_steps)):
            if not isinstance(steps, int) or steps < 0:
                raise ValueError(f"{name} is {steps}; it must be a whole number >= 0")
        self.lam, self.beta, self.lam_ramp_steps = lam, beta, lam_ramp_steps
        self.label_times_target = label_times_target
        self.mixer = Mixer(alpha, at_least_half=True)
        self.memory0, self.memory1 = ELR(lam, beta), ELR(lam, beta)
        at: Callable[[int], float] = partial(decay_after, decay=decay, ramp=decay_ramp, ramp_steps=decay_ramp_steps)
        self.teacher0, self.teacher1 = Averaged(decay, 0, at), Averaged(decay, 1, at)

    @property
    def memories(self) -> tuple[ELR, ELR]:
        """Of the targets of each network."""
        return self.memory0, self.memory1

    @property
    def teachers(self) -> tuple[Averaged, Averaged]:
        """Of each network its averaged copy, which teaches the other one."""
        return self.teacher0, self.teacher1

    def told(self) -> list[str]:
        by_type = (self.lam, self.beta) == BY_TYPE
        return [f"method.lam={self.lam:g}", f"method.beta={self.beta:g}"] if by_type else []

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        self.observed = ctx.targets
        for memory, teacher in zip(self.memories, self.teachers):
            memory.setup(ctx.num_train, ctx.num_classes, ctx.device)
            teacher.setup(ctx)

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        self.mixer.start(ctx)

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        inputs = (batch.input, batch.views["weak2"])
        lam = self.lam * sigmoid_ramp(ctx.step + 1, self.lam_ramp_steps)
        losses, said = [], []
        for number, (input, memory) in enumerate(zip(inputs, self.memories)):
            with ctx.side_pass():
                said.append(self.teachers[1 - number](ctx, input))
            memory.update(said[-1], batch.index)
            mix = self.mixer(len(input), input.device)
            logits = ctx.forward(mix(input), number)
            y, t = mix(one_hot(batch.target, logits.detach())), mix(memory.t[batch.index])
            if self.label_times_target:
                y = y * t
                y = y / y.sum(dim=1, keepdim=True).clamp(min=CLIP**2)
            losses.append((soft_ce(logits, y) + lam * pull(logits.log_softmax(dim=1), t)).mean())
        return StepOutput(torch.stack(losses).sum(), torch.stack(said).mean(dim=0))

    def after_step(self, ctx: Context, batch: Batch, out: StepOutput) -> None:
        for teacher in self.teachers:
            teacher.update(ctx)

    def on_epoch_end(self, ctx: Context) -> None:
        super().on_epoch_end(ctx)
        if ctx.world.size > 1:
            for memory in self.memories:
                memory.end_epoch(ctx.world.sum_)

    def sample_values(self) -> dict[str, Tensor]:
        """elr_target: the share of the given label in t_i, [N] in [0, 1], the mean over both networks' targets."""
        values = [memory.sample_values(self.observed)["elr_target"] for memory in self.memories]
        return {"elr_target": torch.stack(values).mean(dim=0)}
