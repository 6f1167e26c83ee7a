"""What stops a wait for the device, stops it; and what `meta` lacks."""

import pytest
import torch

META = torch.device("meta")

# What `meta` lacks, and what stands in its place here.
LACKS = {
    "a generator": (lambda: torch.Generator(META), "Dynamic Loss's pseudo-labels are drawn from the global one"),
    "a generator's exponential_": (
        lambda: torch.empty(1, device=META).exponential_(generator=torch.Generator()),
        "so that the host's does not do either",
    ),
    "autocast": (lambda: torch.autocast("meta", torch.bfloat16), "all runs are in fp32"),
    "fused optimizers": (
        lambda: torch._fused_sgd_(
            *([torch.zeros(1, device=META)],) * 3,
            weight_decay=0,
            momentum=0,
            lr=1,
            dampening=0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        ),
        "torch's plain ones, whose count of steps is the host's",
    ),
}


X, Y = torch.randn(4, 3, device=META), torch.arange(4, device=META)
CONTROLS = {  # what would make the host wait, or fail, on CUDA
    "a tensor of the host": lambda: X * torch.ones(4, 3),
    "an index of the host": lambda: X[torch.arange(2)],
    "rows of the host": lambda: X.index_select(0, torch.arange(2)),
    "a copy into the device": lambda: X.copy_(torch.ones(4, 3)),
    "a copy to the device": lambda: torch.ones(()).to(META),
    "a copy to the host": lambda: X.cpu(),
    "a list of numbers": lambda: torch.tensor([1.0, 2.0], device=META),
    "an index by a list": lambda: X[[0, 1]],
    "a value": lambda: X.sum().item(),
    "a condition": lambda: 1 if X.sum() > 0 else 0,
    "rows of a mask": lambda: X[X > 0],
    "places of a mask": lambda: (X > 0).nonzero(),
    "values into a mask": lambda: X.__setitem__(Y > 0, torch.ones(1, 3, device=META)),
    "different values": lambda: Y.unique(),
    "a count": lambda: Y.bincount(minlength=4),
    "an inverse": lambda: torch.linalg.inv(X[:3]),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_what_would_wait_is_found(one_device, name):
    with one_device(), pytest.raises((AssertionError, RuntimeError)):
        CONTROLS[name]()


def test_what_would_not_wait_is_let_through(one_device):
    with one_device():
        scaled = X * torch.tensor(2.0) + 1  # a host's number
        filled = X.index_fill_(0, Y, 1)[:, 0].masked_fill_(Y > 0, 2)
        places = torch.nonzero_static(Y > 0, size=2)
    assert all(made.is_meta for made in (scaled, filled, places)) and places.shape == (2, 1)


@pytest.mark.parametrize("name", LACKS)
def test_what_meta_lacks_it_still_lacks(name):
    """If this fails, take it from the list, and what stands in its place from here."""
    with pytest.raises((RuntimeError, AssertionError)):
        LACKS[name][0]()
