"""A second, linear head for each network, on the features that enter its last layer."""

import inspect
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lilawbench.methods.context import Context
from lilawbench.methods.parts.learned import Learned
from lilawbench.models.features import entering, last_dense
from lilawbench.support import host
from lilawbench.support.errors import ConfigError, PartError
from lilawbench.support.lean import lean
from lilawbench.support.seeding import derive_torch


class PseudoHeads(nn.Module):
    """W f + b of the features f of each network, trained as the networks are: the same optimiser and learning rate.

    Its gradients reach the networks through f. First weights as nn.Linear has them, U(-1/sqrt(D), 1/sqrt(D)).
    """

    heads: Learned  # w0, b0 of the first network, w1, b1 of the second

    def setup(self, ctx: Context, name: str) -> None:
        """Makes the heads.

        Args:
            name: of the method, for errors.
        Raises:
            ConfigError: a network's last layer is not dense.
        """
        values: dict[str, Tensor] = {}
        for number, network in enumerate(ctx.networks):
            last = last_dense(network)
            if last is None:
                wanting = f"method={name} adds a head to the features that enter a network's last layer"
                raise ConfigError([f"{wanting}, which must be dense: choose another model"])
            random, bound = derive_torch(ctx.seed, "pseudo head", number), last.in_features**-0.5
            for key, shape in ((f"w{number}", (ctx.num_classes, last.in_features)), (f"b{number}", (ctx.num_classes,))):
                drawn = torch.empty(shape).uniform_(-bound, bound, generator=random)
                values[key] = host.send(drawn, ctx.device).to(last.weight.dtype)
        kind = type(ctx.optimizer)
        taken = inspect.signature(kind).parameters
        options = {key: value for key, value in ctx.optimizer.defaults.items() if key in taken}

        def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
            return lean(kind, parameters, **options)

        self.heads = Learned(optimizer, **values)

    def logits(self, ctx: Context, input: Tensor, network: int) -> tuple[Tensor, Tensor]:
        """Logits of the network's own head and of the second one, [B, K] each, in one forward.

        Raises:
            PartError: not one vector of each row enters the last layer.
        """
        last = last_dense(ctx.networks[network])
        assert last is not None  # see `setup`
        with entering(last) as entered:
            own = ctx.forward(input, network)
        if [part.shape for part in entered] != [(len(input), last.in_features)]:
            shapes = [list(part.shape) for part in entered]
            rule = f"it needs one, [{len(input)}, {last.in_features}], and train.compile=false"
            raise PartError(f"a second head: the last layer of the network took tensors {shapes}; {rule}")
        weight, bias = (self.heads.get_parameter(f"{part}{network}") for part in "wb")
        return own, F.linear(entered[0].to(weight.dtype), weight, bias)

    def descend(self, ctx: Context) -> None:
        """One step at the networks' learning rate, after theirs; train.clip_grad_norm is of the networks alone."""
        for group in self.heads.optimizer.param_groups:
            group["lr"] = ctx.optimizer.param_groups[0]["lr"]
        self.heads.descend(ctx)
