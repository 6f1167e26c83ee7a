"""What the loop and every comparison may rely on, over every method of the config."""

import copy
import functools
from types import FunctionType, MethodType, ModuleType

import pytest
import torch
from torch import nn

from lilawbench.config import bind, build
from lilawbench.engine import loop
from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.methods.supervised import Supervised
from lilawbench.train import CONF, run

METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
BY_DEFAULT = {"ce", "lilaw", "rrm", "dynamic_loss", "co_teaching", "sop", "elr_plus", "mw_net"}  # a kind of thing each


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name not in BY_DEFAULT)) for name in METHODS])
def method_name(request):
    return request.param


@pytest.fixture
def scene_of(composed, acting, context):
    """scene_of("rrm") -> a method in the middle of training a net with BatchNorm and dropout."""

    def make(name):
        cfg = composed(*acting(name))
        generator = torch.Generator().manual_seed(0)
        data = Resident(torch.randn(64, 6, generator=generator), torch.randint(0, 3, (64,), generator=generator))
        method = build(cfg.method, loss=bind(cfg.loss))
        torch.manual_seed(0)
        networks = [
            nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
            for _ in range(method.networks)
        ]
        ctx = context(*networks, rows=data, val=data, views=method.views, batch_size=16)
        method.setup(ctx)
        ctx.epoch, ctx.batch_size = 100, 16  # behind any warm-up, and when RRM re-weights
        method.on_epoch_start(ctx)
        return ctx, method, next(iter(method.batches(ctx)))

    return make


@pytest.fixture
def scene(scene_of, method_name):
    return scene_of(method_name)


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
    networks = nn.ModuleList(ctx.networks).state_dict()
    return {**{name: value.clone() for name, value in networks.items()}, "random": torch.get_rng_state()}


def modes(ctx):
    return [module.training for network in ctx.networks for module in network.modules()]


def test_loss_is_a_scalar_with_a_graph_and_the_rest_has_none(scene):
    ctx, method, batch = scene
    out = method.loss(ctx, batch)
    assert out.loss.shape == () and out.loss.requires_grad
    assert out.logits.shape == (len(batch.index), 3) and not out.logits.requires_grad
    if out.weight is not None:
        assert out.weight.shape == batch.index.shape and not out.weight.requires_grad
    out.loss.backward()
    for later in method.batches(ctx) if len(ctx.networks) > 1 else ():  # they may take turns
        method.loss(ctx, later).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for network in ctx.networks for p in network.parameters())


def test_hooks_leave_model_buffers_and_random_stream_alone_while_the_method_moves(scene):
    ctx, method, batch = scene
    own = copy.deepcopy(method.state_dict())
    out = train_step(ctx, method, batch, 0.1)
    before, in_modes = state(ctx), modes(ctx)
    method.after_step(ctx, batch, out)
    method.on_epoch_end(ctx)
    ctx.epoch += 1
    method.on_epoch_start(ctx)
    method.batches(ctx), method.predict_train(ctx)
    assert same(before, state(ctx)) and modes(ctx) == in_modes
    assert same(own, method.state_dict()) == (not own)


def test_state_goes_through_a_weights_only_file(scene, tmp_path):
    ctx, method, batch = scene
    train_step(ctx, method, batch, 0.1)
    torch.save(method.state_dict(), tmp_path / "state.pt")
    assert same(torch.load(tmp_path / "state.pt", weights_only=True), method.state_dict())


@pytest.mark.slow
def test_methods_that_are_left_out_of_long_tests_keep_nothing_of_their_own(scene_of, alike):
    kept, other = ({*method.state_dict()} for _, method, _ in map(scene_of, alike))
    assert other <= kept


def reached(thing, found=None):
    """All objects that can be reached from one: attributes, what containers hold, what functions have closed over."""
    found = {} if found is None else found
    if id(thing) in found or isinstance(thing, type | ModuleType):
        return found
    found[id(thing)] = thing
    inside = [*getattr(thing, "__dict__", {}).values()]
    if isinstance(thing, dict):
        inside += thing.values()
    elif isinstance(thing, list | tuple | set | frozenset):
        inside += thing
    elif isinstance(thing, functools.partial):
        inside += [thing.func, *thing.args, *thing.keywords.values()]
    elif isinstance(thing, FunctionType):
        inside += [cell.cell_contents for cell in thing.__closure__ or ()]
    elif isinstance(thing, MethodType):
        inside.append(thing.__self__)
    for part in inside:
        reached(part, found)
    return found


def networks_in(ctx, method):
    """What a method has of the networks: modules of theirs, parameters, buffers."""
    theirs = [part for net in ctx.networks for part in (*net.modules(), *net.parameters(), *net.buffers())]
    return [part for part in theirs if id(part) in reached(method)]


def test_methods_hold_no_network_before_during_and_after_an_epoch(scene):
    ctx, method, batch = scene
    assert not networks_in(ctx, method)
    method.loss(ctx, batch).loss.backward()
    assert not networks_in(ctx, method)
    train_step(ctx, method, batch, 0.1)
    assert not networks_in(ctx, method)
    method.on_epoch_end(ctx)
    method.sample_values(), method.logs()
    assert not networks_in(ctx, method)


@pytest.mark.parametrize(
    "hide",
    [
        lambda ctx: ctx,
        lambda ctx: [{"deep": (ctx.model[3],)}],
        lambda ctx: functools.partial(torch.add, ctx.model[3].bias),
        lambda ctx: lambda: ctx,
        lambda ctx: ctx.forward,
    ],
    ids=["context", "layer", "bias", "closure", "bound method"],
)
def test_negative_control_a_network_is_found_wherever_it_hides(context, hide):
    ctx, method = context(nn.Sequential(*[nn.Linear(2, 2) for _ in range(4)])), Supervised()
    assert not networks_in(ctx, method)
    method.__dict__["kept"] = hide(ctx)
    assert networks_in(ctx, method)


BY_DEFAULT = ("lilaw", "dynamic_loss", "dividemix")


@pytest.mark.parametrize(
    "names",
    [BY_DEFAULT, pytest.param(sorted({*METHODS} - {"ce", *BY_DEFAULT}), marks=pytest.mark.slow)],
    ids=["some", "the others"],
)
def test_runs_of_one_seed_are_paired(tiny, acting, monkeypatch, names):
    """Labels, split, first batch (rows, their views, labels) and initial weights are those of ce for every method."""
    first = []

    def seen(ctx, method, batch, lr):
        if not first and ctx.num_train == 128:  # else it is a fold of the rows
            first.extend(copy.deepcopy([*batch[:3], *ctx.model.state_dict().values()]))
        return train_step(ctx, method, batch, lr)

    def start_of(*options):
        first.clear()
        folder = run(tiny(*options, "train.epochs=1", "train.augment.crop_px=1")).folder
        return (folder / "labels.npz").read_bytes(), list(first)

    monkeypatch.setattr(loop, "train_step", seen)
    labels, parts = start_of(*acting("ce"))
    for name in names:
        others, other_parts = start_of(*acting(name))
        beyond = 3 if name == "clean_first" else 0  # it leaves rows out, so its batches are others
        assert others == labels and len(parts) > 3 and same(parts[beyond:], other_parts[beyond:]), name
    others, other_parts = start_of("method=ce", "seed=1")
    assert others != labels and not any(same(*pair) for pair in zip(parts, other_parts, strict=True))


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
