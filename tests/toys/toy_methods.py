"""Methods of thirty lines or less, one for each thing that the contract must carry."""

import torch
from torch.nn import functional as F

from lilawbench.loading.batches import paired
from lilawbench.losses import ce
from lilawbench.methods.base import Method, StepOutput
from lilawbench.methods.parts.averaged import Averaged
from lilawbench.methods.parts.learned import Learned


class Peers(Method):
    """Two networks pick samples for each other in one step (as Co-teaching does)."""

    networks = 2

    def __init__(self, keep: float = 0.5, loss=ce):
        super().__init__(loss)
        self.keep = keep

    def loss(self, ctx, batch):
        logits = [ctx.forward(batch.input, number) for number in (0, 1)]
        losses = [self.sample_losses(z, batch) for z in logits]
        count = max(1, int(self.keep * len(batch.index)))
        first, second = (each.detach().topk(count, largest=False).indices for each in losses)
        total = losses[0][second].mean() + losses[1][first].mean()
        return StepOutput(total, torch.stack(logits).mean(0).detach())


class WeakStrong(Method):
    """A weak and a strong view of the same rows: what is said of one is to be said of the other."""

    views = ("weak", "strong")

    def __init__(self, loss=ce):
        super().__init__(loss)

    def loss(self, ctx, batch):
        weak, strong = ctx.forward(batch.input), ctx.forward(batch.views["strong"])
        consistency = F.kl_div(strong.log_softmax(1), weak.detach().softmax(1), reduction="batchmean")
        return StepOutput(self.sample_losses(weak, batch).mean() + consistency, weak.detach())


class Divided(Method):
    """Each epoch divides the rows anew by their loss, and takes 64 of either part a step (as DivideMix does)."""

    def __init__(self, size: int = 64, loss=ce):
        super().__init__(loss)
        self.size = size

    def on_epoch_start(self, ctx):
        super().on_epoch_start(ctx)
        losses = self.per_sample(self.predict_train(ctx), ctx.targets)
        self.trusted = losses <= losses.median()

    def batches(self, ctx):
        return paired(*(ctx.training_batches(rows, self.size) for rows in (self.trusted, ~self.trusted)))

    def loss(self, ctx, batch):
        logits = ctx.forward(batch.input)
        labelled, others = logits.split([len(piece.index) for piece in batch.pieces()])
        entropy = -(others.softmax(1) * others.log_softmax(1)).sum(1).mean()
        return StepOutput(ce(labelled, batch.pieces()[0].target).mean() + entropy, logits.detach())


class Teacher(Method):
    """An averaged copy of the network as teacher."""

    def __init__(self, decay: float = 0.9, loss=ce):
        super().__init__(loss)
        self.teacher = Averaged(decay)

    def setup(self, ctx):
        super().setup(ctx)
        self.teacher.setup(ctx)

    def loss(self, ctx, batch):
        with ctx.side_pass():
            said = self.teacher(ctx, batch.input).softmax(1)
        logits = ctx.forward(batch.input)
        agreement = F.kl_div(logits.log_softmax(1), said, reduction="batchmean")
        return StepOutput(self.sample_losses(logits, batch).mean() + agreement, logits.detach())

    def after_step(self, ctx, batch, out):
        self.teacher.update(ctx)


class PerSample(Method):
    """Parameters per sample with an optimiser of their own (as SOP has)."""

    def __init__(self, lr: float = 1.0, loss=ce):
        super().__init__(loss)
        self.lr = lr

    def setup(self, ctx):
        super().setup(ctx)
        start = torch.zeros(ctx.num_train, ctx.num_classes, device=ctx.device)
        self.shift = Learned(lambda parameters: torch.optim.SGD(parameters, self.lr, momentum=0.5), s=start)

    def loss(self, ctx, batch):
        logits = ctx.forward(batch.input)
        return StepOutput(ce(logits + self.shift.s[batch.index], batch.target).mean(), logits.detach())

    def after_step(self, ctx, batch, out):
        self.shift.descend(ctx)

    def sample_values(self):
        return {"shift": self.shift.s.detach().norm(dim=1)}


class Ensemble(Method):
    """Networks that know nothing of each other, and are asked together: `predict` is the mean of their logits."""

    networks = 3

    def __init__(self, loss=ce):
        super().__init__(loss)

    def loss(self, ctx, batch):
        logits = [ctx.forward(batch.input, number) for number in range(self.networks)]
        total = sum(self.sample_losses(z, batch).mean() for z in logits)
        return StepOutput(total, torch.stack(logits).mean(0).detach())
