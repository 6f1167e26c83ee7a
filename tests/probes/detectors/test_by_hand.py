"""Each formula on rows whose probabilities are fractions: logits are logs of weights, so p is the weights' share."""

import math

import pytest
import torch

from lilawbench.probes.detectors import DETECTORS
from lilawbench.probes.detectors.cnlcu import CNLCUS
from lilawbench.probes.detectors.el2n import EL2N

LOG2, LOG3, LOG4 = math.log(2), math.log(3), math.log(4)


@pytest.fixture
def two_epochs(looks):
    """Three rows of three classes, all labelled 0: the weights of the classes in two epochs.

    row     epoch 1    p              epoch 2    p
    easy    2 1 1      1/2 1/4 1/4    6 1 1      3/4 1/8 1/8
    wrong   1 2 1      1/4 1/2 1/4    1 6 1      1/8 3/4 1/8
    unsure  1 1 2      1/4 1/4 1/2    1 2 1      1/4 1/2 1/4
    """
    weights = torch.tensor([[[2, 1, 1], [1, 2, 1], [1, 1, 2]], [[6, 1, 1], [1, 6, 1], [1, 2, 1]]]).double()
    return looks(weights.log(), [0, 0, 0])


def entropy(*probs):
    return -sum(p * math.log(p) for p in probs)


def psi(loss):
    return math.log(1 + loss + loss**2 / 2)


X = [  # entropy of epoch 2, over p_y log 3
    entropy(3 / 4, 1 / 8, 1 / 8) / (3 / 4) / LOG3,
    entropy(3 / 4, 1 / 8, 1 / 8) / (1 / 8) / LOG3,
    entropy(1 / 2, 1 / 4, 1 / 4) / (1 / 4) / LOG3,
]


def sigmoid(t):
    return 1 / (1 + math.exp(-t))


