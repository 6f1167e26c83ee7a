"""What noise was asked for, and what came of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lilawbench.noise.checks import read_matrix
from lilawbench.noise.labels import Labels


def noise_rates(noise: Mapping[str, Any], labels: Labels) -> dict[str, float | bool | None]:
    """Both rates for the record; whether the clean labels are known, if they are not.

    Args:
        noise: the config's block. labels: of the run.
    """
    if labels.clean is None:
        return {"labels.clean_known": False}
    corrupted = labels.observed != labels.clean
    return {
        "labels.clean_known": True,
        "noise.requested_rate": requested_rate(noise, labels.clean),
        "noise.realised_rate": float(corrupted.mean()),
        "noise.realised_rate_train": float(corrupted[labels.train].mean()),
    }


def requested_rate(noise: Mapping[str, Any], clean: np.ndarray) -> float | None:
    """noise.rate; of a transition matrix, or of two rates, what they imply for these labels; 0 without noise.

    None where the labels are given and nobody asked for a rate.
    """
    if "matrix" in noise:
        matrix = read_matrix(noise["matrix"]) if isinstance(noise["matrix"], str) else noise["matrix"]
        kept = np.diag(np.array(matrix, dtype=np.float64))
        return float(1 - kept[clean].mean())
    rate = noise.get("rate", 0.0 if noise["name"] == "none" else None)
    if (absent := noise.get("absent_rate")) is not None:  # of the labels that are not there
        present = float(clean.mean())
        return present * rate + (1 - present) * absent
    return None if rate is None else float(rate)
