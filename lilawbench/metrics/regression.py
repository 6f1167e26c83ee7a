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
    from torchmetrics.functional import regression as tm

    predicted, truth = logits.squeeze(1).double(), target.double()
    out = {
        "loss": tm.mean_squared_error(predicted, truth).item(),
        "rmse": rmse(logits, target),
        "mae": tm.mean_absolute_error(predicted, truth).item(),
    }
    return out | ({"r2": tm.r2_score(predicted, truth).item()} if truth.unique().numel() > 1 else {})


def rmse(logits: Tensor, target: Tensor) -> float:
    """Root of the mean squared error, from logits [N, 1] and target [N]."""
    return (logits.squeeze(1).double() - target.double()).square().mean().sqrt().item()
