"""lilawbench: a Hydra-configured experiment runner for learning with noisy labels.

    import lilawbench

    cfg = lilawbench.compose("method=lilaw", "noise.rate=0.2", "seed=3")    # as on the command line
    record = lilawbench.run(cfg)                                            # trains, or finds the run finished
    runs = lilawbench.load("outputs")                                       # a DataFrame, one row per finished run
    network, preprocess = lilawbench.load_model(record.folder)              # for predictions of your own

All that a user's program needs. Each name is imported when it is first used: `import lilawbench` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lilawbench.config import compose
    from lilawbench.report.collect import collect as load
    from lilawbench.train import run
    from lilawbench.trained.model import load_model

__version__ = "0.13.0"
__all__ = ["compose", "load", "load_model", "run"]

_PLACES = {
    "compose": ("lilawbench.config", "compose"),
    "load": ("lilawbench.report.collect", "collect"),
    "load_model": ("lilawbench.trained.model", "load_model"),
    "run": ("lilawbench.train", "run"),
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
