"""Networks that read texts: by hand, whatever texts are padded to, differentiated, probed; the paper's counts."""

import importlib.util
import sys

import pytest
import torch
from torch.nn import functional as F

from lilawbench.methods.parts.lookahead import Network, hypergradient
from lilawbench.models.cut import cut, fits
from lilawbench.models.distilbert_lora import distilbert_lora
from lilawbench.models.finetune import finetune
from lilawbench.models.text_cnn import TextCNN

WORDS = torch.tensor([[5, 3, 0, 0], [7, 0, 0, 0], [0, 0, 0, 0], [2, 9, 4, 8]])
needs_peft = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("transformers", "peft")), reason="needs lilawbench[text]"
)
TINY = {"dim": 8, "hidden_dim": 16, "n_heads": 2, "n_layers": 2, "max_position_embeddings": 16}


@pytest.fixture
def small():
    torch.manual_seed(0)
    return TextCNN(3, (4,), vocabulary=10, embedding=5, filters=6, dense=4).double()


def test_a_text_alone_is_a_convolution_over_its_words(small):
    """Of 5 3: the largest of relu(W (e5, e3) + b) and relu(W (e3, 0) + b); of no word: 0."""
    features = small[0]
    for row, found in zip(WORDS, features(WORDS), strict=True):
        known = row[row > 0]
        embedded = F.pad(features.words.weight[known].T[None], (0, 1))
        expected = F.relu(features.windows(embedded)).amax(2)[0] if len(known) else torch.zeros(6).double()
        torch.testing.assert_close(found, expected)
    assert features.words.weight[0].count_nonzero() == 0
    torch.testing.assert_close(small(F.pad(WORDS, (0, 3))), small(WORDS))
    torch.testing.assert_close(torch.func.vmap(lambda row: small(row[None])[0])(WORDS), small(WORDS))


def test_the_paddings_embedding_stays_zero(small):
    optimizer = torch.optim.AdamW(small.parameters(), lr=0.1, weight_decay=0.1)
    small(WORDS).square().sum().backward()
    optimizer.step()
    assert small[0].words.weight[0].count_nonzero() == 0 and small[0].words.weight[5].count_nonzero()


def test_a_meta_gradient_in_forward_mode_is_the_double_backwards(small):
    phi = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    target, network = torch.tensor([0, 1, 2, 0]), Network(small)
    optimizer = torch.optim.SGD(small.parameters(), lr=0.5)
    found = [
        hypergradient(
            network, optimizer, WORDS, lambda z: (phi * F.cross_entropy(z, target, reduction="none")).mean(),
            lambda weights: F.cross_entropy(network(weights, WORDS), target.roll(1)), [phi], how=how,
        )[0]
        for how in ("jvp", "double_backward")
    ]  # fmt: skip
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-14)
    assert network.has_forward_mode and found[0] != 0


def test_a_probe_of_it_trains_the_dense_layers_on_cached_features(small):
    model = finetune(small, "linear_probe")
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained == ["1.weight", "1.bias", "3.weight", "3.bias"]
    parts = cut(model)
    assert fits(model, parts, WORDS) and parts.features(WORDS).shape == (4, 6)


@pytest.mark.parametrize("model", [TextCNN, distilbert_lora])
@pytest.mark.parametrize("shape, vocabulary", [((4,), None), ((1, 8, 8), 10)])
def test_inputs_that_are_no_texts(model, shape, vocabulary):
    with pytest.raises(ValueError, match="needs texts, not inputs"):
        model(2, shape, vocabulary=vocabulary)


@pytest.mark.parametrize("missing", ["transformers", "peft"])
def test_without_the_packages_the_error_names_the_extra(monkeypatch, missing):
    if missing == "peft":
        pytest.importorskip("transformers")  # the first that it asks for
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ValueError, match=rf"it needs {missing} .*pip install 'lilawbench\[text\]'"):
        distilbert_lora(2, (4,), vocabulary=10)


@needs_peft
@pytest.mark.slow
def test_the_papers_counts():
    """RRM, E.2: 67,584,004 parameters, of which 628,994 train: 36,864 of them LoRA's, 592,130 the head's."""
    with torch.device("meta"):
        model = distilbert_lora(2, (256,), vocabulary=30_522)
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in model.parameters()) == 67_584_004 and sum(trained.values()) == 628_994
    assert sum(count for name, count in trained.items() if "lora_" in name) == 36_864


@needs_peft
@pytest.mark.slow
def test_weights_of_a_local_file(tmp_path):
    """All but the head are those of the file, and the logits do not depend on the padding."""
    import transformers
    from safetensors.torch import save_file

    torch.manual_seed(1)
    config = transformers.DistilBertConfig(vocab_size=10, **TINY)
    kept = transformers.DistilBertForMaskedLM(config)
    state = {name: value.contiguous() for name, value in kept.state_dict().items() if "projector.weight" not in name}
    save_file(state, tmp_path / "model.safetensors")
    made = distilbert_lora(3, (4,), vocabulary=10, checkpoint=str(tmp_path / "model.safetensors"), options=TINY).eval()
    own = {name.removeprefix("model.base_model.model."): value for name, value in made.state_dict().items()}
    name = "distilbert.transformer.layer.1.ffn.lin1.weight"
    assert torch.equal(own[name], state[name])
    torch.testing.assert_close(made(F.pad(WORDS, (0, 3))), made(WORDS))
    assert torch.isfinite(made(WORDS)).all()
    with pytest.raises(ValueError, match="do not fit the network's .*dataset.tokenizer_path"):
        distilbert_lora(3, (4,), vocabulary=11, checkpoint=str(tmp_path / "model.safetensors"), options=TINY)
    with pytest.raises(ValueError, match="texts have 17 numbers and the network at most 16: dataset.length=16"):
        distilbert_lora(3, (17,), vocabulary=10, options=TINY)
    with pytest.raises(ValueError, match="options has 'depth', which transformers' DistilBertConfig does not know"):
        distilbert_lora(3, (4,), vocabulary=10, options={"depth": 2})
