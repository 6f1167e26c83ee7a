"""What holds for every loss of the group, as its YAML builds it and in its other forms."""

import functools
import inspect

import pytest
import torch
from hydra.utils import get_object
from omegaconf import OmegaConf

from lilawbench import losses
from lilawbench.config import CONF, bind
from lilawbench.losses import BackwardCorrection, ForwardCorrection, StatefulLoss

K, N = 4, 12
LOGITS = 2 * torch.randn(N, K, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TARGET = torch.arange(N) % K
MATRIX = [[0.7, 0.1, 0.2, 0.0], [0.0, 0.9, 0.0, 0.1], [0.3, 0.0, 0.6, 0.1], [0.0, 0.2, 0.0, 0.8]]
NODES = {path.stem: OmegaConf.load(path) for path in sorted((CONF / "loss").glob("*.yaml"))}


def built(name):
    """The loss as the YAML describes it."""
    return prepared(bind(NODES[name]))


def prepared(loss):
    """The loss; one with a memory has seen every row once and the labels, of which the last class has fewer."""
    if isinstance(loss, StatefulLoss):
        loss.setup(N, K, torch.device("cpu"))
        loss.observe(TARGET[:9])
        loss.start_epoch(100, lambda: (LOGITS, TARGET))  # behind any warm-up
        loss.update(LOGITS.roll(1, 0), torch.arange(N))
        return functools.partial(loss, index=torch.arange(N))
    return loss


# those of one class a sample; test_tasks.py has the others
LOSSES = {name: built(name) for name in NODES if name not in ("bce", "squared")} | {
    "mae, sum": functools.partial(losses.mae, scale="sum"),
    "mse, sum": functools.partial(losses.mse, scale="sum"),
    "focal, .5": functools.partial(losses.focal, gamma=0.5),
    "js, .9": functools.partial(losses.js, pi=0.9),
    "nce and mae": functools.partial(losses.active_passive, passive="mae"),
    "ldam, drw": prepared(losses.LDAM(drw_after_epochs=0, scale=2.0)),
    "gce, 1": functools.partial(losses.gce, q=1.0),
    "hard bootstrapping": functools.partial(losses.bootstrapping, kind="hard"),
    "forward correction, given": ForwardCorrection(MATRIX),
    "backward correction, given": BackwardCorrection(MATRIX),
}


@pytest.fixture(params=list(LOSSES))
def loss(request):
    return LOSSES[request.param]


def test_all_are_here():
    assert len(NODES) >= len(losses.__all__) == 19


@pytest.mark.parametrize("name", list(NODES))
def test_the_yaml_says_the_defaults_of_the_signature(name):
    parameters = inspect.signature(get_object(NODES[name]._target_)).parameters.values()
    expected = {p.name: p.default for p in parameters if p.name not in ("logits", "target")}
    given = OmegaConf.to_container(NODES[name])
    assert given.pop("name") == name and given.pop("_target_")
    assert given == expected


@pytest.mark.every(3)
@pytest.mark.filterwarnings("ignore:.torch.jit.script")  # torch's own, where it first takes forward mode
def test_gradients_are_those_of_finite_differences(loss):
    """Backward, forward mode and twice: meta gradients and attacks go through every loss."""
    rows = torch.arange(5)  # a sample of every class; the time grows with the square of their number
    history = {"index": rows} if "index" in getattr(loss, "keywords", {}) else {}
    logits = LOGITS[rows].requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, TARGET[rows], **history), logits, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, TARGET[rows], **history), logits)


def test_one_value_a_sample_and_none_knows_of_the_others(loss):
    values = loss(LOGITS, TARGET)
    assert values.shape == (N,) and values.dtype == torch.float64
    rows = torch.tensor([5, 0, 7])
    history = {"index": rows} if "index" in getattr(loss, "keywords", {}) else {}
    torch.testing.assert_close(loss(LOGITS[rows], TARGET[rows], **history), values[rows], rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_with_both_derivatives_where_logits_are_extreme(loss, dtype):
    rows = [[900, -900, 0, 0], [-900, 900, 0, 0], [0, 0, 900, 900], [0, 0, 0, 0], [-900] * 4, [17, 0, 0, 0]] * 2
    logits = torch.tensor(rows, dtype=dtype, requires_grad=True)
    for label in range(K):
        value = loss(logits, torch.full((N,), label))
        (gradient,) = torch.autograd.grad(value.sum(), logits, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), logits)
        assert value.dtype == dtype
        assert torch.isfinite(value).all() and torch.isfinite(gradient).all() and torch.isfinite(second).all()


def test_a_class_is_built_and_a_function_bound():
    elr = bind(OmegaConf.create({"name": "elr", "_target_": "lilawbench.losses.ELR", "lam": 7.0}))
    assert isinstance(elr, losses.ELR) and elr.lam == 7 and elr.beta == 0.7
    gce = bind(OmegaConf.create({"name": "gce", "_target_": "lilawbench.losses.gce", "q": 1.0}))
    torch.testing.assert_close(gce(LOGITS, TARGET), 1 - LOGITS.softmax(1)[torch.arange(N), TARGET])
