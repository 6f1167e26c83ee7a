"""Weights under foreign names: which tensor of a file is which of a network's, told by order and shape."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from torch import Tensor

COUNTER = "num_batches_tracked"  # of BatchNorm; no weight, and some files leave it out


def by_shape(
    theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor], heads: Sequence[str] = (), stems: Sequence[str] = ()
) -> dict[str, str]:
    """The network's name of each tensor of a file: the first of theirs is the first of ours, and so on.

    All shapes must agree, but for the outputs of the heads, which the file may also lack, and for a stem of three
    channels. BatchNorm's counters are left out on both sides. Where neighbours have one shape, as BatchNorm's weight,
    bias, mean and variance have, shapes cannot tell them apart: there the last parts of the names must be the same.
    Whole layers of equal shapes are told apart by their order alone.

    Args:
        theirs, ours: tensors by name, in the order of their state_dict.
        heads: modules of ours that classify. stems: convolutions of ours that see the image.
    Returns:
        {name in the file: name in the network}, in order.
    Raises:
        ValueError: the first place where the two part, or where shapes cannot tell.
    """
    inside = tuple(f"{head}." for head in heads)
    body = [name for name in ours if not name.endswith(COUNTER) and not name.startswith(inside)]
    head = [name for name in ours if name.startswith(inside)]
    given = [name for name in theirs if not name.endswith(COUNTER)]
    wanted = body + (head if len(given) > len(body) else [])
    first = [f"{stem}.weight" for stem in stems]
    for place, (name, own) in enumerate(zip(given, wanted), 1):
        have, need = tuple(theirs[name].shape), tuple(ours[own].shape)
        free_outputs = own in head and have[1:] == need[1:]
        free_channels = own in first and have == (need[0], 3, *need[2:])
        if have != need and not free_outputs and not free_channels:
            raise ValueError(
                f"tensor {place} of the file is {name} {list(have)}, and that of the network {own} {list(need)}"
            )
    if len(given) != len(wanted):
        short, longer = sorted((given, wanted), key=len)
        where, other = ("file", "network") if short is given else ("network", "file")
        raise ValueError(f"the {where} has {len(short)} tensors, and the {other} goes on with {longer[len(short)]}")
    table = dict(zip(given, wanted, strict=True))
    _check_neighbours(table, theirs)
    return table


def _check_neighbours(table: Mapping[str, str], theirs: Mapping[str, Tensor]) -> None:
    """Where neighbours of the file have one shape, only their names tell which is which."""
    for _, alike in groupby(table, key=lambda name: theirs[name].shape):
        names = list(alike)
        for name in names if len(names) > 1 else ():
            if _last(name) != _last(table[name]):
                raise ValueError(
                    f"shapes cannot tell {' from '.join(names[:2])}, both {list(theirs[name].shape)}, and the name "
                    f"{name} does not end in {_last(table[name])}, as {table[name]} does"
                )


def spelled_out(table: Mapping[str, str]) -> str:
    """The table for people, a line for each layer: theirs -> ours: weight, bias."""
    lines = []
    for (theirs, ours), pairs in groupby(table.items(), key=lambda pair: (_layer(pair[0]), _layer(pair[1]))):
        parts = ", ".join(_last(a) if _last(a) == _last(b) else f"{_last(a)} as {_last(b)}" for a, b in pairs)
        lines.append(f"  {theirs} -> {ours}: {parts}")
    return "\n".join(lines)


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _last(name: str) -> str:
    return name.rpartition(".")[2]
