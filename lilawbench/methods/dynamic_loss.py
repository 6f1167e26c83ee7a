"""Dynamic Loss: cross-entropy with corrected labels and learned class margins, both learned on the fly.

    DL = CE(y*, z + q)  (Eq. 2),     y* = g(r | y) y + (1 - g(r | y)) y'  (Eq. 3),     q = margins  (Eq. 5)

y is the observed label, y' the network's own, r the sample's loss rank within its class. Each epoch sets aside a
small, balanced, mostly clean meta set. Each step looks one virtual step of the network ahead, moves g and q down the
gradient of the meta set's cross-entropy there (Eq. 7-8, `lookahead`), then takes the real step with them (Eq. 9).
"""

import functools
from collections.abc import Sequence
from contextlib import nullcontext
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench.loading.batch import Batch
from lilawbench.loading.batches import Batches
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.methods.parts.lookahead import HYPERGRADIENTS, Stream, hypergradient, random_state
from lilawbench.methods.parts.meta_nets import KINDS, MetaNets
from lilawbench.methods.parts.meta_set import SAMPLINGS, RowDraw, loss_bins, meta_rows
from lilawbench.methods.parts.own_forward import OwnForward
from lilawbench.metrics.crossing import correction, meta_set
from lilawbench.support import host
from lilawbench.support.errors import ConfigError
from lilawbench.support.plain import Options
from lilawbench.support.seeding import derive_torch
from lilawbench.tasks import CLASSES


def corrected_label(target: Tensor, pseudo: Tensor, trust: Tensor) -> Tensor:
    """y* of Eq. 3, [B, K]: observed labels [B] with weight g [B], pseudo-labels [B, K] with weight 1 - g."""
    g = trust[:, None]
    return torch.scatter_add((1 - g) * pseudo, 1, target[:, None], g)


def dynamic_loss(logits: Tensor, target: Tensor, pseudo: Tensor, trust: Tensor, margin: Tensor) -> Tensor:
    """DL of Eq. 2 for each sample: -sum_k y*_k log softmax(z + q)_k.

    Args:
        logits: z [B, K]. target: observed labels [B]. pseudo: y' [B, K], rows sum to 1, without a graph.
        trust: g(r | y) [B], in [0, 1]. margin: q [K].
    Returns:
        [B].
    """
    return -(corrected_label(target, pseudo, trust) * (logits + margin).log_softmax(1)).sum(1)


MOST_BINS = 100_000  # of a class; each has values of its own


