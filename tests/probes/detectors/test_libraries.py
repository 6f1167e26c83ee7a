"""The same numbers as the packages that people know, where the formula is the same."""

import pytest
import torch

from lilawbench.probes.detectors import DETECTORS


def test_aum_is_that_of_its_package(looks, drawn, scored, tmp_path):
    aum = pytest.importorskip("aum")
    logits, labels = drawn(50, 4, 3)
    theirs = aum.AUMCalculator(str(tmp_path))
    for epoch in logits:
        records = theirs.update(epoch, labels, list(range(50)))
    found = scored(DETECTORS["aum"](), looks(logits, labels))
    wanted = -torch.tensor([records[row].aum for row in range(50)], dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "name, theirs",
    [
        ("self_confidence", "get_self_confidence_for_each_label"),
        ("normalised_margin", "get_normalized_margin_for_each_label"),
        ("confidence_weighted_entropy", "get_confidence_weighted_entropy_for_each_label"),
    ],
)
def test_scores_of_cleanlab(name, theirs, looks, drawn, scored):
    rank = pytest.importorskip("cleanlab.rank")
    logits, labels = drawn(200, 4, 1)
    found = scored(DETECTORS[name](), looks(logits, labels))
    quality = getattr(rank, theirs)(labels.numpy(), logits[0].softmax(1).numpy())
    torch.testing.assert_close(found, -torch.from_numpy(quality), rtol=1e-12, atol=1e-12)


def test_a_row_that_is_right_beyond_doubt_is_not_the_worst(looks, scored):
    """Cleanlab's weighted entropy of such a row is 0, its worst. The middle row is even, the last one wrong."""
    logits = [[[200.0, 0.0], [0.0, 0.0], [0.0, 200.0]]]
    sure, even, wrong = scored(DETECTORS["confidence_weighted_entropy"](), looks(logits, [0, 0, 0])).tolist()
    assert sure == pytest.approx(-1) and sure < even < wrong
    rank = pytest.importorskip("cleanlab.rank")
    probs = torch.tensor(logits[0]).softmax(1).double().numpy()
    quality = rank.get_confidence_weighted_entropy_for_each_label(torch.zeros(3, dtype=int).numpy(), probs)
    assert quality[0] == quality.min() == 0
