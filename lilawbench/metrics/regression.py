"""Measures of values."""

from torch import Tensor


def regression(logits: Tensor, target: Tensor) -> dict[str, float]:
    """Errors of predictions f of values y, in the values' own unit.

    Args:
        logits: f, [N, 1]. target: y, [N] float.
    Returns:
        {"loss": mean squared error, "rmse": its root, "mae": mean |f - y|, "r2": 1 - loss / variance of y}; without a
        variance no r2.
    """
    truth = target.double()
    error = logits.squeeze(1).double() - truth
    loss, variance = error.square().mean().item(), truth.var(correction=0).item()
    out = {"loss": loss, "rmse": rmse(logits, target), "mae": error.abs().mean().item()}
    return out | ({"r2": 1 - loss / variance} if variance > 0 else {})


def rmse(logits: Tensor, target: Tensor) -> float:
    """Root of the mean squared error, from logits [N, 1] and target [N]."""
    return (logits.squeeze(1).double() - target.double()).square().mean().sqrt().item()
