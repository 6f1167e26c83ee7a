"""Gradients of single rows."""

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from lilawbench.loading.rows import Rows
from lilawbench.methods.context import Context
from lilawbench.models.recurrent import recurrent_layers

NUMBERS = 1 << 26  # of gradients at a time, 256 MB


def gradient_norms(ctx: Context, data: Rows) -> Tensor:
    """The norm of the gradient of each row's cross-entropy by all weights that train, of all networks, [N].

    In eval mode, un-augmented, in the type of the weights; networks and random stream stay as they were.
    """
    dtype = next(ctx.model.parameters()).dtype
    squares = torch.zeros(len(data), device=data.device, dtype=dtype)
    with ctx.side_pass("eval", grad=True):
        for batch in data.in_order(world=ctx.world):
            found = [_squares(network, batch.input, batch.target) for network in ctx.networks]
            squares.index_copy_(0, batch.index, torch.stack(found).sum(0))
    return ctx.world.sum_(squares).sqrt()


def _squares(network: nn.Module, input: Tensor, target: Tensor) -> Tensor:
    """Squared norms for one network, [B]."""
    trained = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    rest = {name: p.detach() for name, p in network.named_parameters() if not p.requires_grad}
    rest |= dict(network.named_buffers())

    def loss(weights: dict[str, Tensor], row: Tensor, label: Tensor) -> Tensor:
        logits: Tensor = functional_call(network, (weights, rest), (row[None],))
        return cross_entropy(logits, label[None])

    def square(row: Tensor, label: Tensor) -> Tensor:
        return torch.stack([g.square().sum() for g in grad(loss)(trained, row, label).values()]).sum()

    if recurrent_layers(network):  # vmap has no rule for them
        return torch.stack([square(row, label) for row, label in zip(input, target)])
    numbers = sum(p.numel() for p in trained.values())
    return vmap(square, chunk_size=max(1, NUMBERS // max(numbers, 1)))(input, target)
