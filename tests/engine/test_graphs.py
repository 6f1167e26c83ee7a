"""Steps as graphs are steps as they are; without CUDA, with a graph that records what it does on the CPU."""

import pytest
import torch
from torch import nn

from lilawbench.config import CONF, bind, build
from lilawbench.engine.context import make_context
from lilawbench.engine.graphs import GraphedStep
from lilawbench.engine.loop import fit
from lilawbench.loading.resident import Resident
from lilawbench.losses import StatefulLoss
from lilawbench.record import identity as record
from lilawbench.support.errors import ConfigError
from lilawbench.train import run


class Recorder:
    """In the place of graphs.CUDARecorder."""

    def __init__(self, tape):
        self.recorded, self.tape = 0, tape

    def warm_up(self, work):
        return work()

    def __call__(self, work):
        """While a graph is recorded nothing runs, and on a tape everything: so the first replay is none."""
        self.recorded += 1
        first = True

        def replay():
            nonlocal first
            if not first:
                tape.replay()
            first = False

        with self.tape() as tape:
            work()
        return replay


def trained(composed, options, step, epochs=4):
    """Everything that four epochs of six steps leave behind; the last batch of each is smaller."""
    cfg = composed("train.batch_size=16", *options)
    generator = torch.Generator().manual_seed(0)
    data = Resident(torch.randn(90, 6, generator=generator), torch.randint(0, 3, (90,), generator=generator))
    method = build(cfg.method, loss=bind(cfg.loss))
    torch.manual_seed(0)
    networks = [
        nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)) for _ in range(method.networks)
    ]
    ctx = make_context(networks, data, data, num_classes=3, options=cfg.train, views=method.views)
    method.setup(ctx)

    def rates(epochs: float) -> float:
        """Exact in float32, where a graph keeps it."""
        return 2.0 ** -(4 + int(4 * epochs) % 3)

    rows = list(fit(ctx, method, rates, epochs=epochs, step=step))
    kept = [t for row in rows for t in (row.losses, row.logits, row.weight, row.seen) if t is not None]
    traces = [row.trace for row in rows]
    own = [value for value in method.state_dict().values() if isinstance(value, torch.Tensor)]
    state = [*nn.ModuleList(networks).state_dict().values(), *own, *optimizer_state(ctx)]
    said = [(row.lr, row.cost) for row in rows]
    return [t.clone() for t in [*kept, *state]], traces, said, ctx.step


def optimizer_state(ctx):
    states = ctx.optimizer.state_dict()["state"].values()
    return [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]


LILAW = ["method=lilaw", "method.lr=0.5"]
CASES = {
    "ce": ["method=ce"],
    "focal": ["method=focal", "train.optimizer=sgd"],
    "lilaw": LILAW,
    "lilaw with scales, sgd": [*LILAW, "method.scales=true", "train.optimizer=sgd", "train.nesterov=true"],
    "rrm": ["method=rrm", "method.reweight_every_epochs=2", "method.gamma=0.3"],
    "rrm of losses in training": ["method=rrm", "method.reweight_every_epochs=1", "method.reweight_losses=training"],
    "a_rrm": ["method=a_rrm", "method.reweight_every_epochs=1", "method.fgsm.eps=0.1"],
    "at": ["method=at", "method.fgsm.eps=0.1"],
    "gjs": ["method=gjs"],
    "co_teaching": ["method=co_teaching", "method.forget_rate=0.4", "method.ramp_epochs=2"],
    "co_teaching_plus": ["method=co_teaching_plus", "method.forget_rate=0.4", "method.init_epochs=2"],
    "jocor": ["method=jocor", "method.forget_rate=0.4", "method.ramp_epochs=2"],
    "elr": ["method=ce", "loss=elr"],
    "elr, re-weighted": ["method=rrm", "method.reweight_every_epochs=2", "method.gamma=0.3", "loss=elr"],
    "forward_correction": ["method=ce", "loss=forward_correction", "loss.warmup_epochs=2"],
    "backward_correction": ["method=ce", "loss=backward_correction", "loss.warmup_epochs=2"],
    "logit_adjustment": ["method=ce", "loss=logit_adjustment"],
    "balanced_softmax": ["method=ce", "loss=balanced_softmax"],
    "parts and clipping": [*LILAW, "train.accumulate_steps=2", "train.clip_grad_norm=0.5", "train.optimizer=adamw"],
}


