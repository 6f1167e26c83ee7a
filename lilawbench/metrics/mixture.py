"""Wrong labels by a mixture of two Gaussians over losses."""

import warnings

import numpy as np
import torch
from torch import Tensor


def high_loss(losses: Tensor) -> Tensor:
    """Probability of each row that its loss is of the component with the larger mean, [N] float64; nan stays nan.

    Losses that are all the same are of one component: 0.

    Args:
        losses: [N].
    Source: Arazo et al. 2019 for the idea; Li et al. 2020 (DivideMix), section 3.1, and its code's settings: losses
        scaled to [0, 1], at most 10 steps of EM, tolerance .01, 5e-4 added to variances. Deviations: EM begins with the
        same random state each time.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    known = torch.isfinite(losses)
    found = torch.full((len(losses),), torch.nan, dtype=torch.float64)
    values = losses[known].double().numpy()[:, None]
    if len(values) < 2 or np.ptp(values) == 0:
        found[known] = 0.0
        return found
    values = (values - values.min()) / np.ptp(values)
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0)
    with warnings.catch_warnings():  # ten steps are what the paper takes
        warnings.simplefilter("ignore", ConvergenceWarning)
        probs = mixture.fit(values).predict_proba(values)
    found[known] = torch.from_numpy(probs[:, mixture.means_[:, 0].argmax()])
    return found


def estimated_wrong_gmm(losses: Tensor) -> int:
    """How many labels are wrong by the mixture: rows that are more likely of the component of high losses.

    Args:
        losses: [N], such as the mean of each row's over the epochs; nan is not counted.
    """
    return int((high_loss(losses) > 0.5).sum())
