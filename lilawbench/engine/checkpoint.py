"""Checkpoints: written whole or not at all, verified when read, and read without running pickled code.

An unfinished run has two, of its last two saves: if one is damaged, the run goes on from the other.
"""

import contextlib
import hashlib
import pickle
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lilawbench.support.atomic import replacing, writable
from lilawbench.support.errors import DataError, PartError
from lilawbench.support.plain import State

FILE, BEFORE = "checkpoint.pt", "checkpoint.before.pt"
CHUNK_ROWS = 4096  # hashed at a time


def save(path: Path, state: State, before: Path | None = None) -> None:
    """A crash leaves the old file or the new one.

    Args:
        before: see `replacing`.
    Raises:
        DiskError.
    """
    with replacing(path, before) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch hides the OSError of its writer
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def check_plain(state: object, where: str) -> None:
    """Raises: PartError, a part's state has something that `load` would refuse."""
    if isinstance(state, dict):
        for key, value in state.items():
            check_plain(value, f"{where}.{key}")
    elif isinstance(state, list | tuple):
        for value in state:
            check_plain(value, where)
    elif not isinstance(state, Tensor | int | float | str | None):
        kind = type(state).__name__
        raise PartError(f"{where} is a {kind}; a checkpoint holds tensors, numbers, text, lists and dicts only")


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint of a run that is as it was written; damaged ones are renamed.

    Only the holder of the run's lock may call this.

    Returns:
        It, or None; and a line for each damaged one.
    """
    found: Path | None = None
    said: list[str] = []
    for path in (folder / FILE, folder / BEFORE):
        if not path.exists() or (found and not path.is_dir()):
            continue
        if not (wrong := damage(path)):
            found = path
            continue
        with writable(path):
            path.replace(_aside(path))
        said.append(f"{path} is damaged ({wrong}): it is now {_aside(path).name}")
    return found, said


def damage(path: Path) -> str:
    """What is wrong with the bytes of a checkpoint, "" if nothing is: torch stores checksums, and checks none."""
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip() or next((info.filename for info in archive.infolist() if info.external_attr), None)
        if part is None:  # the directory has no checksum: torch must be able to read it, too
            torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (PermissionError, pickle.UnpicklingError):  # whole, and `load` says what else is wrong
        return ""
    except Exception as error:  # a flipped bit may mean encryption, a later version, an offset outside the file
        said = str(error) or type(error).__name__
        return "" if "mmap" in said else said.splitlines()[0]  # not every file system can map a file
    return f"other bytes than were written in {part}" if part else ""


def keep_last(folder: Path) -> None:
    """Removes what only an unfinished run needs."""
    for path in (folder / BEFORE, _aside(folder / BEFORE), _aside(folder / FILE)):
        with contextlib.suppress(OSError):  # a folder in its place, or not ours: it harms nobody
            path.unlink()


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")


def load(path: Path, device: torch.device | str = "cpu") -> State:
    """Reads a checkpoint with weights_only.

    Raises:
        DataError: the file is damaged, or holds more than tensors and plain values.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise DataError(
            f"checkpoint {path} cannot be read ({type(error).__name__}: {error}); delete it to start the run over"
        ) from error


def changing(networks: Sequence[nn.Module]) -> dict[str, dict[str, Tensor]]:
    """{"model": weights, "model2": those of a second network, ...} without frozen parameters: for a linear probe of a
    ViT some kB instead of 340 MB."""
    frozen = [_frozen(network) for network in networks]
    return {
        key: {name: value for name, value in network.state_dict().items() if name not in left_out}
        for key, network, left_out in zip(_keys(networks), networks, frozen)
    }


def digest_of_frozen(networks: Sequence[nn.Module]) -> str | None:
    """Digest of the frozen parameters, which an unfinished run's checkpoints leave out; None: there are none."""
    kept = [
        value
        for network in networks
        for frozen in [_frozen(network)]
        for name, value in network.state_dict().items()
        if name in frozen
    ]
    return digest(kept) if kept else None


def restore(networks: Sequence[nn.Module], state: State, path: Path) -> None:
    """Loads what `changing` has saved into networks that have their frozen parameters already.

    Raises:
        DataError: the frozen parameters are not those that the run began with.
    """
    if state.get("frozen") != digest_of_frozen(networks):
        raise DataError(
            f"the frozen weights are not those that {path.parent} began with (another file is at "
            "model.checkpoint, or torch has another version); delete the folder to start the run over"
        )
    for key, network in zip(_keys(networks), networks):
        network.load_state_dict(network.state_dict() | state[key])


def complete(path: Path, networks: Sequence[nn.Module]) -> None:
    """Puts the frozen parameters into a finished run's checkpoint, so that it holds the whole model."""
    if any(map(_frozen, networks)):
        save(path, load(path) | {key: net.state_dict() for key, net in zip(_keys(networks), networks)})


def _keys(networks: Sequence[nn.Module]) -> list[str]:
    return ["model", *(f"model{number}" for number in range(2, len(networks) + 1))]


def digest(tensors: Iterable[Tensor], more: bytes = b"") -> str:
    """SHA-256 of tensors in this order, 64 hex digits: of their values, types and shapes, and of the bytes `more`."""
    found = hashlib.sha256(more)
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        for piece in tensor.split(CHUNK_ROWS) if tensor.ndim else (tensor,):
            found.update(piece.detach().cpu().contiguous().numpy().data)
    return found.hexdigest()


def _frozen(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
