"""Exact meta gradients through one virtual step of training, without a double backward.

With logits z = f_w(X), an inner loss L(z; phi) and the optimiser's next step w_hat = w - U(g):

    s = dL/dz,   g = J^T s,   v = d meta(w_hat) / d w_hat,   u = J (dU/dg)^T v        J = dz/dw
    d meta / d phi = - d <s(z; phi), u> / d phi                                      z, u constants

J^T s is one backward pass through the graph of the real step's own forward, u one forward-mode pass; phi enters at the
logits only. In your own loop:

    network, stream = Network(model), random_state(device)
    logits = model(x)
    inner = lambda z: my_loss(z, y, *phi)
    meta = lambda weights: cross_entropy(network(weights, x_meta), y_meta)
    for p, p.grad in zip(phi, hypergradient(network, optimizer, x, inner, meta, phi, logits=logits, stream=stream)): ...
    meta_optimizer.step()
    inner(logits).backward()
    optimizer.step()
"""

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from lilawbench.methods.parts.virtual_step import Tensors, virtual_step
from lilawbench.models.finetune import follows_train
from lilawbench.models.recurrent import backward_in_eval, recurrent_layers
from lilawbench.support import host
from lilawbench.support.distributed import World
from lilawbench.support.passes import BACKWARD, Passes

HYPERGRADIENTS = ("jvp", "double_backward", "finite_difference")
Stream = tuple[Tensor, Tensor | None]  # states of the random generators of the CPU and the CUDA device


class ForwardNotRepeatable(RuntimeError):
    """The given logits cannot be used: a second forward differs, or their graph allows one backward only."""


