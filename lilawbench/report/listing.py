"""Lists all tables: how much of each is done, and whether the rest can run here. It trains and downloads nothing."""

import functools
import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from lilawbench.config import Plain, build
from lilawbench.experiment.composer import Composer, by_key, composer
from lilawbench.experiment.plan import plan
from lilawbench.experiment.products import training
from lilawbench.loading.download import missing
from lilawbench.models.packaged import packaged_weights
from lilawbench.report.collect import collect
from lilawbench.report.match import match
from lilawbench.support import searchpath
from lilawbench.support.errors import UserError, first_of
from lilawbench.support.hydra_private import products
from lilawbench.support.plain import Tree
from lilawbench.support.searchpath import CONF

SMOKE = "_smoke"  # a table at a small size: listed only if asked for
RUNNABLE = "runnable here"
MOST_NAMED = 4


class Listed(NamedTuple):
    name: str  # of the experiment
    title: str  # first line of its file
    done: int
    runs: int
    state: str  # RUNNABLE, "data missing: cifar100_m", "not available yet: needs ...", "broken: ..."


def experiments(folders: Sequence[Path] = ()) -> dict[str, Path]:
    """Names and files of all experiments; of several with one name Hydra's choice: the package's, then the folders'."""
    found: dict[str, Path] = {}
    for folder in (CONF, *folders):
        for path in sorted((folder / "experiment").glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def tables(root: str | Path = "outputs", folders: Sequence[Path] = (), names: Collection[str] = ()) -> Iterator[Listed]:
    """The experiments that have a table, in the order of their files. Those with runs take longest.

    Args:
        root: folder of all experiments. folders: the user's folders of YAML files. names: only these; none: all.
    """
    seen: dict[str, str | None] = {}
    with composer(folders) as compose:
        for name, path in experiments(folders).items():
            if name not in names if names else name.endswith(SMOKE):
                continue
            try:
                cfg, swept = compose.plain([f"experiment={name}"]), compose.swept([f"experiment={name}"])
                if not (cfg.table.rows or cfg.table.paper):
                    continue
                done, runs = _progress(name, cfg, swept, Path(root), folders)
                state = _state(name, cfg, compose, seen)
            except (UserError, ValueError, HydraException, OmegaConfBaseException) as error:
                done, runs, state = 0, 0, "broken: " + " ".join(str(error).split())
            yield Listed(name, title(path), done, runs, state)


def title(path: Path) -> str:
    """The first line of a YAML file that tells what it is."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ")
    return ""


def _progress(name: str, cfg: Plain, swept: dict[str, Tree], root: Path, further: Sequence[Path]) -> tuple[int, int]:
    """How many runs are finished, and how many there are. All runs are composed only if some may be finished."""
    if not cfg.table.rows:
        return 0, 0
    own = [o.partition("=") for part in (cfg.table.rows, cfg.table.columns) for each in part.values() for o in each]
    names = {cfg.experiment_name, *(value for key, _, value in own if key == "experiment_name")}
    folders = [root / each for each in sorted(names) if next((root / each).glob("*/result.json"), None) is not None]
    if not folders:
        return 0, _size(cfg, swept)
    planned = plan([f"experiment={name}", *searchpath.override_of(further)]).runs
    return sum(map(bool, match(planned, collect(folders)).found)), len(planned)


def _size(cfg: Plain, params: dict[str, Tree]) -> int:
    """Counts rows x columns x what is swept."""
    parts = [_kept(part, cfg.table.only) for part in (cfg.table.rows, cfg.table.columns)]
    parts = [list(map(list, dict.fromkeys(tuple(training(one)) for one in part))) for part in parts]
    decided = {override.split("=", 1)[0] for part in parts for overrides in part for override in overrides}
    swept = by_key([f"{key}={value}" for key, value in params.items() if key not in decided])
    return math.prod(map(len, parts)) * len(products(list(swept.values())))


def _kept(parts: Plain, only: Sequence[str] | None) -> list[list[str]]:
    named = set(parts) & set(only or ()) or set(parts)
    return [list(overrides) for name, overrides in parts.items() if name in named] or [[]]


def _state(name: str, cfg: Plain, compose: Composer, seen: dict[str, str | None]) -> str:
    """What keeps a table from running here. `seen`: why a data set cannot be read, by its config."""
    if "table" in cfg.table.waiting:
        return f"not available yet: needs {cfg.table.waiting.table}"
    parts = [_kept(part, cfg.table.only) for part in (cfg.table.rows, cfg.table.columns)]
    choices = [
        {tuple(o for o in overrides if o.startswith(("dataset=", "dataset."))) for overrides in part} for part in parts
    ]
    lacking: dict[str, None] = {}
    data_dir = Path(cfg.paths.data_dir) if cfg.paths.data_dir else None
    for of_row, of_column in itertools.product(*map(sorted, choices)):
        own = [*of_row, *of_column]
        chosen = any(o.startswith("dataset=") for o in own)  # which overrides the experiment's choice
        dataset = compose.plain([*([] if chosen else [f"experiment={name}"]), *own]).dataset if own else cfg.dataset
        key = repr(dataset)
        if key not in seen:
            seen[key] = missing(functools.partial(_load, dataset, data_dir))
        if seen[key] is not None:
            options = [o.removeprefix("dataset.") for o in own if o.startswith("dataset.")]
            lacking[" ".join([dataset.name, *options])] = None
    states = [f"data missing: {first_of(list(lacking), MOST_NAMED)}"] if lacking else []
    if cfg.model.get("pretrained") and not _has_weights(cfg.model.get("architecture", cfg.model.name)):
        states.append(f"weights missing: {cfg.model.name}")
    return "; ".join(states) or RUNNABLE


def _load(dataset: Plain, data_dir: Path | None) -> None:
    made: Tree = build(dataset)
    made.load(data_dir)


@functools.cache
def _has_weights(architecture: str) -> bool:
    from huggingface_hub import constants

    if packaged_weights(architecture) is not None:
        return True
    if not any(Path(constants.HF_HUB_CACHE).glob(f"models--*{architecture.split('.')[0]}*")):
        return False  # without timm and torch, which take longer to import than the whole list
    import timm

    from lilawbench.models.weights import cached_weights

    config = timm.get_pretrained_cfg(architecture, allow_unregistered=False)
    return config is not None and cached_weights(config) is not None
