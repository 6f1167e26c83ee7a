"""The tables of the meta nets: shapes, where they start, what stays fixed, how they descend."""

import copy

import pytest
import torch

from lilawbench.methods.parts.meta_nets import MetaNets

COUNTS = torch.tensor([50, 20, 5])


def nets(seed=0, bins=10, **options):
    return MetaNets(COUNTS, bins, **options, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["mlp", "vector"])
def test_start(kind):
    """g near sigmoid(3.98) = .982 in every bin, q near 1."""
    g, q = nets(kind=kind, bins=100)()
    assert g.shape == (100, 3) and q.shape == (3,)
    torch.testing.assert_close(g, torch.full_like(g, 0.982), rtol=0, atol=0.02 if kind == "mlp" else 1e-3)
    torch.testing.assert_close(q, torch.ones(3), rtol=0, atol=0.6 if kind == "mlp" else 0)
    assert g.requires_grad and q.requires_grad


def test_sizes_are_the_papers():
    """Embedding of 64 a row, two hidden layers of 64, one output a class."""
    shapes = [tuple(p.shape) for p in nets(bins=10, margin=False).parameters()]
    assert shapes == [(10, 64), (64, 64), (64,), (64, 64), (64,), (3, 64), (3,)]
    assert next(nets(corrector=False).parameters()).shape == (1, 64)
    assert [tuple(p.shape) for p in nets(kind="vector").parameters()] == [(10, 3), (1, 3)]


def test_initial_weights_come_from_the_generator_and_only_from_it():
    before = torch.get_rng_state()
    one, same, other = nets(0), nets(0), nets(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert torch.equal(nets(0)()[0], one()[0])
    assert torch.equal(one()[0], same()[0]) and not torch.equal(one()[0], other()[0])
    hidden = one.corrector.layers[2].weight
    assert hidden.abs().max() <= 1 / 8 and hidden.std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.05)


def test_what_is_not_learned_is_fixed():
    g, q = nets(corrector=False, margin="balanced_softmax")()
    assert torch.equal(g, torch.ones(10, 3)) and torch.equal(q, COUNTS.log())
    assert not nets(corrector=False, margin="balanced_softmax").learned
    g, q = nets(margin=False)()
    assert g.requires_grad and not q.requires_grad and torch.equal(q, torch.zeros(3))
    g, q = nets(corrector=False)()
    assert q.requires_grad and not g.requires_grad


@pytest.mark.parametrize("kind", ["mlp", "vector"])
def test_one_g_for_all_classes(kind):
    net = nets(kind=kind, class_wise=False)
    for _ in range(3):
        g, q = net()
        assert g.shape == (10, 3) and torch.equal(g, g[:, :1].expand(10, 3))
        net.descend([g, q], [torch.randn(10, 3), torch.randn(3)])
    assert g[:, 0].unique().numel() == 10


@pytest.mark.parametrize("kind", ["mlp", "vector"])
def test_descent_is_adam(kind):
    """Three steps towards g = .5 and q = 0 against torch's plain Adam; a restored copy goes on alike."""
    ours, plain = nets(kind=kind, lr=0.02), nets(kind=kind)
    adam, restored = torch.optim.Adam(plain.parameters(), lr=0.02), nets(seed=7, kind=kind, lr=0.02)
    for step in range(4):
        g, q = ours()
        ours.descend([g, q], [(g - 0.5).detach(), q.detach()])
        adam.zero_grad()
        g, q = plain()
        (0.5 * (g - 0.5).square().sum() + 0.5 * q.square().sum()).backward()
        adam.step()
        for p, expected in zip(ours.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(p, expected, rtol=1e-4, atol=1e-6)
        if step == 1:
            restored.load_state_dict(copy.deepcopy(ours.state_dict()))
        elif step > 1:
            g, q = restored()
            restored.descend([g, q], [(g - 0.5).detach(), q.detach()])
            assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), restored.parameters(), strict=True))
    assert (ours()[1] < nets(kind=kind)()[1]).all()
