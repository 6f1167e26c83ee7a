"""DistilBERT with LoRA: a pretrained transformer that stays as it is, and small additions that train."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from lilawbench.models.weights import published_weights, read_weights
from lilawbench.support.plain import Options, Tree

log = logging.getLogger("lilawbench")
REPOSITORY = "distilbert/distilbert-base-uncased"
HEAD = ("pre_classifier.", "classifier.")
OF_WORDS = ("vocab_transform.", "vocab_layer_norm.", "vocab_projector.")  # the head that it was pretrained with


class Masked(nn.Module):
    """A transformer of Hugging Face's that sees numbers of words, with 0 behind the last one masked out."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, words: Tensor) -> Tensor:
        """[B, L] int64 -> logits [B, K]."""
        there = words != 0
        there = torch.cat([torch.ones_like(there[:, :1]), there[:, 1:]], dim=1)  # attention to nothing has no value
        logits: Tensor = self.model(input_ids=words, attention_mask=there.long()).logits
        return logits


def distilbert_lora(
    num_classes: int,
    input_shape: Sequence[int],
    vocabulary: int | None = None,
    pretrained: bool = False,
    checkpoint: str | None = None,
    rank: int = 4,
    alpha: float = 32,
    lora_dropout: float = 0.01,
    targets: Sequence[str] = ("q_lin",),
    options: Mapping[str, Tree] | None = None,
) -> nn.Module:
    """DistilBERT for classes, W + alpha / rank B A in place of W in some layers; A, B and the head train.

    At distilbert-base's size with two classes and 30,522 words, 67,584,004 parameters, a copy of the head among them
    that peft keeps, of which 628,994 train: the counts of RRM's Table 12.

    Args:
        num_classes: outputs K. input_shape: [L], at most 512 numbers of words. vocabulary: how many there are; None:
            the data are no texts.
        pretrained: start from the published weights. checkpoint: from a local file of theirs instead.
        rank, alpha, lora_dropout: of the additions, rank >= 1, dropout in [0, 1). targets: layers that get one.
        options: further arguments of transformers' DistilBertConfig.
    Raises:
        ValueError: the inputs are no texts or too long, an option out of range or unknown; the weights cannot be found
            or do not fit; transformers or peft is not installed.
    Source: Sanh et al. 2019; Hu et al. 2022; RRM, appendix E.2, which gives the two counts and no rank. Rank 4 on q_lin
        has them, and so has rank 2 on q_lin and v_lin.
    """
    if vocabulary is None or len(input_shape) != 1:
        raise ValueError(f"the distilbert_lora needs texts, not inputs {list(input_shape)}")
    if pretrained and checkpoint is not None:
        raise ValueError(f"pretrained is true and checkpoint {checkpoint}; give one of them")
    if rank < 1 or not alpha > 0 or not 0 <= lora_dropout < 1 or not targets:
        raise ValueError(f"rank {rank} must be >= 1, alpha {alpha} > 0, lora_dropout {lora_dropout} in [0, 1), targets "
                         f"{list(targets)} not empty")  # fmt: skip
    transformers, peft = _library("transformers"), _library("peft")
    sizes: Options = {"num_labels": num_classes, "vocab_size": vocabulary, **(options or {})}
    known = transformers.DistilBertConfig()
    if unknown := [name for name in sizes if not hasattr(known, name)]:
        raise ValueError(f"options has {unknown[0]!r}, which transformers' DistilBertConfig does not know")
    config = transformers.DistilBertConfig(**sizes)
    if input_shape[0] > config.max_position_embeddings:
        most = config.max_position_embeddings
        raise ValueError(f"texts have {input_shape[0]} numbers and the network at most {most}: dataset.length={most}")
    model = transformers.DistilBertForSequenceClassification(config)
    if pretrained:
        checkpoint = str(_published())
    if checkpoint is not None:
        _load(model, checkpoint)
    lora = peft.LoraConfig(
        task_type="SEQ_CLS", r=rank, lora_alpha=alpha, lora_dropout=lora_dropout, target_modules=list(targets)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, about a name that peft uses
        return Masked(peft.get_peft_model(model, lora))


def _load(model: nn.Module, path: str) -> None:
    """Raises: ValueError, the file does not have the weights of this network, but for a head."""
    state = {name: value for name, value in read_weights(path).items() if not name.startswith(OF_WORDS)}
    own = model.state_dict()
    if not any(name.startswith("distilbert.") for name in state):
        state = {name if name.startswith(HEAD) else f"distilbert.{name}": value for name, value in state.items()}
    if any(name not in state or state[name].shape != own[name].shape for name in own if name.startswith(HEAD)):
        log.info("%s has no head for %d classes: it is initialised", path, model.num_labels)
        state |= {name: value for name, value in own.items() if name.startswith(HEAD)}
    wrong = sorted({*own, *state} - ({*own} & {*state}))
    wrong += [name for name in own if name in state and state[name].shape != own[name].shape]
    if wrong:
        raise ValueError(
            f"the weights in {path} do not fit the network's {len(own)} tensors: {len(wrong)} are missing, unknown or "
            f"of another shape ({', '.join(wrong[:3])}). The words must be those of its tokenizer, "
            "dataset.tokenizer_path, and the sizes its own, model.options"
        )
    model.load_state_dict(state)


def _published() -> Path:
    from timm.models import PretrainedCfg

    return published_weights(PretrainedCfg(architecture="distilbert_lora", hf_hub_id=REPOSITORY))


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"it needs {name} ({error}): pip install 'lilawbench[text]'") from error


distilbert_lora.trains_parts = True  # type: ignore[attr-defined]  # read by `check.text` alone
