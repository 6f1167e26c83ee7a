"""Work beside training gives what it gives in its place: with a stream that does everything as late as it may."""

from contextlib import contextmanager

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from lilawbench.engine.context import make_context
from lilawbench.engine.forward import side_stream_in
from lilawbench.engine.loop import fit
from lilawbench.loading.resident import Resident
from lilawbench.methods.lilaw import LiLAW
from lilawbench.schema import Train
from lilawbench.support.side_stream import SideStream


class Late:
    """Streams whose side does its work when the main one waits for it, and the order of what they were told."""

    def __init__(self, tape):
        self.tape, self.todo, self.told = tape, [], []
        self.names = {}
        self.main, self.side = self.stream("main"), None

    def stream(self, name):
        late = self

        class Stream:
            def wait_stream(self, other):
                late.told.append(f"{name} waits for {late.names[other]}")
                if other is late.side:
                    for tape in late.todo:
                        tape.replay()
                    late.todo = []

        made = Stream()
        self.names[made] = name
        return made

    @contextmanager
    def on(self, stream):
        with self.tape() as tape:
            yield
        self.todo.append(tape)

    def install(self, patch):
        def stream(device):
            self.side = self.stream("side")
            return self.side

        patch.setattr(torch.cuda, "Stream", stream)
        patch.setattr(torch.cuda, "current_stream", lambda device: self.main)
        patch.setattr(torch.cuda, "stream", self.on)
        patch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)


@pytest.fixture
def late(tape, monkeypatch):
    streams = Late(tape)
    streams.install(monkeypatch)
    return streams


def trained(beside, **options):
    """Three epochs of LiLAW on a net with BatchNorm and dropout: all that they leave behind."""
    generator = torch.Generator().manual_seed(0)
    data = Resident(torch.randn(40, 6, generator=generator), torch.randint(0, 3, (40,), generator=generator))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    ctx = make_context([model], data, data, num_classes=3, options=Train(optimizer="sgd", batch_size=8))
    ctx.beside = SideStream(data.device, model) if beside else None
    method = LiLAW(lr=0.5, **options)
    rows = list(fit(ctx, method, lambda _: 0.1, epochs=3))
    tensors = [*model.state_dict().values(), *method.state_dict().values(), *(row.losses for row in rows)]
    return [t.clone() for t in tensors], [row.trace for row in rows]


@pytest.mark.parametrize("options", [{}, {"scales": True}, {"meta_every_steps": 2}, {"meta_mode": "train"}])
def test_a_meta_step_beside_training_leaves_every_bit(late, options):
    beside, plain = trained(True, **options), trained(False, **options)
    assert all(torch.equal(a, b) for a, b in zip(beside[0], plain[0], strict=True))
    assert beside[1] == plain[1]
    per_epoch = {"meta_every_steps": 5 / 2}.get(next(iter(options), ""), 5)
    count = 0 if options.get("meta_mode") == "train" else 2 * per_epoch
    assert late.told == ["side waits for main", "main waits for side"] * int(count)
    assert not late.todo


def test_negative_control_buffers_that_are_not_copied_differ(late, monkeypatch):
    def same(self, buffers):
        self.copies = {id(buffer): buffer for buffer in buffers}

    monkeypatch.setattr(SideStream, "_copy", same)
    beside, plain = trained(True), trained(False)
    assert not all(torch.equal(a, b) for a, b in zip(beside[0], plain[0], strict=True))


def test_negative_control_weights_that_do_not_wait_differ(late, monkeypatch):
    monkeypatch.setattr(LiLAW, "_settle", lambda self: None)
    beside, plain = trained(True), trained(False)
    assert not all(torch.equal(a, b) for a, b in zip(beside[0], plain[0], strict=True))


def test_only_where_it_is_wanted_and_can_be(late):
    model = nn.Linear(2, 2)

    def made(device, **train):
        return side_stream_in(OmegaConf.structured(Train(**train)), [model], torch.device(device)) is not None

    assert made("cuda") and not made("cpu")
    assert not any(made("cuda", **{"side_stream": False, **kind}) for kind in ({}, {"compile": True}))
    assert not made("cuda", compile=True) and not made("cuda", cuda_graphs=True)
