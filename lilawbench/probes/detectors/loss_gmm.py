"""A mixture of two kinds of losses."""

import warnings

import torch
from torch import Tensor

from lilawbench.probes.detectors.loss import MeanLoss


class LossGMM(MeanLoss):
    """P(high component | mean loss), in [0, 1]: two normal distributions fitted to the rows' mean losses over the
    epochs, scaled to [0, 1].

    High: rows of the component with the larger mean. Above 1/2 counts as wrong, so that it says how many are. Far from
    both means the wider component wins, so a very small loss may get a high value; large ones tie at 1.

    Source: Li et al. 2020 (DivideMix): 10 iterations, tolerance 1e-2, 5e-4 added to variances. Deviations: losses as
    seen in training, averaged over all epochs; theirs are of an un-augmented pass, averaged at high noise rates alone.
    """

    def scores(self) -> Tensor:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        mean = super().scores()
        ever = ~mean.isnan()
        losses = mean[ever]
        if len(losses) < 2 or losses.min() == losses.max():
            return mean * 0
        scaled = ((losses - losses.min()) / (losses.max() - losses.min())).numpy()[:, None]
        mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # ten iterations are the setting
            mixture.fit(scaled)
        high = mixture.predict_proba(scaled)[:, mixture.means_.argmax()]
        return mean.masked_scatter(ever, torch.from_numpy(high.copy()))
