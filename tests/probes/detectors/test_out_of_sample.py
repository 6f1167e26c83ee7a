"""Scores of networks that did not train on the row, beside cleanlab on the same probabilities."""

import numpy as np
import pytest
import torch

from lilawbench.probes.detectors import DETECTORS
from lilawbench.probes.detectors.base import Look

OUT_OF_SAMPLE = [name for name, kind in DETECTORS.items() if kind.needs_folds]


def scores(name: str, probs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    detector = DETECTORS[name]()
    detector.setup(*probs.shape)
    detector.see(Look(1, torch.zeros_like(probs), labels, labels < 0, out_of_sample=probs))
    return detector.scores()


def test_three_rows_by_hand():
    """p_y = .8, .1 and .5. Thresholds .45 and .5: the second row counts under class 1 and is the one that is wrong."""
    probs, labels = torch.tensor([[0.8, 0.2], [0.1, 0.9], [0.5, 0.5]]), torch.tensor([0, 0, 1])
    expected = {
        "self_confidence_oos": [-0.8, -0.1, -0.5],
        "normalised_margin_oos": [-0.8, -0.1, -0.5],
        "margin_oos": [np.log(0.25), np.log(9), 0.0],
        "confident_learning": [-0.8, 0.9, -0.5],
    }
    for name, found in expected.items():
        assert scores(name, probs, labels).tolist() == pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize("name", OUT_OF_SAMPLE)
def test_it_says_which_rows_score_high_and_asks_for_folds(name):
    assert "High: " in DETECTORS[name].__doc__ and DETECTORS[name].when_asked
    with pytest.raises(RuntimeError, match="no predictions out of sample"):
        DETECTORS[name]().see(Look(1, torch.zeros(2, 2), torch.tensor([0, 1]), torch.ones(2) > 0))


@pytest.mark.slow  # cleanlab takes seconds to import
def test_the_list_is_cleanlabs():
    find = pytest.importorskip("cleanlab.filter").find_label_issues
    rank = pytest.importorskip("cleanlab.rank")
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (500,), generator=generator)
    probs = (1.5 * torch.randn(500, 4, generator=generator, dtype=torch.float64)).softmax(1)
    for name, method in (("self_confidence_oos", "self_confidence"), ("normalised_margin_oos", "normalized_margin")):
        quality = rank.get_label_quality_scores(labels.numpy(), probs.numpy(), method=method)
        torch.testing.assert_close(scores(name, probs, labels), -torch.from_numpy(quality), rtol=0, atol=1e-12)
    issues = find(labels.numpy(), probs.numpy(), return_indices_ranked_by="self_confidence", n_jobs=1)
    found = scores("confident_learning", probs, labels)
    order = found.argsort(descending=True, stable=True)
    assert order[: int((found > 0).sum())].tolist() == issues.tolist() and len(issues) > 50
