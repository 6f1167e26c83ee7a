"""`check`: every problem of a composed config at once, before anything is written."""

import functools
import importlib.util
import inspect
import math
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from lilawbench.augment.autoaugment import POLICIES
from lilawbench.config import LABELS_ONLY, NAMED, Plain, bind, build, check_keys, options, plain
from lilawbench.methods.contract import sound
from lilawbench.methods.fgsm import check_attack
from lilawbench.models.finetune import FINETUNE
from lilawbench.support import searchpath
from lilawbench.support.errors import ConfigError
from lilawbench.support.locate import locate
from lilawbench.support.plain import Tree
from lilawbench.tasks import CLASSES, example, tasks_of

# Arguments that the program itself gives a part: when it builds it; and when it calls it, if it is a function (the
# number of arguments by position, then names). No option may have such a name.
BUILT_WITH = {"model": ("input_shape",), "method": ("loss",)}
CALLED_WITH = {"noise": (2, ("generator", "inputs", "fetch")), "loss": (2, ())}


def check(cfg: DictConfig | Plain, num_classes: int | None = None, official_val: bool | None = None) -> None:
    """Refuses a config that cannot run.

    Args:
        num_classes, official_val: of data whose files alone tell, once read; until then what needs it goes unchecked.
    Raises:
        ConfigError: lists every problem: unknown options, values out of range, parts that do not fit together.
    """
    cfg = plain(cfg)
    check_keys(cfg)
    problems = _check_train(cfg.train) + _check_split(cfg.split) + _check_attack(cfg.attack)
    if cfg.seed < 0:
        problems.append(f"seed is {cfg.seed}; it must be >= 0")
    parts = [group for group, node in cfg.items() if group in NAMED or (isinstance(node, Plain) and "_target_" in node)]
    unknown = {group: _unknown_options(group, cfg[group]) for group in parts}
    unknown |= {f"probe.{name}": _unknown_options(f"probe.{name}", node) for name, node in cfg.probe.items()}
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
            problems.append(f"{group}={_node(cfg, group).get('name', '')}: {cause}")
            return None

    dataset = attempt("dataset", lambda: build(cfg.dataset))
    if dataset is not None:
        num_classes = dataset.num_classes or num_classes
        task = "binary" if (dataset.task, num_classes) == ("multiclass", 2) else dataset.task
        if misfits := _misfits(cfg, task, unknown):
            problems += misfits.values()
            unknown |= {group: [line] for group, line in misfits.items()}
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
        asked = cfg.model.get("num_classes")
        if asked is not None and asked < num_classes:
            problems.append(f"model.num_classes is {asked}; dataset={cfg.dataset.name} has {num_classes} classes")
        elif asked is not None and asked > num_classes and task not in CLASSES:
            problems.append(
                f"model.num_classes is {asked}; {task} data like dataset={cfg.dataset.name} need {num_classes}"
            )
    if official_val is None:
        official_val = False if dataset is None else dataset.official_val
    if cfg.split.val_fraction is None and dataset is not None and official_val is False:
        problems.append(f"split.val_fraction is null; dataset={cfg.dataset.name} has no validation rows of its own")
    if method is not None and not method.splits_batches and cfg.train.accumulate_steps > 1:
        problems.append(f"method={cfg.method.name} looks ahead on whole batches: train.accumulate_steps must be 1")
    if method is not None and cfg.train.cuda_graphs and (reason := method.against_graphs()):
        problems.append(f"train.cuda_graphs=true does not work with method={cfg.method.name}: {reason}")
    no_val = cfg.split.val_fraction == 0 and official_val is False
    if method is not None and method.uses_meta and no_val:
        problems.append(f"method={cfg.method.name} learns from validation batches: split.val_fraction must be > 0")
    if cfg.train.early_stop_epochs is not None and no_val:
        problems.append("train.early_stop_epochs watches val_loss: split.val_fraction must be > 0")
    if problems:
        raise ConfigError(problems)


def _node(cfg: Plain, group: str) -> Plain:
    """The node with a dotted name."""
    return functools.reduce(lambda node, key: node[key], group.split("."), cfg)


