"""What all probes say of an epoch, and at the end; a name counts for one of them."""

import logging
from collections.abc import Collection, Mapping

from torch import Tensor

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.probes.base import Predictions, Probe, Scene, Seen
from lilawbench.support.errors import PartError
from lilawbench.support.plain import Tree

log = logging.getLogger("lilawbench")

RECORDS_OWN = ("kind", "epoch", "step", "lr", "epoch_seconds")  # in each epoch's row


def measured(ctx: Context, epoch: Epoch, scene: Scene, probes: Mapping[str, Probe]) -> tuple[Epoch, Seen]:
    """An epoch on the host, and what all probes measure of it.

    Raises:
        PartError: two use the same name, or something is no number, list or tensor.
    """
    epoch, predictions = epoch.on_host(), Predictions(ctx, scene)
    seen: Seen = {}
    for name, probe in probes.items():
        found = probe.see(ctx, epoch, predictions)
        if not isinstance(found, Mapping):
            raise PartError(f"probe {name}: see() gave a {type(found).__name__}; it must be a dict, which may be empty")
        for key, value in found.items():
            if key in RECORDS_OWN or key in seen:
                said = f"the method's values have {key}" if name == "method" else f"probe {name} measures {key}"
                raise PartError(f"{said}, a name that is taken: give it another")
            if not isinstance(value, int | float | list | Tensor | None):
                raise PartError(
                    f"probe {name}: {key} is a {type(value).__name__}; it must be a number, a list or a tensor"
                )
        seen |= found
    return epoch, seen


def ended(ctx: Context, scene: Scene, probes: Mapping[str, Probe]) -> None:
    """Training has ended: probes look at the networks once more."""
    predictions = Predictions(ctx, scene)
    for probe in probes.values():
        probe.at_end(ctx, predictions)


def results(probes: Mapping[str, Probe], taken: Collection[str]) -> dict[str, Tree]:
    """What the probes say at the end. After hours of training a bad value is left out with a warning, no more.

    Args:
        taken: names that the record has itself.
    """
    kept: dict[str, Tree] = {}
    for name, probe in probes.items():
        for key, value in (probe.result() or {}).items():
            if key in taken or key in kept:
                log.warning("probe %s: its result %s is left out, since the name is taken", name, key)
            elif _is_plain(value):
                kept[key] = value
            else:
                log.warning("probe %s: its result %s is left out: a %s is no JSON", name, key, type(value).__name__)
    return kept


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(held) for key, held in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, int | float | str | None)
