"""The probes of every run, and those that its config adds."""

from collections.abc import Iterable

from omegaconf import DictConfig

from lilawbench.config import build, probes_asked
from lilawbench.datasets.base import Source
from lilawbench.probes.attack import Attack
from lilawbench.probes.base import Probe, Scene
from lilawbench.probes.calibration import Calibration
from lilawbench.probes.chosen import Chosen
from lilawbench.probes.cost import Cost
from lilawbench.probes.early_stop import EarlyStop
from lilawbench.probes.evaluation import Evaluation
from lilawbench.probes.fit import Fit, Memorisation
from lilawbench.probes.groups import Groups
from lilawbench.probes.method_values import MethodValues
from lilawbench.probes.noise import NoiseRates
from lilawbench.probes.weighing import Weighing
from lilawbench.probes.weights import Weights
from lilawbench.support.errors import ConfigError

STANDARD = (
    "fit",
    "memorisation",
    "evaluation",
    "chosen",
    "calibration",
    "weights",
    "groups",
    "attack",
    "method",
    "weighing",
    "noise",
    "cost",
    "early_stop",
)


def probes_of(cfg: DictConfig, source: Source) -> dict[str, Probe]:
    """By name, in the order in which they look at an epoch.

    Raises:
        ConfigError: one that the config adds has the name of another, or is no probe.
    """
    probes: dict[str, Probe] = {"fit": Fit(), "memorisation": Memorisation(), "evaluation": Evaluation()}
    probes["chosen"] = chosen = Chosen(cfg.keep.predictions)
    probes["calibration"] = Calibration(chosen)
    probes["weights"] = Weights(cfg.keep.weights)
    if source.test_groups:
        probes["groups"] = Groups()
    patience = cfg.train.early_stop_epochs
    if cfg.attack.eps:
        probes["attack"] = Attack(**cfg.attack, every_epoch=patience is not None)
    probes |= {"method": MethodValues(), "weighing": Weighing(), "noise": NoiseRates(cfg.noise), "cost": Cost()}
    if patience is not None:
        probes["early_stop"] = EarlyStop(patience)
    own = {name: build(node) for name, node in probes_asked(cfg).items()}
    problems = [f"probe.{name}: every run has a probe of that name" for name in own if name in STANDARD]
    problems += [f"probe.{name}: {type(p).__name__} is no Probe" for name, p in own.items() if not isinstance(p, Probe)]
    if problems:
        raise ConfigError(problems)
    return probes | own


def stopping(cfg: DictConfig, scene: Scene) -> dict[str, Probe]:
    """Those of the standard ones that may end a training, set up for another than the run's own."""
    patience = cfg.train.early_stop_epochs
    probes: dict[str, Probe] = {} if patience is None else {"early_stop": EarlyStop(patience)}
    for probe in probes.values():
        probe.setup(scene)
    return probes


def stopped(probes: Iterable[Probe]) -> bool:
    """Whether one of them ends training."""
    return any(probe.stop for probe in probes)
