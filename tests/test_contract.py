"""What the loop and every comparison may rely on, over every method of the config."""

import copy

import pytest
import torch
from torch import nn

from lilawbench.config import bind, build
from lilawbench.engine.loop import train_step
from lilawbench.loading.batches import MetaLoader, TrainLoader
from lilawbench.loading.resident import Resident
from lilawbench.methods.base import Context
from lilawbench.train import CONF, run

METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
STATEFUL = {"lilaw", "rrm", "a_rrm", "dynamic_loss", "dynamic_loss_lt"}


@pytest.fixture(params=METHODS)
def method_name(request):
    return request.param


@pytest.fixture
def scene(composed, acting, method_name):
    """A method in the middle of training a net with BatchNorm and dropout."""
    cfg = composed(*acting(method_name))
    generator = torch.Generator().manual_seed(0)
    data = Resident(torch.randn(64, 6, generator=generator), torch.randint(0, 3, (64,), generator=generator))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    ctx = Context(
        model,
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        data.in_order,
        MetaLoader(data, 0),
        64,
        3,
        torch.device("cpu"),
        16,
        fetch=data.batch,
        targets=data.target,
        batch_size=16,
    )
    method = build(cfg.method, loss=bind(cfg.loss))
    method.setup(ctx)
    ctx.epoch = 100  # behind any warm-up, and when RRM re-weights
    method.on_epoch_start(ctx)
    return ctx, method, next(TrainLoader(data, 16, 0).epoch(1))


def same(one, other) -> bool:
    """Whether two trees of tensors and plain values are equal."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def state(ctx):
    return {**{k: v.clone() for k, v in ctx.model.state_dict().items()}, "random": torch.get_rng_state()}


def test_loss_is_a_scalar_with_a_graph_and_the_rest_has_none(scene):
    ctx, method, batch = scene
    out = method.loss(ctx.forward, batch)
    assert out.loss.shape == () and out.loss.requires_grad
    assert out.logits.shape == (16, 3) and not out.logits.requires_grad
    if out.weight is not None:
        assert out.weight.shape == (16,) and not out.weight.requires_grad
    out.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in ctx.model.parameters())


def test_hooks_leave_model_buffers_and_random_stream_alone_while_the_method_moves(scene, method_name):
    ctx, method, batch = scene
    own = copy.deepcopy(method.state_dict())
    out = train_step(ctx, method, batch, 0.1)
    before = state(ctx)
    modes = [module.training for module in ctx.model.modules()]
    method.before_step(ctx, batch)
    method.after_step(ctx, batch, out)
    method.on_epoch_end(ctx)
    assert all(torch.equal(before[key], value) for key, value in state(ctx).items())
    assert [module.training for module in ctx.model.modules()] == modes
    assert same(own, method.state_dict()) == (method_name not in STATEFUL)


def test_state_goes_through_a_weights_only_file(scene, tmp_path):
    ctx, method, batch = scene
    train_step(ctx, method, batch, 0.1)
    torch.save(method.state_dict(), tmp_path / "state.pt")
    assert same(torch.load(tmp_path / "state.pt", weights_only=True), method.state_dict())


def test_methods_hold_no_model(scene):
    ctx, method, _ = scene
    own, models = {id(p) for p in method.parameters()}, {id(p) for p in ctx.model.parameters()}
    assert models and not own & models
    assert all(module is not ctx.model for module in method.modules())


def test_runs_of_one_seed_are_paired(tiny, acting):
    """Labels, split, first batch and initial weights are those of ce for every method."""
    folders = {name: run(tiny(*acting(name), "train.epochs=1", "train.log_every_steps=1")).folder for name in METHODS}
    labels = {name: (folder / "labels.npz").read_bytes() for name, folder in folders.items()}
    assert len(set(labels.values())) == 1
    other_seed = run(tiny("method=ce", "train.epochs=1", "seed=1")).folder
    assert (other_seed / "labels.npz").read_bytes() != labels["ce"]


def test_a_warming_up_lilaw_is_ce_to_the_bit(tiny):
    """Its meta step is off in epoch 1, and drawing nothing else it cannot differ."""
    ce, lilaw = (run(tiny(f"method={name}", "train.epochs=1")).result for name in ("ce", "lilaw"))
    for key in ("last.test_loss", "last.val_loss", "last.test_accuracy"):
        assert ce[key] == lilaw[key]


def test_a_lilaw_that_cannot_weight_is_ce_to_the_bit(tiny):
    """Meta steps run from epoch 2 on, but a discarded meta forward leaves the run as it was."""
    ce = run(tiny("method=ce", "model.dropout=0.5")).result

    def plain(self, logits, target, losses):
        return losses().mean(), torch.ones(len(target))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lilawbench.methods.lilaw.LiLAW._weighted", plain)
        for mode in ("eval", "train"):
            lilaw = run(tiny("method=lilaw", "model.dropout=0.5", f"method.meta_mode={mode}")).result
            assert lilaw["last.test_loss"] == ce["last.test_loss"]
