"""Precision, memory layout and compiler: the same numbers within the precision, and the same checkpoint."""

import functools
import json

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from lilawbench.engine import forward as forwards
from lilawbench.engine.context import make_context
from lilawbench.engine.features import features_key
from lilawbench.engine.forward import forward_in, is_channels_last, lay_out
from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.methods.lilaw import LiLAW
from lilawbench.schema import Train
from lilawbench.train import run

CPU = torch.device("cpu")
CNN = ["model=cnn", "model.channels=[4,4,4]", "model.dense=8", "split.train_samples=64", "train.batch_size=32"]


def convnet() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(12, 3),
    )  # fmt: skip


def images() -> Resident:
    generator = torch.Generator().manual_seed(0)
    return Resident(torch.randn(48, 3, 8, 8, generator=generator), torch.randint(0, 3, (48,), generator=generator))


def trained(steps: int = 6, **options) -> tuple[nn.Module, list[float], torch.Tensor]:
    """Six steps of LiLAW under options of `train:`: the model, its losses and its logits afterwards."""
    train, data = Train(optimizer="sgd", batch_size=16, **options), images()
    model = lay_out(convnet(), train.channels_last, CPU)
    ctx = make_context([model], data, data, num_classes=3, options=train)
    method = LiLAW(lr=0.1, warmup_epochs=0)
    losses = []
    for ctx.epoch in range(1, 1 + steps // 3):
        losses += [train_step(ctx, method, batch, 0.1).loss.item() for batch in method.batches(ctx)]
    with ctx.side_pass("eval"):
        return model, losses, ctx.forward(data.input)


@pytest.fixture(scope="module")
def plain():
    return trained()


def test_channels_last_trains_the_same_network(plain):
    """Moments and gradients lie as the weights do; numbers agree to 1e-4 after six steps with momentum."""
    model, losses, logits = plain
    moved, losses_there, logits_there = trained(channels_last=True)
    assert is_channels_last(moved) and not is_channels_last(model)
    assert losses_there == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(logits_there, logits, rtol=1e-4, atol=1e-4)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(moved.state_dict()[name], value, rtol=1e-4, atol=1e-4)
    assert not torch.equal(logits_there, logits)  # or no other kernel has run


def test_a_convolution_takes_its_input_over():
    model = lay_out(convnet(), True, CPU)
    assert model[:7](images().input[:2]).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "asked, kind, there", [(None, "cpu", 0), (None, "cuda", 1), (True, "cpu", 1), (False, "cuda", 0)]
)
def test_the_device_decides_unless_asked(asked, kind, there):
    assert is_channels_last(lay_out(convnet(), asked, torch.device(kind))) == there


def test_nothing_to_lay_out_without_convolutions_over_images():
    assert not is_channels_last(lay_out(nn.Linear(3, 2), True, CPU))
    assert not is_channels_last(lay_out(nn.Sequential(nn.Conv1d(3, 4, 3), nn.LSTM(4, 2)), True, CPU))


def test_the_record_says_which_layout_it_was(composed):
    """On a CPU the default is bitwise the contiguous layout."""
    options = [*CNN, "train.epochs=1"]
    default, off, on = (
        run(composed(*options, f"train.channels_last={value}")).result for value in ("null", "false", "true")
    )
    assert (default["channels_last"], off["channels_last"], on["channels_last"]) == (False, False, True)
    assert default["config.train.channels_last"] is None
    assert default["last.val_loss"] == off["last.val_loss"]
    assert on["last.val_loss"] == pytest.approx(off["last.val_loss"], rel=1e-4)


def test_cached_features_know_their_layout(composed):
    """In another layout features have other last bits: another file."""
    from lilawbench.datasets.base import Source

    data, cfg = images(), composed("dataset=cifar10")
    source = Source(data.input, data.target.numpy(), data.input, data.target.numpy(), ("a", "b", "c"))
    keys = [features_key(cfg, source, [data.input], lay_out(convnet(), on, CPU), CPU) for on in (False, True, False)]
    assert keys[0] == keys[2] != keys[1]


def test_bf16_is_within_its_precision(plain):
    """Eight bits of significand: a relative 2^-8 in every layer. Logits and losses are float32."""
    model, losses, logits = plain
    there = forward_in(OmegaConf.structured(Train(precision="bf16")), model.eval(), CPU)(images().input)
    assert there.dtype == torch.float32
    assert 1e-4 < ((there - logits).norm() / logits.norm()).item() < 2**-6
    moved, losses_there, _ = trained(precision="bf16")
    assert losses_there == pytest.approx(losses, rel=2**-6) and losses_there != losses
    assert all(p.dtype == torch.float32 for p in moved.parameters())


