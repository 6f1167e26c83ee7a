"""The network of a finished run, with the weights of the epoch that a rule reports."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from hydra.errors import InstantiationException
from torch import Tensor, nn

from lilawbench.config import bind, build
from lilawbench.engine.weights_file import read_weights
from lilawbench.methods.base import Method
from lilawbench.models.cosine import fit_head
from lilawbench.models.inputs import inputs_for
from lilawbench.record import marks
from lilawbench.support import searchpath
from lilawbench.support.errors import ConfigError, DataError
from lilawbench.support.locate import locate
from lilawbench.support.plain import Plain, Tree, to_plain
from lilawbench.trained.prepared import FILE, Prepared, read_prepared

FILES = {"best_val": "best.safetensors", "last": "last.safetensors"}
AGAIN = "the same command with sweep.redo=true does it again"


class Mean(nn.Module):
    """The mean of several networks' logits."""

    def __init__(self, networks: list[nn.Module]):
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, input: Tensor) -> Tensor:
        return torch.stack([network(input).float() for network in self.networks]).mean(0)


def load_model(
    run: str | Path, rule: str | None = None, config_dir: str | Path | None = None
) -> tuple[nn.Module, Prepared]:
    """The network of a finished run, and what turns rows into its inputs.

        network, preprocess = lilawbench.load_model("outputs/default/RUN")
        probability = network(preprocess("new.csv")).softmax(1)     # columns: preprocess.class_names

    The weights alone are a state_dict in `best.safetensors` and `last.safetensors`: of a timm network,
    `timm.create_model(..., checkpoint_path="best.safetensors")` takes them, and so does `model.checkpoint` of a run.

    Args:
        run: its folder.
        rule: whose epoch: best_val, or last. None: best_val, or last where there were no validation rows.
        config_dir: the folder of your own YAML files that the run was given, if its model is in one.
    Returns:
        The network on the host in eval mode, inputs [B, ...] -> logits [B, K] (of values the value, [B, 1]); of several
        networks, the mean of their logits. And the preprocessing, see `Prepared`.
    Raises:
        DataError: no such run, not finished, or without what is needed. ConfigError: no such rule or folder.
    """
    kept = load(run, rule, config_dir)
    return kept.network, kept.prepared


class Kept(NamedTuple):
    """What a finished run has kept."""

    folder: Path
    result: Mapping[str, Tree]
    cfg: Plain
    rule: str  # whose epoch the weights are of
    network: nn.Module  # see `load_model`
    prepared: Prepared


def load(run: str | Path, rule: str | None = None, config_dir: str | Path | None = None) -> Kept:
    """As `load_model`, with the run's record."""
    folder, result = finished(Path(run).expanduser())
    name = rule or ("best_val" if (folder / FILES["best_val"]).exists() else "last")
    if name not in FILES:
        raise ConfigError([f"rule is {rule}; it must be {' or '.join(FILES)}"])
    if missing := [file for file in (FILE, FILES[name]) if not (folder / file).exists()]:
        raise DataError(f"{folder} has no {missing[0]}: {_why(name, missing[0], result)}")
    prepared, cfg = read_prepared(folder), config_of(folder)
    searchpath.use(searchpath.folders_of(config_dir)[0])
    weights = read_weights(folder / FILES[name], prepared.networks)
    with torch.random.fork_rng(devices=[]):
        networks = [_network(cfg, prepared, folder) for _ in range(prepared.networks)]
    for network, state in zip(networks, weights.values(), strict=True):
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise DataError(f"{folder / FILES[name]} does not fit the network of config.yaml: {error}") from error
    network = (networks[0] if len(networks) == 1 else Mean(networks)).eval()
    return Kept(folder, result, cfg, name, network, prepared)


def finished(folder: Path) -> tuple[Path, Mapping[str, Tree]]:
    """A run's folder and its result. Raises: DataError: it is no run, or not finished."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; name that of a finished run, such as outputs/default/RUN")
    result = marks.result(folder)
    if result is None and (error := marks.failure(folder)) is not None:
        raise DataError(f"{folder}: the run has stopped on its own and has no result: {error}")
    if result is None and not (folder / "config.yaml").exists():
        below = sorted(path.parent.name for path in folder.glob("*/result.json"))
        hint = f"; runs in it: {', '.join(below[:3])}{', ...' if len(below) > 3 else ''}" if below else ""
        raise DataError(f"{folder} is no folder of a run{hint}")
    if result is None:
        raise DataError(f"{folder}: the run is not finished; the command that began it goes on with it")
    return folder, result


def config_of(folder: Path) -> Plain:
    """The resolved config of a run. Raises: DataError, its config.yaml cannot be read."""
    path = folder / "config.yaml"
    try:
        cfg = to_plain(yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}: {error}); do the run again") from error
    if not isinstance(cfg, Plain) or not all(isinstance(cfg.get(key), Plain) for key in ("model", "method", "train")):
        raise DataError(f"{path} is no config of a run; do the run again")
    return cfg


def own_prediction(cfg: Plain) -> bool:
    """Whether the method predicts in a way of its own, which needs more than the networks."""
    try:
        method = locate(cfg.method["_target_"])
    except ImportError:
        return False
    return getattr(method, "predict", Method.predict) is not Method.predict


def _network(cfg: Plain, prepared: Prepared, folder: Path) -> nn.Module:
    """A network of the run, freshly made; published weights are not asked for, since its own follow."""
    model = cfg.model
    unasked = {option: value for option, value in (("pretrained", False), ("checkpoint", None)) if option in model}
    node = Plain({**model, **unasked})
    outputs = node.get("num_classes") or len(prepared.class_names)
    try:
        inputs = inputs_for(node, prepared.network_shape, prepared.reader.vocabulary)
        network: nn.Module = build(node, num_classes=outputs, **inputs)
    except ImportError as error:
        raise DataError(
            f"{folder}: model={node.get('name')} cannot be imported ({error}); --config-dir names its folder"
        ) from error
    except InstantiationException as error:
        raise DataError(f"{folder}: model={node.get('name')} cannot be built: {error.__cause__}") from error
    return fit_head(network, _loss(cfg))


def _loss(cfg: Plain) -> object:
    """The run's loss, which may ask for a head; None: it cannot be made any more, as one of the user's own."""
    try:
        return bind(cfg.loss)
    except Exception:
        return None


def _why(rule: str, file: str, result: Mapping[str, Tree]) -> str:
    if file == FILES["best_val"] and result.get("num_val") == 0:
        return "the run had no validation rows; its last epoch is rule=last"
    if result.get("config.keep.weights") is False:
        return f"it was done with keep.weights=false; {AGAIN}, if keep.weights is true"
    return f"it is of an older version, or the file was removed; {AGAIN}"
