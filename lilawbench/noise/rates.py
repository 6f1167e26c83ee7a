"""The noise rate that was asked for, and the one that was realised."""

from collections.abc import Mapping

import numpy as np

from lilawbench.noise.checks import read_matrix
from lilawbench.noise.labels import Labels
from lilawbench.support.plain import Tree


def noise_rates(noise: Mapping[str, Tree], labels: Labels) -> dict[str, float | bool | None]:
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


def told(noise: Mapping[str, Tree], labels: Labels) -> str:
    """What was done to the labels, in a line."""
    wrong = None if labels.clean is None else float((labels.observed != labels.clean).mean())
    added = "no noise is added" if noise["name"] == "none" else f"{noise['name']} noise is added"
    added = f"labels are those of {noise.get('path')}" if noise["name"] == "file" else added
    if wrong is None or (wrong == 0 and noise["name"] == "none"):
        return added
    return f"{added}; {100 * wrong:.1f} % of the labels are wrong"


def requested_rate(noise: Mapping[str, Tree], clean: np.ndarray) -> float | None:
    """noise.rate; for a transition matrix, or two rates, what they imply for these labels; 0 without noise.

    None where the labels are given and no rate was asked for.
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
