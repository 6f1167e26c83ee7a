"""FGSM against gradients by hand, and from the clean input every time."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lilawbench.methods.parts.fgsm import Pixels, check_attack, fgsm

RANDOM = torch.Generator().manual_seed(0)
INPUT = torch.randn(5, 4, dtype=torch.float64, generator=RANDOM)
TARGET = torch.tensor([0, 2, 1, 1, 0])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def losses_of(model, target=TARGET):
    return lambda input: F.cross_entropy(model(input), target, reduction="none")


def test_linear_model_by_hand():
    """Two classes with rows w_0, w_1: the cross-entropy of class 0 has gradient s_1 (w_1 - w_0) = s_1 (3, -2, 0)."""
    model = nn.Linear(3, 2, bias=False)
    model.weight.data = torch.tensor([[-1.0, 1.0, 0.0], [2.0, -1.0, 0.0]])
    x, target = torch.tensor([[0.5, 0.5, 0.5]]), torch.tensor([0])
    (moved,) = fgsm(losses_of(model, target), x, [0.25])
    assert moved.tolist() == [[0.75, 0.25, 0.5]]  # sign(0) is 0
    s_1 = 1 / (1 + math.exp(-0.5))  # the logits are 0 and .5
    (moved,) = fgsm(losses_of(model, target), x, [0.25], sign=False)
    assert moved[0].tolist() == pytest.approx([0.5 + 0.75 * s_1, 0.5 - 0.5 * s_1, 0.5], abs=1e-6)


@pytest.mark.parametrize("sign", [True, False])
def test_each_eps_starts_from_the_clean_input(model, sign):
    eps = [0.0, 0.5, 0.1, 1.0]
    moved = fgsm(losses_of(model), INPUT, eps, sign)
    leaf = INPUT.clone().requires_grad_()
    losses_of(model)(leaf).sum().backward()
    direction = leaf.grad.sign() if sign else leaf.grad
    for step, one in zip(eps, moved, strict=True):
        torch.testing.assert_close(one, INPUT + step * direction, rtol=0, atol=1e-15)
        assert torch.equal(one, fgsm(losses_of(model), INPUT, [step], sign)[0])
    assert torch.equal(moved[0], INPUT)


@pytest.mark.parametrize("sign", [True, False])
def test_a_sample_is_moved_by_its_own_loss_alone(model, sign):
    """The losses are summed, so neither the other rows nor their number matter."""
    together = fgsm(losses_of(model), INPUT, [0.3], sign)[0]
    for row in range(len(INPUT)):
        part = slice(row, row + 1)
        alone = fgsm(losses_of(model, TARGET[part]), INPUT[part], [0.3], sign)[0]
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-14)


def test_the_loss_rises_as_the_first_order_says(model):
    """l(x + eps sign g) = l(x) + eps |g|_1 + O(eps^2)."""
    leaf = INPUT.clone().requires_grad_()
    before = losses_of(model)(leaf)
    (gradient,) = torch.autograd.grad(before.sum(), leaf)
    after = losses_of(model)(fgsm(losses_of(model), INPUT, [1e-6])[0])
    torch.testing.assert_close((after - before) / 1e-6, gradient.abs().sum(1), rtol=1e-4, atol=1e-6)


def test_clip_cuts_the_result_not_the_step(model):
    free = fgsm(losses_of(model), INPUT, [0.0, 0.7])
    cut = fgsm(losses_of(model), INPUT, [0.0, 0.7], clip=[-0.5, 1])
    assert all(torch.equal(a.clamp(-0.5, 1), b) for a, b in zip(free, cut, strict=True))
    assert cut[1].min() == -0.5 and cut[1].max() == 1


@pytest.mark.parametrize("graph", [True, False])
def test_it_leaves_nothing_behind(model, graph):
    """Not in the input, nor in the model, nor as a graph; and it works where gradients are switched off."""
    before, input = INPUT.clone(), INPUT.clone()
    with torch.set_grad_enabled(graph):
        moved = fgsm(losses_of(model), input, [0.0, 0.5], clip=[-1, 1])
        assert torch.is_grad_enabled() == graph
    assert torch.equal(input, before) and not input.requires_grad
    assert not any(one.requires_grad or one.data_ptr() == input.data_ptr() for one in moved)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("sign", [True, False])
@pytest.mark.parametrize("clip", [None, [0.1, 0.7]])
def test_in_the_space_of_pixels_it_is_fgsm_on_pixels(sign, clip):
    """Against a network that standardises by itself: the same pixels come out, and never leave [0, 1]."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(2 * 9, 3)).double()
    mean, std = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in ((0.3, 0.5), (0.2, 0.05)))
    image = torch.rand(5, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    eps = [0.0, 0.02, 0.3]
    expected = fgsm(losses_of(nn.Sequential(Standard(mean, std), net)), image, eps, sign, clip or [0, 1])
    moved = fgsm(losses_of(net), (image - mean) / std, eps, sign, clip, Pixels(mean, std))
    for one, other in zip(moved, expected, strict=True):
        torch.testing.assert_close(one * std + mean, other, rtol=0, atol=1e-12)
    assert (expected[2] == (clip or [0, 1])[1]).any()


class Standard(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, input):
        return (input - self.mean) / self.std


@pytest.mark.parametrize(
    "eps, clip, message",
    [
        (-1, None, "eps is -1; it must be >= 0"),
        (math.nan, None, "eps is nan; it must be >= 0"),
        (math.inf, None, "eps is inf; it must be >= 0"),
        (0, [1, 0], r"clip is \[1, 0\]; it must be null or \[lo, hi\] with lo < hi"),
        (0, [0, 0], r"clip is \[0, 0\]"),
        (0, [0], r"clip is \[0\]"),
        (0, [0, math.nan], r"clip is \[0, nan\]"),
        (0, 0.5, "clip is 0.5"),
    ],
)
def test_attacks_out_of_range_are_refused(eps, clip, message):
    with pytest.raises(ValueError, match=message):
        check_attack(eps, clip)


def test_an_unknown_space_is_refused():
    with pytest.raises(ValueError, match="space is 'pixels'; it must be input or unit"):
        check_attack(0.1, None, "pixels")


def test_attacks_in_range_are_not():
    """An eps of 0, limits without end: they mean what they say."""
    for eps, clip, expected in ((0, None, 0.5), (1.5, [-1, 1], 1), (0.1, (0, math.inf), 0.6)):
        check_attack(eps, clip)
        (moved,) = fgsm(lambda x: 3 * x, torch.tensor([0.5]), [eps], clip=clip)
        assert moved.item() == pytest.approx(expected)
