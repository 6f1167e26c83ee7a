"""PES(semi): early layers learn first, the last ones anew for a few epochs; then MixMatch on rows that agree."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

from lilawbench.loading.batch import Batch
from lilawbench.loading.batches import Batches
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.methods.parts.divide import TWO_VIEWS, half_and_half, too_few
from lilawbench.methods.parts.mixmatch import MixMatch, mean_probs, views_of
from lilawbench.methods.parts.soft_targets import one_hot, sharpened
from lilawbench.models.finetune import frozen_modules, layers
from lilawbench.support import host
from lilawbench.support.lean import lean
from lilawbench.tasks import CLASSES

log = logging.getLogger("lilawbench")
LAMBDA_U = (5.0, 75.0)  # what the authors take for all labels of CIFAR-10N, and for CIFAR-100N
MOST = 3.0  # weight of a class


def class_weights(target: Tensor, chosen: Tensor, num_classes: int) -> Tensor:
    """min(mean count of the classes that are there / count of the class, 3); 0 of a class that is not, [K].

    Args:
        target: labels [N] int64. chosen: mask [N] of the rows that count.
    Source: the code of Bai et al. 2021. Deviations: none.
    """
    counts = torch.zeros(num_classes, device=target.device).index_add_(0, target, chosen.float())
    there = counts > 0
    mean = counts.sum() / there.sum().clamp(min=1)
    return (mean / counts.clamp(min=1)).clamp(max=MOST) * there


class PES(Method):
    """Progressive early stopping with semi-supervised training.

    After `warmup_epochs` of plain training the last layers go back to where they began, and train for `refine_epochs`
    with the others fixed. From then on, rows whose label the network predicts at an epoch's start are labelled, the
    others unlabelled, and an epoch is as many steps of MixMatch as one over all rows has.

    Args:
        warmup_epochs: T1, >= 0.
        refine_epochs: T2, >= 0. refine_lr: of Adam, > 0.
        refine_layers: how many of the last parameterised layers (models/finetune.py) train anew, >= 1: 2, the last
            block and the head; 1, the head alone, as in the authors' scripts. At least one layer stays.
        temperature: T of sharpening, > 0.
        alpha, alpha_late: of mixup (`MixMatch`), before and from `late_epoch` on.
        late_epoch: >= 1; the authors take half of the epochs.
        lambda_u, ramp_epochs: see `MixMatch`.
        guess_mode: of the network while it guesses, "eval" | "train", as in the authors' code, which moves BatchNorm's
            statistics by both views of unlabelled rows too.
        loss: per-sample loss of the warm-up and of refinement.
    Raises:
        ValueError: any of these out of range.
    Source: Bai et al. 2021, Algorithm 2, and the authors' code. Deviations: rows are divided by predictions of
        un-augmented inputs, in the code of two augmented views; the new head goes on training with the network, in the
        code the optimiser keeps the old head's weights and never moves the new one; the fixed layers are in eval mode
        in refinement, so that their BatchNorm is fixed too; the last layers restart from this run's own first weights,
        which are pretrained where the network's are; a plain epoch where either part has fewer than two rows.
    """

    views = TWO_VIEWS
    perturbs_inputs = True
    splits_batches = False  # rows of a batch are mixed with each other
    tasks = CLASSES
    idle = "never divided"
    steps_differ = "its batches differ in size"
    suspicion: ClassVar = {"disagrees": 1}

    def __init__(
        self,
        warmup_epochs: int = 20,
        refine_epochs: int = 5,
        refine_lr: float = 1e-4,
        refine_layers: int = 2,
        temperature: float = 0.5,
        alpha: float = 4.0,
        alpha_late: float = 0.75,
        late_epoch: int = 151,
        lambda_u: float = LAMBDA_U[0],
        ramp_epochs: float = 16.0,
        guess_mode: str = "eval",
        loss: Loss = ce,
    ):
        super().__init__(loss)
        for name, number, least in (
            ("warmup_epochs", warmup_epochs, 0),
            ("refine_epochs", refine_epochs, 0),
            ("refine_layers", refine_layers, 1),
            ("late_epoch", late_epoch, 1),
        ):
            if not isinstance(number, int) or number < least:
                raise ValueError(f"{name} is {number}; it must be a whole number >= {least}")
        for name, value in (("refine_lr", refine_lr), ("temperature", temperature)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}; it must be > 0 and finite")
        if guess_mode not in ("eval", "train"):
            raise ValueError(f"guess_mode is {guess_mode!r}; it must be eval or train")
        self.warmup_epochs, self.refine_epochs, self.refine_lr = warmup_epochs, refine_epochs, refine_lr
        self.refine_layers, self.temperature, self.guess_mode = refine_layers, temperature, guess_mode
        self.lambda_u, self.late_epoch = lambda_u, late_epoch
        self.early, self.late = (MixMatch(one, lambda_u, ramp_epochs) for one in (alpha, alpha_late))
        self.agrees: Tensor | None = None  # whether the prediction is the label, [N]; None: no prediction in this epoch
        self.labelled: Tensor | None = None  # the same on the host; None: a plain epoch
        self.position = 0.0  # the share of the epoch that is done

    def told(self) -> list[str]:
        return [] if self.lambda_u in LAMBDA_U else [f"method.lambda_u={self.lambda_u}"]

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        for number, value in enumerate(self._last(ctx)[1]):
            self.register_buffer(f"first{number}", value.detach().clone(), persistent=False)

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        self.mixmatch = self.early if ctx.epoch < self.late_epoch else self.late
        self.mixmatch.start(ctx)
        self.warming_up = ctx.epoch <= self.warmup_epochs
        self.agrees = self.labelled = None
        if self.warming_up:
            return
        if ctx.epoch == self.warmup_epochs + 1 and self.refine_epochs:
            self._refine(ctx)
        self.agrees = self.predict_train(ctx).argmax(dim=1) == ctx.targets
        labelled = host.bring(self.agrees, "rows whose label is predicted")
        if why := too_few(labelled):
            log.warning("pes, epoch %d: %s: a plain epoch", ctx.epoch, why)
            return
        self.labelled = labelled
        self.weights = class_weights(ctx.targets, self.agrees, ctx.num_classes)

    def batches(self, ctx: Context) -> Batches:
        if self.labelled is None:
            return ctx.training_batches(views=("weak",))
        size, count = ctx.full_batch_size, int(self.labelled.sum())
        others = min(size // 2, size * (len(self.labelled) - count) // len(self.labelled))
        others = max(2, others)
        batches = half_and_half(ctx, self.labelled, (max(2, size - others), others), len(ctx.loader))
        return Batches(len(batches), self._placed(batches))

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        if self.labelled is None:
            logits = ctx.forward(batch.input)
            return StepOutput(self.sample_losses(logits, batch).mean(), logits.detach())
        labelled, unlabelled = batch.pieces()
        guess, logits = self._guesses(ctx, labelled, unlabelled)
        targets = [one_hot(labelled.target, guess.new_empty(len(labelled.index), ctx.num_classes)), guess]
        views = [views_of(piece) for piece in (labelled, unlabelled)]
        epochs = ctx.epoch - 1 + self.position - self.warmup_epochs
        loss = self.mixmatch(ctx.forward, views, targets, epochs, self.weights[None])
        return StepOutput(loss, logits)

    def logs(self) -> dict[str, float | Tensor]:
        if self.agrees is None:
            return {}
        return {"labelled": 1.0 if self.labelled is None else self.labelled.float().mean().item()}  # on the host

    def sample_values(self) -> dict[str, Tensor]:
        own = {} if self.agrees is None else {"disagrees": ~self.agrees}
        return {**super().sample_values(), **own}

    def _placed(self, batches: Batches) -> Iterator[Batch]:
        for step, batch in enumerate(batches):
            self.position = step / len(batches)
            yield batch

    @torch.no_grad()
    def _guesses(self, ctx: Context, labelled: Batch, unlabelled: Batch) -> tuple[Tensor, Tensor]:
        """The sharpened guess for unlabelled rows [U, K], and logits of the first view of both, [L + U, K]."""
        views = [labelled.input, *views_of(unlabelled)]
        if self.guess_mode == "train":
            own = [ctx.forward(view) for view in views[1:]]
            views = views[:1]
        with ctx.side_pass():
            seen, *guesses = ctx.forward(torch.cat(views)).split([len(view) for view in views])
        own = guesses or own
        return sharpened(mean_probs(own), self.temperature), torch.cat([seen, own[0]])

    def _last(self, ctx: Context) -> tuple[nn.Module, list[nn.Parameter]]:
        """The first of the last layers, and the trained parameters of them all."""
        found = list(layers(ctx.model))
        last = found[-min(self.refine_layers, max(1, len(found) - 1)) :]
        return last[0].module, [p for layer in last for p in layer.parameters if p.requires_grad]

    def _refine(self, ctx: Context) -> None:
        """Trains the last layers anew, from their first weights; ranks take each step together."""
        first, last = self._last(ctx)
        for number, p in enumerate(last):
            p.data.copy_(self.get_buffer(f"first{number}"))
            for kept in ctx.optimizer.state.get(p, {}).values():  # momentum of the weights that are gone
                if isinstance(kept, Tensor):
                    kept.zero_()
        optimizer = lean(torch.optim.Adam, last, lr=self.refine_lr)
        with _fixed(ctx.model, first, last):
            for batch in (batch for _ in range(self.refine_epochs) for batch in ctx.training_batches(views=("weak",))):
                local = batch.share(ctx.world)
                self.sample_losses(ctx.forward(local.input), local).mean().backward()
                ctx.world.mean_([p.grad for p in last if p.grad is not None], batch.fraction(ctx.world))
                optimizer.step()
                for p in last:
                    p.grad = None
        ctx.world.copy_from_main_([b for b in ctx.model.buffers() if b.is_floating_point()])


@contextmanager
def _fixed(network: nn.Module, first: nn.Module, last: list[nn.Parameter]) -> Iterator[None]:
    """Only the parameters `last` have gradients, and the modules before `first` are in eval mode."""
    kept = {id(p) for p in last}
    others = [p for p in network.parameters() if p.requires_grad and id(p) not in kept]
    modes = [(module, module.training) for module in network.modules()]
    try:
        for p in others:
            p.requires_grad_(False)
        network.train()
        for module in frozen_modules(network, first):
            module.eval()
        yield
    finally:
        for p in others:
            p.requires_grad_()
        for module, mode in modes:
            module.training = mode
