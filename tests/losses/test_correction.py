"""Forward and backward correction: what each promises about the clean labels, and where its matrix comes from."""

import numpy as np
import pytest
import torch

from lilawbench.losses import BackwardCorrection, ForwardCorrection, ce
from lilawbench.losses.correction import estimate_matrix

K = 3
MATRIX = [[0.7, 0.2, 0.1], [0.0, 0.9, 0.1], [0.3, 0.0, 0.7]]
T = torch.tensor(MATRIX, dtype=torch.float64)
LOGITS = 2 * torch.randn(30, K, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TARGET = torch.arange(30) % K
CPU = torch.device("cpu")
BOTH = pytest.mark.parametrize("correction", [ForwardCorrection, BackwardCorrection])


def every_label(loss, logits):
    """[B, K]: the loss for each label that could be observed."""
    return torch.stack([loss(logits, torch.full((len(logits),), label)) for label in range(K)], dim=1)


def test_forward_is_cross_entropy_of_the_noisy_prediction():
    expected = -(LOGITS.softmax(1) @ T)[torch.arange(30), TARGET].log()
    torch.testing.assert_close(ForwardCorrection(MATRIX)(LOGITS, TARGET), expected, rtol=0, atol=1e-12)


def test_forward_by_hand():
    """s = (1/4, 3/4), T = ((.9, .1), (.3, .7)): P(observed = 0) = .225 + .225 = .45."""
    logits = torch.tensor([[0.0, np.log(3)]] * 2)
    loss = ForwardCorrection([[0.9, 0.1], [0.3, 0.7]])(logits, torch.tensor([0, 1]))
    assert loss.tolist() == pytest.approx([-np.log(0.45), -np.log(0.55)], abs=1e-6)


def test_forward_is_stationary_at_the_clean_posterior():
    """Labels drawn from posterior @ T: the expected gradient at the *clean* posterior is zero, that of CE is not."""
    logits = LOGITS.clone().requires_grad_()
    noisy = LOGITS.softmax(1) @ T
    for loss, moved in ((ForwardCorrection(MATRIX), False), (ce, True)):
        (gradient,) = torch.autograd.grad((noisy * every_label(loss, logits)).sum(), logits)
        assert (gradient.abs().max().item() > 1e-3) == moved
        assert moved or gradient.abs().max() < 1e-12


def test_backward_is_unbiased():
    """sum_j T[i, j] loss(z, j) = CE(z, i) for every prediction and clean class."""
    loss = BackwardCorrection(MATRIX)
    torch.testing.assert_close(every_label(loss, LOGITS) @ T.T, every_label(ce, LOGITS), rtol=0, atol=1e-12)
    assert every_label(loss, LOGITS).min() < 0


def test_backward_by_hand():
    """T = ((.9, .1), (.3, .7)) has the inverse ((7, -1), (-3, 9)) / 6."""
    logits = torch.tensor([[0.0, np.log(3)]] * 2)
    loss = BackwardCorrection([[0.9, 0.1], [0.3, 0.7]])(logits, torch.tensor([0, 1]))
    a, b = np.log(4), np.log(4 / 3)
    assert loss.tolist() == pytest.approx([(7 * a - b) / 6, (9 * b - 3 * a) / 6], abs=1e-6)


@BOTH
def test_until_the_matrix_is_estimated_it_is_cross_entropy_to_the_bit(correction):
    """So that a run and its warm-up share the epochs with method=ce."""
    loss = correction(warmup_epochs=2)
    results = []
    for prepared in (False, True):
        if prepared:
            loss.setup(30, K, CPU)
        for function in (loss, ce):
            logits = LOGITS.float().requires_grad_()
            value = function(logits, TARGET)
            results.append((value.detach(), *torch.autograd.grad(value.mean(), logits)))
    for value, gradient in results[1:]:
        assert torch.equal(value, results[0][0]) and torch.equal(gradient, results[0][1])


@BOTH
def test_it_is_estimated_once_from_one_sweep_after_the_warm_up(correction):
    calls = []

    def predict():
        calls.append(len(calls))
        return LOGITS, TARGET

    loss = correction(warmup_epochs=2, quantile=1.0)
    loss.setup(30, K, CPU)
    for epoch in range(1, 6):
        loss.start_epoch(epoch, predict)
        assert len(calls) == (epoch > 2)
        assert torch.equal(loss.matrix, torch.eye(K)) == (epoch <= 2)
    anchors = LOGITS.softmax(1)[LOGITS.softmax(1).argmax(0)]
    torch.testing.assert_close(loss.matrix, anchors, rtol=0, atol=1e-11)
    torch.testing.assert_close(loss(LOGITS, TARGET), correction(anchors)(LOGITS, TARGET), rtol=0, atol=1e-9)


@BOTH
def test_a_resumed_run_goes_on_with_the_same_matrix(correction):
    first, second = correction(warmup_epochs=1), correction(warmup_epochs=1)
    for loss in (first, second):
        loss.setup(30, K, CPU)
    first.start_epoch(2, lambda: (LOGITS, TARGET))
    second.load_state_dict(first.state_dict())
    second.start_epoch(3, None)
    assert torch.equal(second(LOGITS, TARGET), first(LOGITS, TARGET))
    assert not torch.equal(second(LOGITS, TARGET), ce(LOGITS, TARGET))


@BOTH
def test_a_given_matrix_holds_from_the_first_step(correction):
    loss = correction(MATRIX)
    before = loss(LOGITS, TARGET)
    loss.setup(30, K, CPU)
    for epoch in range(1, 8):
        loss.start_epoch(epoch, None)
    assert torch.equal(loss(LOGITS, TARGET), before)
    assert not torch.allclose(before, ce(LOGITS, TARGET))
    torch.testing.assert_close(loss.matrix, T)


def test_estimate_finds_the_matrix_where_there_are_anchors():
    """A network that knows P(observed | x) exactly: a sample that is surely of class i shows row i of T."""
    clean = np.random.default_rng(0).dirichlet(np.ones(K), size=500)
    logits = (torch.cat([torch.eye(K, dtype=torch.float64), torch.from_numpy(clean)]) @ T).log()
    torch.testing.assert_close(estimate_matrix(logits, quantile=1.0), T, rtol=0, atol=1e-9)


def test_estimate_takes_the_sample_at_the_quantile():
    """Five samples, quantile .8: the second largest of each column."""
    s = torch.tensor([[0.95, 0.05], [0.6, 0.4], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7]], dtype=torch.float64)
    torch.testing.assert_close(estimate_matrix(s.log(), quantile=0.8), s[[2, 4]], rtol=0, atol=1e-11)
    torch.testing.assert_close(estimate_matrix(s.log(), quantile=1.0), s[[0, 3]], rtol=0, atol=1e-11)
    torch.testing.assert_close(estimate_matrix(s.log(), quantile=1e-6), s[[3, 0]], rtol=0, atol=1e-11)