def _misfits(cfg: Plain, task: str, unknown: dict[str, list[str]]) -> dict[str, str]:
    """The loss, noise and method that are not for this task, a line each."""
    lines = {}
    for group in ("loss", "noise", "method"):
        node = cfg[group]
        if unknown.get(group) or task in (allowed := tasks_of(locate(node["_target_"]))):
            continue
        fitting = ", ".join(name for name, other in _choices(group) if task in _tasks_of(other))
        lines[group] = (
            f"{group}={node.get('name')} is for {' and '.join(allowed)} data; dataset={cfg.dataset.name} is {task} "
            f"(fitting: {fitting})"
        )
    return lines


def _choices(group: str) -> list[tuple[str, str]]:
    """Name and target of each YAML of a group."""
    places = reversed([searchpath.CONF, *searchpath.in_use()])
    paths = {path.stem: path for folder in places for path in (folder / group).glob("*.yaml")}
    return [(name, target) for name, path in sorted(paths.items()) if (target := _target_in(path, group))]


def _target_in(path: Path, group: str) -> str | None:
    try:
        node: Tree = OmegaConf.load(path)
        return node.get(group, node).get("_target_")
    except (AttributeError, YAMLError):  # a file of the user's that was not chosen
        return None


def _tasks_of(target: str) -> tuple[str, ...]:
    """As `tasks_of`; none for a part that cannot be imported: only a suggestion is lost."""
    try:
        return tasks_of(locate(target))
    except ImportError:
        return ()


def _unknown_options(group: str, node: Plain) -> list[str]:
    """Keys of the node that its target does not take, and a target that does not exist."""
    if not isinstance(node, Plain):
        return [f"{group} is no probe: a probe's YAML has its name first, NAME: {{_target_: MODULE.CLASS}}"]
    if "_target_" not in node:
        named = f"{group}={node.get('name')}"
        return [f"{named} has no _target_: its YAML names a function or class, _target_: MODULE.NAME"]
    try:
        target = locate(node["_target_"])
    except ImportError as error:
        return [f"{group}._target_: {error}"]
    valid, any_other = _options_of(group, target)
    given = [key for key in node if key not in (*LABELS_ONLY, "_target_")]
    wrong = [key for key in given if key not in valid and not (any_other and key not in _given(group, target))]
    name, listed = node.get("name", group), ", ".join(valid) or "none"
    return [f"{group}.{key} is not an option of {name} (valid: {listed})" for key in wrong]


@functools.cache
def _options_of(group: str, target: Callable[..., Any]) -> tuple[list[str], bool]:
    """The names that a user may give, and whether any other may be given too (**options)."""
    named, any_other = _parameters_of(target)
    return [name for name in named if name not in _given(group, target)], any_other


