"""Shapes for every data set, sizes by hand, and what does not fit."""

import itertools

import pytest
import torch
from hydra.errors import InstantiationException
from torch import nn

from lilawbench.config import build as build_node
from lilawbench.models.cnn import CNN, PlainCNN
from lilawbench.models.co_cnn import NineLayerCNN, SevenLayerCNN
from lilawbench.models.image import timm_model
from lilawbench.models.lstm import LSTM
from lilawbench.models.mlp import MLP
from lilawbench.models.preact_resnet import PreActBlock, PreActResNet
from lilawbench.models.resnet_cifar import ResNetCIFAR

SHAPES = {  # input shape and classes of each data set, and of colour images
    "digits": ((1, 8, 8), 10),
    "mnist": ((1, 28, 28), 10),
    "adult": ((108,), 2),
    "ecg5000": ((140, 1), 5),
    "colour": ((3, 32, 32), 10),
}
FITS = {
    MLP: SHAPES,
    CNN: ("digits", "mnist", "colour"),
    LSTM: ("digits", "mnist", "ecg5000", "colour"),
    timm_model: ("digits", "mnist", "colour"),
    ResNetCIFAR: ("digits", "mnist", "colour"),
    PreActResNet: ("digits", "mnist", "colour"),
    PlainCNN: ("mnist", "colour"),
    NineLayerCNN: ("mnist", "colour"),
    SevenLayerCNN: ("digits", "mnist", "colour"),
}
LARGE = (timm_model, ResNetCIFAR, PreActResNet, NineLayerCNN, SevenLayerCNN)
FITTING = [
    pytest.param(build, name, marks=[pytest.mark.slow] * (build in LARGE and name != "colour"))
    for build, names in FITS.items()
    for name in names
]


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.every(4)
@pytest.mark.parametrize("build, name", FITTING)
def test_output_is_one_logit_per_class(build, name):
    shape, classes = SHAPES[name]
    model = build(num_classes=classes, input_shape=shape)
    input = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    logits = model.train()(input)
    assert logits.shape == (3, classes) and torch.isfinite(logits).all()
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    with torch.no_grad():
        rows = model.eval()(input)
        torch.testing.assert_close(rows[1:], model(input[1:]), rtol=1e-4, atol=1e-5)  # samples do not mix


@pytest.mark.parametrize(
    "build, name",
    [
        (CNN, "the cnn"),
        (PlainCNN, "the plain cnn"),
        (NineLayerCNN, "the co_cnn"),
        (SevenLayerCNN, "the jocor_cnn"),
        (timm_model, "resnet18"),
        (ResNetCIFAR, "the resnet"),
        (PreActResNet, "the preact resnet"),
    ],
)
@pytest.mark.parametrize("dataset", ["adult", "ecg5000"])
def test_image_networks_refuse_what_is_no_image(build, name, dataset):
    shape, classes = SHAPES[dataset]
    with pytest.raises(ValueError, match=rf"{name} needs images \[C, H, W\].*, not \[{shape[0]}"):
        build(num_classes=classes, input_shape=shape)