@pytest.mark.parametrize("count", [100, 997, 1001])
def test_the_quantile_is_the_percentile_to_within_one_rank(count):
    """The largest value below NumPy's 97 % percentile (method higher), as the authors' code picks it."""
    logits = torch.randn(count, K, dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    s = logits.softmax(1).numpy()
    diagonal = estimate_matrix(logits).diagonal().numpy()
    for i in range(K):
        column = np.sort(s[:, i])
        theirs = (column < np.percentile(column, 97, method="higher")).sum() - 1
        assert abs(np.abs(column - diagonal[i]).argmin() - theirs) <= 1


def test_no_estimated_entry_is_zero():
    logits = torch.tensor([[900.0, 0.0, -900.0]] * 4)  # class 2 is never predicted
    loss = ForwardCorrection(warmup_epochs=1)
    loss.setup(4, 3, CPU)
    loss.start_epoch(2, lambda: (logits, None))
    assert torch.isfinite(loss(logits, torch.tensor([0, 1, 2, 2]))).all()


@BOTH
@pytest.mark.parametrize(
    "wrong, message",
    [
        ("estimate", "matrix is 'estimate'; it must be estimated or a K x K table of numbers"),
        ([[1, 0], [1]], "the matrix is not a K x K table of numbers"),
        ([["a", "b"], ["c", "d"]], "the matrix is not a K x K table of numbers"),
        (None, "the matrix is not a K x K table of numbers"),
        ([[0.5, 0.5]], "the matrix is 1 x 2; it must be K x K"),
        ([0.5, 0.5], "the matrix is 2; it must be K x K"),
        (0.5, "the matrix is one number; it must be K x K"),
        ([[1.1, -0.1], [0, 1]], r"the matrix has entries outside \[0, 1\]"),
        ([[float("nan"), 1], [0, 1]], r"the matrix has entries outside \[0, 1\]"),
        ([[0.9, 0.2], [0.3, 0.6]], "rows must sum to 1: row 0 sums to 1.1, row 1 sums to 0.9"),
        ([[1, 0], [1, 0]], r"columns \[1\] are zero: these labels could never be observed"),
    ],
)
def test_a_table_that_is_no_transition_matrix_is_refused(correction, wrong, message):
    with pytest.raises(ValueError, match=message):
        correction(wrong)


@BOTH
@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"warmup_epochs": 0}, "warmup_epochs is 0; it must be a whole number >= 1"),
        ({"warmup_epochs": 1.5}, "warmup_epochs is 1.5; it must be a whole number >= 1"),
        ({"quantile": 0}, r"quantile is 0; it must lie in \(0, 1\]"),
        ({"quantile": 97}, r"quantile is 97; it must lie in \(0, 1\]"),
    ],
)
def test_options_out_of_range_are_refused(correction, wrong, message):
    with pytest.raises(ValueError, match=message):
        correction(**wrong)


def test_backward_needs_an_inverse_and_forward_not():
    singular = [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]
    assert ForwardCorrection(singular)(LOGITS, TARGET).shape == (30,)
    with pytest.raises(ValueError, match=r"the matrix is singular: .* use forward_correction"):
        BackwardCorrection(singular)
    loss = BackwardCorrection(warmup_epochs=1)
    loss.setup(30, K, CPU)
    with pytest.raises(ValueError, match="the matrix is singular"):
        loss.start_epoch(2, lambda: (torch.zeros(30, K), TARGET))


@BOTH
def test_a_matrix_of_another_size_is_named_with_the_data_s(correction):
    message = "the matrix is 3 x 3; the data set has 2 classes: 2 x 2"
    with pytest.raises(ValueError, match=message):
        correction(MATRIX).setup(30, 2, CPU)
    with pytest.raises(ValueError, match=message):
        correction(MATRIX)(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
