"""Measures of values."""

from torch import Tensor

from lilawbench.metrics.scalars import read


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
    loss, variance = error.square().mean(), truth.var(correction=0)
    out = read(
        {
            "loss": loss,
            "rmse": loss.sqrt(),
            "mae": error.abs().mean(),
            "r2": 1 - loss / variance,
            "varies": (truth != truth[0]).any(),
        }
    )
    if not out.pop("varies"):
        del out["r2"]
    return out


def rmse(logits: Tensor, target: Tensor) -> float:
    """Root of the mean squared error, from logits [N, 1] and target [N]."""
    return (logits.squeeze(1).double() - target.double()).square().mean().sqrt().item()
