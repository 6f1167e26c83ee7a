"""A linear probe of every model: which weights train, and that nothing else moves whatever mode the model is in."""

import logging

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from lilawbench.config import build as build_node
from lilawbench.engine.optim import build_optimizer
from lilawbench.methods.parts.lookahead import Network, hypergradient
from lilawbench.models.finetune import finetune, share_frozen
from lilawbench.models.inputs import inputs_for
from lilawbench.pipeline import initialise_network
from lilawbench.schema import Train
from lilawbench.train import CONF, run

TRAINED = {  # shape, and the modules whose parameters train: the last two parameterised layers
    "mlp": ((4,), ("3", "5")),
    "rrm_mlp": ((1, 28, 28), ("5", "7")),
    "cnn": ((1, 8, 8), ("12", "14")),
    "rrm_cnn": ((1, 28, 28), ("10", "12")),
    "co_cnn": ((3, 32, 32), ("28", "29", "33")),
    "jocor_cnn": ((3, 32, 32), ("17", "18", "22")),
    "lstm": ((20, 1), ("recurrent.weight_ih_l1", "recurrent.weight_hh_l1", "recurrent.bias_ih_l1",
                       "recurrent.bias_hh_l1", "head")),
    "resnet32": ((3, 32, 32), ("17", "20")),
    "preact_resnet18": ((3, 32, 32), ("8", "11")),
    "resnet10": ((3, 64, 64), ("layer4.0", "fc")),
    "resnet18": ((3, 64, 64), ("layer4.1", "fc")),
    "resnet34": ((3, 64, 64), ("layer4.2", "fc")),
    "resnet50": ((3, 64, 64), ("layer4.2", "fc")),
    "vgg19_bn": ((3, 64, 64), ("pre_logits.fc2", "head.fc")),
    "inception_resnet_v2": ((3, 96, 96), ("conv2d_7b.conv", "conv2d_7b.bn", "classif")),
    "efficientnet_lite0": ((3, 64, 64), ("conv_head", "bn2", "classifier")),
    "vit_b16": ((3, 64, 64), ("norm", "head")),
    "vit_s16": ((1, 28, 28), ("norm", "head")),
    "resnet50_dense": ((3, 64, 64), ("1", "3")),
    "text_cnn": ((9,), ("1", "3")),
}  # fmt: skip
NO_PROBE = {"distilbert_lora"}  # its own parts train
SMALL = {  # the same families, quick to run, with dropout where they can have it
    "mlp": ((4,), ["model.hidden=[8,7,6]", "model.dropout=0.5"]),
    "cnn": ((1, 8, 8), ["model.channels=[3,4,4]", "model.dense=6"]),
    "rrm_cnn": ((1, 22, 22), ["model.channels=[3,4,4]", "model.dense=6"]),
    "lstm": ((7, 2), ["model.hidden=5", "model.layers=3", "model.dropout=0.5"]),
    "resnet32": ((2, 10, 10), ["model.depth=8"]),
    "preact_resnet18": ((1, 8, 8), ["model.blocks=[1,1,1,1]"]),
    "resnet18": ((1, 32, 32), ["+model.options={layers:[1,1,1,2],channels:[8,8,8,8],drop_path_rate:0.5}"]),
    "vit_s16": (
        (1, 32, 32),
        ["+model.options={depth:2,embed_dim:12,num_heads:2,proj_drop_rate:0.5,drop_path_rate:0.5}"],
    ),
}


def test_every_model_is_here():
    assert sorted([*TRAINED, *NO_PROBE]) == sorted(path.stem for path in (CONF / "model").glob("*.yaml"))


LARGE = (
    "resnet34",
    "resnet50",
    "resnet50_dense",
    "vgg19_bn",
    "inception_resnet_v2",
    "vit_b16",
)  # whose kin are smaller


@pytest.mark.every(3)
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in TRAINED])
def test_the_last_two_parameterised_layers_train(composed, name):
    shape, trained = TRAINED[name]
    with torch.device("meta"):  # names are enough
        node = composed(f"model={name}").model
        inputs = inputs_for(node, shape, 20)
        model = finetune(build_node(node, num_classes=3, **inputs), "linear_probe")
    expected = {p for p, _ in model.named_parameters() if any(p == t or p.startswith(f"{t}.") for t in trained)}
    assert {p for p, parameter in model.named_parameters() if parameter.requires_grad} == expected
    assert len({p.rsplit(".", 1)[0] for p in expected}) >= 2


@pytest.fixture(params=SMALL)
def small(request, composed):
    """make(mode) -> the same small network, and a batch."""
    shape, overrides = SMALL[request.param]
    node = composed(f"model={request.param}", *overrides).model

    def make(mode):
        torch.manual_seed(0)
        model = finetune(build_node(node, num_classes=3, input_shape=shape), mode)
        return model.train(), torch.randn(6, *shape)

    return make