@pytest.mark.parametrize(
    "build, shape, options, message",
    [
        (CNN, (1, 3, 8), {}, r"at least 4x4 pixels, not \[1, 3, 8\]"),
        (CNN, (1, 8, 8), {"channels": (8, 8)}, r"channels is \[8, 8\]; the cnn has three convolutions"),
        (NineLayerCNN, (3, 27, 32), {}, r"at least 28x28 pixels, not \[3, 27, 32\]"),
        (NineLayerCNN, (3, 32, 32), {"dropout": 1}, r"dropout is 1; it must lie in \[0, 1\)"),
        (SevenLayerCNN, (3, 32, 32), {"channels": ((8,), ())}, "the jocor_cnn has three stages"),
        (PlainCNN, (1, 21, 28), {}, r"at least 22x22 pixels for its 3 convolutions, not \[1, 21, 28\]"),
        (PlainCNN, (1, 8, 8), {"channels": (4, 4)}, r"at least 10x10 pixels for its 2 convolutions, not \[1, 8, 8\]"),
        (ResNetCIFAR, (3, 32, 32), {"depth": 33}, r"depth is 33; it must be 6n \+ 2 with n >= 1, such as 20, 32"),
        (ResNetCIFAR, (3, 32, 32), {"depth": 2}, "depth is 2; it must be 6n"),
        (ResNetCIFAR, (3, 32, 32), {"depth": -4}, "depth is -4; it must be 6n"),
        (PreActResNet, (3, 32, 32), {"blocks": (2, 2, 2)}, r"blocks is \[2, 2, 2\]; it must be four numbers >= 1"),
        (PreActResNet, (3, 32, 32), {"blocks": (2, 0, 2, 2)}, r"blocks is \[2, 0, 2, 2\]"),
        (LSTM, (108,), {}, r"the lstm needs sequences \[T, C\] or images \[C, H, W\], not \[108\]"),
        (LSTM, (1, 2, 3, 4), {}, "the lstm needs sequences"),
        (LSTM, (140, 1), {"hidden": 0}, "hidden 0 and layers 2 must be >= 1"),
        (LSTM, (140, 1), {"layers": 0}, "layers 0 must be >= 1"),
        (LSTM, (140, 1), {"dropout": 1.0}, r"dropout 1\.0 in \[0, 1\)"),
        (MLP, (4,), {"hidden": (8, 0)}, r"hidden is \[8, 0\]; every width must be >= 1"),
        (MLP, (4,), {"dropout": 1.0}, r"dropout is 1\.0; it must lie in \[0, 1\)"),
        (MLP, (4,), {"dropout": -0.1}, r"dropout is -0\.1"),
        (timm_model, (1, 8, 8), {"architecture": "resnet1"}, "timm has no architecture 'resnet1'; near it: .*resnet"),
        (timm_model, (1, 8, 8), {"architecture": "zzzzzz"}, "no architecture 'zzzzzz'; near it: see timm.list_models"),
        (timm_model, (3, 32, 32), {"architecture": "resnet18.mine"}, r"tag \(mine\) .* weights of resnet18: .*a1_in1k"),
        (
            timm_model,
            (3, 32, 32),
            {"options": {"depth": 3}},
            r"options is \{'depth': 3\}, which timm's resnet18 does not",
        ),
    ],
)
def test_bad_options(build, shape, options, message):
    with pytest.raises(ValueError, match=message):
        build(num_classes=2, input_shape=shape, **options)


