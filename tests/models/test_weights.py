"""First weights from a local file or from timm: what fits is loaded and adapted, the rest is one clear error."""

import logging
import time

import pytest
import torch
from safetensors.torch import save_file

from lilawbench.models import weights
from lilawbench.models.image import timm_model

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
VIT = {"depth": 1, "embed_dim": 12, "num_heads": 2}
COLOUR = (3, 32, 32)


def tiny(num_classes=5, shape=COLOUR, seed=0, **options):
    torch.manual_seed(seed)
    return timm_model(num_classes, shape, "resnet18", options=TINY, **options)


@pytest.fixture
def saved(tmp_path):
    """A file of a five-class colour network's weights, and the network."""
    model = tiny(seed=1)
    save_file(model.state_dict(), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors", model


@pytest.mark.parametrize("wrap", ["safetensors", "bare", "state_dict", "model", "module."])
def test_checkpoint_is_loaded_whatever_wraps_it(saved, tmp_path, wrap):
    path, source = saved
    state = source.state_dict()
    if wrap != "safetensors":
        path = tmp_path / "tiny.pth"
        prefixed = {f"module.{name}": value for name, value in state.items()}
        torch.save({"bare": state, "module.": prefixed}.get(wrap, {wrap: state, "epoch": 3}), path)
    model = tiny(checkpoint=str(path))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_head_of_another_size_starts_anew(saved, caplog):
    path, source = saved
    with caplog.at_level(logging.INFO, "lilawbench"):
        model = tiny(num_classes=3, checkpoint=str(path))
    fresh = tiny(num_classes=3)
    assert torch.equal(model.fc.weight, fresh.fc.weight) and torch.equal(model.fc.bias, fresh.fc.bias)
    assert torch.equal(model.conv1.weight, source.conv1.weight)
    assert "tiny.safetensors has 5 outputs and the model 3: its head is initialised" in caplog.text


@pytest.mark.parametrize("classes", [3, 5])
def test_a_new_head_begins_with_small_logits(tmp_path, classes):
    """EfficientNet's, which timm draws within 1 / sqrt(outputs); a head that the file has stays the file's."""
    name, shape = "tf_efficientnet_lite0", (3, 32, 32)
    source = timm_model(5, shape, architecture=name)
    save_file(source.state_dict(), tmp_path / "lite.safetensors")
    head = timm_model(classes, shape, architecture=name, checkpoint=str(tmp_path / "lite.safetensors")).classifier
    assert source.classifier.weight.abs().max() > 0.4
    if classes == 5:
        assert torch.equal(head.weight, source.classifier.weight)
    else:
        assert 0.02 < head.weight.abs().max() <= 1 / 1280**0.5


def test_grey_stem_sums_the_colours(saved):
    """A grey image given as three equal channels has the same response."""
    path, source = saved
    model = tiny(shape=(1, 32, 32), checkpoint=str(path)).eval()
    torch.testing.assert_close(model.conv1.weight, source.conv1.weight.sum(1, keepdim=True))
    grey = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(model(grey), source.eval()(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


def test_position_embeddings_follow_the_image_size(tmp_path):
    """Constant ones stay constant, of the class token apart."""
    small = timm_model(2, (3, 32, 32), "vit_small_patch16_224", options=VIT)
    small.pos_embed.data[:, :1], small.pos_embed.data[:, 1:] = 1.0, 2.0
    save_file(small.state_dict(), tmp_path / "vit.safetensors")
    large = timm_model(
        2, (3, 48, 48), "vit_small_patch16_224", checkpoint=str(tmp_path / "vit.safetensors"), options=VIT
    )
    expected = torch.full((1, 10, 12), 2.0)
    expected[:, 0] = 1.0
    torch.testing.assert_close(large.pos_embed.data, expected)


def test_wrong_names_and_shapes_are_counted_in_one_error(saved, tmp_path):
    _, source = saved
    state = source.state_dict()
    for name in ("bn1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer1.0.conv2.weight"):
        del state[name]
    state |= {"stem.weight": torch.zeros(1), "layer2.0.bn1.weight": torch.zeros(9)}
    torch.save(state, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match="the weights in .*wrong.pth do not fit the network's [0-9]+ tensors") as error:
        tiny(checkpoint=str(tmp_path / "wrong.pth"))
    assert "4 are missing (bn1.weight, bn1.bias, layer1.0.conv1.weight, ...)" in str(error.value)
    assert "1 are unknown (stem.weight); 1 have another shape (layer2.0.bn1.weight)" in str(error.value)


def test_files_that_are_no_weights(tmp_path):
    (tmp_path / "noise.pth").write_bytes(b"not a zip")
    (tmp_path / "noise.safetensors").write_bytes(b"neither")
    torch.save({"model": time.sleep}, tmp_path / "code.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "vit.npz").touch()
    for name, message in {
        "gone.pth": "gone.pth does not exist",
        "vit.npz": r"it must be a file ending in .safetensors, .pth, .pt, .bin",
        "noise.safetensors": "noise.safetensors cannot be read",
        "noise.pth": r"noise.pth (cannot be read|holds more than tensors)",
        "code.pth": "code.pth holds more than tensors and plain values",
        "list.pth": "list.pth holds no state_dict",
    }.items():
        with pytest.raises(ValueError, match=message):
            weights.read_weights(tmp_path / name)


def test_checkpoint_and_pretrained_exclude_each_other():
    with pytest.raises(ValueError, match="pretrained is true and checkpoint x.pth; give one of them"):
        tiny(pretrained=True, checkpoint="x.pth")


@pytest.fixture
def hub(monkeypatch):
    """A Hugging Face hub without network: nothing cached, and no download may begin."""
    import huggingface_hub
    import requests

    def refuse(*args, **options):
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **options: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *args, **options: pytest.fail("downloads"))
    monkeypatch.setattr(requests, "head", refuse)
    return monkeypatch


def test_without_network_the_error_says_which_file_goes_where(hub):
    with pytest.raises(ValueError) as error:
        timm_model(2, COLOUR, "vit_base_patch16_224.augreg_in21k", pretrained=True)
    message = str(error.value)
    assert "ConnectionError: no route" in message and "model.checkpoint=PATH/model.safetensors" in message
    assert "/timm/vit_base_patch16_224.augreg_in21k/resolve/main/model.safetensors" in message
    assert "models--timm--vit_base_patch16_224.augreg_in21k into " in message


def test_a_silent_network_is_not_waited_for(hub):
    hub.setattr(weights, "CONNECT_SECONDS", 0.05)
    hub.setattr("requests.head", lambda *args, **options: time.sleep(3))
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"TimeoutError: no answer in 0.05 s"):
        timm_model(2, COLOUR, "resnet18", pretrained=True)
    assert time.perf_counter() - start < 2.5


def test_weights_in_the_cache_need_no_network(hub, saved):
    path, source = saved
    hub.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **options: str(path))
    model = tiny(num_classes=3, pretrained=True)
    assert torch.equal(model.layer4[0].conv1.weight, source.layer4[0].conv1.weight)
    assert torch.equal(model.fc.weight, tiny(num_classes=3).fc.weight)
    with pytest.raises(ValueError, match=r"do not fit the network's 80 tensors: 16 have another shape"):
        timm_model(5, COLOUR, "resnet18", pretrained=True, options={**TINY, "channels": [8, 8, 8, 9]})


def test_an_architecture_without_published_weights(hub):
    class Config:
        architecture, hf_hub_id = "net", None

    with pytest.raises(ValueError, match="timm publishes no weights of net"):
        weights.published_weights(Config)
