"""What this package needs of Hydra's and OmegaConf's private modules: the only file that a new version can break.

pyproject.toml therefore caps hydra-core below its next minor version.
"""

from argparse import Namespace
from collections.abc import Callable, Sequence

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import _locate, get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.types import HydraContext
from omegaconf import DictConfig
from omegaconf._utils import get_yaml_loader


def parsed_arguments(arguments: Sequence[str]) -> Namespace:
    """A command line as Hydra's main function reads it. Raises: SystemExit, where Hydra would."""
    return get_args_parser().parse_intermixed_args(arguments)


def products(swept: Sequence[Override]) -> list[list[str]]:
    """Every combination of what overrides sweep, in the order of Hydra's own sweeper."""
    return BasicSweeper.split_arguments(list(swept), None)[0]


def apply_values(overrides: Sequence[Override], cfg: DictConfig) -> None:
    """Puts overrides into a config, as composing does after the files are merged."""
    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), cfg)


def launch_context() -> HydraContext:
    """What a launcher needs of the Hydra that is initialised now."""
    return HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks())


def job_of_joblib() -> Callable[..., JobReturn]:
    """What a process of the joblib launcher calls to do a job."""
    from hydra_plugins.hydra_joblib_launcher._core import execute_job  # which imports joblib

    return execute_job


def locate(dotted: str) -> Callable[..., object]:
    """As hydra.utils.get_object, which logs an error that is about to be shown. Raises: ImportError, with its cause."""
    return _locate(dotted)


def yaml_rules() -> dict:
    """What OmegaConf reads as a number or a truth value in YAML."""
    return get_yaml_loader().yaml_implicit_resolvers
