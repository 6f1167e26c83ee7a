"""How well a score tells wrong labels from right ones."""

from torch import Tensor


def detection(score: Tensor, wrong: Tensor) -> dict[str, float]:
    """Measures of a ranking of rows, larger = more likely to be wrong.

    Args:
        score: [N]; nan counts as least suspicious. wrong: [N] bool.
    Returns:
        auroc; empty, where all labels are right or all wrong.
    """
    positive, negative = int(wrong.sum()), int((~wrong).sum())
    if not positive or not negative:
        return {}
    from scipy.stats import rankdata

    ranks = rankdata(score.nan_to_num(nan=-float("inf")).double().numpy())
    area = (ranks[wrong.numpy()].sum() - positive * (positive + 1) / 2) / (positive * negative)
    return {"auroc": float(area)}