def test_every_forward_of_a_run_is_the_compiled_one(tiny, monkeypatch):
    """Training, LiLAW's meta step and evaluation; the checkpoint's names are the network's own."""
    calls = []

    def compiled(forward):
        def run(input):
            calls.append((torch.is_grad_enabled(), len(input)))
            return forward(input)

        return run

    monkeypatch.setattr(forwards, "compiled", compiled)
    options = ["method=lilaw", "method.warmup_epochs=0", "train.epochs=1"]
    plain, same = (run(tiny(*options, f"train.compile={value}")) for value in ("false", "true"))
    assert [size for grad, size in calls if grad] == [32] * 4
    evaluated = sum(size for grad, size in calls if not grad)
    assert evaluated == plain.result["num_val"] + plain.result["num_test"] + 4 * 32
    assert plain.result["last.test_loss"] == same.result["last.test_loss"]


OPTIONS = {
    "ce": ["method=ce"],
    "bf16": ["method=ce", "train.precision=bf16"],
    "batchnorm": ["method=lilaw", "method.meta_mode=train", *CNN, "train.channels_last=true"],
    "rrm": ["method=rrm", "method.gamma=1.0", "method.reweight_every_epochs=1", "train.accumulate_steps=3"],
    "a_rrm": ["method=a_rrm", "method.fgsm.eps=0.1", "method.reweight_every_epochs=1", "attack.eps=[0.1]"],
    "dynamic_loss": ["method=dynamic_loss", "method.num_bins=3", "method.warmup_epochs=1"],
    "linear_probe": ["method=lilaw", "train.finetune=linear_probe", "model.hidden=[16,8]"],
    "lstm": ["method=ce", "model=lstm", "model.hidden=8"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's own look at a state of the LSTM
def test_compiled_is_eager(composed, name):
    """Every epoch's losses, the model and the method's state, to 1e-5."""
    base = ["split.train_samples=121", "train.batch_size=32", "train.epochs=3", "train.optimizer=sgd", "train.lr=0.02"]
    if not any(option.startswith("model") for option in OPTIONS[name]):
        base.append("model.hidden=[16]")
    eager, fast = (run(composed(*base, *OPTIONS[name], f"train.compile={on}")) for on in ("false", "true"))
    tolerance = 2**-7 if name == "bf16" else 1e-5
    rows = [[json.loads(line) for line in (r.folder / "metrics.jsonl").read_text().splitlines()] for r in (eager, fast)]
    for one, other in zip(*rows, strict=True):
        for key in (key for key in one if key.endswith("_loss") and one[key] is not None):
            assert other[key] == pytest.approx(one[key], rel=tolerance), (key, one["epoch"])
    one, other = (torch.load(r.folder / "checkpoint.pt", weights_only=True) for r in (eager, fast))
    for part in ("model", "method"):
        assert one[part].keys() == other[part].keys()
        for key, value in one[part].items():
            torch.testing.assert_close(other[part][key], value, rtol=tolerance, atol=tolerance)


@pytest.mark.slow
def test_a_compiled_run_resumes_to_the_bit(tiny, tmp_path):
    """Dropout too, whose masks a compiler draws in its own way."""
    from lilawbench.record.recorder import Recorder

    options = ["method=lilaw", "model.dropout=0.3", "train.compile=true", "split.train_samples=121", "train.epochs=4"]
    whole = run(tiny(*options, f"paths.output_dir={tmp_path}/whole")).result

    class PowerCut(BaseException):
        pass

    def cut(recorder, ctx, *rest, save=Recorder.checkpoint):
        save(recorder, ctx, *rest)
        if ctx.epoch == 2:
            raise PowerCut

    with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCut):
        patch.setattr(Recorder, "checkpoint", cut)
        run(tiny(*options))
    again = run(tiny(*options)).result
    for key in ("last.val_loss", "last.test_loss"):
        assert again[key] == whole[key], key


@pytest.mark.slow
def test_many_networks_of_one_process_are_compiled(monkeypatch):
    """torch gives up on a function after eight compilations; a sweep has more runs than that."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    train, input = OmegaConf.structured(Train(compile=True)), torch.randn(6, 4)
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        for width in range(3, 15):
            model = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2))
            assert torch.equal(forward_in(train, model, CPU)(input), model(input))
