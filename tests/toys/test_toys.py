"""The contract carries what methods of the field need: each toy trains, resumes bitwise and does what it says."""

import inspect
import json

import numpy as np
import pytest
import torch
from torch import nn

from lilawbench.augment.views import view_names
from lilawbench.datasets.base import Source
from lilawbench.engine.context import make_context
from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.record.recorder import Recorder
from lilawbench.schema import Train
from lilawbench.train import run

TOYS = ("Peers", "WeakStrong", "Divided", "Teacher", "PerSample", "Ensemble")


class PowerCut(BaseException):
    """Nothing in the program catches it."""


def rows_of(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if "seconds" not in key} for row in rows]


def leaves(tree):
    if isinstance(tree, dict):
        return [leaf for key in tree for leaf in leaves(tree[key])]
    if isinstance(tree, list | tuple):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def saved(folder):
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    return [leaf for key in state if key.startswith(("model", "method", "optimizer")) for leaf in leaves(state[key])]


def same(one, other):
    pairs = list(zip(saved(one), saved(other), strict=True))
    return rows_of(one) == rows_of(other) and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs
    )


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "Peers")) for name in TOYS])
def test_a_toy_that_is_broken_off_goes_on_to_the_same_bits(toy, name, tmp_path):
    whole = run(toy(name)).folder
    folder = whole.rename(tmp_path / "whole")
    save = Recorder.checkpoint

    def cut(recorder, ctx, *rest):
        save(recorder, ctx, *rest)
        if ctx.epoch == 2:
            raise PowerCut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "checkpoint", cut)
        with pytest.raises(PowerCut):
            run(toy(name))
    resumed = run(toy(name))
    assert resumed.status == "done" and same(folder, resumed.folder)
    assert not same(folder, run(toy(name, "seed=1")).folder)  # a comparison that can fail


@pytest.mark.parametrize("name", TOYS)
def test_a_toy_is_short(toy, name):
    toy(name)
    toys = __import__("toy_methods")
    assert len(inspect.getsource(getattr(toys, name)).splitlines()) <= 30


def scene(method, rows=12, networks=1, **options):
    """A method in its first epoch on random rows of three classes, and its context."""
    draw = torch.Generator().manual_seed(0)
    data = Resident(torch.randn(rows, 4, generator=draw), torch.randint(0, 3, (rows,), generator=draw))
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)) for _ in range(networks)]
    train = Train(optimizer="sgd", lr=0.1, momentum=0.0, **{"batch_size": rows, **options})
    ctx = make_context(nets, data, num_classes=3, options=train, views=method.views)
    method.setup(ctx)
    ctx.epoch, ctx.batch_size = 1, rows
    method.on_epoch_start(ctx)
    return ctx, data.batch(torch.arange(rows))


def test_peers_learn_from_what_the_other_one_picked(toy):
    toy("Peers")
    method = __import__("toy_methods").Peers(keep=0.25)
    ctx, batch = scene(method, networks=2)
    with torch.no_grad():
        losses = [nn.functional.cross_entropy(net(batch.input), batch.target, reduction="none") for net in ctx.networks]
    picked = [loss.argsort()[:3] for loss in losses]
    expected = losses[0][picked[1]].mean() + losses[1][picked[0]].mean()
    torch.testing.assert_close(method.loss(ctx, batch).loss, expected)


def test_two_networks_start_apart_and_a_second_seed_is_not_the_first(toy):
    state = torch.load(run(toy("Peers", "train.epochs=1", "train.lr=1e-12")).folder / "checkpoint.pt")
    first, second = (state[key]["net.1.weight" if "net.1.weight" in state[key] else next(iter(state[key]))]
                     for key in ("model", "model2"))  # fmt: skip
    assert first.shape == second.shape and not torch.allclose(first, second, atol=1e-3)
    alone = torch.load(run(toy("Teacher", "train.epochs=1", "train.lr=1e-12")).folder / "checkpoint.pt")["model"]
    for name, value in alone.items():  # the first network is that of every other method
        torch.testing.assert_close(value, state["model"][name], atol=1e-6, rtol=0)