@pytest.mark.every(4)
def test_a_step_of_a_probe_moves_what_trains_and_nothing_else(small):
    """With weight decay and momentum, which move a parameter of gradient 0 as well."""
    model, x = small("linear_probe")
    options = OmegaConf.structured(Train(optimizer="sgd", lr=0.5, weight_decay=0.1))
    optimizer = build_optimizer(model.parameters(), options, torch.device("cpu"))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(trained)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(2):
        model.train()(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    layers = {name.rsplit(".", 1)[0] for name in trained}
    buffers = {
        name for name, _ in model.named_buffers() if name.rsplit(".", 1)[0] in layers
    }  # the last block's BatchNorm
    assert moved == trained | buffers


def first_trained_inputs(model, x):
    """What the first trained layer is given; for the LSTM, whose levels are no modules, the logits."""
    if hasattr(model, "recurrent"):
        return model(x)
    layer = next(m for m in model.modules() if next(iter(m.parameters(recurse=False)), None) is not None
                 and all(p.requires_grad for p in m.parameters(recurse=False)))  # fmt: skip
    seen = []
    handle = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(x)
    handle.remove()
    return seen[0].detach().clone()


def test_frozen_features_are_the_same_in_train_mode_and_again(small):
    model, x = small("linear_probe")
    modes = [m.training for m in model.modules()]
    features = [first_trained_inputs(m, x) for m in (model.train(), model.train(), model.eval())]
    assert torch.equal(features[0], features[1]) and torch.equal(features[0], features[2])
    model.train()
    assert [m.training for m in model.modules()] == modes and any(modes)
    assert not all(modes) or hasattr(model, "recurrent")


def test_full_trains_everything(small):
    model, _ = small("full")
    assert all(p.requires_grad for p in model.parameters()) and all(m.training for m in model.modules())


def test_dropout_before_the_head_still_drops(composed):
    node = composed("model=mlp", "model.hidden=[8,7,6]", "model.dropout=0.5").model
    model = finetune(build_node(node, num_classes=3, input_shape=(4,)), "linear_probe").train()
    assert [m.training for m in model.modules() if isinstance(m, nn.Dropout)] == [False, False, True]


def test_log_names_what_trains(caplog):
    with caplog.at_level(logging.INFO, "lilawbench"):
        finetune(nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2)), "linear_probe")
    assert "linear probe: 1 and 2 train, 50 of 75 parameters" in caplog.text


def test_another_mode_is_refused():
    with pytest.raises(ValueError, match=r"finetune is 'last'; it must be one of .*'head'"):
        finetune(nn.Linear(2, 2), "last")


@pytest.mark.parametrize(
    "method",
    ["ce", "lilaw", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rrm", "a_rrm", "dynamic_loss"))],
)
def test_a_probe_run_ends_with_the_frozen_weights_it_began_with(tiny, acting, method):
    cfg = tiny(*acting(method), "model.hidden=[16,12,8]", "train.finetune=linear_probe", "train.weight_decay=0.1")
    folder = run(cfg).folder
    ended = torch.load(folder / "checkpoint.pt", weights_only=True)["model"]

    class Digits:
        num_classes, network_shape, vocabulary = 10, (1, 8, 8), None

    began = initialise_network(cfg, Digits).state_dict()
    moved = {name for name, value in began.items() if not torch.equal(value, ended[name])}
    assert moved == {"5.weight", "5.bias", "7.weight", "7.bias"}


def test_networks_of_a_probe_have_one_frozen_part_and_heads_of_their_own():
    """Random weights and statistics differ in all; the block of a convolution and its BatchNorm is frozen."""

    def made(seed):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 4), nn.Linear(4, 3))
        model[1].running_mean.normal_()
        return model

    apart, shared = ([finetune(made(seed), "linear_probe") for seed in (0, 1, 2)] for _ in range(2))
    assert share_frozen(shared) is shared
    for before, after in zip(apart, shared, strict=True):
        for name, value in after.state_dict().items():
            source = apart[0] if name[0] in "01" else before
            assert torch.equal(value, source.state_dict()[name]), name
    assert not torch.equal(apart[0][0].weight, apart[1][0].weight)

    whole = [made(0), made(1)]
    share_frozen(whole)
    assert not torch.equal(whole[0][0].weight, whole[1][0].weight) and not whole[0][1].running_mean.equal(
        whole[1][1].running_mean
    )


def test_a_level_of_a_stack_that_trains_is_not_shared():
    """One module holds all levels of a stacked LSTM: the frozen ones are shared by their names."""
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(finetune(nn.Sequential(nn.LSTM(2, 3, num_layers=2), nn.Linear(3, 2)), "linear_probe"))
    share_frozen(models)
    first, second = (dict(model.named_parameters()) for model in models)
    alike = {name for name in first if first[name].equal(second[name])}
    assert alike == {f"0.{kind}_{part}_l0" for kind in ("weight", "bias") for part in ("ih", "hh")}


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own, at its first dual
def test_look_ahead_of_a_probe_is_exact():
    """Forward mode through the trained layers alone against the double backward."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))
    model = finetune(model.double(), "linear_probe").train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.3, momentum=0.9)
    x, x_meta, y = torch.randn(5, 4).double(), torch.randn(7, 4).double(), torch.tensor([0, 1, 2, 0, 1])
    phi = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    network = Network(model)
    assert network.names == ["3.weight", "3.bias", "5.weight", "5.bias"]

    def inner(logits):
        return nn.functional.cross_entropy(logits + phi, y)

    def meta(weights):
        return network(weights, x_meta).square().mean()

    exact, oracle = (
        hypergradient(network, optimizer, x, inner, meta, [phi], how=how)[0] for how in ("jvp", "double_backward")
    )
    torch.testing.assert_close(exact, oracle, rtol=1e-9, atol=1e-12)
    assert exact.abs().max() > 1e-6