class Network:
    """A module as a function of its trained weights that leaves weights, buffers and the random stream alone.

    Args:
        module: the network, not compiled. autocast: what its forward runs under. passes: counts its passes.
    """

    def __init__(
        self,
        module: nn.Module,
        autocast: Callable[[], AbstractContextManager] = nullcontext,
        passes: Passes | None = None,
    ):
        self.module, self.autocast, self.passes = module, autocast, passes or Passes()
        named = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.names, self.weights = list(named), list(named.values())
        self.recurrent = recurrent_layers(module)
        self.has_forward_mode = True  # until a pass has shown otherwise
        self.draws: dict[bool, bool] = {}  # by mode, once known: whether a pass moves the random stream
        # those of frozen modules do not change
        self.buffers = {
            f"{prefix}.{name}" if prefix else name: buffer
            for prefix, inner in module.named_modules()
            if follows_train(inner)
            for name, buffer in inner.named_buffers(recurse=False)
        }
        whole = [list(module.named_parameters(remove_duplicate=each)) for each in (False, True)]
        self.tied = len(whole[0]) > len(whole[1])

    def __call__(self, weights: Sequence[Tensor], input: Tensor, stream: Stream | None = None) -> Tensor:
        """Logits [B, K], float32 or wider, with `weights` in place of `self.weights`.

        Args:
            stream: state of the random stream for this pass, from `random_state`; None: the present one.
        """
        values = dict(zip(self.names, weights, strict=True))
        values |= {name: buffer.clone() for name, buffer in self.buffers.items()}
        kernels = backward_in_eval(self.recurrent, input.device)
        training = self.module.training
        draws = self.draws.get(training, True)
        fork = torch.random.fork_rng([input.device] if input.is_cuda else []) if draws else nullcontext()
        with fork, self.autocast(), kernels:
            if draws and stream is not None:
                torch.set_rng_state(stream[0])
                if stream[1] is not None:
                    torch.cuda.set_rng_state(stream[1], input.device)
            first = None if training in self.draws else random_state(input.device)
            logits = torch.func.functional_call(self.module, values, (input,), tie_weights=self.tied)
            if first is not None:
                self.draws[training] = not _same(first, random_state(input.device))
        return self.passes.through(logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits)

    @contextmanager
    def plain_kernels(self) -> Iterator[None]:
        """Switches off fused attention and fused recurrent layers, which have no forward mode."""
        flags = [
            (torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.enable_flash_sdp),
            (torch.backends.cuda.mem_efficient_sdp_enabled, torch.backends.cuda.enable_mem_efficient_sdp),
            (torch.backends.cuda.cudnn_sdp_enabled, torch.backends.cuda.enable_cudnn_sdp),
            (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
        ]
        if self.recurrent:  # convolutions use these two as well
            flags += [_property(torch.backends.mkldnn), _property(torch.backends.cudnn)]
        kept = [(put, get()) for get, put in flags]
        try:
            for put, _ in kept:
                put(False)
            yield
        finally:
            for put, value in kept:
                put(value)


def _property(backend: ModuleType) -> tuple[Callable[[], bool], Callable[[bool], None]]:
    return lambda: backend.enabled, lambda value: setattr(backend, "enabled", value)


def _same(one: Stream, other: Stream) -> bool:
    """The states are on the host."""
    return all(a is None or b is None or torch.equal(a, b) for a, b in zip(one, other, strict=True))


def random_state(device: torch.device) -> Stream:
    """The present state of the global random stream."""
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def hypergradient(
    network: Network,
    optimizer: torch.optim.Optimizer,
    input: Tensor,
    inner: Callable[[Tensor], Tensor],
    meta: Callable[[Sequence[Tensor]], Tensor],
    phi: Sequence[Tensor],
    *,
    how: str = "jvp",
    logits: Tensor | None = None,
    stream: Stream | None = None,
    clip_grad_norm: float | None = None,
    world: World | None = None,
    share: float = 1.0,
    meta_share: float = 1.0,
    verify: bool = True,
) -> list[Tensor]:
    """Gradient of meta(w_hat(phi)) with respect to phi, through one virtual step of the network on `inner`.

    Args:
        optimizer: the network's; its state and learning rates are those of the next real step (see `virtual_step`).
        input: the training batch, [B, ...].
        inner: logits [B, K] -> mean loss [], which depends on phi by autograd; twice differentiable.
        meta: weights -> mean meta loss [], through calls of `network`.
        phi: tensors with requires_grad that `inner` uses.
        how: "jvp", exact; "double_backward", as papers write it: a copy of the weights, create_graph, and a backward
            through everything; "finite_difference", central, of the logits along the meta gradient: two forwards in
            place of the forward-mode pass, with an error of about 1e-3.
        logits: of the real forward of `input`, with their graph, which is then kept; None: a forward is made for it.
            double_backward always makes one.
        stream: `random_state` before that forward, so that dropout masks are the same.
        world, share, meta_share: the processes, and this one's weight in the means over the two batches.
        verify: compare the forward-mode pass's own logits with `logits`, for which the host waits for CUDA.
    Returns:
        One tensor for each of `phi`, the same on all ranks.
    Raises:
        ForwardNotRepeatable: `logits` cannot be used; call again without them. ValueError: see `virtual_step`.
    Source: Dynamic Loss, Eq. 7-8; forward mode in place of their double backward.
    """
    world = world or World()
    if how == "double_backward":
        copies = [w.detach().requires_grad_() for w in network.weights]
        with network.plain_kernels():
            loss = inner(network(copies, input, stream))
            own = torch.autograd.grad(loss, copies, create_graph=True, allow_unused=True)
        gradients = _mean_with_graph(list(own), world, share)
        virtual, _ = virtual_step(optimizer, network.weights, gradients, clip_grad_norm)
        v = meta_gradient(meta, virtual, world, meta_share)
        pairs = [(w, a) for w, a in zip(virtual, v, strict=True) if w.grad_fn and a is not None]
        moved, along = zip(*pairs, strict=True)
        out = list(torch.autograd.grad(moved, [*phi, *copies], along, allow_unused=True)[: len(phi)])
    else:
        reused = logits is not None
        if logits is None:
            logits = network(network.weights, input, stream)
        z = logits.detach().requires_grad_()
        (s,) = torch.autograd.grad(inner(z), z, create_graph=True)
        gradients = _first_backward(logits, network.weights, s.detach(), keep=reused)
        world.mean_([g for g in gradients if g is not None], share)
        with torch.no_grad():
            virtual, pull = virtual_step(optimizer, network.weights, gradients, clip_grad_norm)
        tangents = pull(meta_gradient(meta, virtual, world, meta_share))
        derivative = finite_difference if how == "finite_difference" else forward_mode
        again, u = derivative(network, input, tangents, stream)
        if reused and verify:
            same = (again - z).norm() <= 0.02 * z.norm()  # bfloat16 stays below, another dropout mask is above
            if not host.read(same, "whether a forward can be repeated"):
                raise ForwardNotRepeatable("a second forward of the batch differs from the first")
        out = list(torch.autograd.grad(s, phi, u.neg()))
    world.mean_(out, share)
    return out


def forward_mode(
    network: Network, input: Tensor, tangents: Sequence[Tensor | None], stream: Stream | None = None
) -> tuple[Tensor, Tensor]:
    """Logits, and J t for a direction t in the weights (None: no move), each [B, K].

    One pass of forward-mode differentiation. For a network with an operation that has no forward mode, two backward
    passes instead: J t is the gradient of <J^T s, t> with respect to s.
    """
    _load_forward_mode()
    with network.plain_kernels():
        if network.has_forward_mode:
            try:
                with torch.no_grad(), forward_ad.dual_level():
                    pairs = zip(network.weights, tangents, strict=True)
                    duals = [w if t is None else forward_ad.make_dual(w.detach(), t) for w, t in pairs]
                    logits, moved = forward_ad.unpack_dual(network(duals, input, stream))
                    network.passes.add(BACKWARD * len(input))  # as much work: each product has two derivatives
                    return logits, torch.zeros_like(logits) if moved is None else moved
            except NotImplementedError:
                network.has_forward_mode = False
        with torch.enable_grad():
            logits = network(network.weights, input, stream)
            s = torch.zeros_like(logits, requires_grad=True)
            gradients = torch.autograd.grad(logits, network.weights, s, create_graph=True, allow_unused=True)
            both = [(g, t) for g, t in zip(gradients, tangents, strict=True) if g is not None and t is not None]
            found, along = zip(*both, strict=True)
            (moved,) = torch.autograd.grad(found, s, along)
        return logits.detach(), moved


@torch.no_grad()
def finite_difference(
    network: Network, input: Tensor, tangents: Sequence[Tensor | None], stream: Stream | None = None
) -> tuple[Tensor, Tensor]:
    """As `forward_mode`, by a central difference over a step of length .01 along the tangents."""
    length = torch.stack([t.norm() for t in tangents if t is not None]).norm()
    step = 0.01 / length.clamp(min=torch.finfo(length.dtype).tiny)
    ahead, behind = (
        network([w if t is None else w + sign * step * t for w, t in zip(network.weights, tangents)], input, stream)
        for sign in (1, -1)
    )
    return (ahead + behind) / 2, (ahead - behind) / (2 * step)


def _first_backward(logits: Tensor, weights: Sequence[Tensor], s: Tensor, keep: bool) -> Tensors:
    try:
        return list(torch.autograd.grad(logits, weights, s, retain_graph=keep, allow_unused=True))
    except RuntimeError as error:
        if keep and "donated buffer" in str(error):  # of a compiled forward
            raise ForwardNotRepeatable(str(error)) from error
        raise


def meta_gradient(
    meta: Callable[[Sequence[Tensor]], Tensor], virtual: Sequence[Tensor], world: World, share: float
) -> Tensors:
    """Gradient of the meta loss at some weights, the mean over ranks; None: it does not depend on that one.

    Args:
        meta: weights -> mean meta loss []. virtual: the weights. share: this rank's, see `World.fraction`.
    """
    weights = [w.detach().requires_grad_() for w in virtual]
    with torch.enable_grad():
        gradients: Tensors = list(torch.autograd.grad(meta(weights), weights, allow_unused=True))
    world.mean_([g for g in gradients if g is not None], share)
    return gradients


def _mean_with_graph(gradients: Tensors, world: World, share: float) -> Tensors:
    """The mean over ranks, with the graph of this rank's own gradients."""
    if world.size == 1:
        return gradients
    means = [None if g is None else g.detach().clone() for g in gradients]
    world.mean_([m for m in means if m is not None], share)
    return [None if g is None or m is None else m + (g - g.detach()) for m, g in zip(means, gradients, strict=True)]


@functools.cache
def _load_forward_mode() -> None:
    """Uses forward mode once with warnings off: the first use warns of a deprecated torch.jit."""
    with warnings.catch_warnings(), torch.no_grad(), forward_ad.dual_level():
        warnings.simplefilter("ignore")
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))
