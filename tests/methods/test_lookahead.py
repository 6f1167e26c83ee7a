"""The meta gradient against a double backward and against really taking the step; what a look-ahead leaves alone."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lilawbench.methods.parts import lookahead
from lilawbench.methods.parts.lookahead import ForwardNotRepeatable, Network, forward_mode, hypergradient, random_state
from lilawbench.models.lstm import LSTM
from lilawbench.models.resnet_cifar import ResNetCIFAR

CPU = torch.device("cpu")
CLASSES, BATCH = 3, 8


class Attention(nn.Module):
    """An encoder layer over five tokens, fused attention included, and a linear layer on their mean."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout, batch_first=True)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, input):
        return self.head(self.encoder(input).mean(1))


def mlp(dropout=0.0):
    middle = [nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(dropout)]
    return nn.Sequential(nn.Linear(6, 16), *middle, nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, CLASSES))


NETS = {
    "mlp": (lambda: mlp(), (6,)),
    "mlp with dropout": (lambda: mlp(0.5), (6,)),
    "resnet": (lambda: ResNetCIFAR(CLASSES, (2, 8, 8), depth=8), (2, 8, 8)),
    "attention": (lambda: Attention(), (5, 8)),
    "attention with dropout": (lambda: Attention(0.2), (5, 8)),
    "lstm": (lambda: LSTM(CLASSES, (7, 4), hidden=6), (7, 4)),
    "lstm with dropout": (lambda: LSTM(CLASSES, (7, 4), hidden=6, dropout=0.3), (7, 4)),
}
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.05),
    "dampening": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, dampening=0.3, weight_decay=0.05),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.05),
    "adam": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.05),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.05),
}


class Scene:
    """A network after some real steps, a training and a meta batch, and an inner loss with weights and margins phi."""

    def __init__(self, net="mlp", optimizer="momentum", steps=2, clip=None, dtype=torch.float64):
        build, shape = NETS[net]
        torch.manual_seed(0)
        self.model, self.clip = build().to(dtype).train(), clip
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.input, self.meta_input = torch.randn(2, BATCH, *shape, dtype=dtype)
        self.target, self.meta_target = torch.randint(0, CLASSES, (2, BATCH))
        self.phi = [
            torch.randn(BATCH, dtype=dtype).requires_grad_(),
            torch.randn(CLASSES, dtype=dtype).requires_grad_(),
        ]
        for _ in range(steps):
            self.inner(self.model(self.input)).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        for p in self.phi:
            p.grad = None
        self.network, self.stream = Network(self.model), random_state(CPU)

    def inner(self, logits, phi=None):
        weight, margin = phi or self.phi
        return (weight.sigmoid() * F.cross_entropy(logits + margin, self.target, reduction="none")).mean()

    def meta(self, weights):
        return F.cross_entropy(self.network(weights, self.meta_input, self.stream), self.meta_target)

    def gradient(self, how="jvp", reuse=False, **options):
        """d meta / d phi as one vector."""
        if reuse:
            options["logits"] = self.model(self.input)
        parts = hypergradient(
            self.network, self.optimizer, self.input, self.inner, self.meta, self.phi,
            how=how, stream=self.stream, clip_grad_norm=self.clip, **options,
        )  # fmt: skip
        return torch.cat([part.flatten() for part in parts])

    def meta_after_a_real_step(self, phi):
        """The meta loss of a copy that really trains on `inner`, with nothing of the look-ahead in it."""
        model, optimizer = copy.deepcopy((self.model, self.optimizer))
        torch.set_rng_state(self.stream[0])
        self.inner(model(self.input), phi).backward()
        if self.clip:
            nn.utils.clip_grad_norm_(model.parameters(), self.clip)
        optimizer.step()
        torch.set_rng_state(self.stream[0])
        with torch.no_grad():
            return F.cross_entropy(model(self.meta_input), self.meta_target).item()


def relative(ours, expected):
    return ((ours - expected).norm() / expected.norm()).item()


CASES = [("mlp", name, steps, clip) for name in OPTIMIZERS for steps in (0, 3) for clip in (None, 0.05)]
CASES += [(net, "momentum", 2, None) for net in NETS if net != "mlp"]
CASES += [("resnet", "adam", 2, None), ("resnet", "nesterov", 1, 0.05), ("mlp", "momentum", 2, 1e3)]


@pytest.mark.every(3)
@pytest.mark.parametrize("net, optimizer, steps, clip", CASES)
def test_forward_mode_is_double_backward_and_what_a_real_step_does(net, optimizer, steps, clip):
    scene = Scene(net, optimizer, steps, clip)
    expected = scene.gradient("double_backward")
    for reuse in (False, True):
        torch.set_rng_state(scene.stream[0])
        assert relative(scene.gradient(reuse=reuse), expected) < 1e-8
    direction = [torch.randn_like(p) for p in scene.phi]
    moved = [
        scene.meta_after_a_real_step([p.detach() + side * 1e-6 * d for p, d in zip(scene.phi, direction)])
        for side in (1, -1)
    ]
    slope = torch.cat(direction) @ expected
    assert (moved[0] - moved[1]) / 2e-6 == pytest.approx(slope.item(), rel=1e-5, abs=1e-9)
    assert slope.abs() > 1e-8


def test_equality_holds_to_rounding_in_float32_too():
    for net in ("resnet", "attention", "lstm"):
        scene = Scene(net, dtype=torch.float32)
        assert relative(scene.gradient(reuse=True), scene.gradient("double_backward")) < 1e-4


def test_finite_differences_are_near():
    for net in ("mlp", "resnet", "attention with dropout"):
        scene = Scene(net)
        error = relative(scene.gradient("finite_difference"), scene.gradient())
        assert 1e-9 < error < 1e-2


