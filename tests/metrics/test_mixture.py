"""The mixture of two Gaussians over losses."""

import pytest
import torch

from lilawbench.metrics.mixture import estimated_wrong_gmm, high_loss


def losses(right: int, wrong: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    parts = [0.3 + 0.1 * torch.randn(right, generator=generator), 2.0 + 0.3 * torch.randn(wrong, generator=generator)]
    return torch.cat(parts)


def test_two_heaps_of_losses_are_told_apart():
    values = losses(300, 100)
    probs = high_loss(values)
    assert estimated_wrong_gmm(values) == 100
    assert probs[:300].max() < 0.01 and probs[300:].min() > 0.99


def test_the_posterior_is_that_of_divide_mix():
    """Its fit by hand from the same mixture: Bayes over w N(x; m, v) of both components."""
    from sklearn.mixture import GaussianMixture

    values = losses(90, 30)
    scaled = ((values - values.min()) / (values.max() - values.min())).double().numpy()[:, None]
    fit = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0).fit(scaled)
    weight, mean, variance = (torch.from_numpy(p.reshape(2)) for p in (fit.weights_, fit.means_, fit.covariances_))
    x = torch.from_numpy(scaled)
    density = weight / variance.sqrt() * (-((x - mean) ** 2) / (2 * variance)).exp()
    expected = density[:, mean.argmax()] / density.sum(1)
    torch.testing.assert_close(high_loss(values), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("values", [torch.full((5,), 0.7), torch.tensor([1.0]), torch.empty(0)])
def test_losses_that_are_all_the_same_tell_nothing(values):
    assert estimated_wrong_gmm(values) == 0 and high_loss(values).tolist() == [0.0] * len(values)


def test_rows_never_seen_stay_unknown():
    values = torch.cat([torch.tensor([torch.nan]), losses(30, 10)])
    assert high_loss(values)[0].isnan() and estimated_wrong_gmm(values) == 10
