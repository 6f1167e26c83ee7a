"""Which rows ProMix trains on, by hand."""

import torch

from lilawbench.methods.parts.promix_rows import agreed, class_wise_small_loss, matched


def test_small_losses_of_each_class():
    """.5 * 8 / 2 = 2 rows of each class; of three classes ceil(.7 * 8 / 3) = 2, where the last has one row only."""
    losses = torch.tensor([5.0, 1, 3, 2, 9, 8, 7, 6])

    def found(classes, rho, num_classes):
        return class_wise_small_loss(losses, torch.tensor(classes), rho, num_classes).nonzero()[:, 0].tolist()

    assert found([0, 0, 0, 0, 1, 1, 1, 1], 0.5, 2) == [1, 3, 6, 7]
    assert found([0, 0, 0, 0, 1, 1, 1, 2], 0.7, 3) == [1, 3, 5, 6, 7]
    assert found([0, 0, 0, 0, 1, 1, 1, 2], 0.0, 3) == [1, 6, 7]  # one at least


def test_matched_and_agreed_rows():
    """Row 0 matches its label; of the rest, rows 1 and 2 agree above .6, row 3 is sure of two classes, row 4 unsure.

    .6 of five rows are three: one is trusted, so both join; .4 has room for the surer one, .2 for none.
    """
    one = torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.9, 0.1], [0.5, 0.5]])
    other = torch.tensor([[0.8, 0.2], [0.1, 0.9], [0.1, 0.9], [0.1, 0.9], [0.9, 0.1]])
    probs, target = torch.stack([one, other]), torch.zeros(5, dtype=torch.int64)
    assert matched(probs, target, 0.6).tolist() == [
        [True, False, False, True, False],
        [True, False, False, False, True],
    ]
    trusted = torch.tensor([[True, False, False, False, False]] * 2)
    found = {share: agreed(probs, trusted, 0.6, share)[0].nonzero()[:, 0].tolist() for share in (0.6, 0.4, 0.2)}
    assert found == {0.6: [1, 2], 0.4: [2], 0.2: []}