# LiLAW's exponents in epoch 2 are, row by row: 10 s_y - s_max = 27/4 1/2 2, 2 s_y - s_max = 3/4 -1/2 0,
# 6 s_y - s_max = 15/4 0 1
BY_HAND = {
    "loss": [(LOG2 + math.log(4 / 3)) / 2, (LOG4 + math.log(8)) / 2, LOG4],
    "aum": [-(LOG2 + math.log(6)) / 2, (LOG2 + math.log(6)) / 2, LOG2],
    "margin": [-math.log(6), math.log(6), LOG2],
    "averaged_margin": [3 / 16 - 5 / 8, 5 / 8 - 3 / 16, 3 / 8 - 1 / 4],  # q of the third row: 1/4 3/8 3/8
    "normalised_margin": [-(5 / 8 + 1) / 2, -(-5 / 8 + 1) / 2, -(-1 / 4 + 1) / 2],
    "self_confidence": [-3 / 4, -1 / 8, -1 / 4],
    "confidence_weighted_entropy": [-math.log(1 + x) / x for x in X],
    "data_iq": [-5 / 8, -3 / 16, -1 / 4],
    "data_iq_aleatoric": [(4 / 16 + 3 / 16) / 2, (12 / 64 + 7 / 64) / 2, 3 / 16],
    "data_maps": [-1 / 8, -1 / 16, 0],
    "cnlcu_s": [
        (psi(LOG2) + psi(math.log(4 / 3))) / 2 - 1e-4,
        (psi(LOG4) + psi(math.log(8))) / 2 - 1e-4,
        psi(LOG4) - 1e-4,
    ],
    "el2n": [math.sqrt(6) / 8, math.sqrt(49 + 36 + 1) / 8, math.sqrt(9 + 4 + 1) / 4],
    "forgetting": [0, 2, 2],
    "w_alpha": [1 - sigmoid(t) for t in (27 / 4, 1 / 2, 2)],
    "w_beta": [1 - sigmoid(t) for t in (3 / 4, -1 / 2, 0)],
    "w_delta": [math.exp(-(t**2) / 2) for t in (15 / 4, 0, 1)],
    "w": [
        sigmoid(27 / 4) + sigmoid(-3 / 4) + math.exp(-((15 / 4) ** 2) / 2),
        sigmoid(1 / 2) + sigmoid(1 / 2) + 1,
        sigmoid(2) + sigmoid(0) + math.exp(-1 / 2),
    ],
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name, two_epochs, scored):
    """The expected values are written out above: rows easy, wrong, unsure, after both epochs."""
    found, wanted = scored(DETECTORS[name](), two_epochs), torch.tensor(BY_HAND[name], dtype=torch.float64)
    close = {"rtol": 1e-6, "atol": 1e-6} if name in ("averaged_margin", "cnlcu_s") else {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(found, wanted, **close)
    assert found[1] > found[0] or name == "data_iq_aleatoric"


def test_lilaw_takes_the_methods_own_parameters(looks, scored):
    """s_y = 1/4, s_max = 1/2: alpha 4, beta 6, delta 2 make the exponents 1/2, 1, 0. Without all three, 10 2 6."""
    logits = torch.tensor([[[1, 2, 1]]]).double().log()
    own = looks(logits, [0], trace={"alpha": 4.0, "beta": 6.0, "delta": 2.0})
    wanted = {"w_alpha": sigmoid(-1 / 2), "w_beta": sigmoid(-1), "w_delta": 1, "w": sigmoid(1 / 2) + sigmoid(-1) + 1}
    for name, value in wanted.items():
        assert scored(DETECTORS[name](), own).item() == pytest.approx(value, rel=1e-12)
    another = looks(logits, [0], trace={"alpha": 4.0})
    assert scored(DETECTORS["w_alpha"](), another).item() == pytest.approx(sigmoid(-2), rel=1e-12)


def test_forgetting_counts_from_presentation_to_presentation(looks, scored):
    """Right (1) and wrong (0) in epochs 1 to 5, - not trained on. Events, and the score:

    11111: 0, 0    01010: 2, 2    00000: never learnt, 5    1-0-1: 1, 1    -----: nan    1----: 0, 0
    """
    pattern = ["11111", "01010", "00000", "1-0-1", "-----", "1----"]
    right = torch.tensor([[float(row[t] == "1") for row in pattern] for t in range(5)])
    logits = torch.stack([right, 0.5 + 0 * right], dim=2)
    detector = DETECTORS["forgetting"]()
    seen = [[row[t] != "-" for row in pattern] for t in range(5)]
    found = scored(detector, looks(logits, [0] * 6, seen))
    torch.testing.assert_close(found.tolist(), [0.0, 2.0, 5.0, 1.0, math.nan, 0.0], equal_nan=True)
    torch.testing.assert_close(detector.paper_scores().tolist(), [0.0, 2.0, 0.0, 1.0, math.nan, 0.0], equal_nan=True)


def test_el2n_stops_at_its_epoch(two_epochs, scored):
    """After epoch 1, easy: (1/2, 1/4, 1/4) off by sqrt(4 + 1 + 1) / 4."""
    assert scored(EL2N(until=1), two_epochs)[0].item() == pytest.approx(math.sqrt(6) / 4)


def test_cnlcu_of_rows_that_missed_an_epoch(looks, scored):
    """s = 1/2, t = 2: b = 1/2 (2 + 1/2 log 4 / 4) / (1/2) for n = 1, a third of it for n = 2; never below 0."""
    logits = [[[0, 9.0], [0, 9.0]]] * 2
    found = scored(CNLCUS(variance=0.5), looks(logits, [0, 0], [[1, 1], [0, 1]]))
    bound, mean = 2 + LOG4 / 8, psi(9 + math.log1p(math.exp(-9)))
    torch.testing.assert_close(found.tolist(), [mean - bound, mean - bound / 3])
    assert scored(CNLCUS(variance=0.9), looks(logits, [1, 1], [[1, 1], [0, 1]])).tolist() == [0, 0]


def test_loss_gmm_finds_two_kinds_of_rows(looks, scored):
    """90 rows lose about .1 and 10 about 3: all posteriors are on their side of 1/2."""
    generator = torch.Generator().manual_seed(0)
    loss = torch.cat([0.1 + 0.02 * torch.rand(90, generator=generator), 3 + torch.rand(10, generator=generator)])
    p = torch.exp(-loss.double())
    epochs = looks(torch.stack([p, 1 - p], 1).log()[None], [0] * 100)
    found = scored(DETECTORS["loss_gmm"](), epochs)
    assert (found > 0.5).tolist() == [False] * 90 + [True] * 10
    same = scored(DETECTORS["loss_gmm"](), looks(torch.zeros(1, 4, 2), [0, 1, 0, 1]))
    assert same.tolist() == [0, 0, 0, 0]  # one kind: nobody is suspicious


def test_options_out_of_range():
    with pytest.raises(ValueError, match="until is 0"):
        EL2N(until=0)
    with pytest.raises(ValueError, match=r"variance is 1.0; it must lie in \[0, 1\)"):
        CNLCUS(variance=1.0)
