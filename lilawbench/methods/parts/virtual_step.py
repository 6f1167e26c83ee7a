"""An optimiser's next step as a function of the gradient: w_hat = w - U(g), and the slope of U.

Nothing changes: weights, momentum and step counts are only read from the live optimiser.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lilawbench.support.plain import Options, State

Tensors = list[Tensor | None]
Slope = Tensor | float  # dU/dg, elementwise


def virtual_step(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[nn.Parameter],
    gradients: Sequence[Tensor | None],
    clip_grad_norm: float | None = None,
) -> tuple[list[Tensor], Callable[[Tensors], Tensors]]:
    """Weights after the optimiser's next step, and the map that pulls a gradient at them back to the gradients.

    Differentiable in `gradients`. A parameter without a gradient, or that the optimiser does not hold, stays.

    Args:
        optimizer: torch's SGD (momentum, dampening, Nesterov), Adam or AdamW, with weight decay, in any implementation.
        parameters: all that are trained, since clipping is by their global norm. gradients: one each.
        clip_grad_norm: as torch.nn.utils.clip_grad_norm_ would do before the step.
    Returns:
        w_hat, one tensor per parameter, and `pull`: v -> (dU/dg)^T v, for v of their shapes. With SGD, dU/dg is
        lr times 1, 1 - dampening, or 1 + momentum (1 - dampening) for Nesterov; with Adam it is elementwise; active
        clipping at c to g c/|g| adds v -> c/|g| (v - g <g, v>/|g|^2).
    Raises:
        ValueError: another optimiser, or one with amsgrad or maximize.
    """
    rule = _rule(optimizer)
    groups = {p: group for group in optimizer.param_groups for p in group["params"]}
    gradients, unclip = _clip(gradients, clip_grad_norm)
    weights: list[Tensor] = []
    slopes: list[Slope | None] = []
    for p, gradient in zip(parameters, gradients, strict=True):
        if gradient is None or p not in groups:
            weights.append(p)
            slopes.append(None)
        else:
            weight, slope = rule(p, gradient, groups[p], optimizer.state.get(p, {}))
            weights.append(weight)
            slopes.append(slope)

    def pull(v: Tensors) -> Tensors:
        return unclip([None if a is None or s is None else a * s for a, s in zip(v, slopes, strict=True)])

    return weights, pull


def _rule(optimizer: torch.optim.Optimizer) -> Callable[[Tensor, Tensor, Options, State], tuple[Tensor, Slope]]:
    kind = type(optimizer)
    rule = _sgd if kind is torch.optim.SGD else _adam if kind in (torch.optim.Adam, torch.optim.AdamW) else None
    if rule is None:
        raise ValueError(f"the optimizer is {kind.__name__}; a look-ahead knows SGD, Adam and AdamW")
    for name in ("amsgrad", "maximize"):
        if any(group.get(name) for group in optimizer.param_groups):
            raise ValueError(f"the optimizer has {name}=True, which a look-ahead does not know")
    return rule


def _sgd(weight: Tensor, gradient: Tensor, group: Options, state: State) -> tuple[Tensor, Slope]:
    """(w_hat, lr kappa). The first step with momentum starts the buffer at the gradient, undampened."""
    step, kappa, lr, momentum = gradient, 1.0, float(group["lr"]), group["momentum"]
    if group["weight_decay"]:
        step = step.add(weight, alpha=group["weight_decay"])
    if momentum:
        velocity = step
        if (buffer := state.get("momentum_buffer")) is not None:
            kappa = 1 - group["dampening"]
            velocity = (step * kappa if group["dampening"] else step).add(buffer, alpha=momentum)
        if group["nesterov"]:
            step, kappa = step.add(velocity, alpha=momentum), 1 + momentum * kappa
        else:
            step = velocity
    return weight.sub(step, alpha=lr), lr * kappa


def _adam(weight: Tensor, gradient: Tensor, group: Options, state: State) -> tuple[Tensor, Slope]:
    """(w_hat, dU/dg elementwise)."""
    (beta1, beta2), lr, decay = group["betas"], group["lr"], group["weight_decay"]
    if decay and group.get("decoupled_weight_decay"):
        weight = weight * (1 - lr * decay)
    elif decay:
        gradient = gradient.add(weight, alpha=decay)
    count = state["step"].double() + 1 if state else torch.ones((), dtype=torch.float64)
    correction1, correction2 = ((1 - beta**count).to(weight.dtype) for beta in (beta1, beta2))
    if state:
        first = torch.lerp(state["exp_avg"], gradient, 1 - beta1)
        second = (beta2 * state["exp_avg_sq"]).addcmul(gradient, gradient, value=1 - beta2)
    else:
        first, second = (1 - beta1) * gradient, (1 - beta2) * gradient.square()
    # the floor, far below eps, keeps the root's slope finite where all gradients were 0
    root = (second / correction2).clamp(min=torch.finfo(second.dtype).tiny).sqrt()
    floored = root + group["eps"]
    scale = lr / correction1 / floored
    with torch.no_grad():
        curve = first / floored * gradient / root * ((1 - beta2) / correction2)
        slope = scale * (1 - beta1 - curve)
    return weight - scale * first, slope


def _clip(
    gradients: Sequence[Tensor | None], limit: float | None
) -> tuple[Sequence[Tensor | None], Callable[[Tensors], Tensors]]:
    """Clipped gradients, and the transposed derivative of clipping."""
    if limit is None:
        return gradients, lambda v: v
    norm = torch.stack([torch.linalg.vector_norm(g) for g in gradients if g is not None]).norm()
    scale = (limit / (norm + 1e-6)).clamp(max=1)

    def pull(v: Tensors) -> Tensors:
        pairs = list(zip(v, gradients, strict=True))
        dot = sum((a * g).sum() for a, g in pairs if a is not None and g is not None)
        bend = torch.where(scale < 1, scale / (norm + 1e-6) / norm, 0) * dot
        return [None if g is None else (0 if a is None else scale * a) - bend * g for a, g in pairs]

    return [None if g is None else scale * g for g in gradients], pull
