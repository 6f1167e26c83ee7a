"""Checkpoints: written whole or not at all, read without running any pickled code."""

import hashlib
from collections.abc import Iterable
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


def changing(model: nn.Module) -> dict[str, Tensor]:
    """The state_dict without frozen parameters: of a linear probe of a ViT some kB in the place of 340 MB."""
    frozen = _frozen(model)
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def digest_of_frozen(model: nn.Module) -> str | None:
    """What identifies the frozen parameters, which a running run's checkpoints do without; None: there are none."""
    frozen = _frozen(model)
    return digest(value for name, value in model.state_dict().items() if name in frozen) if frozen else None


def restore(model: nn.Module, state: dict[str, Any], path: Path) -> None:
    """Puts back what `changing` has saved, into a model whose frozen parameters are there already.

    Raises:
        DataError: these are not the ones that the run began with.
    """
    if state.get("frozen") != digest_of_frozen(model):
        raise DataError(
            f"the frozen weights are not those that {path.parent} began with (another file in the place of "
            "model.checkpoint, or another version of torch); delete the folder to start the run anew"
        )
    model.load_state_dict(model.state_dict() | state["model"])


def complete(path: Path, model: nn.Module) -> None:
    """Puts the frozen parameters into a finished run's checkpoint, so that it is a model by itself."""
    if _frozen(model):
        save(path, load(path) | {"model": model.state_dict()})


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