@pytest.mark.every(4)
@pytest.mark.parametrize("how", ["jvp", "double_backward", "finite_difference"])
@pytest.mark.parametrize("net", NETS)
def test_nothing_is_touched(net, how):
    scene = Scene(net, dtype=torch.float32)
    logits = scene.model(scene.input) if how == "jvp" else None
    kernels = torch.backends.cuda.flash_sdp_enabled(), torch.backends.mkldnn.enabled
    before = copy.deepcopy((scene.model.state_dict(), scene.optimizer.state_dict()))
    stream = torch.get_rng_state()
    scene.gradient(how, **({} if logits is None else {"logits": logits}))
    torch.testing.assert_close((scene.model.state_dict(), scene.optimizer.state_dict()), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), stream)
    assert all(p.grad is None for p in [*scene.model.parameters(), *scene.phi])
    assert kernels == (torch.backends.cuda.flash_sdp_enabled(), torch.backends.mkldnn.enabled)
    if logits is not None:  # the graph is still there for the real step
        scene.inner(logits).backward()
        assert all(p.grad.isfinite().all() for p in scene.model.parameters())


class NoForwardMode(torch.autograd.Function):
    """x^3 with its derivatives of first and second order, but no forward mode."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        return 3 * ctx.saved_tensors[0] ** 2 * gradient


class Cube(nn.Module):
    def forward(self, input):
        return NoForwardMode.apply(input)


def test_an_operation_without_forward_mode_goes_through_two_backward_passes():
    scene = Scene()
    scene.model[2] = Cube()
    expected = scene.gradient("double_backward")
    assert scene.network.has_forward_mode
    assert relative(scene.gradient(reuse=True), expected) < 1e-8
    assert not scene.network.has_forward_mode


def test_both_ways_to_a_directional_derivative():
    scene = Scene("resnet")
    tangents = [torch.randn_like(w) if i % 3 else None for i, w in enumerate(scene.network.weights)]
    logits, forward = forward_mode(scene.network, scene.input, tangents, scene.stream)
    torch.testing.assert_close(logits, scene.model(scene.input).detach(), rtol=0, atol=0)
    scene.network.has_forward_mode = False
    again, twice = forward_mode(scene.network, scene.input, tangents, scene.stream)
    assert torch.equal(logits, again) and not twice.requires_grad
    assert relative(twice, forward) < 1e-12
    _, near = lookahead.finite_difference(scene.network, scene.input, tangents, scene.stream)
    assert 1e-9 < relative(near, forward) < 0.05


def test_frozen_and_unused_weights():
    """A frozen weight stays out; one that the training batch does not reach gets no step but may matter for meta."""
    scene = Scene()
    scene.model[0].requires_grad_(False)
    scene.model.register_parameter("unused", nn.Parameter(torch.ones(2, dtype=torch.float64)))
    scene.network = Network(scene.model)
    assert scene.network.names[-1] == "6.bias" and "unused" in scene.network.names
    assert relative(scene.gradient(reuse=True), scene.gradient("double_backward")) < 1e-8


def test_logits_of_another_dropout_mask_are_refused():
    scene = Scene("mlp with dropout")
    torch.set_rng_state(scene.stream[0])
    assert scene.gradient(reuse=True).isfinite().all()
    with pytest.raises(ForwardNotRepeatable, match="a second forward of the batch differs"):
        scene.gradient(reuse=True)  # the stream has moved on
    assert scene.gradient(reuse=True, verify=False).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_the_forward_of_a_compiled_network_is_reused(backend):
    scene = Scene("resnet")
    expected = scene.gradient()
    torch.compiler.reset()  # what earlier tests of this process compiled would change how this is compiled
    logits = torch.compile(scene.model, backend=backend)(scene.input)
    assert relative(scene.gradient(logits=logits), expected) < 1e-8
    scene.inner(logits).backward()


def test_a_compiled_graph_that_stands_one_backward_only_is_refused():
    scene = Scene()

    class Donated(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise RuntimeError("This backward function was compiled with non-empty donated buffers")

    with pytest.raises(ForwardNotRepeatable, match="donated buffers"):
        scene.gradient(logits=Donated.apply(scene.model(scene.input)))


def test_under_bfloat16_autocast():
    scene = Scene("resnet", dtype=torch.float32)
    exact = scene.gradient()
    scene.network = Network(scene.model, lambda: torch.autocast("cpu", torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16):
        logits = scene.model(scene.input).float()
    ours = scene.gradient(logits=logits)
    assert ours.dtype == torch.float32
    assert relative(ours, scene.gradient("double_backward")) < 0.1
    assert 1e-4 < relative(ours, exact) < 0.3


@pytest.mark.parametrize("net, draws", [("mlp", False), ("mlp with dropout", True), ("lstm with dropout", True)])
def test_the_stream_is_kept_only_where_a_pass_moves_it(net, draws):
    """Known after the first pass, for each mode by itself; dropout draws nothing in eval mode."""
    scene = Scene(net)
    scene.gradient()
    assert scene.network.draws == {True: draws}
    scene.model.eval()
    before = torch.get_rng_state()
    for _ in range(2):
        scene.network(scene.network.weights, scene.input, scene.stream)
    assert scene.network.draws == {True: draws, False: False} and torch.equal(torch.get_rng_state(), before)


def test_tied_weights_move_together():
    scene = Scene("mlp")
    scene.model.append(nn.Linear(CLASSES, CLASSES).double())
    scene.model.append(nn.Linear(CLASSES, CLASSES).double())
    scene.model[-1].weight = scene.model[-2].weight
    scene.network = Network(scene.model)
    assert scene.network.tied
    assert relative(scene.gradient(reuse=True), scene.gradient("double_backward")) < 1e-8