def test_mlp_by_hand():
    """64-5-3: 64*5 + 5 + 5*3 + 3 parameters, and W2 relu(W1 x + b1) + b2."""
    model = MLP(3, (1, 8, 8), hidden=(5,))
    assert count(model) == 64 * 5 + 5 + 5 * 3 + 3
    first, second = (module for module in model if isinstance(module, nn.Linear))
    x = torch.randn(2, 1, 8, 8)
    expected = (x.flatten(1) @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    torch.testing.assert_close(model(x), expected)


def test_mlp_options():
    assert count(MLP(3, (4,), hidden=(5, 6), bias=False)) == 4 * 5 + 5 * 6 + 6 * 3
    assert [m.p for m in MLP(3, (4,), hidden=(5, 6), dropout=0.2).modules() if isinstance(m, nn.Dropout)] == [0.2, 0.2]
    assert not any(isinstance(m, nn.Dropout) for m in MLP(3, (4,)).modules())
    assert count(MLP(3, (4,), hidden=())) == 4 * 3 + 3


@pytest.mark.parametrize("side, cells", [(8, 4), (28, 49), (30, 49)])
def test_cnn_by_hand(side, cells):
    """Three 3x3 convolutions with BatchNorm, two halvings, two dense layers."""
    model = CNN(10, (2, side, side), channels=(3, 4, 5), dense=7)
    convolutions = 9 * (2 * 3 + 3 * 4 + 4 * 5) + 2 * (3 + 4 + 5)
    assert count(model) == convolutions + (5 * cells * 7 + 7) + (7 * 10 + 10)


@pytest.mark.parametrize("channels", [1, 2])
def test_lstm_reads_an_image_row_by_row(channels):
    image_model, sequence_model = LSTM(4, (channels, 6, 5), hidden=7), LSTM(4, (6, channels * 5), hidden=7)
    sequence_model.load_state_dict(image_model.state_dict())
    images = torch.randn(3, channels, 6, 5)
    rows = torch.stack([torch.cat([images[:, c, y] for c in range(channels)], dim=1) for y in range(6)], dim=1)
    torch.testing.assert_close(image_model(images), sequence_model(rows))


def test_lstm_classifies_the_last_state():
    model = LSTM(5, (140, 1), hidden=8, layers=2).eval()
    assert count(model) == 4 * 8 * (1 + 8 + 2) + 4 * 8 * (8 + 8 + 2) + 8 * 5 + 5
    x = torch.randn(2, 140, 1)
    _, (hidden, _) = model.recurrent(x)
    torch.testing.assert_close(model(x), model.head(hidden[-1]))
    assert not torch.allclose(model(x), model(x.flip(1)))


def test_resnet18_on_grey_images():
    """11,689,512 parameters of the ImageNet network, less 990 classes and two input channels; random weights."""
    torch.manual_seed(0)
    model = timm_model(10, (1, 28, 28))
    assert count(model) == 11_689_512 - 990 * 513 - 2 * 64 * 49
    assert model.conv1.in_channels == 1
    torch.manual_seed(0)
    again = timm_model(10, (1, 28, 28))
    assert torch.equal(model.conv1.weight, again.conv1.weight) and torch.equal(model.fc.weight, again.fc.weight)
    assert not torch.equal(model.conv1.weight, timm_model(10, (1, 28, 28)).conv1.weight)


@pytest.mark.parametrize(
    "name, classes, shape, expected",
    [
        ("resnet32", 10, (3, 32, 32), 464_154),
        ("resnet32", 10, (1, 28, 28), 464_154 - 2 * 9 * 16),
        ("resnet32", 100, (3, 32, 32), 464_154 + 90 * 65),
        ("preact_resnet18", 10, (3, 32, 32), 11_171_146),
        ("rrm_mlp", 3, (1, 28, 28), 417_880),  # RRM, appendix C
        ("rrm_cnn", 10, (1, 28, 28), 320 + 18_496 + 36_928 + 6_500 + 1_010),
        ("co_cnn", 10, (3, 32, 32), 4_434_570),
        ("jocor_cnn", 100, (3, 32, 32), 518_150 + 90 * 257),
    ],
)
def test_sizes_of_the_papers_networks(composed, name, classes, shape, expected):
    assert count(build_node(composed(f"model={name}").model, num_classes=classes, input_shape=shape)) == expected


@pytest.mark.parametrize(
    "size, widths, features",
    [
        (4_434_570, (3, 128, 128, 128, 256, 256, 256, 512, 256, 128), 128),
        (518_150, (3, 64, 64, 128, 128, 196, 16), 256),
    ],
)
def test_sizes_of_co_teachings_networks_by_hand(size, widths, features):
    """Of each 3x3 convolution 9 in out + out, of its BatchNorm 2 out, and the linear layer of ten classes."""
    assert sum((9 * a + 3) * b for a, b in itertools.pairwise(widths)) + 10 * features + 10 == size


@pytest.mark.parametrize("depth, published", [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_resnet_sizes_of_he_et_al(depth, published):
    """Millions of parameters, Table 6 there."""
    assert count(ResNetCIFAR(10, (3, 32, 32), depth)) / 1e6 == pytest.approx(published, rel=0.02)


def test_resnet32_halves_the_image_twice_and_rounds_up():
    sides = []
    model = ResNetCIFAR(10, (3, 32, 32), depth=8).eval()
    for block in list(model)[3:6]:
        block.register_forward_hook(lambda block, input, output: sides.append(tuple(output.shape[1:])))
    for side in (32, 28, 15):
        model(torch.zeros(1, 3, side, side))
    assert sides == [
        (16, 32, 32), (32, 16, 16), (64, 8, 8), (16, 28, 28), (32, 14, 14), (64, 7, 7), (16, 15, 15), (32, 8, 8),
        (64, 4, 4),
    ]  # fmt: skip


def test_resnet_shortcut_is_the_identity_or_every_other_pixel():
    """With the last BatchNorm's scale at 0 a block is relu(shortcut): 16 old channels thinned, 16 new ones at 0."""
    model = ResNetCIFAR(10, (3, 32, 32), depth=8)
    same, wider = model[3], model[4]
    x = torch.rand(2, 16, 6, 6)
    for block in (same, wider):
        nn.init.zeros_(block.bn2.weight)
    assert torch.equal(same(x), x)
    thinned = wider(x)
    assert thinned.shape == (2, 32, 3, 3)
    assert torch.equal(thinned[:, :16], x[:, :, [0, 2, 4]][..., [0, 2, 4]]) and not thinned[:, 16:].any()


def test_resnet_initial_weights():
    """Kaiming: variance 2 / (9 inputs) in every convolution, and repeated by the seed."""
    torch.manual_seed(0)
    model = ResNetCIFAR(10, (3, 32, 32))
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 31
    for m in convolutions:
        n = m.weight.numel()
        assert m.weight.var().item() == pytest.approx(2 / (9 * m.in_channels), rel=5 * (2 / n) ** 0.5)
        assert m.bias is None
    torch.manual_seed(0)
    again = ResNetCIFAR(10, (3, 32, 32))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters()))


@pytest.mark.parametrize("build, shape", [(PlainCNN, (2, 22, 23)), (ResNetCIFAR, (1, 28, 28))])
def test_channels_last_gives_the_same_logits(build, shape):
    model, x = build(num_classes=3, input_shape=shape).eval(), torch.randn(2, *shape)
    expected = model(x)
    there = model.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(there, expected, rtol=1e-4, atol=1e-5)


def test_plain_cnn_by_hand():
    """One convolution on 4x4 pixels: the largest of the four relu(w * patch + b), then two dense layers."""
    model = PlainCNN(2, (1, 4, 4), channels=(1,), dense=3).double()
    convolution, first, second = model[0], model[4], model[6]
    x = torch.randn(5, 1, 4, 4, dtype=torch.float64)
    patches = x.unfold(2, 3, 1).unfold(3, 3, 1).reshape(5, 4, 9)
    pooled = (patches @ convolution.weight.flatten() + convolution.bias).clamp(min=0).amax(dim=1, keepdim=True)
    hidden = (pooled @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(model(x), hidden @ second.weight.T + second.bias)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in PlainCNN(10, (1, 28, 28)).modules())


@pytest.mark.parametrize(
    "name, imagenet, width",
    [
        ("resnet10", 5_418_792, 512),
        ("resnet18", 11_689_512, 512),
        pytest.param("resnet34", 21_797_672, 512, marks=pytest.mark.slow),
        ("resnet50", 25_557_032, 2048),
        ("vgg19_bn", 143_678_248, 4096),
        pytest.param("inception_resnet_v2", 55_843_464, 1536, marks=pytest.mark.slow),
        pytest.param("vit_b16", 86_567_656, 768, marks=pytest.mark.slow),
        ("vit_s16", 22_050_664, 384),
    ],
)
def test_sizes_of_timm_networks(composed, name, imagenet, width):
    """The published number of parameters with 1,000 classes, less 990 of them."""
    with torch.device("meta"):
        model = build_node(composed(f"model={name}").model, num_classes=10, input_shape=(3, 224, 224))
    assert count(model) == imagenet - 990 * (width + 1)


@pytest.mark.parametrize(
    "name, side", [("vgg19_bn", 32), pytest.param("inception_resnet_v2", 75, marks=pytest.mark.slow)]
)
def test_the_smallest_images_of_networks_that_pool(composed, name, side):
    node = composed(f"model={name}").model
    with torch.device("meta"):
        assert build_node(node, num_classes=3, input_shape=(1, side, side)).training
        with pytest.raises(InstantiationException, match=f"{side - 1}x{side - 1} pixels are too small for {name}"):
            build_node(node, num_classes=3, input_shape=(1, side - 1, side - 1))


def test_vit_pads_small_images_to_whole_patches(composed):
    """28 px are four patches of 16, so that the last pixel counts; 224 px are 196."""
    node = composed("model=vit_s16", "+model.options.depth=1").model
    model = build_node(node, num_classes=2, input_shape=(1, 28, 28)).eval()
    assert model.pos_embed.shape == (1, 1 + 4, 384)
    black = torch.zeros(1, 1, 28, 28)
    corner = black.clone()
    corner[..., 27, 27] = 9.0
    assert not torch.equal(model(black), model(corner))
    with torch.device("meta"):
        assert build_node(node, num_classes=2, input_shape=(3, 224, 224)).pos_embed.shape == (1, 1 + 196, 384)


def test_preact_block_by_hand():
    """With both convolutions at 0 only the shortcut is left: x itself, or a 1x1 convolution of relu(BN(x))."""
    same, wider = PreActBlock(4, 4, 1).eval(), PreActBlock(4, 6, 2).eval()
    x = torch.randn(2, 4, 6, 6)
    for block in (same, wider):
        nn.init.zeros_(block.conv2.weight)
    assert torch.equal(same(x), x)
    active = (x / (1 + 1e-5) ** 0.5).clamp(min=0)[:, :, ::2, ::2]
    torch.testing.assert_close(wider(x), torch.einsum("oi,nihw->nohw", wider.shortcut.weight[..., 0, 0], active))