LONG = ("focal", "lilaw", "rrm of losses in training", "at", "gjs", "co_teaching_plus", "jocor", "elr, re-weighted",
        "backward_correction", "logit_adjustment", "balanced_softmax")  # fmt: skip


@pytest.mark.every(3)
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in CASES])
def test_graphs_leave_every_bit(composed, tape, name):
    recorder = Recorder(tape)
    plain = trained(composed, CASES[name], None)
    graphed = trained(composed, CASES[name], GraphedStep(recorder))
    assert recorder.recorded == (2 if "lilaw" in str(CASES[name]) or name == "co_teaching_plus" else 1)  # a warm-up
    for mine, theirs in zip(graphed[0], plain[0], strict=True):
        assert torch.equal(mine, theirs)
    assert graphed[1:] == plain[1:]


def test_negative_control_a_graph_that_keeps_its_first_batch_differs(composed, tape, monkeypatch):
    plain = trained(composed, ["method=ce"], None)
    monkeypatch.setattr(GraphedStep, "_fill", lambda *args: None)
    graphed = trained(composed, ["method=ce"], GraphedStep(Recorder(tape)))
    assert not all(torch.equal(mine, theirs) for mine, theirs in zip(graphed[0], plain[0], strict=True))


def test_every_method_of_the_config_goes_through_a_graph_or_says_why_not(composed):
    reasons = {}
    for path in (CONF / "method").glob("*.yaml"):
        cfg = composed(f"method={path.stem}")
        reasons[path.stem] = build(cfg.method, loss=bind(cfg.loss)).against_graphs()
    as_ce = {"clean_first", "tau_norm"}  # steps of Supervised
    assert {name for name, reason in reasons.items() if not reason} == as_ce | CASES.keys() & reasons.keys()


def test_every_loss_that_remembers_goes_through_a_graph_or_says_why_not(composed):
    reasons = {}
    for path in (CONF / "loss").glob("*.yaml"):
        loss = bind(composed("method=ce", f"loss={path.stem}").loss)
        if isinstance(loss, StatefulLoss):
            reasons[path.stem] = build(composed("method=ce").method, loss=loss).against_graphs()
    by_itself = {"ldam"}  # its head is a cosine
    assert {name for name, reason in reasons.items() if not reason} == by_itself | CASES.keys() & reasons.keys()
    assert reasons["cores2"] == "of its loss, CORES2: its regulariser grows and its sieve comes in from epoch to epoch"


@pytest.mark.parametrize(
    "options, words",
    [
        (["method=dynamic_loss"], "method=dynamic_loss: it draws labels and rewinds the random stream"),
        (["method=lilaw", "method.meta_every_steps=2"], "method=lilaw: not every step has a meta step"),
        (["method=lilaw", "method.meta_mode=train"], "method=lilaw: method.meta_mode=train rewinds"),
        (["method=at", "method.fgsm.mode=train"], "method=at: fgsm.mode=train rewinds"),
        (["loss=cores2"], "method=cores2: of its loss, CORES2: its regulariser grows"),
        (["loss=ldam", "loss.drw_after_epochs=1"], "of its loss, LDAM: loss.drw_after_epochs changes it"),
        (["train.compile=true"], "train.cuda_graphs and train.compile do not go together"),
        ([], "train.cuda_graphs=true needs a CUDA device; train.device=cpu is not one here"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tiny, options, words):
    with pytest.raises(ConfigError) as refused:
        run(tiny("train.cuda_graphs=true", "train.device=cpu", *options))
    assert words in str(refused.value)


def test_names_of_runs_from_before_the_option_stay(tiny):
    assert not {"cuda_graphs", "side_stream"} & record.identity(tiny())["train"].keys()
    assert record.run_name(tiny("train.cuda_graphs=true")) != record.run_name(tiny())
