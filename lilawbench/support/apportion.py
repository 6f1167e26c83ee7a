"""Whole counts in given proportions."""

import numpy as np


def apportion(quotas: np.ndarray) -> np.ndarray:
    """Rounds quotas to whole counts that add up to their sum, rounded half up (largest remainders; ties to the first).

    Args:
        quotas: non-negative shares, [K] float.
    Returns:
        Counts, [K] int64, each within one of its quota.
    Source: Hamilton's method of apportionment.
    """
    quotas = np.asarray(quotas, dtype=np.float64)
    counts = np.floor(quotas + 1e-9).astype(np.int64)  # 0.29 * 100 is 28.999...
    missing = int(np.floor(quotas.sum() + 0.5 + 1e-9)) - int(counts.sum())
    order = np.argsort(-(quotas - counts), kind="stable")
    counts[order[:missing]] += 1
    return counts
