"""RRM as a part of a method of two networks: weights of the rows in its supervised term."""

from collections.abc import Sequence
from typing import TypedDict

from torch import Tensor

from lilawbench.methods.parts.rockafellian import Rockafellian
from lilawbench.support.plain import Options


class RRMOptions(TypedDict, total=False):
    """RRM's part in the supervised term, see `Rockafellian`; `over` all rows or the labelled ones."""

    gamma: float | None
    mu: float
    contamination: float | None
    penalty_scale: float
    reweight_every_epochs: int
    over: str


def rockafellians(options: RRMOptions | None) -> tuple[int, str, list[Rockafellian]]:
    """How often RRM re-weights, over which rows, and the weights of each network; none without options.

    Raises:
        ValueError: any of these out of range.
    """
    if options is None:
        return 1, "all", []
    given: Options = dict(options)
    every, over = given.pop("reweight_every_epochs", 10), given.pop("over", "all")
    if not isinstance(every, int) or every < 1:
        raise ValueError(f"rrm.reweight_every_epochs is {every}; it must be a whole number >= 1")
    if over not in ("all", "labelled"):
        raise ValueError(f"rrm.over is {over!r}; it must be all or labelled")
    try:
        return every, over, [Rockafellian(**given) for _ in range(2)]
    except (TypeError, ValueError) as error:
        raise ValueError(f"rrm: {error}") from error


def values_of_both(reweighted: Sequence[Rockafellian]) -> dict[str, Tensor]:
    """`Rockafellian.values` of two networks, [N] each: mean weights, and the rows that both prune; {} of none."""
    if not reweighted:
        return {}
    one, other = (each.values() for each in reweighted)
    mean = {name: (one[name] + other[name]) / 2 for name in ("weight", "lowest_weight")}
    return mean | {"pruned": one["pruned"] & other["pruned"]}


def never_reweights(every: int, warmup_epochs: int, epochs: int) -> list[str]:
    """What a run says whose epochs past the warm-up never follow a multiple of `every` epochs; [] if one does."""
    if any((epoch - 1) % every == 0 for epoch in range(max(2, warmup_epochs + 1), epochs + 1)):
        return []
    return [f"never re-weighted: method.rrm.reweight_every_epochs is {every}, of {epochs} epochs"]
