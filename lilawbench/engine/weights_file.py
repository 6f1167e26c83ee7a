"""Weights in files of the safetensors format, which hold tensors and can hold no code.

Those of a single network have the names of its state_dict, so that timm, or any program with the same network, loads
them; of several, `model.` or `model2.` stands before each name.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lilawbench.support import host
from lilawbench.support.atomic import replacing
from lilawbench.support.errors import DataError

Weights = dict[str, dict[str, Tensor]]  # by network as in a checkpoint, "model", "model2" ..., and by name


def on_host(weights: Mapping[str, Mapping[str, Tensor]]) -> Weights:
    """A copy of weights on the host, which training does not change."""
    return {key: {name: _copy(value) for name, value in of.items()} for key, of in weights.items()}


def _copy(value: Tensor) -> Tensor:
    brought = host.bring(value, "weights to keep")
    return brought.clone() if value.device == brought.device else brought


def write_weights(path: Path, weights: Weights) -> None:
    """Writes copies made by `on_host`: no two of them share memory, as those of tied layers would.

    The same weights always give the same bytes; of several texts in its head, safetensors would draw the order.

    Raises:
        DiskError.
    """
    from safetensors.torch import save

    alone = len(weights) == 1
    named = {name if alone else f"{key}.{name}": value for key, of in weights.items() for name, value in of.items()}
    content = save({name: value.contiguous() for name, value in named.items()}, {"format": "pt"})
    with replacing(path, flush=False) as file:
        file.write(content)


def read_weights(path: Path, networks: int) -> Weights:
    """What `write_weights` has written for so many networks.

    Raises:
        DataError: the file is damaged, or not of as many networks.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        named = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read ({error}); do the run again with sweep.redo=true") from error
    if networks == 1:
        return {"model": named}
    weights: Weights = {}
    for name, value in named.items():
        key, _, own = name.partition(".")
        weights.setdefault(key, {})[own] = value
    if len(weights) != networks:
        raise DataError(f"{path} holds {len(weights)} networks, not {networks}; do the run again with sweep.redo=true")
    return weights
