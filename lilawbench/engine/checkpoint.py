"""Checkpoints: written whole or not at all, read without running any pickled code."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lilawbench.support.atomic import replacing
from lilawbench.support.errors import DataError

CHUNK_ROWS = 4096  # hashed at a time


def save(path: Path, state: dict[str, Any]) -> None:
    """A crash leaves the old file or the new one. Raises: DiskError."""
    with replacing(path) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # in the place of the OSError that its writer met
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads a checkpoint with weights_only.

    Raises:
        DataError: the file is damaged or holds anything but tensors and plain values.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise DataError(
            f"checkpoint {path} cannot be read ({type(error).__name__}: {error}); delete it to start the run anew"
        ) from error


def changing(networks: Sequence[nn.Module]) -> dict[str, dict[str, Tensor]]:
    """{"model": weights, "model2": those of a second network ...} without frozen parameters: of a linear probe of a
    ViT some kB in the place of 340 MB."""
    frozen = [_frozen(network) for network in networks]
    return {
        key: {name: value for name, value in network.state_dict().items() if name not in left_out}
        for key, network, left_out in zip(_keys(networks), networks, frozen)
    }


def digest_of_frozen(networks: Sequence[nn.Module]) -> str | None:
    """What identifies the frozen parameters, which a running run's checkpoints do without; None: there are none."""
    kept = [
        value
        for network in networks
        for frozen in [_frozen(network)]
        for name, value in network.state_dict().items()
        if name in frozen
    ]
    return digest(kept) if kept else None


def restore(networks: Sequence[nn.Module], state: dict[str, Any], path: Path) -> None:
    """Puts back what `changing` has saved, into networks whose frozen parameters are there already.

    Raises:
        DataError: these are not the ones that the run began with.
    """
    if state.get("frozen") != digest_of_frozen(networks):
        raise DataError(
            f"the frozen weights are not those that {path.parent} began with (another file in the place of "
            "model.checkpoint, or another version of torch); delete the folder to start the run anew"
        )
    for key, network in zip(_keys(networks), networks):
        network.load_state_dict(network.state_dict() | state[key])


def complete(path: Path, networks: Sequence[nn.Module]) -> None:
    """Puts the frozen parameters into a finished run's checkpoint, so that it is a model by itself."""
    if any(map(_frozen, networks)):
        save(path, load(path) | {key: net.state_dict() for key, net in zip(_keys(networks), networks)})


def _keys(networks: Sequence[nn.Module]) -> list[str]:
    return ["model", *(f"model{number}" for number in range(2, len(networks) + 1))]


def digest(tensors: Iterable[Tensor], more: bytes = b"") -> str:
    """64 hex digits of tensors in this order: values, types and shapes."""
    found = hashlib.sha256(more)
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        for piece in tensor.split(CHUNK_ROWS) if tensor.ndim else (tensor,):
            found.update(piece.detach().cpu().contiguous().numpy())
    return found.hexdigest()


def _frozen(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