def _parameters_of(target: Callable[..., Any]) -> tuple[list[str], bool]:
    """As `_options_of`, with what the program gives; `**options` of a class are those of its base."""
    taken = inspect.signature(target).parameters.values()
    named = [each.name for each in taken if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    any_other = any(each.kind is each.VAR_KEYWORD for each in taken)
    if any_other and inspect.isclass(target) and (base := target.__mro__[1]) is not object:
        more, any_other = _parameters_of(base)
        named += [name for name in more if name not in named]
    return named, any_other


@functools.cache
def _given(group: str, target: Callable[..., Any]) -> set[str]:
    """Names of the arguments that the program gives."""
    if group in CALLED_WITH and not inspect.isclass(target):
        count, names = CALLED_WITH[group]
        return {*list(inspect.signature(target).parameters)[:count], *names}
    return set(BUILT_WITH.get(group, ()))


def _check_train(train: Plain) -> list[str]:
    problems = []

    def need(ok: bool, key: str, rule: str) -> None:
        if not ok:
            problems.append(f"train.{key} is {train[key]}; it must be {rule}")

    need(train.epochs >= 1, "epochs", ">= 1")
    need(train.batch_size >= 2, "batch_size", ">= 2")
    need(train.finetune in FINETUNE, "finetune", " or ".join(FINETUNE))
    need(train.optimizer in ("adam", "adamw", "sgd"), "optimizer", "adam, adamw or sgd")
    need(0 < train.lr < math.inf, "lr", "> 0")
    need(0 <= train.weight_decay < math.inf, "weight_decay", ">= 0")
    need(0 <= train.momentum < 1, "momentum", "in [0, 1)")
    need(not train.nesterov or train.momentum > 0, "nesterov", "false when train.momentum is 0")
    need(
        train.schedule in ("constant", "linear", "cosine", "multistep"),
        "schedule",
        "constant, linear, cosine or multistep",
    )
    need(all(m >= 1 for m in train.milestones_epochs), "milestones_epochs", "a list of epochs >= 1")
    need(train.clip_grad_norm is None or train.clip_grad_norm > 0, "clip_grad_norm", "null or > 0")
    need(train.balanced_samples is None or train.balanced_samples >= 2, "balanced_samples", "null or >= 2")
    need(train.early_stop_epochs is None or train.early_stop_epochs >= 1, "early_stop_epochs", "null or >= 1")
    need(train.threads is None or train.threads >= 1, "threads", "null or >= 1")
    need(train.log_every_steps >= 1, "log_every_steps", ">= 1")
    augment = train.augment
    if augment.crop_px < 0 or augment.rotate_degrees < 0 or not 0 <= augment.jitter < 1:
        problems.append(f"train.augment is {dict(augment)}; crop_px, rotate_degrees >= 0 and jitter in [0, 1)")
    if augment.policy not in (None, *POLICIES):
        problems.append(f"train.augment.policy is {augment.policy}; it must be null or one of {', '.join(POLICIES)}")
    need(train.strong_policy in POLICIES, "strong_policy", f"one of {', '.join(POLICIES)}")
    need(train.resize_px is None or train.resize_px >= 1, "resize_px", "null or >= 1")
    if train.precision == "fp16":
        problems.append("train.precision=fp16 is refused: its range makes per-sample losses overflow; use bf16 or fp32")
    else:
        need(train.precision in ("fp32", "bf16"), "precision", "fp32 or bf16")
    most = max(1, train.batch_size // 2)  # BatchNorm cannot train on a single row
    rule = f"from 1 to {most}, so that parts of train.batch_size={train.batch_size} have at least two rows"
    need(1 <= train.accumulate_steps <= most, "accumulate_steps", rule)
    problems += _check_device(train.device)
    problems += _check_graphs(train) if train.cuda_graphs else []
    return problems + (_check_compiler(train.device) if train.compile else [])


def _check_compiler(device: str) -> list[str]:
    """What torch.compile needs on the machine: Triton for CUDA; for the CPU a C++ compiler and Python's headers."""
    off = "install it, or use train.compile=false"
    if device != "cpu" and torch.cuda.is_available():
        return [] if importlib.util.find_spec("triton") else [f"train.compile=true needs Triton on CUDA: {off}"]
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        return [f"train.compile=true needs a C++ compiler, and there is no {name}: {off} (CXX names another)"]
    header = Path(sysconfig.get_path("include"), "Python.h")
    return [] if header.exists() else [f"train.compile=true needs Python's headers, and there is no {header}: {off}"]


def _check_graphs(train: Plain) -> list[str]:
    problems = []
    if train.device == "cpu" or not torch.cuda.is_available():
        problems.append(f"train.cuda_graphs=true needs a CUDA device; train.device={train.device} is not one here")
    if train.compile:
        problems.append("train.cuda_graphs and train.compile do not go together: one of them must be false")
    if (processes := int(os.environ.get("WORLD_SIZE", 1))) > 1:
        problems.append(f"train.cuda_graphs=true does not work under torchrun: {processes} processes share each step")
    return problems


def _check_device(name: str) -> list[str]:
    if name in ("auto", "cpu"):
        return []
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        return [f"train.device is {name}; it must be auto, cpu, cuda or cuda:N"]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        return [f"train.device={name} is not there ({count} CUDA device(s) here): use train.device=cpu or auto"]
    return []


def _check_attack(attack: Plain) -> list[str]:
    problems = []
    for eps in attack.eps or [0]:
        try:
            check_attack(eps, attack.clip, attack.space)
        except ValueError as error:
            problems.append(f"attack: {error}")
    return problems


def _check_split(split: Plain) -> list[str]:
    problems = []
    if split.val_fraction is not None and not 0 <= split.val_fraction < 1:
        problems.append(f"split.val_fraction is {split.val_fraction}; it must lie in [0, 1)")
    if split.val_labels not in ("observed", "clean"):
        problems.append(f"split.val_labels is {split.val_labels}; it must be observed or clean")
    if split.train_samples is not None and split.train_samples < 2:
        problems.append(f"split.train_samples is {split.train_samples}; it must be null or >= 2")
    return problems
