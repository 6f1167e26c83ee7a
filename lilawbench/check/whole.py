"""A whole config: settings, each part by itself, then what does not go together."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from lilawbench.check.fitting import misfits
from lilawbench.check.options import wrong_options
from lilawbench.check.settings import wrong_settings
from lilawbench.check.text import misfits_of_text
from lilawbench.config import NAMED, Plain, bind, build, check_keys, options, plain, probes_asked
from lilawbench.methods.base import Method
from lilawbench.methods.contract import sound
from lilawbench.models.preprocessing import follows_weights, has_weights
from lilawbench.support.errors import ConfigError
from lilawbench.tasks import CLASSES, example


def check(cfg: DictConfig | Plain, num_classes: int | None = None, official_val: bool | None = None) -> None:
    """Refuses a config that cannot run.

    Args:
        num_classes, official_val: for data whose files alone tell how many classes there are, and whether there are
            validation rows, once they are read; until then checks that need it are skipped.
    Raises:
        ConfigError: lists every problem: unknown options, values out of range, parts that do not fit together.
    """
    cfg = plain(cfg)
    check_keys(cfg)
    problems, typed = wrong_settings(cfg)
    parts = [group for group, node in cfg.items() if group in NAMED or (isinstance(node, Plain) and "_target_" in node)]
    unknown = {group: wrong_options(group, cfg[group]) for group in parts}
    cfg = Plain({**cfg, "probe": Plain(probes_asked(cfg) if typed else cfg.probe)})
    unknown |= {f"probe.{name}": wrong_options(f"probe.{name}", node) for name, node in cfg.probe.items()}
    problems += [line for lines in unknown.values() for line in lines]

    def attempt(group: str, make: Callable[[], Any]) -> Any:
        if unknown.get(group):
            return None
        try:
            return make()
        except Exception as error:  # a constructor's or hydra's complaint about the user's values
            cause = (isinstance(error, InstantiationException) and error.__cause__) or error
            values = options(_node(cfg, group)).items()
            given = ", ".join(f"{group}.{key}={value}" for key, value in values if key != "_target_")
            if isinstance(cause, TypeError) and given and "abstract" not in str(cause):  # its own words name no option
                cause = TypeError(f"a value is of the wrong type, among {given} ({cause})")
            name = _node(cfg, group).get("name")  # a probe has none
            problems.append(f"{group}{'' if name is None else f'={name}'}: {cause}")
            return None

    dataset = attempt("dataset", lambda: build(cfg.dataset))
    if dataset is not None:
        num_classes = dataset.num_classes or num_classes
        task = "binary" if (dataset.task, num_classes) == ("multiclass", 2) else dataset.task
        if lines := misfits(cfg, task, unknown):
            problems += lines.values()
            unknown |= {group: [line] for group, line in lines.items()}
        if typed and cfg.detect.folds and task not in CLASSES:
            problems.append(f"detect.folds is for one class a sample; dataset={cfg.dataset.name} is {task}")
    loss = attempt("loss", lambda: bind(cfg.loss))
    method = attempt("method", lambda: sound(build(cfg.method, loss=loss))) if loss is not None else None
    for name, node in cfg.probe.items():
        attempt(f"probe.{name}", functools.partial(build, node))
    if "logger" in unknown:
        attempt("logger", lambda: build(cfg.logger))
    noise = attempt("noise", lambda: bind(cfg.noise))
    if dataset is not None and num_classes is not None:
        labels = example(task, num_classes)
        if loss is not None:
            attempt("loss", lambda: loss(torch.zeros(1, num_classes), torch.from_numpy(labels[:1])))
        if isinstance(noise, functools.partial):  # one label per class shows whether rate, matrix and pairs fit
            attempt("noise", lambda: noise(labels, num_classes, generator=np.random.default_rng(0)))
        if not unknown["model"]:
            problems += _outputs(cfg, task, num_classes)
    if typed and dataset is not None and not unknown["model"]:
        problems += misfits_of_text(cfg, dataset.is_text, method, noise)
    if typed:
        if official_val is None and dataset is not None:
            official_val = dataset.official_val
        problems += _together(cfg, official_val, method)
    if problems:
        raise ConfigError(problems)


def _node(cfg: Plain, group: str) -> Plain:
    """The node with a dotted name."""
    return functools.reduce(lambda node, key: node[key], group.split("."), cfg)


def _outputs(cfg: Plain, task: str, num_classes: int) -> list[str]:
    """Whether model.num_classes is as many as the data need."""
    asked, name = cfg.model.get("num_classes"), cfg.dataset.name
    if asked is not None and asked < num_classes:
        return [f"model.num_classes is {asked}; dataset={name} has {num_classes} classes"]
    if asked is not None and asked > num_classes and task not in CLASSES:
        return [f"model.num_classes is {asked}; {task} data like dataset={name} need {num_classes}"]
    return []


def _together(cfg: Plain, official_val: bool | None, method: Method | None) -> list[str]:
    """What of the split and of training does not go with the data or the method.

    Args:
        official_val: whether the data have validation rows of their own; None: unknown. method: None: it was refused.
    """
    problems, name = [], cfg.method.name
    if follows_weights(cfg) and not has_weights(cfg.model):
        rule = "needs model.pretrained=true or model.checkpoint=FILE, of a network from timm"
        problems.append(f"train.normalise=weights {rule}: model={cfg.model.name} starts from no such weights")
    if follows_weights(cfg) and cfg.dataset.get("pixels") == "unit":
        rule = "train.normalise=data keeps the pixels as they are"
        problems.append(f"dataset.pixels=unit does not go with the normalisation of the model's weights: {rule}")
    if cfg.split.val_fraction is None and official_val is False:
        problems.append(f"split.val_fraction is null; dataset={cfg.dataset.name} has no validation rows of its own")
    if method is not None and not method.splits_batches and cfg.train.accumulate_steps > 1:
        problems.append(f"method={name} takes whole batches: train.accumulate_steps must be 1")
    if method is not None and cfg.train.cuda_graphs and (reason := method.against_graphs()):
        problems.append(f"train.cuda_graphs=true does not work with method={name}: {reason}")
    if method is not None and method.folds and cfg.detect.folds not in (0, method.folds):
        rule = "the same networks serve both: make them equal, or leave detect.folds out"
        problems.append(f"detect.folds is {cfg.detect.folds} and method.folds {method.folds}; {rule}")
    no_val = cfg.split.val_fraction == 0 and official_val is False
    if method is not None and method.uses_meta and no_val:
        problems.append(f"method={name} learns from validation batches: split.val_fraction must be > 0")
    if late := [epoch for epoch in cfg.detect.epochs or [] if epoch > cfg.train.epochs]:
        problems.append(f"detect.epochs has {late[0]}; the run ends with train.epochs={cfg.train.epochs}")
    if cfg.train.early_stop_epochs is not None and no_val:
        problems.append("train.early_stop_epochs watches val_loss: split.val_fraction must be > 0")
    return problems