def test_weak_and_strong_are_views_of_the_same_rows(toy, composed):
    seen = {}
    toy("WeakStrong")
    toys = __import__("toy_methods")

    def noting(self, ctx, batch, loss=toys.WeakStrong.loss):
        seen.update(rows=batch.index, weak=batch.input, strong=batch.views["strong"])
        return loss(self, ctx, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toys.WeakStrong, "loss", noting)
        run(toy("WeakStrong", "train.epochs=1"))
    assert seen["weak"].shape == seen["strong"].shape and len(seen["rows"]) == len(seen["weak"])
    alike = torch.isclose(seen["weak"], seen["strong"]).flatten(1).all(1)
    assert not alike.all()
    plain = [
        torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(seen["weak"].flatten(1), seen["strong"].flatten(1))
    ]
    assert np.nanmedian(plain) > 0.5  # of one picture


def test_rows_that_are_no_images_have_their_weak_view_for_strong(toy, monkeypatch, caplog):
    rows = torch.randn(60, 4)
    source = Source(rows, np.arange(60) % 3, rows[:9], np.arange(9) % 3, ("a", "b", "c"))
    monkeypatch.setattr("lilawbench.datasets.digits.Digits.load", lambda self, data_dir: source)
    caplog.set_level("INFO")
    options = toy("WeakStrong", "split.train_samples=null", "train.epochs=1")
    seen, toys = [], __import__("toy_methods")

    def noting(self, ctx, batch, loss=toys.WeakStrong.loss):
        seen.append(torch.equal(batch.input, batch.views["strong"]))
        return loss(self, ctx, batch)

    monkeypatch.setattr(toys.WeakStrong, "loss", noting)
    run(options)
    assert all(seen) and seen
    assert "dataset=digits has no images, so that the strong view of a row is its weak one" in caplog.text


def test_divided_rows_come_in_pairs_of_64_and_are_divided_anew(toy):
    toy("Divided")
    method = __import__("toy_methods").Divided()
    ctx, _ = scene(method, rows=200)
    steps = list(method.batches(ctx))
    assert len(method.batches(ctx)) == len(steps) == 2
    first = [set(piece.index.tolist()) for piece in steps[0].pieces()]
    assert [len(part) for part in first] == [64, 64] and not first[0] & first[1]
    assert all(method.trusted[row] for row in first[0]) and not any(method.trusted[row] for row in first[1])
    train_step(ctx, method, steps[0], 5.0)
    before, ctx.epoch = method.trusted, 2
    method.on_epoch_start(ctx)
    assert not torch.equal(before, method.trusted)


def test_the_teacher_is_the_moving_average_and_in_the_checkpoint(toy):
    toy("Teacher")
    method = __import__("toy_methods").Teacher(decay=0.75)
    ctx, batch = scene(method)
    expected = [value.clone() for value in method.teacher.weights()]
    for _ in range(3):
        train_step(ctx, method, batch, 0.5)
        now = [*ctx.model.parameters(), *ctx.model.buffers()]
        expected = [0.75 * e + 0.25 * n.detach() if n.is_floating_point() else n for e, n in zip(expected, now)]
    for mine, theirs in zip(method.teacher.weights(), expected, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert {name for name in method.state_dict() if name.startswith("teacher.w")}


def test_parameters_of_rows_that_no_step_saw_stay(toy):
    toy("PerSample")
    method = __import__("toy_methods").PerSample()
    ctx, batch = scene(method)
    part = batch.each(lambda tensor: tensor[:5])
    ctx.batch_size = 5
    train_step(ctx, method, part, 0.1)
    moved = method.shift.s.detach().abs().sum(1) > 0
    assert moved[:5].all() and not moved[5:].any()
    record = run(toy("PerSample"))
    assert {"shift_clean", "shift_corrupted"} <= rows_of(record.folder)[-1].keys()  # a stranger's values are not lost


def test_an_ensemble_predicts_the_mean(toy):
    toy("Ensemble")
    method = __import__("toy_methods").Ensemble()
    ctx, batch = scene(method, networks=3)
    with ctx.side_pass():
        expected = torch.stack([net(batch.input) for net in ctx.networks]).mean(0)
        torch.testing.assert_close(method.predict(ctx, batch.input), expected)
        torch.testing.assert_close(method.predict_train(ctx), expected)


def test_views_have_names():
    assert view_names(["weak", "strong", "weak", "weak"]) == ["weak", "strong", "weak2", "weak3"]
    for wrong in ([], ["hard"]):
        with pytest.raises(ValueError, match="at least one of plain, weak, strong"):
            view_names(wrong)
