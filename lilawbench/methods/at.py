"""AT: adversarial training, plain training on inputs attacked by FGSM."""

from collections.abc import Sequence
from typing import TypedDict

from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.methods.parts.fgsm import check_attack, fgsm
from lilawbench.support.errors import ConfigError


class FGSMOptions(TypedDict, total=False):
    """Of `Adversary`."""

    eps: float
    clip: Sequence[float] | None
    space: str
    mode: str


class Adversary:
    """FGSM on a method's own unweighted loss; model and random stream stay as they were.

    Args:
        eps: step, >= 0. clip: [lo, hi] of the perturbed input, or None.
        space: "input", eps and clip are in the model's input space, for images in standard deviations, as in RRM's
            code | "unit", in that of pixels in [0, 1], where images are clipped, as eps of Algorithm 1.
        mode: "eval" | "train", BatchNorm and dropout while the gradient is taken.
    Raises:
        ValueError: any of these out of range.
    """

    def __init__(self, eps: float = 1.0, clip: Sequence[float] | None = None, mode: str = "eval", space: str = "input"):
        check_attack(eps, clip, space)
        if mode not in ("eval", "train"):
            raise ValueError(f"fgsm.mode is {mode!r}; it must be eval or train")
        self.eps, self.clip, self.mode, self.space = eps, clip, mode, space
        self.steps_differ = None if mode == "eval" else "fgsm.mode=train rewinds the random stream"

    def check(self, ctx: Context) -> None:
        """Raises: ConfigError, the data have no pixels."""
        if self.space == "unit" and ctx.pixels is None:
            raise ConfigError(["method.fgsm.space=unit needs images; use method.fgsm.space=input with these data"])

    def perturb(self, method: Method, ctx: Context, batch: Batch) -> Tensor:
        """Perturbed inputs, [B, ...]."""

        def losses(input: Tensor) -> Tensor:
            return method.sample_losses(ctx.forward(input), batch, update=False)

        with ctx.side_pass(self.mode, grad=True):
            pixels = ctx.pixels if self.space == "unit" else None
            return fgsm(losses, batch.input, [self.eps], clip=self.clip, pixels=pixels)[0]


def adversary(options: FGSMOptions | None) -> Adversary:
    """From its options. Raises: ValueError naming an unknown one."""
    if unknown := set(options or {}) - FGSMOptions.__annotations__.keys():
        raise ValueError(
            f"fgsm.{sorted(unknown)[0]} is not an option (valid: {', '.join(FGSMOptions.__annotations__)})"
        )
    return Adversary(**(options or {}))


class AT(Method):
    """Adversarial training: mean_i l(f(x_i + eps sign(grad_x l)), y_i). The baseline of A-RRM.

    Args:
        fgsm: options of `Adversary`: eps, clip, mode, space.
        loss: per-sample loss.
    Source: Goodfellow et al. 2015; RRM, Section 4.2.2.
    """

    perturbs_inputs = True

    def __init__(self, fgsm: FGSMOptions | None = None, loss: Loss = ce):
        super().__init__(loss)
        self.adversary = adversary(fgsm)
        self.steps_differ = self.adversary.steps_differ

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        self.adversary.check(ctx)

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        logits = ctx.forward(self.adversary.perturb(self, ctx, batch))
        return StepOutput(self.sample_losses(logits, batch).mean(), logits.detach())