class DynamicLoss(Method):
    """Dynamic Loss (Jiang et al.) for labels that are noisy, imbalanced, or both.

    Args:
        loss: per-sample loss of the warm-up and of the loss ranks; the dynamic loss itself is cross-entropy.
        num_bins: R, loss bins per class, >= 1; in a class of fewer samples some stay empty and learn nothing.
        corrector: False trusts every observed label, g = 1.
        margin: True, learned; "balanced_softmax", log of the observed class counts; False, none.
        meta_net: "mlp" | "vector": small nets produce g and q, or their values are learned directly.
        class_wise: False ranks all samples together and learns one g(r).
        pseudo_label: "gumbel_hard", a label drawn from softmax(z) for each batch | "softmax", softmax(z) itself.
        meta_sampling: "hierarchical" | "lowest_loss" | "random", see `meta_rows`.
        primary_fraction, meta_fraction: M0 and M1 as shares of the smallest observed class, 0 < M1 <= M0 <= 1.
        lr: of Adam on g and q, > 0.
        warmup_epochs: of plain loss on all samples, >= 0.
        hypergradient: "jvp" | "double_backward" | "finite_difference", see `lookahead.hypergradient`.
        reuse_forward: look ahead on the real step's own forward where that is exact, in more memory; False: on a
            forward of its own.
        meta_mode: "train" | "eval", BatchNorm and dropout of the virtual network on the meta batch.
        finetune_on_meta: an extra cross-entropy pass over the meta set after each epoch.
    Raises:
        ValueError: any of these out of range.
    Source: Dynamic Loss, Eq. 2-9, Table 7. Deviations: none that is not an option.
    """

    splits_batches = False  # a look-ahead is one step of the whole batch
    tasks = CLASSES
    crossings = (correction, meta_set)
    suspicion: ClassVar = {"trust": -1, "corrected_label": 1}
    idle = "never corrected"
    steps_differ = "it draws labels and rewinds the random stream"

    def __init__(
        self,
        loss: Loss = ce,
        num_bins: int = 100,
        corrector: bool = True,
        margin: bool | str = True,
        meta_net: str = "mlp",
        class_wise: bool = True,
        pseudo_label: str = "gumbel_hard",
        meta_sampling: str = "hierarchical",
        primary_fraction: float = 0.5,
        meta_fraction: float = 0.25,
        lr: float = 3e-3,
        warmup_epochs: int = 5,
        hypergradient: str = "jvp",
        reuse_forward: bool = True,
        meta_mode: str = "train",
        finetune_on_meta: bool = False,
    ):
        super().__init__(loss)
        for name, value, allowed in (
            ("corrector", corrector, (True, False)),
            ("margin", margin, (True, "balanced_softmax", False)),
            ("meta_net", meta_net, tuple(KINDS)),
            ("pseudo_label", pseudo_label, ("gumbel_hard", "softmax")),
            ("meta_sampling", meta_sampling, SAMPLINGS),
            ("hypergradient", hypergradient, HYPERGRADIENTS),
            ("meta_mode", meta_mode, ("train", "eval")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}; it must be one of {list(allowed)}")
        if num_bins > MOST_BINS:
            raise ValueError(f"num_bins is {num_bins}; it must be from 1 to {MOST_BINS}")
        for name, number, least in (("num_bins", num_bins, 1), ("warmup_epochs", warmup_epochs, 0)):
            if not isinstance(number, int) or number < least:
                raise ValueError(f"{name} is {number}; it must be a whole number >= {least}")
        if not 0 < meta_fraction <= primary_fraction <= 1:
            raise ValueError(
                f"primary_fraction (M0) is {primary_fraction} and meta_fraction (M1) {meta_fraction}; "
                "they must satisfy 0 < M1 <= M0 <= 1"
            )
        if not lr > 0:
            raise ValueError(f"lr is {lr}; it must be > 0")
        self.num_bins, self.class_wise, self.warmup_epochs = num_bins, class_wise, warmup_epochs
        self.net_options: Options = {
            "corrector": corrector, "margin": margin, "kind": meta_net, "class_wise": class_wise, "lr": lr
        }  # fmt: skip
        self.pseudo_label, self.meta_sampling = pseudo_label, meta_sampling
        self.primary_fraction, self.meta_fraction = primary_fraction, meta_fraction
        self.how, self.meta_mode = hypergradient, meta_mode
        self.on_own_forward = OwnForward("dynamic_loss", reuse_forward)
        self.finetune_on_meta = finetune_on_meta
        self.in_meta_set: Tensor | None = None  # mask [N]; None: nothing is learned in this epoch
        # g and q with their graph, from the end of a step to the next look-ahead, which moves the nets
        self.tables: tuple[Tensor, Tensor] | None = None
        self.batch_size = 1  # the largest of the epoch

    def never_acts(self, epochs: int, steps: int) -> list[str]:
        found = super().never_acts(epochs, steps)
        if not self.net_options["corrector"] and self.net_options["margin"] is False:
            found.append(f"{self.idle}: method.corrector and method.margin are both off")
        return found

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        counts = host.bring(ctx.targets, "labels at setup").bincount(minlength=ctx.num_classes)
        generator = derive_torch(ctx.seed, "meta_nets")
        self.nets = MetaNets(host.send(counts, ctx.device), self.num_bins, **self.net_options, generator=generator)
        smallest = counts.min().item()
        self.primary, self.count = int(self.primary_fraction * smallest), int(self.meta_fraction * smallest)
        if self.nets.learned and not self.count:
            class_ = f"the smallest class ({counts.argmin()}) has {smallest} training samples"
            problem = f"method.meta_fraction={self.meta_fraction}: {class_}, too few for a meta set"
            raise ConfigError([problem])

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        self.warming_up = ctx.epoch <= self.warmup_epochs
        self.noise = derive_torch(ctx.seed, "pseudo_label", ctx.epoch, device=ctx.device)
        self.batch_size, self.in_meta_set = 1, None
        self.tables = None
        self.targets, self.bins = ctx.targets, torch.zeros_like(ctx.targets)
        if self.warming_up or not self.nets.learned:
            return
        self.logits = self.predict_train(ctx)  # [N, K]
        losses = self.per_sample(self.logits, ctx.targets)
        self.bins = loss_bins(losses, ctx.targets if self.class_wise else self.bins, self.num_bins)
        generator = derive_torch(ctx.seed, "primary", ctx.epoch)
        chosen = meta_rows(losses, ctx.targets, self.primary, self.count, generator, self.meta_sampling)
        self.in_meta_set = chosen
        self.draw = RowDraw(self._rows_of(chosen), derive_torch(ctx.seed, "meta_batches", ctx.epoch))
        self.on_own_forward.start_epoch()

    def batches(self, ctx: Context) -> Batches:
        return ctx.training_batches(None if self.in_meta_set is None else ~self.in_meta_set)

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        self.batch_size = max(self.batch_size, ctx.batch_size)
        stream = None if self.in_meta_set is None else random_state(ctx.device)
        logits = ctx.forward(batch.input)
        if self.warming_up:
            return StepOutput(self.sample_losses(logits, batch).mean(), logits.detach())
        pseudo, bins = self._pseudo_labels(ctx, logits.detach()), self.bins[batch.index]
        if stream is not None:
            self._look_ahead(ctx, batch, logits, pseudo, bins, stream)
        if self.tables is None:
            self.tables = self.nets()
        g, q = (table.detach() for table in self.tables)
        loss = dynamic_loss(logits, batch.target, pseudo, g[bins, batch.target], q).mean()
        return StepOutput(loss, logits.detach())

    def on_epoch_end(self, ctx: Context) -> None:
        self.tables = None
        if not self.finetune_on_meta or self.in_meta_set is None:
            return
        rows = self._rows_of(self.in_meta_set)
        order = torch.randperm(len(rows), generator=derive_torch(ctx.seed, "finetune", ctx.epoch))
        order = rows[host.send(order, rows.device)]
        for piece in order.tensor_split(max(1, len(order) // self.batch_size)):
            batch = ctx.fetch(ctx.world.share(piece))
            loss = F.cross_entropy(ctx.forward(batch.input), batch.target)
            ctx.descend(loss, share=ctx.world.fraction(len(piece)))

    @torch.no_grad()
    def logs(self) -> dict[str, float | Tensor]:
        """g(r | y) [K, R] and its mean, margins [K]; nothing before they are learned."""
        if self.in_meta_set is None:
            return {}
        g, q = self.nets()
        return {"g": g.T, "margin": q, "g_mean": host.read(g.mean(), "mean of g")}

    @torch.no_grad()
    def sample_values(self) -> dict[str, Tensor]:
        """g and the class of the corrected label, from the present g and y' = softmax(z) at the epoch's start; [N]."""
        if self.in_meta_set is None:
            return {}
        trust = self.nets()[0][self.bins, self.targets]
        label = corrected_label(self.targets, self.logits.softmax(1), trust).argmax(1)
        return {"trust": trust, "corrected_label": label, "in_meta_set": self.in_meta_set}

    def _rows_of(self, in_meta_set: Tensor) -> Tensor:
        """The meta set's rows in order: `count` of each class, so the host need not ask how many."""
        return torch.nonzero_static(in_meta_set, size=self.count * self.nets.shape[1])[:, 0]

    def _pseudo_labels(self, ctx: Context, logits: Tensor) -> Tensor:
        """y' [B, K], drawn for the whole batch of all processes."""
        if self.pseudo_label == "softmax":
            return logits.softmax(1)
        noise = ctx.world.share(logits.new_empty(ctx.batch_size, logits.shape[1]).exponential_(generator=self.noise))
        return F.one_hot((logits - noise.log()).argmax(1), logits.shape[1]).to(logits.dtype)  # -log of it is Gumbel

    def _look_ahead(
        self, ctx: Context, batch: Batch, logits: Tensor, pseudo: Tensor, bins: Tensor, stream: Stream
    ) -> None:
        """Moves the meta nets (Eq. 7-8)."""
        rows = self.draw(ctx.batch_size)
        meta_batch, network = ctx.fetch(ctx.world.share(rows)), ctx.functional()
        tables, self.tables = self.tables or self.nets(), None
        g, q = leaves = [table.detach().requires_grad_(table.requires_grad) for table in tables]

        def inner(z: Tensor) -> Tensor:
            return dynamic_loss(z, batch.target, pseudo, g[bins, batch.target], q).mean()

        def meta(weights: Sequence[Tensor]) -> Tensor:
            with ctx.side_pass("eval", grad=True) if self.meta_mode == "eval" else nullcontext():
                return F.cross_entropy(network(weights, meta_batch.input), meta_batch.target)

        learned = [table for table in leaves if table.requires_grad]
        look = functools.partial(
            hypergradient, network, ctx.optimizer, batch.input, inner, meta, learned,
            how=self.how, stream=stream, clip_grad_norm=ctx.clip_grad_norm,
            world=ctx.world, share=ctx.share, meta_share=ctx.world.fraction(len(rows)),
        )  # fmt: skip
        self.nets.descend([t for t in tables if t.requires_grad], self.on_own_forward(look, logits))
