"""Finds the finished runs of a plan: those with the same config, whatever their folder's name."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import lilawbench
from lilawbench.record.data import looked_at_once
from lilawbench.record.identity import LATER, flatten, recorded
from lilawbench.report.names import BOOKKEEPING, text

if TYPE_CHECKING:
    from pandas import DataFrame

    from lilawbench.config import Plain
    from lilawbench.experiment.plan import Planned

# Keys that every config has and most plans vary: only runs that agree in these are compared leaf by leaf.
INDEX = ("seed", "dataset.name", "noise.name", "noise.rate", "model.name", "method.name", "loss.name")


# the values of runs from before these options existed
EARLIER = {f"config.{name}": text(before) for name, before in LATER.items()}


class Matches(NamedTuple):
    """What `match` found, as row numbers of the collected runs."""

    found: list[list[int]]  # of each planned run its finished ones: none, one, or several (a conflict)
    older: list[int]  # of those, the ones whose version of lilawbench has other options
    near: list[tuple[int, list[str]]]  # runs left out for these leaves alone, which only one side has
    others: int  # runs of other settings


@looked_at_once()
def match(planned: "Sequence[Planned]", runs: "DataFrame") -> Matches:
    """Finds for each planned run the finished runs of its config.

    A run whose name ends in the hash of a planned config is that run. Any other run matches if all leaves that both
    configs have are equal, apart from book-keeping. Leaves that only one side has are tolerated if the run is from
    another version of lilawbench, which has other options, unless the run would then match several planned ones.

    Args:
        planned: runs of a plan (experiment/plan.py), with `cfg` and `folder`. runs: from `collect`.
    """
    found: list[list[int]] = [[] for _ in planned]
    older, near, others = [], [], 0
    by_name = {run.folder.name: number for number, run in enumerate(planned)}
    rest = []
    for position, name in enumerate(runs.get("run", [])):
        if name in by_name:
            found[by_name[name]].append(position)
        else:
            rest.append(position)
    candidates = _indexed(planned) if rest else {}
    leaves: dict[int, dict] = {}
    for position, record in zip(rest, _records(runs, rest)):
        fits, almost = [], []
        for number in candidates.get(tuple(record.get(f"config.{key}") for key in INDEX), ()):
            if number not in leaves:
                leaves[number] = _text_leaves(flatten(recorded(planned[number].cfg), "config"))
            wanted = leaves[number]
            record = {name: before for name, before in EARLIER.items() if name in wanted} | record
            if any(record[leaf] != wanted[leaf] for leaf in wanted.keys() & record.keys()):
                continue
            one_sided = sorted(wanted.keys() ^ record.keys())
            fits += [number] if not one_sided or _other_version(runs, position) else []
            almost += [one_sided]
        if len(fits) == 1:
            found[fits[0]].append(position)
            older.append(position)
        elif almost:
            near.append((position, almost[0]))
        else:
            others += 1
    return Matches([sorted(positions) for positions in found], older, near, others)


def _indexed(planned: "Sequence[Planned]") -> dict[tuple, list[int]]:
    groups: dict[tuple, list[int]] = {}
    for number, run in enumerate(planned):
        values = [run.cfg.seed, *(_at(run.cfg, *key.split(".")) for key in INDEX[1:])]
        groups.setdefault(tuple(map(text, values)), []).append(number)
    return groups


def _at(cfg: "Plain", group: str, key: str) -> object:
    return cfg[group].get(key)


def _records(runs: "DataFrame", positions: Sequence[int]) -> Iterator[dict[str, str | None]]:
    """The configs of some runs, each leaf as text; leaves that a run lacks are left out."""
    names = [name for name in runs if name.startswith("config.")]
    columns = [runs[name].iloc[list(positions)].tolist() for name in names]
    for values in zip(*columns):
        yield _text_leaves(dict(zip(names, values)))


def _text_leaves(leaves: dict[str, object]) -> dict[str, str | None]:
    return {
        name: text(value)
        for name, value in leaves.items()
        if not (isinstance(value, float) and value != value) and not _below_bookkeeping(name)
    }


def _below_bookkeeping(leaf: str) -> bool:
    """Whether a leaf is about where or how a run is done, not about what it computes."""
    return leaf != "config.seed" and ".".join(leaf.split(".")[:2]) in BOOKKEEPING


def _other_version(runs: "DataFrame", position: int) -> bool:
    return "versions.lilawbench" not in runs or runs["versions.lilawbench"].iloc[position] != lilawbench.__version__
